"""From live tensors to what the caching allocator holds, and what the driver shows.

The allocator cuts segments of 2 MiB multiples into blocks, and gives a freed block to the next tensor that it holds
(pytorch c10/cuda/CUDACachingAllocator.cpp). Tensors of equal size take each other's place; those of other sizes cut
blocks, and what no later tensor fills stays reserved. Where the device is full the allocator gives back whole free
segments and tries again, so that what is lost then is less. Segments that expand have no such ends: nothing is lost.
`tests/footprint/caching.py` follows its rules tensor by tensor; what is here are the sums that this comes to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..arrays import Number, maximum, minimum, where
from ..config.base import base_dtype
from ..constants import constant
from ..counting.ownership import shard_degree
from ..counting.stages import Stage
from ..counting.step import Step
from .activations import GIB, logit_blocks
from .blocks import forward_bytes
from .phases import Phase

WORKING = constant("fragmentation.working")
CUT = constant("fragmentation.cut")
FULL = constant("fragmentation.full")
FIRST = constant("fragmentation.first")
CONTEXT_BYTES = constant("context_gib") * GIB
KERNEL_BYTES = constant("all_kernels_gib") * GIB
NCCL_BYTES = constant("communicators_gib") * GIB


class Moments(msgspec.Struct, frozen=True):
    """Bytes reserved at the moments of a step (see `phases.Phase`).

    Attributes:
        loss, start, end, update: Live tensors, and where a layer runs backward what no other tensor fills of the blocks
            of its working set.
        cut: What is lost at all of them of blocks that are cut for longer (see `_cut`).
    """

    loss: Number
    start: Number
    end: Number
    update: Number
    cut: Number = 0

    def fullest(self, share: Number = 1) -> Number:
        """The largest, with a share of what is lost at all of them."""
        return maximum(self.loss, self.start, self.end, self.update) + share * self.cut


def moments_of(step: Step, phases: Sequence[Phase[Any]]) -> Moments:
    """What tensors and free parts of segments take, which go back only as the rest of a segment is freed."""
    loss, start, end, update = phases
    if step.stack.static_memory or step.stack.expandable_segments:
        return Moments(loss.total, start.total, end.total, update.total)
    return Moments(
        loss=loss.total,
        start=start.total + WORKING * working_bytes(phases),
        end=end.total + WORKING * end.activations,
        update=update.total,
        cut=CUT * _cut(step, phases),
    )


def _cut(step: Step, phases: Sequence[Phase[Any]]) -> Number:
    """Bytes whose blocks others cut for longer than a layer.

    Buffers of whole gradients, as they are reduced; activations in flight, between which gradients of weights come and
    go, unless the matmuls add them to their buffers. Where there are no buffers, the state of the optimizer does.
    """
    loss, *_, update = phases
    if step.stack.keeps_gradients:
        whole = 0 if step.train.reduces_every_pass else where(step.train.num_devices > 1, update.gradients, 0)
        added = "wgrad_accumulation" in step.stack.fused  # by the matmuls that make them
        return whole + (0 if added else where(step.train.pp > 1, loss.activations, 0))
    return 0 if step.train.adapts else minimum(loss.optimizer, loss.activations + loss.logits)


def needed_bytes(step: Step, phases: Sequence[Phase[Any]]) -> Number:
    """What a run cannot do without: the driver's figure where the device is full."""
    return moments_of(step, phases).fullest(FULL) + beside_bytes(step)


def working_bytes(phases: Sequence[Phase[Any]]) -> Number:
    """The working set of a layer's backward pass."""
    loss, start, *_ = phases
    return maximum(start.activations - loss.activations, 0)


def reserved_bytes(step: Step, stage: Stage, phases: Sequence[Phase[Any]]) -> Number:
    """What the allocator holds where there is room: nothing goes back."""
    moments = moments_of(step, phases)
    if step.stack.static_memory or step.stack.expandable_segments:
        return moments.fullest()
    blocks = logit_blocks(step) * where(stage.head > 0, 1, 0)
    forward = forward_bytes(step)
    room = msgspec.structs.replace(moments, loss=moments.loss + blocks + forward)
    if step.stack.keeps_gradients or step.train.adapts:
        return room.fullest() + _emptied(step, phases)
    return maximum(room.fullest(FULL), _after_first_update(step, phases, blocks, forward))


def _after_first_update(step: Step, phases: Sequence[Phase[Any]], blocks: Number, forward: Number) -> Number:
    """What the first step has reserved, and of it what the second cannot use again.

    PyTorch's optimizers make their state in the first update: it takes the free blocks of activations and logits, as
    far as gradients do not lie there, and stays. Gradients that other ranks share come from a stream, and so blocks, of
    their own.
    """
    loss, start, _, update = phases
    passing = loss.activations + forward + maximum(loss.logits + blocks, working_bytes(phases))
    shared = where(step.train.data_parallel > 1, 1, 0)
    apart = shared * (update.gradients + start.communication)
    first = loss.weights + apart + maximum(passing, update.total - loss.weights - shared * update.gradients)
    return first + minimum(loss.optimizer, passing - (1 - shared) * FIRST * update.gradients)


def _emptied(step: Step, phases: Sequence[Phase[Any]]) -> Number:
    """Blocks of a base that ranks make whole on the device before it is sharded (`BaseDtype.made_whole`)."""
    base = base_dtype(step.train.base_dtype)
    if base is None or not base.made_whole or not step.train.shards_parameters:
        return 0
    return phases[0].weights * (shard_degree(step.train) - 1)


def beside_bytes(step: Step) -> Number:
    """What the driver shows beside the allocator's: the context, libraries and communicators."""
    context = CONTEXT_BYTES + (KERNEL_BYTES if step.stack.loads_all_kernels else 0)
    return context + where(step.train.num_devices > 1, NCCL_BYTES, 0)


def driver_bytes(needed: Number, whole: Number, capacity: Number) -> Number:
    """What nvidia-smi shows: all that stays reserved, as far as there is room.

    Where it would not fit, the allocator gives all free segments back and reserves anew, so that what is shown lies
    between what the run cannot do without and the capacity: halfway.
    """
    full = maximum(needed, (needed + capacity) / 2)
    return where((capacity > 0) & (whole > capacity), full, whole)
