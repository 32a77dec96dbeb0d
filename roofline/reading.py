"""Text that others wrote: its size, depth, keys, figures and the work it causes are bounded."""

from __future__ import annotations

import errno
import os
import re
import stat
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import IO, TYPE_CHECKING, Any, TypeVar

import msgspec

from .errors import RooflineError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from io import BufferedReader

T = TypeVar("T")
LARGEST = 10_000_000  # bytes of a file; no config, device or table of runs comes near
LARGEST_TOML = 250_000  # the parser takes a second for that
DEEPEST = 32  # values inside values, and parts of a dotted key
MOST_WORK = 500_000  # steps: values looked at and list entries made or compared; about a second
LARGEST_NUMBER = 10**30  # more than anyone has of anything
LONGEST_NUMBER = 18  # digits of a whole number: what 64 bits hold

_TEXTS = {  # what brackets and dots mean nothing in: strings and comments (compiled where used: start-up time)
    "TOML": (r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*+"|\'[^\'\n]*+\'|#[^\n]*+'),
    "JSON": (r'"(?:\\.|[^"\\])*+"'),
}
_STANDARD = ("/dev/stdin", "/dev/stdout", "/dev/stderr")  # open files 0, 1 and 2
_LONG_KEY = rf"(?:\.[^.\n=,\[\]{{}}]*+){{{DEEPEST},}}+"


class Work:
    """What the expressions of one model may still cost, so that a user's file cannot keep us busy for ever."""

    def __init__(self, steps: int = MOST_WORK) -> None:
        """Start with `steps` left."""
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take `steps` off.

        Raises:
            ValueError: None are left.
        """
        self.left -= steps
        if self.left < 0:
            raise ValueError("it takes too long")

    def weigh(self, value: Any) -> None:
        """Spend what it takes to look at every entry of `value`."""
        if isinstance(value, (str, range)):
            self.spend(1 + len(value) // 100)
        elif isinstance(value, (list, Mapping)):
            self.spend(1 + len(value))
            for item in value.values() if isinstance(value, Mapping) else value:
                if isinstance(item, (str, list, Mapping)):
                    self.weigh(item)


class OnDisk(os.PathLike[str]):
    """A packaged file or folder of an ordinary installation: a `Traversable` without the 3 ms that pathlib takes."""

    def __init__(self, *parts: str | os.PathLike[str]) -> None:
        """Join the parts of a path."""
        self._path = os.path.join(*parts)

    def __fspath__(self) -> str:
        """Its path."""
        return self._path

    __str__ = __fspath__

    @property
    def name(self) -> str:
        """The last part of its path."""
        return os.path.basename(self._path)

    def joinpath(self, *parts: str | os.PathLike[str]) -> OnDisk:
        """What lies below it."""
        return OnDisk(self._path, *parts)

    def __truediv__(self, part: str | os.PathLike[str], /) -> OnDisk:
        """What lies below it."""
        return OnDisk(self._path, part)

    def iterdir(self) -> Iterator[OnDisk]:
        """What lies in the folder."""
        return map(self.joinpath, os.listdir(self._path))

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return os.path.isdir(self._path)

    def is_file(self) -> bool:
        """Whether it is a file."""
        return os.path.isfile(self._path)

    def open(self, mode: str = "r", **options: Any) -> IO[Any]:
        """The file, opened."""
        return open(self._path, mode, **options)

    def read_bytes(self) -> bytes:
        """The content of the file."""
        with self.open("rb") as file:
            return bytes(file.read())

    def read_text(self, encoding: str | None = None) -> str:
        """The text of the file."""
        with self.open(encoding=encoding) as file:
            return str(file.read())


def whole_number(text: str) -> int | None:
    """The whole number that a text says in plain digits; None where it is none, or beyond 64 bits.

    >>> whole_number("07"), whole_number("-7"), whole_number("²"), whole_number("9" * 5000)
    (7, None, None, None)
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None


def packaged(module: str, folder: str = "") -> Traversable:
    """A folder or file of data beside a `module` of this package, given by its ``__name__``; in a zip, too."""
    package = module.rpartition(".")[0]
    inside = [*package.split(".")[1:], *filter(None, [folder])]
    beside = OnDisk(os.path.dirname(__file__), *inside)
    if os.path.exists(beside):  # an ordinary installation: importlib.resources costs 15 ms
        return beside
    inside_zip = _zipped(package)
    return inside_zip / folder if folder else inside_zip


@cache
def _zipped(package: str) -> Traversable:
    """The folder of a package in a zip, whose names are read once: 60 ms."""
    from importlib.resources import files

    return files(package)


def descriptor(path: str | os.PathLike[str]) -> int | None:
    """The number of the open file that a path stands for, as shells hand one over; None for any other path.

    >>> descriptor("/dev/stdout"), descriptor("/dev/fd/63"), descriptor("/dev/null")
    (1, 63, None)
    """
    name = os.fspath(path)
    if not name.startswith(("/dev/", "/proc/")):
        return None
    if name in _STANDARD:
        return _STANDARD.index(name)
    number = re.fullmatch(r"(?:/dev|/proc/self)/fd/(\d{1,9})", name)
    return int(number[1]) if number else None


def opened(path: str | os.PathLike[str]) -> BufferedReader:
    """The bytes of a user's file; a pipe that the shell hands over, as in ``<(command)``, is read as it stands open.

    Raises:
        OSError: It cannot be opened, or is a pipe with a name of its own: nobody may ever write to that.
    """
    if not stat.S_ISFIFO(os.stat(path).st_mode):
        return open(path, "rb")
    number = descriptor(path)
    if number is None:
        raise OSError(errno.EINVAL, "it is a named pipe; name a file, or what the shell has opened: /dev/stdin")
    return open(number, "rb", closefd=False)


def _content(path: str | os.PathLike[str] | Traversable) -> bytes:
    """The bytes of a packaged file, which may be in a zip."""
    with open(path, "rb") if isinstance(path, str | os.PathLike) else path.open("rb") as file:
        return file.read()


def read_text(path: str | os.PathLike[str] | Traversable, what: str = "file", largest: int = LARGEST) -> str:
    """The text of a file, device or pipe of the shell, as far as `largest` bytes.

    Raises:
        RooflineError: It cannot be read, is larger, or is not UTF-8.
    """
    name = str(path)
    try:
        with opened(path) if isinstance(path, str | os.PathLike) else path.open("rb") as file:
            content = file.read(largest + 1)
        if len(content) <= largest:
            return content.decode("utf-8-sig")  # some editors put a byte order mark before the text
    except UnicodeDecodeError as error:
        raise RooflineError(f"{name} is not a text file: no UTF-8 at byte {error.start}") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise RooflineError(f"cannot read {what} {name!r}: {getattr(error, 'strerror', None) or error}") from None
    raise RooflineError(f"{name} is larger than {largest / 1e6:g} MB: no {what} for roofline is")


def read_toml(path: str | os.PathLike[str], what: str = "file") -> dict[str, Any]:
    """The tables of a user's TOML file.

    Raises:
        RooflineError: It cannot be read, is no TOML, or goes beyond the limits of this module.
    """
    return parse_toml(read_text(path, what, LARGEST_TOML), os.fspath(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a user's TOML text; `where` names it in errors.

    >>> parse_toml("a = [1, 2]", "x.toml")
    {'a': [1, 2]}

    Raises:
        RooflineError: It is no TOML, or goes beyond the limits of this module.
    """
    import tomllib

    _check_shape(text, "TOML", where)
    try:
        return _bounded(tomllib.loads(text), where)
    except (ValueError, RecursionError) as error:  # beside TOMLDecodeError: an integer of 5,000 digits
        if isinstance(error, RooflineError):
            raise
        raise RooflineError(f"{where}: not valid TOML: {error}") from None


def parse_json(text: str, where: str) -> Any:
    """The value of a user's JSON text; NaN and Infinity are accepted, as Python writes them.

    Raises:
        RooflineError: It goes beyond the limits of this module.
        ValueError: It is no JSON.
    """
    import json

    _check_shape(text, "JSON", where)
    return _bounded(json.loads(text), where)


def read_packaged(resource: Traversable, kind: type[T]) -> T:
    """A TOML file of this package as a `kind`; it is ours, and checked for damage alone.

    Raises:
        FileNotFoundError: There is none of this name.
        RooflineError: The installation is damaged.
    """
    try:
        content = _content(resource)
        built = _built(f"{zlib.crc32(content):08x}{len(content)}")
        if built is not None:
            return msgspec.convert(msgspec.json.decode(built), kind)
        import tomllib

        return msgspec.convert(tomllib.loads(content.decode()), kind)
    except FileNotFoundError:
        raise
    except (ValueError, OSError, msgspec.MsgspecError) as error:  # which is no ValueError before msgspec 0.21
        raise damaged(resource, error) from None


def _built(key: str) -> bytes | None:
    """What the TOML file of that checksum and length holds, as the building of this package wrote it (setup.py)."""
    begin, places = _places()
    if key not in places:
        return None
    start, length = places[key]
    with _tables().open("rb") as file:
        file.seek(begin + start)
        return file.read(length)


@cache
def _places() -> tuple[int, dict[str, tuple[int, int]]]:
    """Where the tables begin that were built, and start and length of each from there; none were in a checkout."""
    if not _tables().is_file():
        return 0, {}
    with _tables().open("rb") as file:
        line = file.readline()
    return len(line), msgspec.json.decode(line, type=dict[str, tuple[int, int]])


def _tables() -> Traversable:
    return packaged(__name__) / "tables.jsonl"


def damaged(resource: object, error: Exception) -> RooflineError:
    """The error for a packaged file that cannot be read as what it was."""
    return RooflineError(f"the installation is damaged: {resource}: {error}; install roofline again")


def _check_shape(text: str, language: str, where: str) -> None:
    """Refuse what nests deeper, or has keys of more parts, than the parsers take in good time."""
    if text.count("[") + text.count("{") <= DEEPEST and text.count(".") < DEEPEST:
        return
    bare = re.sub(_TEXTS[language], "", text, flags=re.DOTALL)
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            raise RooflineError(f"{where}: values nested more than {DEEPEST} deep: no file for roofline is")
    if language == "TOML" and re.search(_LONG_KEY, bare):
        raise RooflineError(f"{where}: a key of more than {DEEPEST} parts: no file for roofline has one")


def _bounded(value: T, where: str, key: str = "") -> T:
    """`value`, whose integers are all of a size that a float can hold."""
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(item, str):
                _bounded(item, where, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for item in value:
            if not isinstance(item, str):
                _bounded(item, where, key)
    elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise RooflineError(f"{where}: {key or 'a number'} is out of range: more than 1e30")
    return value
