"""Which step each kernel belongs to, and the window of time that a step takes on the device."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right

import msgspec

from .events import STEP, Trace
from .link import Links

OUTSIDE = -1
_DIGITS = re.compile(r"\d+")
_INNER = re.compile(r"^(nccl:|## |Optimizer\.|DistributedDataParallel|FSDP|Torch-Compiled|autograd)")
_COVERED = 0.8  # of the kernels must lie in an annotation that is taken for a step


class Step(msgspec.Struct, frozen=True):
    """One step: its name, and the window on the device from its first kernel to the next step's first.

    Attributes:
        name: As in the trace: ``ProfilerStep#5``.
        start: Of its first kernel, in microseconds.
        end: Where the next step's first kernel starts; of the last step, where its last kernel ends.
        last: Whether no step follows, so that the window leaves out what does not overlap with the next.
    """

    name: str
    start: float
    end: float
    last: bool

    @property
    def time(self) -> float:
        """Microseconds of the window."""
        return self.end - self.start


class Steps(msgspec.Struct, frozen=True):
    """The steps of a trace, and the step of each kernel (OUTSIDE where it has none)."""

    steps: tuple[Step, ...]
    of: array[int]
    found: str  # what was taken for a step, in words
    leading: int  # kernels launched before the window opened
    leading_us: float


def find_steps(trace: Trace, links: Links, device: int) -> Steps:
    """Assign the kernels of `device` to steps: by where their launch lies, not by when they ran."""
    kernels, launches = trace.kernels, trace.launches
    spans, found = _spans(trace, links)
    starts = [start for _, start, _ in spans]
    of = array("l", [OUTSIDE]) * len(kernels.name)
    mine = [row for row in range(len(of)) if kernels.device[row] == device]
    linked = [row for row in mine if links.launch[row] >= 0]
    for row in linked:
        at = launches.start[links.launch[row]]
        step = bisect_right(starts, at) - 1
        if step >= 0 and at <= spans[step][2]:
            of[row] = step
    first_linked = min((kernels.start[row] for row in linked), default=float("-inf"))
    loose = [row for row in mine if links.launch[row] < 0]
    leading = [row for row in loose if kernels.start[row] < first_linked]
    begun = [start for start, _ in _edges(trace, of, len(spans))] if linked else starts
    for row in loose:  # CUDA graphs, threads that were not recorded: by time
        if kernels.start[row] >= first_linked:
            of[row] = max(bisect_right(begun, kernels.start[row]) - 1, 0)
    edges = _edges(trace, of, len(spans))
    steps = []
    for number, (start, end) in enumerate(edges):
        last = number + 1 == len(edges)
        steps.append(Step(spans[number][0], start, end if last else edges[number + 1][0], last))
    only_kernels = [row for row in leading if not kernels.sort[row]]
    return Steps(tuple(steps), of, found, len(only_kernels), sum(kernels.time[row] for row in only_kernels))


def _edges(trace: Trace, of: array[int], count: int) -> list[tuple[float, float]]:
    """First start and last end of each step's kernels; a step without any starts where the one before ends."""
    kernels = trace.kernels
    first, last = [float("inf")] * count, [float("-inf")] * count
    for row, step in enumerate(of):
        if step >= 0:
            first[step] = min(first[step], kernels.start[row])
            last[step] = max(last[step], kernels.end[row])
    edges: list[tuple[float, float]] = []
    for start, end in zip(first, last, strict=True):
        before = edges[-1][1] if edges else 0.0
        edges.append((start, end) if end >= start else (before, before))
    return edges


def _spans(trace: Trace, links: Links) -> tuple[list[tuple[str, float, float]], str]:
    """Name, start and end of each step on the host, in order."""
    ranges = trace.ranges
    wanted = {number for number, name in enumerate(trace.names) if STEP.match(name)}
    rows = [row for row, name in enumerate(ranges.name) if name in wanted] if wanted else []
    if rows:
        return _in_order(trace, rows), "ProfilerStep"
    repeated = _repeated(trace, links)
    if repeated:
        return _in_order(trace, repeated), trace.names[ranges.name[repeated[0]]]
    return [("whole trace", float("-inf"), float("inf"))], "the whole trace: it marks no steps"


def _in_order(trace: Trace, rows: list[int]) -> list[tuple[str, float, float]]:
    ranges = trace.ranges
    rows = sorted(rows, key=lambda row: ranges.start[row])
    return [(trace.names[ranges.name[row]], ranges.start[row], ranges.end[row]) for row in rows]


def _repeated(trace: Trace, links: Links) -> list[int]:
    """The outermost annotations of one name that repeat and hold nearly all launches."""
    ranges, launches = trace.ranges, trace.launches
    by_name: dict[str, list[int]] = {}
    for row, annotation in enumerate(ranges.annotation):
        if annotation and links.parent[row] < 0:
            name = trace.names[ranges.name[row]]
            if not _INNER.match(name):
                by_name.setdefault(_DIGITS.sub("#", name), []).append(row)
    for rows in sorted(by_name.values(), key=len):
        if len(rows) < 2:
            continue
        spans = sorted((ranges.start[row], ranges.end[row]) for row in rows)
        starts = [start for start, _ in spans]
        inside = 0
        for at in launches.start:
            place = bisect_right(starts, at) - 1
            inside += place >= 0 and at <= spans[place][1]
        if inside >= _COVERED * len(launches.start):
            return rows
    return []
