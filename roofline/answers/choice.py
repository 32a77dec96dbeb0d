"""The micro batch where nothing is said of it: the fastest that fits, the same in every answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..arrays import Number, divide, is_scalar, maximum, some, where
from ..config.settle import Run
from ..counting.step import Step
from ..errors import RooflineError
from ..footprint.parts import memory_of
from ..footprint.spreads import SURE
from .replayed import replayed
from .times import step_time

if TYPE_CHECKING:
    from ..hardware import Device

LARGEST_MICRO_BATCH = 128


def fastest(run: Run) -> Run:
    """The run; where no micro batch is said, with the fastest power of two that surely fits (1 where none does).

    A global batch that is said must hold it a whole number of times. Of an array of runs each has its own.

    Raises:
        RooflineError: A figure that the device does not have.
    """
    if "micro_batch" in run.options:
        return run
    share = divide(run.options["global_batch"], run.train.data_parallel) if "global_batch" in run.options else None
    chosen: Number = 1
    best: Number = 0.0  # tokens per second
    size = 1
    while size <= LARGEST_MICRO_BATCH:
        if share is None or not some(share % size != 0):
            rate = _rate(run, size)
            if not some(rate > 0):
                break
            chosen, best = where(rate > best, size, chosen), maximum(rate, best)
        size *= 2
    words = f"micro batch {chosen}" if is_scalar(chosen) else "micro batches"
    note = (
        f"assumed: {words}, the fastest power of two that surely fits (--micro-batch)"
        if some(best > 0)
        else "assumed: micro batch 1, as none surely fits (--micro-batch)"
    )
    settled = run.changed(micro_batch=chosen)
    return msgspec.structs.replace(settled, chosen=True, assumed=(note, *settled.assumed))


def _rate(run: Run, size: int) -> Number:
    """Tokens per second with a micro batch; 0 where it does not surely fit, or is refused."""
    try:
        tried = run.changed(micro_batch=size)
    except RooflineError:
        if size == 1:
            raise
        return 0
    return replayed(_sure_rate, tried.model, tried.train, run.device)


def _sure_rate(step: Step, device: Device) -> Number:
    sure = memory_of(step, device).fit_probability >= SURE
    if not some(sure):
        return 0
    return where(sure, step.train.tokens_per_step / step_time(step, device), 0)
