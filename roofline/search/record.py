"""Every layout that surely fits, on disk: a part of the file for each piece of the search, put together at its end.

Parts lie in a folder beside the file until then. Each is whole or not there, so a search that was stopped goes on with
the pieces that are missing; parts of another question are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec

from ..errors import RooflineError
from .best import Best
from .files import check_suffix, join
from .parts import Parts
from .question import Piece, Question
from .rows import COLUMNS, WRITERS
from .sift import Take

NOTE = ".npz"  # of a piece: what is best of it, and the size of its part


class Record:
    """The file, and the folder of its parts."""

    def __init__(self, path: str | Path, question: Question) -> None:
        path = Path(path)
        check_suffix(path, "layouts")
        self.path, self.parts = path, Parts(path, msgspec.json.encode(_plain(question)), "search")

    def restore(self, number: int, best: Best) -> bool:
        """Whether a piece is on disk already; then `best` is what was best of it."""
        with self._kept(number) as kept:
            if kept is None or not self.parts.whole(number, int(kept["bytes"])):
                return False
            best.from_arrays(kept)
        return True

    @contextmanager
    def _kept(self, number: int) -> Iterator[dict[str, Any] | None]:
        """What is kept of a piece beside its rows; None where it is not on disk.

        Raises:
            RooflineError: It is damaged.
        """
        import numpy as np

        kept = self.parts.of(number, NOTE)
        if not kept.exists():
            yield None
            return
        try:
            with np.load(kept, allow_pickle=False) as arrays:
                yield {name: arrays[name] for name in arrays.files}
        except RooflineError:  # of its rows
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile) as error:
            raise RooflineError(f"{kept} is damaged ({error}): remove it, and its piece is searched again") from error

    @contextmanager
    def writing(self, number: int, piece: Piece, best: Best) -> Iterator[Take]:
        """What takes the layouts of a piece, whose rows are on disk afterwards, and what is best of it.

        Raises:
            RooflineError: The disk is full, or the folder is gone.
        """
        part = self.parts.of(number, self.path.suffix)
        with self.parts.writing(part) as temporary:
            rows = WRITERS[part.suffix](temporary, piece)
            try:
                yield rows.take
            finally:
                rows.close()
        with self.parts.writing(self.parts.of(number, NOTE)) as temporary:  # last: a piece with it is there
            _keep(best, self.parts.size(number), temporary)

    def finish(self, pieces: int) -> None:
        """Put the parts together, in order, and remove them."""
        self.parts.finish(pieces, self._size, partial(join, header=COLUMNS))

    def _size(self, number: int) -> int | None:
        """Bytes that a piece's part should have; None where it is not on disk."""
        with self._kept(number) as kept:
            return None if kept is None else int(kept["bytes"])


def _keep(best: Best, size: int, to: Path) -> None:
    """Write what is best of a piece, and how many bytes its rows take."""
    import numpy as np

    with to.open("wb") as file:
        np.savez(file, bytes=np.array(size), **best.arrays())


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
