"""Step times over a run: the steady part, what came before it, dips and what they cost, and whether it slows down."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Sequence

import msgspec

from ..units import format_number
from .logs import Entry, Log

WARM = 1.15  # a step within this factor of the steady median is no warm-up
MOST_WARM_UP = 0.25  # of the steps at the most
DIP = 1.5  # times the median from which a step is a dip
DRIFT = 0.05  # change between the first and the last quarter that is worth a word


class Dip(msgspec.Struct, frozen=True, kw_only=True):
    """A step far above the median."""

    step: int
    step_time_s: float
    factor: float


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A run by its log; attributes are the JSON keys under ``log``.

    Attributes:
        steps: Logged steps, and those left out as warm-up.
        step_time_s: Median of the steady steps; None where only tokens per second are logged.
        step_time_p10_s: 10th percentile.
        step_time_p90_s: 90th percentile.
        tokens_per_s: Median over all devices, where logged.
        tokens_per_s_per_device: Median of one device, where logged.
        reported_mfu: Median of what the framework printed.
        dips: Steps far above the median, the longest first.
        lost: Share of the steady time that dips take beyond the median.
        every: Steps between dips, where they come regularly.
        drift: Change of the median from the first quarter to the last.
        verdict: One sentence.
    """

    path: str
    framework: str
    steps: int
    warm_up: int
    first_step: int
    last_step: int
    step_time_s: float | None
    step_time_p10_s: float | None
    step_time_p90_s: float | None
    tokens_per_s: float | None
    tokens_per_s_per_device: float | None
    reported_mfu: float | None
    global_batch: int | None
    dips: tuple[Dip, ...]
    lost: float
    every: int | None
    drift: float
    verdict: str
    notes: tuple[str, ...] = ()


def series(log: Log) -> Series:
    """What a log says of its run."""
    entries, notes = _one_batch(log.entries)
    speeds = [entry.speed or 0.0 for entry in entries]
    warm_up = _warm_up(speeds)
    steady, speeds = entries[warm_up:], speeds[warm_up:]
    median = statistics.median(speeds)
    found = [(entry, speed / median) for entry, speed in zip(steady, speeds, strict=True) if speed > DIP * median]
    lost = sum(factor - 1 for _, factor in found) / (sum(speeds) / median)
    drift = _drift([speed for speed in speeds if speed <= DIP * median])
    every = _regular([entry.step for entry, _ in found])
    times = [entry.step_time_s for entry in steady if entry.step_time_s]
    low, high = _ends(times)
    return Series(
        path=log.path,
        framework=log.framework,
        steps=len(log.entries),
        warm_up=warm_up,
        first_step=steady[0].step,
        last_step=steady[-1].step,
        step_time_s=statistics.median(times) if times else None,
        step_time_p10_s=low,
        step_time_p90_s=high,
        tokens_per_s=_median([entry.tokens_per_s for entry in steady]),
        tokens_per_s_per_device=_median([entry.tokens_per_s_per_device for entry in steady]),
        reported_mfu=_median([entry.mfu for entry in steady]),
        global_batch=steady[-1].global_batch,
        dips=tuple(
            Dip(step=entry.step, step_time_s=entry.step_time_s or factor * median, factor=factor)
            for entry, factor in sorted(found, key=lambda each: -each[1])
        ),
        lost=lost,
        every=every,
        drift=drift,
        verdict=_verdict(len(speeds), len(found), lost, every, drift, median, high if times else None),
        notes=tuple(notes),
    )


def _one_batch(entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """The steps of the last global batch: a ramp makes the steps before it shorter."""
    last = entries[-1].global_batch
    kept = [entry for entry in entries if entry.global_batch == last]
    gone = len(entries) - len(kept)
    return kept, [f"{format_number(gone, 'step')} of other global batches than {last} left out"] if gone else []


def _warm_up(speeds: Sequence[float]) -> int:
    """Steps before the first that is near the median of the later half: compilation, allocator, caches."""
    steady = statistics.median(speeds[len(speeds) // 2 :])
    most = int(MOST_WARM_UP * len(speeds))
    return next((place for place, speed in enumerate(speeds[:most]) if speed <= WARM * steady), most)


def _drift(speeds: Sequence[float]) -> float:
    quarter = len(speeds) // 4
    if quarter < 2:
        return 0.0
    return statistics.median(speeds[-quarter:]) / statistics.median(speeds[:quarter]) - 1


def _regular(steps: Sequence[int]) -> int | None:
    """The distance of dips, where most of them have one: checkpoints, evaluation, logging."""
    if len(steps) < 3:
        return None
    distances = Counter(after - before for before, after in itertools.pairwise(steps))
    distance, times = distances.most_common(1)[0]
    return distance if times >= 0.6 * (len(steps) - 1) and distance > 1 else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value]
    return statistics.median(known) if known else None


def _ends(times: Sequence[float]) -> tuple[float | None, float | None]:
    if len(times) < 2:
        return (times[0], times[0]) if times else (None, None)
    cuts = statistics.quantiles(times, n=10, method="inclusive")
    return cuts[0], cuts[-1]


def _verdict(
    steps: int, dips: int, lost: float, every: int | None, drift: float, median: float, high: float | None
) -> str:
    """One sentence on how steady the run is."""
    if steps < 3:
        return "one mean over the run: evaluation and checkpoints are in it"
    words = []
    if dips:
        often = f" every {every} steps (checkpoints or evaluation?)" if every else ""
        words.append(
            f"{dips} dip{'s' if dips > 1 else ''}{often} cost{'s' if dips == 1 else ''} {100 * lost:.1f} % of the time"
        )
    if drift > DRIFT:
        words.append(f"slows down by {100 * drift:.0f} % over the run (clocks, longer data, memory)")
    elif drift < -DRIFT:
        words.append(f"gets {-100 * drift:.0f} % faster over the run: its median is not yet the steady state")
    if not words and high is not None and high > WARM * median:
        words.append(f"uneven: one step in ten takes over {high / median:.2f} times the median (data loading?)")
    return "; ".join(words) if words else "steady"
