"""Files of results: written whole or not at all, and refused before the work where they cannot be."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ..errors import RooflineError
from ..reading import descriptor

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_NAME = 230  # bytes of a file name: systems take 255, and the temporary file beside it has a longer one


def check_writable(path: Path) -> None:
    """Raise a RooflineError if `path` can clearly not be written: better before the work than after."""
    folder = path.parent
    if "\0" in str(path) or len(os.fsencode(path.name)) > LONGEST_NAME:
        raise RooflineError(f"cannot write {path}: no file can have this name; choose a shorter one")
    if os.path.islink(os.path.realpath(path)):
        raise RooflineError(f"cannot write {path}: its links lead in a circle; name a file")
    if path.is_dir():
        raise RooflineError(f"cannot write {path}: it is a folder; name a file in it")
    if not folder.is_dir():
        raise RooflineError(f"cannot write {path}: there is no folder {str(folder)!r}; create it first")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise RooflineError(f"cannot write {path}: permission denied; choose another place")


def check_apart(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> None:
    """Raise a RooflineError if two results would go to one file: only the last would be there."""
    if os.path.realpath(one) == os.path.realpath(other):
        raise RooflineError(f"{os.fspath(one)} is named for two results: give each a file of its own")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, then a rename.

    What is no ordinary file (a device, a pipe, what the shell has opened: ``/dev/stdout``) is written to as it is.

    Raises:
        RooflineError: The folder is missing, full or not writable, or nobody reads a pipe.
    """
    check_writable(path)
    if descriptor(path) is not None or (path.exists() and not path.is_file()):
        _hand_over(path, content)
        return
    target = path.resolve()  # of no circle, which it would raise on
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        if target.exists():
            temporary.chmod(target.stat().st_mode)
        temporary.replace(target)
    except OSError as error:
        raise RooflineError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _hand_over(path: Path, content: bytes) -> None:
    """Write to a device or pipe; a pipe with a name of its own would be waited for as long as nobody reads it."""
    try:
        number = descriptor(path)
        if number is None:
            number = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
            os.set_blocking(number, True)
        else:
            number = os.dup(number)
        with open(number, "wb") as file:
            file.write(content)
    except BrokenPipeError:  # its reader has gone, as `head` does: no mistake
        raise
    except OSError as error:
        what = "nobody reads this pipe" if error.errno == errno.ENXIO else error.strerror or error
        raise RooflineError(f"cannot write {path}: {what}") from error
