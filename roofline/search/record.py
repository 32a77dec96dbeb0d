"""Every layout that surely fits, on disk: a part of the file for each piece of the search, put together at its end.

Parts lie in a folder beside the file until then. Each is whole or not there, so a search that was stopped goes on with
the pieces that are missing; parts of another question are refused.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec

from .. import __version__
from ..errors import RooflineError
from .best import Best
from .grid import Bundle
from .question import Piece, Question
from .space import DEGREES

SUFFIXES = (".csv", ".parquet")
COLUMNS = (
    "num_devices",
    *DEGREES,
    "etp",
    "schedule",
    "micro_batch",
    "sharding",
    "recompute",
    "sequence_parallel",
    "dtype",
    "attention",
    "stack",
    "step_time_s",
    "memory_bytes",
)


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
                _whole(note, lambda to: to.write_text(self.asked))
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
    def writing(self, number: int, piece: Piece) -> Iterator[_Writer]:
        """A writer of a piece's rows.

        Raises:
            RooflineError: The disk is full, or the folder is gone.
        """
        writer = _Writer(piece)
        yield writer
        try:
            if writer.frames:
                _whole(self._part(number, self.path.suffix), writer.write)
            _whole(self._part(number, ".npz"), writer.write_kept)  # last: a piece with it is there
        except OSError as error:
            raise RooflineError(f"cannot write {self.path}: {error.strerror or error}") from error

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


class _Writer:
    """The rows of one piece, which fit in memory."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece
        self.frames: list[Any] = []
        self.kept: dict[str, Any] = {}

    def take(self, bundle: Bundle, variant: Any, rows: Any, micro: Any, needed: Any, seconds: Any) -> None:
        """Add layouts, as `sift.Take`."""
        import numpy as np
        import pandas as pd

        trains = bundle.trains
        columns = {name: bundle.space.columns[name].take(rows) for name in ("num_devices", *DEGREES)}
        columns |= _derived(bundle, variant, rows, columns)
        columns["micro_batch"] = bundle.space.micro_batches.take(micro)
        columns["sharding"] = self.piece.sharding
        for name in ("recompute", "sequence_parallel", "dtype", "attention", "stack"):
            columns[name] = np.array([getattr(train, name) for train in trains]).take(variant)
        self.frames.append(pd.DataFrame({**columns, "step_time_s": seconds, "memory_bytes": needed})[list(COLUMNS)])

    def keep(self, best: Best) -> None:
        """Keep what is best of the piece."""
        self.kept = best.arrays()

    def write(self, to: Path) -> None:
        """Write the rows."""
        import pandas as pd

        frame = pd.concat(self.frames)
        if to.name.endswith(".parquet"):
            frame.to_parquet(to, index=False)
        else:
            frame.to_csv(to, index=False, header=False, float_format="%.6g", lineterminator="\n")

    def write_kept(self, to: Path) -> None:
        """Write what is best."""
        import numpy as np

        with to.open("wb") as file:
            np.savez(file, **self.kept)


def _derived(bundle: Bundle, variant: Any, rows: Any, columns: dict[str, Any]) -> dict[str, Any]:
    """What a complete configuration says of experts and pipelines, as it follows from other columns: all [layouts]."""
    import numpy as np

    trains, etp, schedule = bundle.trains, bundle.space.columns.get("etp"), bundle.trains[0].schedule
    if etp is None:
        whole = np.array([train.sequence_parallel for train in trains]).take(variant)
        sharing = np.where(whole, 1, columns["tp"])
    else:
        sharing = etp.take(rows)
    usual = np.where(columns["vp"] > 1, "interleaved", "1f1b")
    return {"etp": sharing, "schedule": usual if schedule in {None, "interleaved"} else schedule}


def _whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
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
        for part in parts:
            writer.write_table(pq.read_table(part))


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
