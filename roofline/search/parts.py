"""A file in parts, in a folder beside it until it is whole: work that was stopped goes on with those missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from .. import __version__
from ..errors import RooflineError


class Parts:
    """The parts of a file that answers one question; each is whole or not there.

    Args:
        path: The file.
        asked: What tells the question from others.
        what: What answers it: a search, a sweep.

    Raises:
        RooflineError: The folder holds parts of another question, or cannot be made.
    """

    def __init__(self, path: Path, asked: bytes, what: str) -> None:
        self.path, self.folder = path, path.with_name(f"{path.name}.parts")
        told, note = sha256(__version__.encode() + asked).hexdigest(), self.folder / "question"
        try:
            self.folder.mkdir(exist_ok=True)
            known = note.read_bytes() if note.exists() else None
        except OSError as error:
            raise RooflineError(f"cannot write {path}: {error.strerror or error}") from error
        if known is None:
            with self.writing(note) as temporary:
                temporary.write_text(told)
        elif known != told.encode():
            raise RooflineError(f"{self.folder} holds parts of another {what}: finish that one, or remove the folder")

    def of(self, number: int, suffix: str) -> Path:
        """Where a part is."""
        return self.folder / f"{number:08}{suffix}"

    @contextmanager
    def writing(self, part: Path) -> Iterator[Path]:
        """Where to write a part, which is there afterwards whole or, if nothing was written, not at all.

        Raises:
            RooflineError: The disk is full, or the folder is gone.
        """
        temporary = part.with_name(f".{os.getpid()}.{part.name}")
        try:
            yield temporary
            if temporary.exists():
                temporary.replace(part)
        except OSError as error:
            raise RooflineError(f"cannot write {self.path}: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def finish(self, number: int, join: Callable[[list[Path], Path], None]) -> None:
        """Put so many parts, as far as they are there, together in their order with `join`, and remove them.

        Raises:
            RooflineError: The disk is full.
        """
        parts = [part for each in range(number) if (part := self.of(each, self.path.suffix)).exists()]
        try:
            whole = self.folder / f"whole{self.path.suffix}"  # there, so that nothing else is left of what is killed
            join(parts, whole)
            whole.replace(self.path)
            shutil.rmtree(self.folder)
        except OSError as error:
            raise RooflineError(f"cannot write {self.path}: {error.strerror or error}") from error
