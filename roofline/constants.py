"""Constants that no datasheet states, from one table, each with its evidence (``constants.toml``)."""

from functools import cache
from typing import Any, Literal

import msgspec

from .reading import packaged, read_packaged

Evidence = Literal["fitted", "measured", "published", "set", "assumed"]


class Constant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One constant, and what it rests on.

    Attributes:
        value: The number that the code reads.
        says: What it is, with its unit.
        evidence: How it came about (explained in the file).
        source: The data or the reason behind it.
        script: What fits it.
        held_out: How it does on rows that had no part in it.
    """

    value: float
    says: str
    evidence: Evidence
    source: str
    script: str = ""
    held_out: str = ""


@cache
def constants() -> dict[str, Constant]:
    """Every constant by name; those of one table are joined with a dot (``fragmentation.full``)."""
    found: dict[str, Constant] = {}
    for name, row in read_packaged(packaged(__name__) / "constants.toml", dict[str, dict[str, Any]]).items():
        rows = {name: row} if "value" in row else {f"{name}.{key}": each for key, each in row.items()}
        found.update(msgspec.convert(rows, dict[str, Constant]))
    return found


def constant(name: str) -> float:
    """The value of a constant.

    >>> constant("interference")
    0.3
    """
    return constants()[name].value
