"""From live tensors to what the caching allocator holds, and what the driver shows."""

from __future__ import annotations

from typing import Any

from ..arrays import Number, where
from ..counting.step import Step
from .activations import GIB
from .phases import Phase

# CUDA context, cuBLAS workspaces and NCCL's channels: nvidia-smi shows 0.45 to 1.3 GiB before the first tensor
# (Hugging Face "model memory anatomy": 1.3 GB on V100 with NCCL-free single GPU; H100 about 0.6 GiB).
CONTEXT_BYTES = 1.0 * GIB
NCCL_BYTES = 1.5 * GIB  # communicators of one training job: tp, dp, pp and their groups (`validate memory`)
FRAGMENTATION = 0.20  # of the activations: blocks rounded up and kept by the caching allocator (`validate memory`)


def reserved_bytes(step: Step, live: Phase[Any]) -> Number:
    """What the caching allocator holds at the peak: live tensors, and blocks that activations left and none fills."""
    lost = 0 if step.stack.static_memory else FRAGMENTATION
    return live.total + lost * (live.activations + live.logits)


def driver_bytes(step: Step, reserved: Number) -> Number:
    """What nvidia-smi shows: reserved memory, the context, libraries and communicators."""
    return reserved + CONTEXT_BYTES + where(step.train.num_devices > 1, NCCL_BYTES, 0)
