"""A trace in columns: what ran on the device, what the host launched, and the ranges that were open meanwhile.

A column holds eight bytes an event and every text once, so that the millions of events of a large trace fit in a few
hundred megabytes. Times are microseconds, as in the file.
"""

from __future__ import annotations

import re
from array import array
from pathlib import Path
from typing import Any

import msgspec

from ..errors import RooflineError
from .nsys import is_export, read_export
from .stream import Args, Event, Value, read_events
from .words import views

KERNEL, COPY, FILL = 0, 1, 2
_DEVICE = {"kernel": KERNEL, "gpu_memcpy": COPY, "memcpy": COPY, "gpu_memset": FILL, "memset": FILL}
_RANGES = {"cpu_op", "operator", "user_annotation"}
_LAUNCHES = ("runtime", "_driver")  # of any accelerator: cuda_runtime, cuda_driver, xpu_runtime, privateuse1_driver
_LAUNCH = re.compile(r"launch|memcpy|memset|graph", re.IGNORECASE)
_WAIT = re.compile(r"synchronize", re.IGNORECASE)
STEP = re.compile(r"^ProfilerStep#(\d{1,18})$")


def _column(kind: str) -> Any:
    """An empty column of a kind of `array`."""
    return msgspec.field(default_factory=lambda: array(kind))


class Ranges(msgspec.Struct):
    """Operators and annotations of the host: intervals of a thread, one inside the other."""

    name: array[int] = _column("l")
    start: array[float] = _column("d")
    end: array[float] = _column("d")
    thread: array[int] = _column("l")
    external: array[int] = _column("q")
    sequence: array[int] = _column("q")  # -1: none
    forward_thread: array[int] = _column("q")
    inputs: array[int] = _column("l")  # of `Trace.inputs`; 0: none recorded
    message: array[int] = _column("l")  # of `Trace.messages`; -1: none
    annotation: array[int] = _column("b")


class Launches(msgspec.Struct):
    """Calls of the host that put work on the device."""

    name: array[int] = _column("l")
    start: array[float] = _column("d")
    end: array[float] = _column("d")
    thread: array[int] = _column("l")
    external: array[int] = _column("q")
    of: dict[int, int] = {}  # correlation -> row


class Kernels(msgspec.Struct):
    """What ran on the device: kernels, copies and fills."""

    name: array[int] = _column("l")
    sort: array[int] = _column("b")  # KERNEL, COPY or FILL
    start: array[float] = _column("d")
    end: array[float] = _column("d")
    time: array[float] = _column("d")  # as written: exact where `end` is rounded
    device: array[int] = _column("l")
    stream: array[int] = _column("l")
    correlation: array[int] = _column("q")
    external: array[int] = _column("q")
    message: array[int] = _column("l")
    moved: array[float] = _column("d")  # bytes of a copy or fill


class Message(msgspec.Struct, frozen=True):
    """What a collective says of itself."""

    collective: str
    sent: int  # elements in
    received: int  # elements out
    dtype: str
    size: int  # ranks of the group
    group: str
    words: str  # what the group is for
    ranks: tuple[int, ...]


class Inputs(msgspec.Struct, frozen=True):
    """The JSON of an operator's inputs, unparsed: shapes, types, strides and scalars by position."""

    dims: bytes
    types: bytes
    strides: bytes
    concrete: bytes


class Trace(msgspec.Struct):
    """One rank's trace."""

    path: str
    names: list[str]
    inputs: list[Inputs]
    messages: list[Message]
    ranges: Ranges
    launches: Launches
    kernels: Kernels
    waits: list[tuple[float, float]]  # the host waits for the device
    device_steps: dict[int, tuple[float, float]]  # ProfilerStep as a span of kernels
    metadata: dict[str, Any]
    events: int = 0
    malformed: int = 0
    peak_allocated: int = 0

    @property
    def rank(self) -> int | None:
        """The rank that wrote it, where the file says."""
        rank = self.distributed.get("rank")
        return rank if isinstance(rank, int) else None

    @property
    def world_size(self) -> int | None:
        """Ranks of the whole run, where the file says."""
        size = self.distributed.get("world_size")
        return size if isinstance(size, int) else None

    @property
    def distributed(self) -> dict[str, Any]:
        """``distributedInfo``; a string holding JSON in some files."""
        found = self.metadata.get("distributedInfo") or {}
        return found if isinstance(found, dict) else {}


