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
        if os.path.exists(path) and not os.path.isfile(path):
            raise RooflineError(f"cannot write {path}: it is written in parts, which takes an ordinary file; name one")
        told = sha256(__version__.encode() + asked).hexdigest()
        try:
            self.path, self.real = path, Path(os.path.realpath(path))  # a link stays one
            self.folder = self.real.with_name(f"{self.real.name}.parts")
            self.folder.mkdir(exist_ok=True)
            note = self.folder / "question"
            known = note.read_bytes() if note.exists() else None
        except (OSError, ValueError) as error:  # ValueError: a null byte in the name
            raise RooflineError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
        if known is None:
            with self.writing(note) as temporary:
                temporary.write_text(told)
        elif known != told.encode():
            raise RooflineError(f"{self.folder} holds parts of another {what}: finish that one, or remove the folder")

    def of(self, number: int, suffix: str) -> Path:
        """Where a part is."""
        return self.folder / f"{number:08}{suffix}"

    def size(self, number: int) -> int:
        """Bytes of a part; 0 of one without rows, which has no file."""
        part = self.of(number, self.path.suffix)
        return part.stat().st_size if part.exists() else 0

    def whole(self, number: int, size: int) -> bool:
        """Whether a part is there with as many bytes as were written; not where somebody removed it.

        Raises:
            RooflineError: It has more or fewer.
        """
        part = self.of(number, self.path.suffix)
        if not part.exists():
            return size == 0
        if (found := part.stat().st_size) != size:
            raise RooflineError(
                f"{part} is damaged ({found:,} of {size:,} bytes): remove it, and it is worked out again"
            )
        return True

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
            gone = f"the folder of its parts, {self.folder}, is gone"
            reason = error.strerror or error if self.folder.is_dir() else gone
            raise RooflineError(f"cannot write {self.path}: {reason}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def finish(
        self, number: int, size_of: Callable[[int], int | None], join: Callable[[list[Path], Path], None]
    ) -> None:
        """Put so many parts together in their order with `join`, and remove them.

        Args:
            number: How many there are.
            size_of: Bytes that a part should have: 0 where it has no rows, None where it is not on disk.
            join: Writes parts to a file.

        Raises:
            RooflineError: The disk is full, or a part is gone.
        """
        sizes = [size_of(each) for each in range(number)]
        gone = [each for each, size in enumerate(sizes) if size is None or not self.whole(each, size)]
        if gone:
            raise RooflineError(
                f"cannot write {self.path}: {len(gone):,} of {number:,} parts are not in {self.folder}, which all "
                "processes must share; the same again works out those alone"
            )
        parts = [self.of(each, self.path.suffix) for each, size in enumerate(sizes) if size]
        try:
            whole = self.folder / f"whole{self.path.suffix}"  # there, so that nothing else is left of what is killed
            join(parts, whole)
            whole.replace(self.real)
            shutil.rmtree(self.folder)
        except OSError as error:
            raise RooflineError(f"cannot write {self.path}: {error.strerror or error}") from error
