"""The software profile of a configuration: the stack, as its sharding has it."""

from __future__ import annotations

import msgspec

from .run import TrainConfig
from .sharding import SHARDINGS
from .stack import Stack, load_stack


def profile_of(train: TrainConfig) -> Stack:
    """The profile that a configuration runs on: under ZeRO weights are kept as DeepSpeed keeps them.

    Its engine has them in 16 bits beside fp32 copies that belong to the optimizer (arXiv:1910.02054, section 3.1), and
    go to the host with it (arXiv:2101.06840, section 4.1), and gradients as wide as the weights, in stage 3 in one
    buffer (deepspeed/runtime/zero/stage3.py, `grad_partitions_flat_buffer`); autocast and FSDP keep fp32 weights alone.
    """
    stack = load_stack(train.stack)
    if not on_engine(train, stack):
        return stack
    keeps = stack.keeps_gradients or train.sharding == "zero3"
    weights = {"cast_weights": False, "shards_in_fp32": False}
    return msgspec.structs.replace(stack, **weights, gradient_dtype="model", keeps_gradients=keeps)


def usual_sync(train: TrainConfig, stack: Stack) -> bool:
    """Whether gradients are reduced in every micro batch where nothing is said (see `Stack.defers_reduction`)."""
    shards = SHARDINGS[train.sharding]
    return shards.gradients and not (shards.wraps and stack.defers_reduction)


def sums_whole(train: TrainConfig, stack: Stack) -> bool:
    """Whether sharded gradients are whole while micro batches are summed (see `TrainConfig.sync_each_batch`)."""
    synced = usual_sync(train, stack) if train.sync_each_batch is None else train.sync_each_batch
    return SHARDINGS[train.sharding].wraps and not synced


def on_engine(train: TrainConfig, stack: Stack) -> bool:
    """Whether the ZeRO is DeepSpeed's, whose update copies 16-bit gradients to fp32: stage 3 is its everywhere."""
    return train.sharding == "zero3" or train.sharding in stack.zero_engine
