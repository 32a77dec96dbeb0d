"""The constants that no datasheet states, with what each rests on: one list of all tables that hold them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ..constants import Constant, constants
from ..hardware.database import architecture_ids, default_measured, load_architecture
from ..timing.terms import TERMS
from .table import Cell, Shown, Table

FITTED = "scripts/maintain/fit_training.py"
NOTE = (
    "Source, script and error on held-out rows of each: --format json or csv. Efficiencies of kernels: "
    "'roofline devices DEVICE'; what software costs: 'roofline stacks STACK'."
)


def shown() -> Shown:
    """Every constant: name, value, evidence and meaning; with source, script and held-out error as JSON and CSV."""
    found = dict([*constants().items(), *_of_terms(), *_of_architectures()])
    rows = [[name, Cell(row.value, f"{row.value:g}"), row.evidence, row.says] for name, row in found.items()]
    table = Table("Constants that no datasheet states", ["constant", "value", "evidence", "what it is"], rows, "lrll")
    records = [[name, *msgspec.structs.astuple(row)] for name, row in found.items()]
    return Shown({"constants": found}, [table], [NOTE], Table("", ["name", *Constant.__struct_fields__], records))


def _of_terms() -> Iterator[tuple[str, Constant]]:
    """The spread of each term of a step."""
    like = constants()["spread.software"]  # fitted with it, to a common scale
    for name, term in TERMS.items():
        says = f"standard deviation of log(measured / predicted): {term.says}"
        yield f"spread.{name}", msgspec.structs.replace(like, value=term.spread, says=says)


def _of_architectures() -> Iterator[tuple[str, Constant]]:
    """Rates of long runs on the architectures that state one."""
    measured = {key: load_architecture(key).measured for key in architecture_ids()}
    like = constants()["interference"]  # fitted together
    for key, tables in {"default": default_measured(), **measured}.items():
        if "sustained" not in tables:
            continue
        value, source = (tables["sustained"][field] for field in ("compute", "source"))
        says = f"rate of matmuls in long runs over that of short benchmarks: {key}"
        if source.startswith("assumes"):
            row = Constant(value=value, says=says, evidence="assumed", source=source)
        elif source.startswith("measured"):
            row = Constant(value=value, says=says, evidence="measured", source=source)
        else:
            row = msgspec.structs.replace(like, value=value, says=says, source=source)
        yield f"sustained.{key}", row