class _Reader:
    """Fills the columns."""

    def __init__(self, path: Path) -> None:
        self.trace = Trace(
            path=str(path),
            names=[],
            inputs=[Inputs(b"", b"", b"", b"")],
            messages=[],
            ranges=Ranges(),
            launches=Launches(),
            kernels=Kernels(),
            waits=[],
            device_steps={},
            metadata={},
        )
        self.views = views()  # half of all ranges, and none of them says what a kernel does
        self.known: dict[str, int] = {}
        self.inputs: dict[tuple[bytes, bytes, bytes, bytes], int] = {}
        self.messages: dict[Message, int] = {}
        self.threads: dict[tuple[Value, Value], int] = {}
        self.skipped: dict[str, bool] = {}  # name of a call of the host -> whether it launches nothing
        self.readers: dict[str | None, Any] = {}
        self.correlated = False  # a kernel says which launch put it there: flows say no more
        self.flows: list[tuple[str, Value, Value, Value, float | None]] = []

    def take(self, batch: list[Event]) -> None:
        """Sort a batch of events into the columns."""
        self.trace.events += len(batch)
        readers = self.readers
        for event in batch:
            if event.ph != "X":
                if event.ph in _FLOWS and not self.correlated:
                    self.flows.append((event.ph, event.id, event.pid, event.tid, event.ts))
                if event.cat == "cpu_instant_event" and event.args is not None:
                    self.memory(event.args)
                continue
            try:
                reader = readers[event.cat]
            except KeyError:
                reader = readers[event.cat] = self.reader_of(event.cat)
            if reader is not None and event.ts is not None:
                reader(event, event.args or _NO_ARGS)

    def reader_of(self, category: str | None) -> Any:
        """What to do with the events of a category; None where they say nothing."""
        word = (category or "").casefold()
        if word in _DEVICE:
            sort = _DEVICE[word]
            return lambda event, args: self.kernel(event, args, sort)
        if word in _RANGES:
            annotation = word == "user_annotation"
            return lambda event, args: self.range(event, args, annotation)
        if word.endswith(_LAUNCHES):
            return self.launch
        return self.device_range if word == "gpu_user_annotation" else None

    def memory(self, args: Args) -> None:
        """The most memory that the allocator held on a device."""
        if args.device_type == 1:
            self.trace.peak_allocated = max(self.trace.peak_allocated, whole(args.allocated))

    def name(self, text: str) -> int:
        """The number of a name."""
        number = self.known.get(text)
        if number is None:
            number = self.known[text] = len(self.trace.names)
            self.trace.names.append(text)
        return number

    def thread(self, event: Event) -> int:
        """The number of a thread."""
        return self.threads.setdefault((str(event.pid), str(event.tid)), len(self.threads))

    def range(self, event: Event, args: Args, annotation: bool) -> None:
        """An operator or annotation."""
        if event.name in self.views:
            return
        table = self.trace.ranges
        start = event.ts or 0.0
        table.name.append(self.name(event.name))
        table.start.append(start)
        table.end.append(start + (event.dur or 0.0))
        table.thread.append(self.thread(event))
        table.external.append(whole(args.external))
        table.sequence.append(-1 if args.sequence is None else whole(args.sequence))
        table.forward_thread.append(whole(args.forward_thread))
        table.inputs.append(self.inputs_of(args))
        table.message.append(-1 if args.collective is None else self.message_of(args))
        table.annotation.append(annotation)

    def inputs_of(self, args: Args) -> int:
        """The number of an operator's inputs."""
        dims = bytes(args.dims)
        if not dims:
            return 0
        key = dims, bytes(args.types), bytes(args.strides), bytes(args.concrete)
        number = self.inputs.get(key)
        if number is None:
            number = self.inputs[key] = len(self.trace.inputs)
            self.trace.inputs.append(Inputs(*key))
        return number

    def message_of(self, args: Args) -> int:
        """The number of a collective's message."""
        message = Message(
            collective=str(args.collective),
            sent=whole(args.sent_elements),
            received=whole(args.received_elements),
            dtype=str(args.dtype or ""),
            size=whole(args.group_size),
            group=str(args.group_name or ""),
            words=str(args.group_words or ""),
            ranks=tuple(map(int, re.findall(r"\d{1,18}", str(args.group_ranks or ""))))
            if "..." not in str(args.group_ranks)
            else (),
        )
        number = self.messages.get(message)
        if number is None:
            number = self.messages[message] = len(self.trace.messages)
            self.trace.messages.append(message)
        return number

    def launch(self, event: Event, args: Args) -> None:
        """A call of the host that puts work on the device, or waits for it."""
        start, end = event.ts or 0.0, (event.ts or 0.0) + (event.dur or 0.0)
        skipped = self.skipped.get(event.name)
        if skipped is None:
            skipped = self.skipped[event.name] = not _LAUNCH.search(event.name)
        if skipped:
            if _WAIT.search(event.name):
                self.trace.waits.append((start, end))
            return
        correlation = whole(args.correlation)
        if correlation or not self.correlated:
            table = self.trace.launches
            if correlation:
                table.of[correlation] = len(table.name)
            table.name.append(self.name(event.name))
            table.start.append(start)
            table.end.append(end)
            table.thread.append(self.thread(event))
            table.external.append(whole(args.external))

    def kernel(self, event: Event, args: Args, sort: int) -> None:
        """Work of the device."""
        table = self.trace.kernels
        start, time = event.ts or 0.0, event.dur or 0.0
        table.name.append(self.name(event.name))
        table.sort.append(sort)
        table.start.append(start)
        table.end.append(start + time)
        table.time.append(time)
        table.device.append(whole(event.pid if args.device is None else args.device))
        table.stream.append(whole(event.tid if args.stream is None else args.stream))
        table.correlation.append(whole(args.correlation))
        self.correlated = self.correlated or bool(table.correlation[-1])
        table.external.append(whole(args.external))
        table.message.append(-1 if args.collective is None else self.message_of(args))
        table.moved.append(whole(args.bytes))

    def follow(self) -> None:
        """Take from flows which launch put each kernel there, where no kernel says it."""
        launches, kernels = self.trace.launches, self.trace.kernels
        starts = zip(launches.thread, launches.start, strict=True)
        launched = {place: row for row, place in enumerate(starts)}
        places = zip(kernels.device, kernels.stream, kernels.start, strict=True)
        ran = {place: row for row, place in enumerate(places)}
        for phase, number, pid, tid, at in self.flows:
            if phase == "s":
                row = launched.get((self.threads.get((str(pid), str(tid)), -1), at or 0.0))
                if row is not None:
                    launches.of[whole(number)] = row
            else:
                row = ran.get((whole(pid), whole(tid), at or 0.0))
                if row is not None:
                    kernels.correlation[row] = whole(number)

    def device_range(self, event: Event, _args: Args) -> None:
        """The span of a step's kernels."""
        step = STEP.match(event.name)
        if step and event.ts is not None:
            self.trace.device_steps[int(step[1])] = (event.ts, event.ts + (event.dur or 0.0))


