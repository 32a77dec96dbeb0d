"""From live tensors to what the caching allocator holds, and what the driver shows."""

from __future__ import annotations

from typing import Any

from ..arrays import Number, where
from ..constants import constant
from ..counting.step import Step
from .activations import GIB
from .phases import Phase

CONTEXT_BYTES = constant("context_gib") * GIB
NCCL_BYTES = constant("communicators_gib") * GIB
FRAGMENTATION = constant("fragmentation")


def reserved_bytes(step: Step, live: Phase[Any]) -> Number:
    """What the caching allocator holds at the peak: live tensors, and blocks that activations left and none fills."""
    lost = 0 if step.stack.static_memory else FRAGMENTATION
    return live.total + lost * (live.activations + live.logits)


def driver_bytes(step: Step, reserved: Number) -> Number:
    """What nvidia-smi shows: reserved memory, the context, libraries and communicators."""
    return reserved + CONTEXT_BYTES + where(step.train.num_devices > 1, NCCL_BYTES, 0)
