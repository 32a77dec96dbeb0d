"""A training log as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..units import format_share, format_time, format_time_range
from .cells import seconds
from .table import Cell, Table
from .words import sentences

if TYPE_CHECKING:
    from ..profiling.series import Series

MOST_DIPS = 5


def tables(log: Series) -> list[Table]:
    """The run over its steps, and its longest steps."""
    name = log.path.rsplit("/", 1)[-1]
    rows: list[list[Any]] = [["Steps", _steps(log)]]
    if log.step_time_s is not None:
        rows.append(["Step time", _step_time(log)])
    rate = log.tokens_per_s or log.tokens_per_s_per_device
    if rate is not None:
        rows.append(["Throughput", f"{rate:,.0f} tokens/s{'' if log.tokens_per_s else ' of each device'} (median)"])
    if log.global_batch is not None:
        rows.append(["Batch", f"{log.global_batch:,} sequences a step"])
    if log.reported_mfu is not None:
        rows.append(["Printed MFU", format_share(log.reported_mfu)])
    rows.append(["Verdict", log.verdict])
    found = [Table(f"{name} ({log.framework})", ["", ""], rows, align="ll")]
    if log.dips:
        longest = [[dip.step, seconds(dip.step_time_s), Cell(dip.factor, f"{dip.factor:.1f}x")] for dip in log.dips]
        title = f"Longest steps ({MOST_DIPS} of {len(longest)})" if len(longest) > MOST_DIPS else "Longest steps"
        found.append(Table(title, ["Step", "Time", "Of the median"], longest[:MOST_DIPS], align="rrr"))
    return found


def _steps(log: Series) -> str:
    words = f"{log.steps:,} logged, up to step {log.last_step:,}"
    return words + (f"; the first {log.warm_up} left out (warm-up)" if log.warm_up else "")


def _step_time(log: Series) -> str:
    median = format_time(log.step_time_s or 0.0)
    if log.step_time_p10_s is None or log.step_time_p90_s is None or log.steps == 1:
        return median
    ends = format_time_range(log.step_time_p10_s, log.step_time_s or 0.0, log.step_time_p90_s)
    return f"{median} in the median, {ends} (10 to 90 %)"


def notes(log: Series) -> list[str]:
    """What was left out."""
    return sentences(log.notes)
