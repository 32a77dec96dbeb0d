"""Options of a Python call read as people type them: ``"8"``, ``"1k"``, ``"10B"``, ``"30d"``; nonsense is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import units
from ..errors import RooflineError
from .run import COUNTS

READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys((*COUNTS, "lora_rank"), units.positive_int),
    "seq_len": units.sequence_length,
    "network_gbit_per_s": units.positive,
}


def read(name: str, value: Any, reader: Callable[[Any], Any]) -> Any:
    """One value; None and arrays pass through, of a list or tuple every element is read.

    Raises:
        RooflineError: It has no sensible meaning; the message starts with `name`.

    >>> read("seq_len", "1k", units.sequence_length), read("tokens", 10**9, units.count)
    (1024, 1000000000)
    """
    if value is None or hasattr(value, "dtype"):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(read(name, each, reader) for each in value)
    try:
        return reader(value)
    except units.UnitError as error:
        raise RooflineError(f"{name}: {error}") from error


def read_one(name: str, value: Any, reader: Callable[[Any], Any]) -> Any:
    """One value where a list means nothing.

    Raises:
        RooflineError: It has no sensible meaning, or is several.
    """
    if hasattr(value, "dtype") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, (list, tuple)) or hasattr(value, "dtype"):
        raise RooflineError(f"{name}: {value!r} is not one number: call once for each")
    return read(name, value, reader)


def read_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `TrainConfig` with their numbers read.

    >>> read_options({"seq_len": "1k", "micro_batch": "8", "dtype": "bf16"})
    {'seq_len': 1024, 'micro_batch': 8, 'dtype': 'bf16'}
    """
    return {name: read(name, value, READERS[name]) if name in READERS else value for name, value in options.items()}
