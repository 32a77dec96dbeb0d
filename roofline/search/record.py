"""Every layout that surely fits, on disk: a part of the file for each piece of the search, put together at its end.

Parts lie in a folder beside the file until then. Each is whole or not there, so a search that was stopped goes on with
the pieces that are missing; parts of another question are refused.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec

from .. import __version__
from ..errors import RooflineError
from .best import Best
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
        self.path = path
        self.folder = path.with_name(f"{path.name}.parts")
        asked = msgspec.json.encode(_plain(question))
        self.asked = hashlib.sha256(__version__.encode() + asked).hexdigest()
        self._open()

    def _open(self) -> None:
        """Make the folder, or find what an earlier search of the same question left in it."""
        note = self.folder / "question"
        try:
            self.folder.mkdir(exist_ok=True)
            if not note.exists():
                with _whole(note) as to:
                    to.write_text(self.asked)
            elif note.read_bytes() != self.asked.encode():
                raise RooflineError(
                    f"{self.folder} holds parts of another search: finish that one, or remove the folder"
                )
        except OSError as error:
            raise RooflineError(f"cannot write {self.path}: {error.strerror or error}") from error

    def _part(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number:08}{suffix}"

    def restore(self, number: int, best: Best) -> bool:
        """Whether a piece is on disk already; then `best` is what was best of it."""
        import numpy as np

        kept = self._part(number, ".npz")
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
        part = self._part(number, self.path.suffix)
        with _whole(part) as temporary:
            rows = SUFFIXES[part.suffix](temporary, piece)
            try:
                yield rows.take
            finally:
                rows.close()
        with _whole(self._part(number, ".npz")) as temporary:  # last: a piece with it is there
            _keep(best, temporary)

    def finish(self, pieces: int) -> None:
        """Put the parts together, in order, and remove them."""
        parts = [part for number in range(pieces) if (part := self._part(number, self.path.suffix)).exists()]
        join = _join_csv if self.path.suffix == ".csv" else _join_parquet
        try:
            whole = self.folder / f"whole{self.path.suffix}"  # there, so that nothing else is left of a killed search
            join(parts, whole)
            whole.replace(self.path)
            shutil.rmtree(self.folder)
        except OSError as error:
            raise RooflineError(f"cannot write {self.path}: {error.strerror or error}") from error


def _keep(best: Best, to: Path) -> None:
    """Write what is best of a piece."""
    import numpy as np

    with to.open("wb") as file:
        np.savez(file, **best.arrays())


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Where to write a file, which is there afterwards whole or, if nothing was written, not at all.

    Raises:
        RooflineError: The disk is full, or the folder is gone.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        if temporary.exists():
            temporary.replace(path)
    except OSError as error:
        raise RooflineError(f"cannot write {path.parent}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


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
