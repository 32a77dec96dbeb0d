"""Where the time of a device goes: what ran at each instant, over all streams.

An instant in which kernels compute belongs to them, in equal parts where several do; one in which only copies run
beside communication, to the copies; one with communication alone is exposed communication; one with nothing a launch
gap where the host was late, else idle.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from .events import Trace
from .link import Links

COMPUTE, COMMUNICATION, COPYING = 0, 1, 2
LAUNCH, IDLE, COPY_TERM = "launch", "idle", "copy"


class Slice(msgspec.Struct, frozen=True):
    """One kernel on the time line."""

    start: float
    end: float
    sort: int  # COMPUTE, COMMUNICATION or COPYING
    term: str
    row: int


class Timeline(msgspec.Struct):
    """Sums over windows, in microseconds.

    Attributes:
        terms: Per window, term -> time; they sum to the window.
        exposed: Row of a communication kernel -> its time with no other kernel and no copy beside it.
        busy: Union of all kernels and copies, windows or not.
        communication: Union of the communication kernels.
        exposed_total: Union of communication with nothing else beside it, windows or not.
        after_wait: Launch gaps that follow a synchronization of the host.
    """

    terms: list[dict[str, float]]
    exposed: dict[int, float]
    busy: float = 0.0
    communication: float = 0.0
    exposed_total: float = 0.0
    after_wait: float = 0.0


def sweep(slices: Sequence[Slice], windows: Sequence[tuple[float, float]], gaps: Gaps) -> Timeline:
    """Go along the time line once."""
    line = Timeline(terms=[defaultdict(float) for _ in windows], exposed={})
    slices = [piece for piece in slices if piece.end > piece.start]
    order = sorted(range(len(slices)), key=lambda i: slices[i].start)
    events = sorted(
        [(piece.start, 1, i) for i, piece in enumerate(slices)]
        + [(piece.end, 0, i) for i, piece in enumerate(slices)]
        + [(edge, 2, -1) for window in windows for edge in window]
    )
    active: tuple[dict[int, None], dict[int, None], dict[int, None]] = ({}, {}, {})
    starts = [window[0] for window in windows]
    before = events[0][0] if events else 0.0
    upcoming = 0
    for time, sort, i in events:
        if time > before:
            window = bisect_right(starts, before) - 1
            inside = window >= 0 and time <= windows[window][1]
            terms = line.terms[window] if inside else None
            if any(active):
                _running(line, slices, active, time - before, terms)
            elif terms is not None:
                while upcoming < len(order) and slices[order[upcoming]].start < time:
                    upcoming += 1
                following = slices[order[upcoming]] if upcoming < len(order) else None
                late, waited = gaps.split(before, time, following)
                terms[LAUNCH] += late
                terms[IDLE] += time - before - late
                line.after_wait += waited
            before = time
        if sort == 1:
            active[slices[i].sort][i] = None
        elif sort == 0:
            active[slices[i].sort].pop(i, None)
    return line


def _running(
    line: Timeline,
    slices: Sequence[Slice],
    active: tuple[dict[int, None], dict[int, None], dict[int, None]],
    time: float,
    terms: dict[str, float] | None,
) -> None:
    """An instant in which something runs."""
    computing, communicating, copying = active
    line.busy += time
    if communicating:
        line.communication += time
    shown = computing or copying or communicating
    if shown is communicating:
        line.exposed_total += time
        for i in communicating:
            row = slices[i].row
            line.exposed[row] = line.exposed.get(row, 0.0) + time / len(communicating)
    if terms is not None:
        for i in shown:
            terms[slices[i].term] += time / len(shown)


class Gaps:
    """Why nothing runs: the host was late with the next launch, or not."""

    def __init__(self, trace: Trace, links: Links) -> None:
        self.trace = trace
        self.links = links
        self.waits = sorted(trace.waits)
        self.wait_ends = [end for _, end in self.waits]

    def split(self, start: float, end: float, following: Slice | None) -> tuple[float, float]:
        """Of a gap, the part that waits for the next kernel's launch, and how much of it follows a synchronization."""
        launch = -1 if following is None else self.links.launch[following.row]
        if launch < 0:
            return 0.0, 0.0
        at = self.trace.launches.start[launch]
        if at <= start:
            return 0.0, 0.0
        place = bisect_right(self.wait_ends, start)
        waited = place < len(self.waits) and self.waits[place][0] <= start + 1 and self.wait_ends[place] <= end
        return end - start, (end - start if waited else 0.0)
