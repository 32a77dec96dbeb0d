"""Several ranks of one run side by side: whether they belong together, who is late, and who waits."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import RooflineError
from .device import properties
from .events import Trace
from .rank import Rank
from .result import RankSummary
from .steps import OUTSIDE

_US = 1e-6


def check_together(traces: Sequence[Trace]) -> None:
    """Refuse traces that are not of one run.

    Raises:
        RooflineError: Ranks of worlds of different sizes, one rank twice, or no step in common.
    """
    if len(traces) < 2:
        return
    first = traces[0]
    seen: dict[int, Trace] = {}
    for trace in traces:
        if trace.rank is None:
            raise RooflineError(f"{trace.path} does not say which rank it is (distributedInfo): profile it alone")
        if trace.world_size != first.world_size:
            raise RooflineError(
                f"{trace.path} is of a run with {trace.world_size} ranks and {first.path} of one with "
                f"{first.world_size}: they do not belong together"
            )
        if trace.rank in seen:
            raise RooflineError(
                f"{trace.path} and {seen[trace.rank].path} are both rank {trace.rank}: give one trace per rank"
            )
        seen[trace.rank] = trace
    common = set.intersection(*(_step_names(trace) for trace in traces))
    if not common and any(_step_names(trace) for trace in traces):
        raise RooflineError(f"{first.path} and {traces[1].path} have no step in common: they do not belong together")


def _step_names(trace: Trace) -> set[str]:
    return {name for name in trace.names if name.startswith("ProfilerStep#")}


def summaries(ranks: Sequence[Rank]) -> tuple[RankSummary, ...]:
    """Each rank's time per step: computing, in collectives, and of that waiting for others."""
    waits = waiting(ranks)
    found = []
    for number, rank in enumerate(ranks):
        count = max(len(rank.steps.steps), 1)
        kernels = rank.trace.kernels
        inside = [row for row in rank.work if rank.steps.of[row] != OUTSIDE]
        communication = sum(kernels.time[row] for row in inside if rank.work[row].sent)
        compute = sum(kernels.time[row] for row in inside if not rank.work[row].sent)
        times = [step.time for step in rank.steps.steps]
        found.append(
            RankSummary(
                file=rank.trace.path,
                rank=rank.trace.rank,
                step_time_s=sum(times) / count * _US,
                compute_s=compute / count * _US,
                communication_s=communication / count * _US,
                waiting_s=None if waits is None else waits[number] / count * _US,
                host=str(properties(rank.trace, rank.index).get("name") or ""),
            )
        )
    return tuple(found)


def waiting(ranks: Sequence[Rank]) -> list[float] | None:
    """Microseconds each rank spends in collectives beyond the shortest of all ranks, collective by collective.

    The n-th collective of a kind, size and group on a rank is the n-th on the others; the rank that came last has
    the shortest time, which is the transfer. None for one rank, or where the sequences differ.
    """
    if len(ranks) < 2:
        return None
    sequences: list[dict[tuple[object, ...], list[float]]] = []
    for rank in ranks:
        kernels = rank.trace.kernels
        rows = [row for row, work in rank.work.items() if work.sent and rank.steps.of[row] != OUTSIDE]
        by_key: dict[tuple[object, ...], list[float]] = {}
        for row in sorted(rows, key=lambda row: kernels.start[row]):
            sent = rank.work[row].sent
            assert sent is not None
            by_key.setdefault((sent.collective, sent.payload, sent.group), []).append(kernels.time[row])
        sequences.append(by_key)
    waits = [0.0] * len(ranks)
    matched = False
    for key in sequences[0]:
        lists = [sequence.get(key, []) for sequence in sequences]
        if len({len(times) for times in lists}) != 1:
            continue
        matched = True
        for times in zip(*lists, strict=True):
            shortest = min(times)
            for number, time in enumerate(times):
                waits[number] += time - shortest
    return waits if matched else None
