"""The software profile of a configuration: the stack, as its sharding has it."""

from __future__ import annotations

import msgspec

from .run import TrainConfig
from .stack import Stack, load_stack


def profile_of(train: TrainConfig) -> Stack:
    """The profile that a configuration runs on: under ZeRO weights are kept as DeepSpeed keeps them.

    Its engine has them in 16 bits beside fp32 copies that belong to the optimizer (arXiv:1910.02054, section 3.1), and
    go to the host with it (arXiv:2101.06840, section 4.1); autocast and FSDP keep fp32 weights alone. Stage 3 is its
    everywhere, stages 1 and 2 where the profile says so, with gradients as wide as the weights.
    """
    stack = load_stack(train.stack)
    if on_engine(train, stack):
        return msgspec.structs.replace(stack, cast_weights=False, shards_in_fp32=False, gradient_dtype="model")
    if train.sharding != "zero3" or not (stack.cast_weights or stack.shards_in_fp32):
        return stack
    return msgspec.structs.replace(stack, cast_weights=False, shards_in_fp32=False)


def on_engine(train: TrainConfig, stack: Stack) -> bool:
    """Whether stages 1 and 2 of ZeRO are DeepSpeed's, whose update copies a rank's 16-bit gradients to fp32."""
    return stack.zero_engine and train.sharding in {"zero1", "zero2"}
