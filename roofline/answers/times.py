"""The step time alone: expected, its interval, and at the speed of light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

import msgspec

from ..arrays import N, Number, maximum
from ..counting.step import Step
from ..footprint.parts import Memory, memory_of
from ..timing.host import ON_HOST
from ..timing.interval import interval
from ..timing.ranks import PricedOp, price
from ..timing.schedule import Schedule, schedule

if TYPE_CHECKING:
    from ..hardware import Device


class Times(msgspec.Struct, Generic[N], frozen=True):
    """The step time alone: expected, 10th and 90th percentile, at the speed of light, its terms; and the memory."""

    expected: N
    low: N
    high: N
    ideal: N
    memory: Memory[N]
    schedule: Schedule[N]


def estimate_times(step: Step, device: Device) -> Times[Any]:
    """The part of `estimate_step` that validation and searches need."""
    priced = price(step, device)
    times = schedule(step, device, priced)
    ideal = ideal_step_time(step, priced)
    low, high = interval(step, device, times, ideal, priced)
    return Times(times.total, low, high, ideal, memory_of(step, device), times)


def step_time(step: Step, device: Device) -> Number:
    """The expected step time alone."""
    return schedule(step, device, price(step, device)).total


def time_and_memory(step: Step, device: Device) -> tuple[Number, Memory[Any, Any]]:
    """The expected step time and the memory: what it takes to try a change."""
    return step_time(step, device), memory_of(step, device)


def ideal_step_time(step: Step, priced: list[PricedOp]) -> Number:
    """The speed of light: every op at its roofline, communication hidden, no bubble, even stages.

    Groups of ranks may use links of their own (tensor parallelism the node's, data parallelism the network): the
    slowest group counts, not their sum.
    """
    passes, stages = step.accumulation, step.train.pp
    compute: Number = 0
    communication: dict[str, Number] = {}
    for item in priced:
        op = item.op
        seconds = item.ideal * op.count
        if op.part != "step":
            seconds = seconds * passes / stages
        if op.kind in ON_HOST:
            communication["host"] = communication.get("host", 0) + seconds
        elif op.kind == "collective":
            group = (op.group or "").removeprefix("expert_")
            communication[group] = communication.get(group, 0) + seconds
        else:
            compute = compute + seconds
    longest: Number = maximum(compute, *communication.values())
    return longest
