"""From live tensors to what the caching allocator holds, and what the driver shows.

The allocator cuts segments of 2 MiB multiples into blocks, and gives a freed block to the next tensor that it holds
(pytorch c10/cuda/CUDACachingAllocator.cpp). Tensors of equal size take each other's place; those of other sizes cut
blocks, and what no later tensor fills stays reserved. So logits, of another size than what a layer works on, find no
room among its freed blocks, and both stay. Where the device is full it gives back whole free segments and
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

STRANDED = constant("fragmentation.stranded")
WORKING = constant("fragmentation.working")
UPDATE = constant("fragmentation.update")
FULL = constant("fragmentation.full")
CONTEXT_BYTES = constant("context_gib") * GIB
NCCL_BYTES = constant("communicators_gib") * GIB


class Passing(NamedTuple):
    """Bytes that are not there at every moment of a step, by how much of their blocks no other tensor fills.

    Attributes:
        stranded: Of the logits or the working set, what the fullest moment does not count: the smaller of both, unless
            what backward holds grows into the blocks of the logits.
        working: The working set of a layer.
        update: Gradients and temporaries as far as all activations at their fullest took as much.
    """

    stranded: Number
    working: Number
    update: Number


def passing_bytes(phases: Sequence[Phase[Any]]) -> Passing:
    """What comes and goes in a step of these moments."""
    loss, start, end, update = phases
    working = maximum(start.activations - loss.activations, 0)
    held = maximum(end.activations - working, 0)
    in_loss = loss.activations + loss.logits
    at_once = maximum(in_loss, start.activations, end.activations)
    made = update.gradients + maximum(update.optimizer - loss.optimizer, 0)
    return Passing(
        stranded=maximum(in_loss, held) + working - at_once,
        working=working,
        update=minimum(made, maximum(loss.activations, held) + loss.logits + working),
    )


class Lost(NamedTuple):
    """Bytes that stay reserved beyond the fullest moment where there is room."""

    whole: Number  # free segments, which the allocator gives back where the device is full
    parts: Number  # free parts of segments, most of which it can give back only as others are freed


def lost_bytes(step: Step, phases: Sequence[Phase[Any]]) -> Lost:
    """What stays reserved beyond the fullest moment where there is room."""
    if step.stack.static_memory or step.stack.expandable_segments:
        return Lost(0, 0)
    found = passing_bytes(phases)
    return Lost(STRANDED * found.stranded, WORKING * found.working + UPDATE * found.update)


def beside_bytes(step: Step) -> Number:
    """What the driver shows beside the allocator's: the context, libraries and communicators."""
    return CONTEXT_BYTES + where(step.train.num_devices > 1, NCCL_BYTES, 0)


def needed_bytes(live: Number, lost: Lost, beside: Number) -> Number:
    """What a run cannot do without: the driver's figure where the device is full."""
    return live + FULL * lost.parts + beside


def driver_bytes(live: Number, lost: Lost, beside: Number, capacity: Number) -> Number:
    """What nvidia-smi shows: all that stays reserved, as far as there is room.

    Where it would not fit, the allocator gives all free segments back and reserves anew, so that what is shown lies
    between what the run cannot do without and the capacity: halfway.
    """
    needed, whole = needed_bytes(live, lost, beside), live + lost.whole + lost.parts + beside
    full = maximum(needed, (needed + capacity) / 2)
    return where((capacity > 0) & (whole > capacity), full, whole)
