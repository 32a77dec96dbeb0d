"""One rank's trace with all that is found in it: links, steps, work and the time line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from .device import device_of
from .events import Trace, read_trace
from .link import Links, link
from .operations import Operations, Work
from .steps import OUTSIDE, Steps, find_steps
from .timeline import COMMUNICATION, COMPUTE, COPY_TERM, COPYING, Gaps, Slice, Timeline, sweep

if TYPE_CHECKING:
    from ..hardware import Device


class Rank(msgspec.Struct):
    """One trace with all that was found in it."""

    trace: Trace
    links: Links
    index: int  # the device, as the trace numbers it
    steps: Steps
    work: dict[int, Work]  # of each kernel in a step
    operations: Operations
    line: Timeline


def read_rank(path: Path, device: Device | None) -> Rank:
    """Read one trace and find out what each of its kernels is part of."""
    trace = read_trace(path)
    kernels = trace.kernels
    time: dict[int, float] = {}
    for number, each in zip(kernels.device, kernels.time, strict=True):
        time[number] = time.get(number, 0.0) + each
    index = max(time, key=time.__getitem__)
    links = link(trace)
    steps = find_steps(trace, links, index)
    operations = Operations(trace, links, device or device_of(trace, index)[0])
    work: dict[int, Work] = {}
    slices = []
    for row in range(len(kernels.name)):
        if kernels.device[row] != index:
            continue
        sort, term = COPYING, COPY_TERM
        if not kernels.sort[row]:
            found = operations.work_of(row)
            work[row] = found
            sort, term = (COMMUNICATION if found.sent else COMPUTE), found.term
            if steps.of[row] != OUTSIDE:
                operations.add(row, found)
        slices.append(Slice(kernels.start[row], kernels.end[row], sort, term, row))
    line = sweep(slices, [(step.start, step.end) for step in steps.steps], Gaps(trace, links))
    return Rank(trace, links, index, steps, work, operations, line)
