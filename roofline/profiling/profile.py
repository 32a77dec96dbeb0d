"""A trace, or one per rank, beside what we expect: the whole way from files to `Profile`."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RooflineError
from . import names
from .collectives import Sent, bus_bytes, expected_collective
from .device import device_of
from .rank import Rank, read_rank
from .ranks import check_together, summaries
from .result import MeasuredCollective, MeasuredOp, MeasuredStep, Profile, Totals
from .steps import OUTSIDE

if TYPE_CHECKING:
    from ..hardware import Device

_US = 1e-6
_TRACES = (".json", ".json.gz", ".sqlite")
MFU_RULE = "matmuls and attention (full) that the trace shows, without recompute"


def profile(paths: Iterable[str | Path], device: str | Device | None = None) -> Profile:
    """Profile one training run: a trace of torch.profiler, or one of each of several ranks.

    Args:
        paths: Files (``.json``, ``.json.gz``; ``.sqlite`` of ``nsys export``) or folders of them.
        device: The device, where the trace's own name for it is not in the catalog.

    Raises:
        RooflineError: A file cannot be read, is cut off or no trace, holds no GPU work, or ranks of different runs.
    """
    return assemble(read_ranks(paths, device))


def read_ranks(paths: Iterable[str | Path], device: str | Device | None = None) -> list[Rank]:
    """Every rank's trace with what its kernels are part of, in order of ranks; arguments and errors as `profile`."""
    from ..hardware import load_device

    given = None if device is None else load_device(device)
    ranks = [read_rank(path, given) for path in trace_files(paths)]
    check_together([rank.trace for rank in ranks])
    return sorted(ranks, key=lambda rank: (rank.trace.rank is None, rank.trace.rank or 0))


def trace_files(paths: Iterable[str | Path]) -> list[Path]:
    """The files that are meant: those given, and the traces in folders that are."""
    found: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.name.endswith(_TRACES))
            if not inside:
                raise RooflineError(f"{path} holds no trace (*{', *'.join(_TRACES)})")
            found += inside
        else:
            found.append(path)
    twice = next((path for path, count in Counter(found).items() if count > 1), None)
    if twice is not None:
        raise RooflineError(f"{twice} is given twice: give each rank's trace once")
    return found


def assemble(ranks: list[Rank]) -> Profile:
    """The profile: ops, steps and terms of the first rank, and all ranks side by side."""
    first = ranks[0]
    device = first.operations.device
    _, name, note = device_of(first.trace, first.index)
    ops = first.operations.measured()
    unattributed = first.operations.unattributed()
    attributed = sum(op.time_s for op in ops)
    kernel_time = attributed + sum(kernel.time_s for kernel in unattributed)
    if kernel_time == 0:
        raise RooflineError(f"{first.trace.path}: no kernel lies in a step: record a whole step, and its launches")
    steps = _steps(first)
    dtype = _main_dtype(ops)
    step_time = _step_time(steps)
    if not step_time > 0:
        raise RooflineError(f"{first.trace.path}: its steps take no time")
    flops = sum(op.model_flops or 0 for op in ops if op.phase in {"forward", "backward"}) / len(steps)
    peak = device.peaks.get(dtype) if device is not None and dtype else None
    terms = _summed(first.line.terms)
    return Profile(
        files=tuple(rank.trace.path for rank in ranks),
        device=device,
        device_name=name,
        steps=steps,
        steps_are=first.steps.found,
        step_time_s=step_time,
        terms=terms,
        ops=ops,
        unattributed=unattributed,
        collectives=_collectives(first),
        ranks=summaries(ranks),
        world_size=first.trace.world_size,
        totals=_totals(first),
        kernel_time_s=kernel_time,
        attributed_share=attributed / kernel_time,
        linked_share=1 - _unlinked(first) / kernel_time,
        dtype=dtype,
        model_flops_per_step=flops or None,
        mfu=flops / (step_time * peak) if peak and flops else None,
        mfu_rule=MFU_RULE,
        peak_allocated_bytes=first.trace.peak_allocated or None,
        after_synchronization_s=first.line.after_wait * _US,
        notes=tuple(_notes(ranks, note if device is None or device.name != name else "")),
    )


