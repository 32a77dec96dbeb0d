"""Reads the JSON of a trace piece by piece: its events in batches, and the keys around them.

A file of 2 GB is never in memory: a chunk is cut after the last ``}`` that closes an event, which the parser itself
confirms, and its events are handed on before the next is read.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from ..errors import RooflineError
from ..reading import opened

CHUNK = 4 << 20  # bytes read at a time
LONGEST = 256 << 20  # bytes of one value, beyond which a file is something else
TRIES = 8  # places where a chunk may end, before its events are taken one by one
WINDOW = 64 << 10  # bytes in which most values end
_BETWEEN = re.compile(rb"\}(\s*),\s*\{")
_SPACE = b" \t\r\n"
_MARK = b"\xef\xbb\xbf"
Value = int | float | str | None

INPUT_KEYS = {"dims": "Input Dims", "types": "Input type", "strides": "Input Strides", "concrete": "Concrete Inputs"}


class Args(msgspec.Struct, rename={**INPUT_KEYS, "correlation": "correlation"}):
    """The arguments of an event that say something; what an event lacks is None or empty."""

    external_id: Value = msgspec.field(default=None, name="External id")
    external_id_old: Value = msgspec.field(default=None, name="external id")
    correlation: Value = None
    stream: Value = None
    device: Value = None
    dims: msgspec.Raw = msgspec.Raw()
    types: msgspec.Raw = msgspec.Raw()
    strides: msgspec.Raw = msgspec.Raw()
    concrete: msgspec.Raw = msgspec.Raw()
    sequence: Value = msgspec.field(default=None, name="Sequence number")
    forward_thread: Value = msgspec.field(default=None, name="Fwd thread id")
    bytes: Value = None
    collective: Value = msgspec.field(default=None, name="Collective name")
    sent_elements: Value = msgspec.field(default=None, name="In msg nelems")
    received_elements: Value = msgspec.field(default=None, name="Out msg nelems")
    dtype: Value = None
    group_size: Value = msgspec.field(default=None, name="Group size")
    group_name: Value = msgspec.field(default=None, name="Process Group Name")
    group_words: Value = msgspec.field(default=None, name="Process Group Description")
    group_ranks: Value = msgspec.field(default=None, name="Process Group Ranks")
    allocated: Value = msgspec.field(default=None, name="Total Allocated")
    device_type: Value = msgspec.field(default=None, name="Device Type")

    @property
    def external(self) -> Value:
        """The id that ties a launch to its operator, as newer or older files spell it."""
        return self.external_id_old if self.external_id is None else self.external_id


class Event(msgspec.Struct):
    """One event; `ts` and `dur` in microseconds."""

    ph: str = ""
    cat: str | None = None
    name: str = ""
    pid: Value = None
    tid: Value = None
    ts: float | None = None
    dur: float | None = None
    args: Args | None = None
    id: Value = None


_EVENTS = msgspec.json.Decoder(list[Event])
_LOOSE = json.JSONDecoder(strict=False)  # takes NaN, Infinity and control characters, which some writers leave in


class Pieces:
    """The bytes of a trace, a chunk at a time; `buffer` starts where reading stands."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.file = file
        self.buffer = b""
        self.ended = False

    def more(self) -> bool:
        """Read a further chunk; False at the end of the file."""
        try:
            chunk = self.file.read(CHUNK)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise RooflineError(f"{self.path} is cut off: its gzip data ends early ({error}); copy it again") from error
        except OSError as error:
            raise RooflineError(f"cannot read {self.path}: {error.strerror or error}") from error
        self.ended = not chunk
        self.buffer += chunk
        return bool(chunk)

    def peek(self) -> bytes:
        """The next byte that is not white space; empty at the end."""
        while True:
            self.buffer = self.buffer.lstrip(_SPACE)
            if self.buffer or not self.more():
                return self.buffer[:1]

    def expect(self, byte: bytes) -> None:
        """Step over one byte that must come next."""
        found = self.peek()
        if found != byte:
            raise self.wrong(f"{byte.decode()!r}")
        self.buffer = self.buffer[1:]

    def wrong(self, wanted: str) -> RooflineError:
        """What to say where the text goes on otherwise, or not at all."""
        if not self.buffer and self.ended:
            return RooflineError(
                f"{self.path} is cut off: it ends where {wanted} should follow; export the trace again"
            )
        start = self.buffer[:20].decode("utf-8", "replace")
        return RooflineError(f"{self.path} is not a profiler's trace: {start!r} where {wanted} should stand")

    def value(self) -> Any:
        """The next JSON value, whole."""
        self.peek()
        window = WINDOW
        while True:
            text = self.buffer[:window].decode("latin-1")  # a letter per byte: places in it are places in the buffer
            try:
                _, end = _LOOSE.raw_decode(text)
            except json.JSONDecodeError as error:
                if len(text) < len(self.buffer) or (len(text) < LONGEST and self.more()):
                    window *= 2
                    continue
                if self.ended and self.buffer[:1] in {b"{", b"[", b'"'}:
                    raise RooflineError(
                        f"{self.path} is cut off: it ends inside a value; export or copy it again"
                    ) from error
                raise self.wrong("a value") from error
            if end == len(text) and (len(text) < len(self.buffer) or self.more()):  # a number may go on
                window *= 2
                continue
            piece, self.buffer = self.buffer[:end], self.buffer[end:]
            return _loose(piece)


