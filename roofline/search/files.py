"""Files of rows by the million, in parts: CSV, or Parquet where pyarrow is installed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import RooflineError

SUFFIXES = (".csv", ".parquet")
GROUP = 2**24  # bytes of Parquet that are compressed together


def check_suffix(path: Path, what: str) -> None:
    """Refuse a file of another kind, and Parquet where nothing writes it.

    Raises:
        RooflineError: What its name may end in, or what to install.
    """
    if path.suffix not in SUFFIXES:
        raise RooflineError(f"{path}: {what} by the million are written as {' or '.join(SUFFIXES)}")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise RooflineError(f"{path}: Parquet needs pyarrow (pip install 'roofline[parquet]'); or use .csv")


class ParquetRows:
    """A Parquet file that tables of the same columns are added to, written a group of them at a time."""

    def __init__(self, to: Path) -> None:
        self.to = to
        self.waiting: list[Any] = []
        self.file: Any = None

    def add(self, table: Any) -> None:
        """Add the rows of a table of pyarrow."""
        self.waiting.append(table)
        if sum(each.nbytes for each in self.waiting) >= GROUP:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.concat_tables(self.waiting)
        self.waiting.clear()
        if self.file is None:
            self.file = pq.ParquetWriter(self.to, table.schema)
        self.file.write_table(table)

    def close(self) -> None:
        """End the file; there is none where there were no rows."""
        if self.waiting:
            self._write()
        if self.file is not None:
            self.file.close()


def join(parts: Sequence[Path], to: Path, header: Sequence[str]) -> None:
    """Put parts together, in order; those of CSV have no header of their own.

    Raises:
        RooflineError: A part cannot be read.
    """
    if to.suffix == ".parquet":
        _join_parquet(parts, to)
        return
    with to.open("wb") as file:
        file.write(",".join(header).encode() + b"\n")
        for part in parts:
            with part.open("rb") as rows:
                shutil.copyfileobj(rows, file)


def _join_parquet(parts: Sequence[Path], to: Path) -> None:
    import pyarrow.parquet as pq

    rows = ParquetRows(to)
    for part in parts:
        try:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    rows.add(file.read_row_group(group))
        except ValueError as error:  # as pyarrow's own are
            raise RooflineError(f"{part} is damaged ({error}): remove it, and it is worked out again") from error
    rows.close()


def quoted(text: str) -> str:
    """A field of a CSV, whatever it holds.

    >>> quoted("plain"), quoted("a,b")
    ('plain', '"a,b"')
    """
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
