"""Tables of published measurements as they are read: rows, numbers in cells, reasons to skip a row."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RooflineError, shown
from ..reading import LARGEST_NUMBER, packaged, read_text

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


class Skipped(RooflineError):  # noqa: N818  (a reason, shown as such)
    """A row that cannot be predicted, with the reason."""


def read_rows(path: str | Path | Traversable) -> list[dict[str, str]]:
    """Rows of a CSV of runs.

    Raises:
        RooflineError: The file cannot be read or has not the columns of a table of runs.
    """
    needed = ("id", "device", "n_devices", "seq_len", "tokens_per_s_per_device", "n_layers", "d_model", "n_heads")
    return read_table(path, needed)


def read_table(path: str | Path | Traversable, needed: Iterable[str] = ("id",)) -> list[dict[str, str]]:
    """Rows of any CSV of measurements that has at least the columns `needed`."""
    if not isinstance(path, (str, os.PathLike)) and not hasattr(path, "open"):  # a packaged table may lie in a zip
        raise RooflineError(f"a table of runs is the path of a CSV, got {shown(path)}")
    rows, reader = [], csv.DictReader(io.StringIO(read_text(path, "table"), newline=""))
    try:
        for row in reader:
            if None in row:
                raise RooflineError(f"{path}: line {reader.line_num}: more cells than the first line names columns")
            rows.append(row)
    except csv.Error as error:
        raise RooflineError(f"cannot read {path}: {error}") from error
    if not rows:
        raise RooflineError(f"{path} has no rows: the first line names the columns, each further line is one run")
    missing = sorted(set(needed) - set(rows[0]))
    between = next((mark for mark in (";", "\t") if mark in "".join(rows[0])), None)
    if missing and between is not None:
        raise RooflineError(f"{path}: its columns are separated by {between!r}: save it with commas")
    if missing:
        raise RooflineError(f"{path} has no column {', '.join(missing)}: use the columns of the packaged table")
    return rows


@cache
def _source_names() -> dict[str, str]:
    table = read_table(packaged(__name__, "data") / "sources.csv", ("code", "name"))
    return {row["code"]: row["name"] for row in table}


def source_name(code: str) -> str:
    """A source in words; the code itself of tables that are not ours.

    >>> source_name("mbr"), source_name("mine")
    ('Megatron-Bridge', 'mine')
    """
    return _source_names().get(code, code)


def number(row: Mapping[str, str], key: str) -> float | None:
    """The number in a cell; None where it is blank, NaN or infinite.

    Raises:
        Skipped: It is not a number, below 0, beyond 1e30 or closer to 0 than 1e-30; row, column and value are named.
    """
    text = (row.get(key) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise Skipped(f"row {row.get('id') or '?'}: {key} {text!r} is not a number") from None
    if not math.isfinite(value):
        return None
    if value and not 1 / LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise Skipped(f"row {row.get('id') or '?'}: {key} {value:g} is out of range")
    return value


def integer(row: Mapping[str, str], key: str) -> int | None:
    """The number in a cell, without its fraction; None where it is blank."""
    value = number(row, key)
    return None if value is None else int(value)