def _loose(piece: bytes) -> Any:
    return json.loads(piece.decode("utf-8", "replace"), strict=False)


@contextmanager
def open_trace(path: Path) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a trace, gzipped or not, whatever its name says; opened once, as a pipe can be.

    Raises:
        RooflineError: There is no such file, or it cannot be read.
    """
    try:
        file = opened(path)
    except OSError as error:
        raise RooflineError(f"cannot read trace {path}: {error.strerror or error}") from error
    with file:
        yield cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if file.peek(2)[:2] == b"\x1f\x8b" else file


def read_events(path: Path, take: Callable[[list[Event]], None]) -> dict[str, Any]:
    """Hand every event of a trace to `take`, a batch at a time; returns the other keys of the file.

    Raises:
        RooflineError: The file cannot be read, is cut off, or holds something else.
    """
    with open_trace(path) as file:
        pieces = Pieces(path, file)
        if pieces.peek() == _MARK[:1]:  # some editors put a byte order mark before the text
            pieces.buffer = pieces.buffer.removeprefix(_MARK)
        first = pieces.peek()
        if first == b"[":  # some tools write the bare list
            for batch in _batches(pieces):
                take(batch)
            return {}
        if first != b"{":
            raise pieces.wrong("'{'")
        return _object(pieces, take)


def _object(pieces: Pieces, take: Callable[[list[Event]], None]) -> dict[str, Any]:
    """The keys of the file; its events are handed on."""
    keys: dict[str, Any] = {}
    found = False
    pieces.expect(b"{")
    while pieces.peek() == b'"':
        key = pieces.value()
        pieces.expect(b":")
        if key == "traceEvents":
            found = True
            if pieces.peek() != b"[":
                raise pieces.wrong("'[' (a list of events)")
            for batch in _batches(pieces):
                take(batch)
        else:
            keys[key] = pieces.value()
        if pieces.peek() == b",":
            pieces.expect(b",")
    pieces.expect(b"}")
    if not found:
        some = ", ".join(list(keys)[:4]) or "nothing"
        raise RooflineError(
            f"{pieces.path} is not a profiler's trace: it has no 'traceEvents' (it has {some}); "
            "export one with torch.profiler's export_chrome_trace"
        )
    return keys


def _batches(pieces: Pieces) -> Iterator[list[Event]]:
    """The events of the list that starts here, some thousand at a time."""
    pieces.expect(b"[")
    while True:
        first = pieces.peek()
        if first == b",":
            pieces.expect(b",")
            continue
        if first == b"]":
            pieces.expect(b"]")
            return
        if first != b"{":
            raise pieces.wrong("an event")
        batch = _batch(pieces)
        if batch:
            yield batch


def _batch(pieces: Pieces) -> list[Event]:
    """Whole events from the start of the buffer: as many as can be told, at least one."""
    if not pieces.ended and len(pieces.buffer) < CHUNK:
        pieces.more()
    cut = _cut(pieces.buffer)
    if cut is not None:
        batch, pieces.buffer = cut
        return batch
    return _one_by_one(pieces)  # the last of the list, or a chunk that holds what the strict parser does not take


def _one_by_one(pieces: Pieces) -> list[Event]:
    """The events of the buffer, parsed loosely."""
    batch = []
    left = len(pieces.buffer)
    while left > 0 and pieces.peek() == b"{":
        before = len(pieces.buffer)
        event = event_of(pieces.value())
        left -= max(before - len(pieces.buffer), 1)
        if event is not None:
            batch.append(event)
        if pieces.peek() == b",":
            pieces.expect(b",")
    return batch


def _cut(buffer: bytes) -> tuple[list[Event], bytes] | None:
    """The events up to the last place where one ends, and what follows; None where no such place is found.

    A chunk starts with an event, so what parses as a list of whole values ends with one.
    """
    end = len(buffer)
    for _ in range(TRIES):
        end = _last_between(buffer, end)
        if end <= 0:
            return None
        try:
            batch = _EVENTS.decode(b"[" + buffer[: end + 1] + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        return batch, buffer[end + 1 :]
    return None


def _last_between(buffer: bytes, end: int) -> int:
    """Where the last ``}`` before `end` stands that ``, {`` follows; -1 where none does."""
    while (end := buffer.rfind(b"}", 0, end)) > 0:
        if _BETWEEN.match(buffer, end):
            return end
    return -1


def event_of(value: Any) -> Event | None:
    """An event from loosely parsed JSON; None where it has no sense as one."""
    try:
        if isinstance(value, dict) and isinstance(value.get("args"), dict):
            args = {key: _raw(item) if key in INPUT_KEYS.values() else item for key, item in value["args"].items()}
            value = {**value, "args": args}
        return msgspec.convert(value, Event, strict=False)
    except msgspec.ValidationError:
        return None


def _raw(item: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(item))