def _summed(terms: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Terms over several windows, in seconds, the longest first."""
    sums: dict[str, float] = {}
    for window in terms:
        for term, time in window.items():
            sums[term] = sums.get(term, 0.0) + time * _US
    return dict(sorted(((term, time) for term, time in sums.items() if time), key=lambda item: -item[1]))


def _steps(rank: Rank) -> tuple[MeasuredStep, ...]:
    busy = _busy_by_step(rank)
    count = Counter(
        step for row, step in enumerate(rank.steps.of) if step != OUTSIDE and not rank.trace.kernels.sort[row]
    )
    return tuple(
        MeasuredStep(
            name=step.name,
            time_s=step.time * _US,
            busy_s=busy[number] * _US,
            kernels=count[number],
            terms=_summed([rank.line.terms[number]]),
            last=step.last,
        )
        for number, step in enumerate(rank.steps.steps)
    )


def _busy_by_step(rank: Rank) -> list[float]:
    """Union of the kernels and copies that each step launched."""
    kernels = rank.trace.kernels
    busy, reached = [0.0] * len(rank.steps.steps), [float("-inf")] * len(rank.steps.steps)
    rows = [row for row, step in enumerate(rank.steps.of) if step != OUTSIDE]
    for row in sorted(rows, key=lambda row: kernels.start[row]):
        step = rank.steps.of[row]
        start, end = max(kernels.start[row], reached[step]), kernels.end[row]
        if end > start:
            busy[step] += end - start
            reached[step] = end
    return busy


def _step_time(steps: tuple[MeasuredStep, ...]) -> float:
    """The median of the steps that another follows, but for the first: the profiler warms up in it."""
    followed = [step.time_s for step in steps if not step.last]
    return statistics.median(followed[1:] or followed or [step.time_s for step in steps])


def _main_dtype(ops: tuple[MeasuredOp, ...]) -> str | None:
    """The dtype of most matmul FLOPs."""
    flops: dict[str, float] = {}
    for op in ops:
        if op.kind in {"matmul", "attention"} and op.dtype and op.flops:
            flops[op.dtype] = flops.get(op.dtype, 0.0) + op.flops
    return max(flops, key=flops.__getitem__, default=None)


def _collectives(rank: Rank) -> tuple[MeasuredCollective, ...]:
    """Collectives of the steps by kind, payload and group."""
    kernels = rank.trace.kernels
    rows: dict[Sent, list[int]] = {}
    for row, work in rank.work.items():
        if work.sent is not None and rank.steps.of[row] != OUTSIDE:
            rows.setdefault(work.sent, []).append(row)
    found = []
    for sent, group in rows.items():
        times = [kernels.time[row] * _US for row in group]
        moved = bus_bytes(sent)
        expected = expected_collective(sent, rank.operations.device)
        found.append(
            MeasuredCollective(
                collective=sent.collective,
                payload_bytes=sent.payload,
                group_size=sent.size,
                group=sent.group,
                assumed=sent.assumed,
                count=len(group),
                time_s=sum(times),
                exposed_s=sum(rank.line.exposed.get(row, 0.0) for row in group) * _US,
                shortest_s=min(times),
                median_s=statistics.median(times),
                bus_bandwidth_bytes_per_s=moved / min(times) if moved and min(times) > 0 else None,
                expected_time_s=None if expected is None else expected * len(group),
            )
        )
    return tuple(sorted(found, key=lambda each: -each.time_s))


def _totals(rank: Rank) -> Totals:
    kernels = rank.trace.kernels
    mine = [row for row in range(len(kernels.name)) if kernels.device[row] == rank.index]
    only = [row for row in mine if not kernels.sort[row]]
    nccl = [row for row in only if names.is_nccl(rank.trace.names[kernels.name[row]])]
    streams = Counter(str(kernels.stream[row]) for row in only)
    return Totals(
        events=rank.trace.events,
        kernels=len(only),
        kernel_time_s=sum(kernels.time[row] for row in only) * _US,
        busy_s=rank.line.busy * _US,
        span_s=(max(kernels.end[row] for row in mine) - min(kernels.start[row] for row in mine)) * _US,
        nccl_kernels=len(nccl),
        nccl_time_s=sum(kernels.time[row] for row in nccl) * _US,
        nccl_exposed_s=sum(rank.line.exposed.get(row, 0.0) for row in nccl) * _US,
        streams=dict(streams.most_common()),
        leading_kernels=rank.steps.leading,
        leading_time_s=rank.steps.leading_us * _US,
    )


def _unlinked(rank: Rank) -> float:
    """Seconds of kernels in steps without any operator around their launch."""
    kernels, links = rank.trace.kernels, rank.links
    loose = (
        row
        for row, work in rank.work.items()
        if rank.steps.of[row] != OUTSIDE and links.range[row] < 0 and work.sent is None
    )
    return sum(kernels.time[row] for row in loose) * _US


def _notes(ranks: list[Rank], device_note: str) -> list[str]:
    """What a reader has to know of the trace, as sentences."""
    first = ranks[0]
    notes = [device_note] if device_note else []
    if first.steps.found != "ProfilerStep":
        notes.append(f"no ProfilerStep in the trace: a step is {first.steps.found}")
    if len(first.steps.steps) == 1:
        notes.append("one step only: its time is the span of its kernels, without what would overlap with the next")
    if first.steps.leading:
        notes.append(
            f"{first.steps.leading:,} kernels ({first.steps.leading_us / 1e3:.1f} ms) were launched before the window "
            "opened and are left out"
        )
    others = sum(
        1
        for row, index in enumerate(first.trace.kernels.device)
        if index != first.index and not first.trace.kernels.sort[row]
    )
    if others:
        notes.append(f"{others:,} kernels of other devices are left out: this is device {first.index}")
    if not first.trace.metadata.get("record_shapes") and not any(first.trace.ranges.inputs):
        remedy = " (nsys: --pytorch=autograd-shapes-nvtx)" if first.trace.metadata.get("writer") == "nsys" else ""
        notes.append(
            f"recorded without record_shapes{remedy}: no operator has shapes, so no FLOPs, bytes or expected times"
        )
    elif first.trace.metadata.get("writer") == "nsys":
        notes.append(
            "nsys writes no dtypes and no flags: an operator's tensors are taken to have the dtype its kernel's name "
            "says, and attention to be full (a causal one should take half of what is expected)"
        )
    if len(ranks) == 1 and any(work.sent for work in first.work.values()):
        notes.append("one rank: the time of a collective includes waiting for the slowest rank")
    return notes
