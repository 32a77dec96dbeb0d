"""From live tensors to what the caching allocator holds, and what the driver shows.

The allocator cuts segments of 2 MiB multiples into blocks, and gives a freed block to the next tensor that it holds
(pytorch c10/cuda/CUDACachingAllocator.cpp). Tensors of equal size take each other's place; those of other sizes cut
blocks, and what no later tensor fills stays reserved. Where the device is full it gives back whole free segments and
tries again, so that what is lost then is less. Segments that expand have no such ends: nothing is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..arrays import Number, maximum, minimum, where
from ..constants import constant
from ..counting.step import Step
from .activations import GIB
from .phases import Phase

PASSING = constant("fragmentation.passing")
UPDATE = constant("fragmentation.update")
FULL = constant("fragmentation.full")
CONTEXT_BYTES = constant("context_gib") * GIB
NCCL_BYTES = constant("communicators_gib") * GIB


class Passing(NamedTuple):
    """Bytes that are not there at every moment of a step, by how much of their blocks no other tensor fills."""

    passing: Number
    update: Number


def passing_bytes(phases: Sequence[Phase[Any]]) -> Passing:
    """Logits and working set; gradients and temporaries as far as all activations at their fullest took as much."""
    loss, start, end, update = phases
    working = maximum(start.activations - loss.activations, 0)
    kept = maximum(loss.activations, end.activations - working)
    made = update.gradients + maximum(update.optimizer - loss.optimizer, 0)
    return Passing(loss.logits + working, minimum(made, kept + loss.logits + working))


def lost_bytes(step: Step, phases: Sequence[Phase[Any]]) -> Number:
    """What stays reserved beyond the fullest moment where there is room."""
    if step.stack.static_memory or step.stack.expandable_segments:
        return 0
    found = passing_bytes(phases)
    return PASSING * found.passing + UPDATE * found.update


def beside_bytes(step: Step) -> Number:
    """What the driver shows beside the allocator's: the context, libraries and communicators."""
    return CONTEXT_BYTES + where(step.train.num_devices > 1, NCCL_BYTES, 0)


def needed_bytes(live: Number, lost: Number, beside: Number) -> Number:
    """What a run cannot do without: the driver's figure where the device is full."""
    return live + FULL * lost + beside


def driver_bytes(live: Number, lost: Number, beside: Number, capacity: Number) -> Number:
    """What nvidia-smi shows: all that stays reserved, as far as there is room."""
    needed, whole = needed_bytes(live, lost, beside), live + lost + beside
    return where(capacity > 0, maximum(needed, minimum(whole, capacity)), whole)
