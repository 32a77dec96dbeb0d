"""From a kernel to the launch that put it there, to the operators that were open then, and to the phase of the step.

A launch belongs to the innermost range of its thread that was open when it was made. Where the threads of launches
and ranges have different names (old files), the `External id` that both carry says the same; in some files (torch
1.12 to 2.0) it only repeats the correlation, so an id counts only where the range of that id was open at the launch.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator

import msgspec

from .events import Trace

NODE = re.compile(r"^autograd::engine::evaluate_function|Backward\d*$|AccumulateGrad$")
OPTIMIZER = re.compile(r"^Optimizer\.step|^Optimizer\.zero_grad|^## ?optimizer|^optimizer", re.IGNORECASE)
_SLACK = 2.0  # microseconds: whole ones in files before 2023, so ends and starts may cross by one


class Links(msgspec.Struct):
    """Where each kernel comes from; rows of `Trace.kernels`, `Trace.launches`, `Trace.ranges`, -1 where unknown.

    Attributes:
        launch: Of each kernel, its launch.
        range: Of each kernel, the innermost range open at the launch.
        parent: Of each range, the range around it.
        phase: Of each range, forward, backward, recompute or optimizer: index of `PHASES`.
    """

    launch: array[int]
    range: array[int]
    parent: array[int]
    phase: array[int]

    def around(self, row: int) -> Iterator[int]:
        """A range and those around it, from the inside out."""
        while row >= 0:
            yield row
            row = self.parent[row]


_FORWARD, _BACKWARD, _RECOMPUTE, _OPTIMIZER = range(4)


def link(trace: Trace) -> Links:
    """Find the launch and the ranges of every kernel."""
    launches, kernels = trace.launches, trace.kernels
    parent, inside = _nest(trace)
    _by_external_id(trace, inside)
    rows = array("l", [launches.of.get(correlation, -1) for correlation in kernels.correlation])
    ranges = array("l", [inside[row] if row >= 0 else -1 for row in rows])
    if not any(kernels.correlation):
        _launch_where_operators_start(trace, rows, ranges)
    return Links(launch=rows, range=ranges, parent=parent, phase=_phases(trace, parent))


def _nest(trace: Trace) -> tuple[array[int], array[int]]:
    """The range around each range, and the innermost range of each launch's thread at its time."""
    ranges, launches = trace.ranges, trace.launches
    parent = array("l", [-1]) * len(ranges.name)
    inside = array("l", [-1]) * len(launches.name)
    by_thread: dict[int, list[tuple[float, float, int]]] = {}
    for row, (thread, start, end) in enumerate(zip(ranges.thread, ranges.start, ranges.end, strict=True)):
        by_thread.setdefault(thread, []).append((start, -end, row))
    for row, (thread, start) in enumerate(zip(launches.thread, launches.start, strict=True)):
        if thread in by_thread:
            by_thread[thread].append((start, 0.0, ~row))  # after the ranges that start with it
    for items in by_thread.values():
        items.sort()
        stack: list[tuple[float, int]] = []  # (end, range)
        for start, minus_end, row in items:
            while stack and stack[-1][0] <= start and not (row < 0 and stack[-1][0] == start):
                stack.pop()
            top = stack[-1][1] if stack else -1
            if row < 0:
                inside[~row] = top
                continue
            parent[row] = top
            stack.append((-minus_end, row))
    return parent, inside


def _by_external_id(trace: Trace, inside: array[int]) -> None:
    """Place the launches whose thread says nothing by their id, or where the id names a range further inside."""
    ranges, launches = trace.ranges, trace.launches
    unplaced = [row for row, found in enumerate(inside) if found < 0 and launches.external[row]]
    if not unplaced:
        return
    of = {external: row for row, external in enumerate(ranges.external) if external}
    for row in unplaced:
        found = of.get(launches.external[row], -1)
        start = launches.start[row]
        if found >= 0 and ranges.start[found] - _SLACK <= start <= ranges.end[found] + _SLACK:
            inside[row] = found


def _launch_where_operators_start(trace: Trace, rows: array[int], found: array[int]) -> None:
    """Place the kernels of a trace without correlations by the operator whose `External id` they carry."""
    ranges, launches, kernels = trace.ranges, trace.launches, trace.kernels
    of = {external: row for row, external in enumerate(ranges.external) if external}
    trace.names.append("launch of an operator")
    for row, external in enumerate(kernels.external):
        place = of.get(external, -1)
        if place >= 0 and ranges.start[place] <= kernels.start[row]:
            rows[row], found[row] = len(launches.name), place
            launches.name.append(len(trace.names) - 1)
            launches.start.append(ranges.start[place])
            launches.end.append(ranges.start[place])
            launches.thread.append(ranges.thread[place])
            launches.external.append(external)


def _phases(trace: Trace, parent: array[int]) -> array[int]:
    """The phase of each range.

    Backward runs inside nodes of autograd. An operator there that autograd records again (it has a sequence number of
    its own) is the forward pass run anew: activation checkpointing.
    """
    ranges = trace.ranges
    words = [_OPTIMIZER if OPTIMIZER.search(name) else _BACKWARD if NODE.search(name) else -1 for name in trace.names]
    phase = array("b", [-1]) * len(ranges.name)
    for start in range(len(phase)):
        path, row = [], start
        while row >= 0 and phase[row] < 0:
            path.append(row)
            row = parent[row]
        around = phase[row] if row >= 0 else _FORWARD
        for each in reversed(path):
            word = words[ranges.name[each]]
            if word >= 0:
                around = word
            elif around == _BACKWARD and ranges.sequence[each] >= 0 and not ranges.forward_thread[each]:
                around = _RECOMPUTE
            phase[each] = around
    return phase