_NO_ARGS = Args()
_FLOWS = frozenset({"s", "f"})  # from a launch, to its kernel
_LARGEST, _DIGITS = 2**63, 19


def whole(value: Value) -> int:
    """The whole number that a field holds, in a text such as ``stream 7`` too; 0 where it holds none of 64 bits.

    >>> whole(7), whole("stream 7"), whole(None), whole(1e300)
    (7, 7, 0, 0)
    """
    if isinstance(value, str):
        digits = re.search(r"\d+", value)
        value = int(digits[0][:_DIGITS]) if digits else 0
    return int(value) if value is not None and abs(value) < _LARGEST else 0  # not of NaN either


def read_trace(path: Path) -> Trace:
    """One trace of torch.profiler (Kineto), or of nsys as it exports to SQLite.

    Raises:
        RooflineError: It cannot be read, is cut off, is something else, or holds no work of a GPU.
    """
    reader = _Reader(path)
    metadata = (read_export if is_export(path) else read_events)(path, reader.take)
    trace = reader.trace
    trace.metadata = {key: _unquoted(value) for key, value in metadata.items()}
    if not reader.correlated:
        reader.follow()
    if trace.events == 0:
        raise RooflineError(f"{path} is an empty trace: no event at all; record at least one step")
    if not (len(trace.kernels.name) or len(trace.ranges.name) or len(trace.launches.name)):
        raise RooflineError(
            f"{path} has no events in torch.profiler's categories (kernel, cpu_op, cuda_runtime): traces of JAX, "
            "TensorFlow and rocprof are not read"
        )
    if not len(trace.kernels.name):
        raise RooflineError(
            f"{path} holds no GPU kernels, only the host: record with activities CPU and CUDA (ROCm too) on a GPU"
        )
    return trace


def _unquoted(value: Any) -> Any:
    """JSON that a writer put into a string, as some do with ``deviceProperties``."""
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return value
