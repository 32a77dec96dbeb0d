"""Times every kernel in rounds, within the seconds that were asked for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import msgspec

from ..detect.bench import clock_of, seconds
from .fit import spread
from .kernels import Engine, Kernel

Progress = Callable[[str, float], None]  # what runs, and the share that is done
_LAST_ROUND = 0.9  # share of a round that there must still be time for when it begins
_ALWAYS = frozenset({"launch", "stream"})  # in the first round: without them there is no device
_DOES_NOT_RUN = (RuntimeError, NotImplementedError, MemoryError)  # too large for it, or not on this backend
_FEWEST_RUNS = 2  # of a turn: one that is not counted, one that is


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One measured kernel: best seconds per launch of each round."""

    group: str
    name: str
    dtype: str
    flops: float
    bytes: float
    shape: tuple[int, ...]
    rounds: tuple[float, ...]
    footprint: float = 0.0

    @property
    def seconds(self) -> float:
        """The quietest round: other programs only ever slow a kernel down. Peaks come from it."""
        return min(self.rounds)

    @property
    def typical(self) -> float:
        """The middle round: what a long step sees, and what efficiencies are fitted to."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Largest minus smallest round over their median."""
        return spread(self.rounds)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The samples, and what did not run."""

    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()


def measure(
    engine: Engine,
    rounds: int,
    budget_s: float,
    progress: Progress,
    *,
    on_gpu: bool = False,
    now: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Every kernel in every round; rounds go over all kernels, so that a slow minute hits none of them alone.

    One CPU thread is timed by its own CPU time, which other programs hardly lengthen; everything else by
    the wall clock. The budget holds whatever building and first runs take: a kernel whose turn would end
    after it is left out (the rates so far tell), and so is a round.
    """
    todo = list(engine.kernels())
    clock = clock_of(2 if on_gpu else engine.threads)
    start = now()
    best: list[list[float]] = [[] for _ in todo]
    cost = [0.0] * len(todo)  # seconds of a kernel's turn at the least
    left_out: list[str] = []
    failed: dict[str, str] = {}
    for turn in range(rounds):
        if turn and now() - start + _LAST_ROUND * sum(cost) > budget_s:
            break
        for index, kernel in enumerate(todo):
            progress(kernel.name, (turn * len(todo) + index) / (rounds * len(todo)))
            spent = now() - start
            if kernel.name in failed or (turn and not best[index]):
                continue
            expected = cost[index] if turn else _expected(kernel, todo[:index], best)
            if spent + expected > budget_s and (turn or kernel.group not in _ALWAYS):
                if not turn:
                    left_out.append(kernel.name)
                continue
            turns_left = (rounds - turn) * len(todo) - index
            begin = now()
            try:
                run = kernel.build()
                built = now() - begin
                durations = seconds(run, budget_s=max(budget_s - spent, 0.0) / turns_left, clock=clock)
            except _DOES_NOT_RUN as error:
                failed[kernel.name] = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
                continue
            best[index].append(min(durations) / kernel.inner)
            cost[index] = built + _FEWEST_RUNS * min(durations)
    return Measured(samples=_samples(todo, best), notes=tuple(_notes(rounds, best, left_out, failed)))


def _expected(kernel: Kernel, before: Sequence[Kernel], best: Sequence[list[float]]) -> float:
    """Seconds of a kernel's first turn by the best rate of those of its kind before it; 0 where there is none."""
    work = max(kernel.flops, kernel.bytes)
    rates = [
        max(other.flops, other.bytes) / taken[0]
        for other, taken in zip(before, best, strict=False)
        if taken and (other.group, other.dtype) == (kernel.group, kernel.dtype)
    ]
    return _FEWEST_RUNS * kernel.inner * work / max(rates) if rates and max(rates) > 0 else 0.0


def _samples(todo: Sequence[Kernel], best: Sequence[list[float]]) -> tuple[Sample, ...]:
    return tuple(
        Sample(
            group=kernel.group,
            name=kernel.name,
            dtype=kernel.dtype,
            flops=kernel.flops,
            bytes=kernel.bytes,
            footprint=kernel.footprint,
            shape=kernel.shape,
            rounds=tuple(values),
        )
        for kernel, values in zip(todo, best, strict=True)
        if values
    )


def _notes(rounds: int, best: Sequence[list[float]], left_out: Sequence[str], failed: dict[str, str]) -> list[str]:
    notes = []
    most = max((len(values) for values in best), default=0)
    if most < rounds:
        notes.append(f"the time asked for held {most} of {rounds} rounds: --seconds gives more")
    if left_out:
        shown = ", ".join(left_out[:3]) + (f" and {len(left_out) - 3} more" if len(left_out) > 3 else "")
        notes.append(f"no time for {shown}: the defaults stay there")
    notes += [f"{name} did not run ({why}): the default stays there" for name, why in failed.items()]
    return notes
