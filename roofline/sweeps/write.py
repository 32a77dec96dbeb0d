"""Columns of a part as rows of a CSV, or as Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..search.files import ParquetRows, quoted
from ..view.table import csv_text
from .rows import COLUMNS


def write_csv(columns: Mapping[str, Iterable[Any]], to: Path) -> None:
    """Write rows without a header: exact values, a missing one is an empty field."""
    texts = [_texts(columns[name], kind) for name, kind in COLUMNS.items()]
    with to.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"{','.join(row)}\n" for row in zip(*texts, strict=True))


def _texts(values: Iterable[Any], kind: type) -> Iterable[str]:
    """Each value as a field."""
    if kind is float:
        return ["" if value is None else repr(value) for value in values]
    known: dict[Any, str] = {None: ""}  # of the others there are few
    for value in values:
        if value not in known:
            known[value] = quoted(str(csv_text(value)))
    return [known[value] for value in values]


def write_parquet(columns: Mapping[str, Iterable[Any]], to: Path) -> None:
    """Write a table with a type for each column, whatever is in it."""
    import pyarrow as pa

    types = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    rows = ParquetRows(to)
    rows.add(pa.table({name: pa.array(columns[name], types[kind]) for name, kind in COLUMNS.items()}, schema=schema))
    rows.close()


WRITERS: dict[str, Callable[[Mapping[str, Iterable[Any]], Path], None]] = {".csv": write_csv, ".parquet": write_parquet}
