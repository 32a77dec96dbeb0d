"""Every layout that surely fits, on disk: a part of the file for each piece of the search, put together at its end.

Parts lie in a folder beside the file until then. Each is whole or not there, so a search that was stopped goes on with
the pieces that are missing; parts of another question are refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec

from ..errors import RooflineError
from .best import Best
from .parts import Parts
from .question import Piece, Question
from .rows import COLUMNS, SUFFIXES
from .sift import Take


class Record:
    """The file, and the folder of its parts."""

    def __init__(self, path: str | Path, question: Question) -> None:
        path = Path(path)
        if path.suffix not in SUFFIXES:
            raise RooflineError(f"record {path}: a record of layouts ends in {' or '.join(SUFFIXES)}")
        if path.suffix == ".parquet" and find_spec("pyarrow") is None:
            raise RooflineError(f"record {path}: Parquet needs pyarrow (pip install 'roofline[parquet]'); or use .csv")
        self.path, self.parts = path, Parts(path, msgspec.json.encode(_plain(question)), "search")

    def restore(self, number: int, best: Best) -> bool:
        """Whether a piece is on disk already; then `best` is what was best of it."""
        import numpy as np

        kept = self.parts.of(number, ".npz")
        if not kept.exists():
            return False
        try:
            with np.load(kept, allow_pickle=False) as arrays:
                best.from_arrays({name: arrays[name] for name in arrays.files})
        except (OSError, ValueError, KeyError, AttributeError, EOFError, BadZipFile) as error:
            raise RooflineError(f"{kept} is damaged ({error}): remove it, and its piece is searched again") from error
        return True

    @contextmanager
    def writing(self, number: int, piece: Piece, best: Best) -> Iterator[Take]:
        """What takes the layouts of a piece, whose rows are on disk afterwards, and what is best of it.

        Raises:
            RooflineError: The disk is full, or the folder is gone.
        """
        part = self.parts.of(number, self.path.suffix)
        with self.parts.writing(part) as temporary:
            rows = SUFFIXES[part.suffix](temporary, piece)
            try:
                yield rows.take
            finally:
                rows.close()
        with self.parts.writing(self.parts.of(number, ".npz")) as temporary:  # last: a piece with it is there
            _keep(best, temporary)

    def finish(self, pieces: int) -> None:
        """Put the parts together, in order, and remove them."""
        self.parts.finish(pieces, _join_csv if self.path.suffix == ".csv" else _join_parquet)


def _keep(best: Best, to: Path) -> None:
    """Write what is best of a piece."""
    import numpy as np

    with to.open("wb") as file:
        np.savez(file, **best.arrays())


def _join_csv(parts: list[Path], to: Path) -> None:
    with to.open("wb") as file:
        file.write(",".join(COLUMNS).encode() + b"\n")
        for part in parts:
            with part.open("rb") as rows:
                shutil.copyfileobj(rows, file)


def _join_parquet(parts: list[Path], to: Path) -> None:
    import pyarrow.parquet as pq

    if not parts:
        raise RooflineError("no layout fits: there is nothing to record")
    with pq.ParquetWriter(to, pq.read_schema(parts[0])) as writer:
        for part in map(pq.ParquetFile, parts):
            for group in range(part.num_row_groups):
                writer.write_table(part.read_row_group(group))


def _plain(question: Question) -> Any:
    """What tells a question from others, as plain data."""
    parts = [
        (part, {name: column.tolist() for name, column in space.columns.items()}, space.micro_batches.tolist())
        for part, space in question.parts
    ]
    return msgspec.to_builtins(
        {
            "model": question.model,
            "device": question.device,
            "choices": question.choices,
            "base": question.base,
            "objective": question.objective,
            "parts": parts,
        },
        str_keys=True,
    )
