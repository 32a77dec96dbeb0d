"""Peak bytes of one device: weights, gradients, optimizer state, activations, logits, buffers, context."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import msgspec

from ..arrays import Number, minimum, where
from ..config.schedules import pipeline_schedule
from ..counting.optimizer_step import master_bytes, optimizer_state_bytes
from ..counting.ownership import Shares, expert_ranks, shard_degree, stage_shares
from ..counting.stages import Stage
from ..counting.step import Step

if TYPE_CHECKING:
    from ..hardware import Device

GIB = 2**30
# CUDA context, cuBLAS workspaces and NCCL's channels: nvidia-smi shows 0.45 to 1.3 GiB before the first tensor
# (Hugging Face "model memory anatomy": 1.3 GB on V100 with NCCL-free single GPU; H100 about 0.6 GiB).
CONTEXT_BYTES = 1.0 * GIB
NCCL_BYTES = 1.5 * GIB  # communicators of one training job: tp, dp, pp and their groups (`validate memory`)
FRAGMENTATION = 0.20  # of the activations: blocks rounded up and kept by the caching allocator (`validate memory`)


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Peak memory of the fullest device, in bytes, by what holds it.

    Attributes:
        weights_bytes: Parameters as kept, with the fp32 master copy counted under `optimizer_bytes`.
        gradients_bytes: Gradients as kept between micro batches.
        optimizer_bytes: Optimizer state and fp32 master weights.
        activations_bytes: Tensors kept for backward by all micro batches in flight, and the working set.
        logits_bytes: Logits, their fp32 copy and their gradient.
        communication_bytes: Gathered parameters and communication buffers.
        context_bytes: Driver context, libraries and allocator fragmentation.
        total_bytes: The sum.
        capacity_bytes: What the driver reports as the device's memory.
        fits: Whether the total is within the capacity.
    """

    weights_bytes: Number
    gradients_bytes: Number
    optimizer_bytes: Number
    activations_bytes: Number
    logits_bytes: Number
    communication_bytes: Number
    context_bytes: Number
    total_bytes: Number
    capacity_bytes: Number
    fits: bool | Number


def memory_of(step: Step, device: Device) -> Memory:
    """Peak memory of `step` on its fullest device (see `memory_for`)."""
    return memory_for(step, device.memory_bytes)


def memory_for(step: Step, capacity_bytes: Number) -> Memory:
    """Peak memory of `step` on a device of `capacity_bytes`.

    Sharding follows ZeRO (arXiv:1910.02054): stage 1 divides the optimizer state, 2 the gradients, 3 the weights.
    Activations in flight follow the schedule: min(pp, micro batches) on the first stage of 1F1B, a factor
    1 + (pp-1)/(pp*vp) more when interleaved (arXiv:2205.05198, section 4.2.3). Gradients stand beside all activations,
    as they do from the second micro batch on; a step of a single one on one device of plain PyTorch needs less, since
    they are made while backward frees activations (measured on an H100: by just their size).
    """
    found = [
        _stage_memory(step, capacity_bytes, stage, shares)
        for stage, shares in stage_shares(step.model, step.train, step.weights)
    ]

    def fuller(one: Memory, other: Memory) -> Memory:
        more = other.total_bytes > one.total_bytes
        names = Memory.__struct_fields__
        return Memory(**{name: where(more, getattr(other, name), getattr(one, name)) for name in names})

    return reduce(fuller, found)


def _stage_memory(step: Step, capacity_bytes: Number, stage: Stage, shares: Shares) -> Memory:
    """Peak memory of the devices of one stage."""
    train = step.train
    es = train.activation_bytes
    dense_ranks, moe_ranks = shard_degree(train), expert_ranks(train)

    def split(dense: Number, expert: Number, shard: bool) -> Number:
        return dense / dense_ranks + expert / moe_ranks if shard else dense + expert

    copies = 1 if train.schedule is None else pipeline_schedule(train.schedule).weight_copies
    optimizer_sharded = train.sharding != "none"
    gradients_sharded = train.sharding in {"zero2", "zero3", "fsdp", "hsdp"}
    weight_bytes = _weight_bytes(step)
    frozen_dense, frozen_expert = (
        shares.dense - shares.trainable_dense,
        shares.expert - shares.trainable_expert,
    )
    weights = split(shares.trainable_dense, shares.trainable_expert, train.shards_parameters) * weight_bytes
    # never updated: no fp32 copy, and in fp8 runs of stacks that quantise in their kernels no 16-bit one either
    frozen_bytes = 1 if train.dtype == "fp8" and "cast" in step.stack.fused else es
    if train.freeze:  # part of a model that is trained: kept like the rest of it
        frozen_bytes = weight_bytes
    weights = weights + split(frozen_dense, frozen_expert, train.shards_parameters) * frozen_bytes
    gradients = split(shares.trainable_dense, shares.trainable_expert, gradients_sharded) * _gradient_bytes(step)
    state = optimizer_state_bytes(train) + (master_bytes(train) if weight_bytes < 4 else 0)
    optimizer = split(shares.trainable_dense, shares.trainable_expert, optimizer_sharded) * state
    activations, logits = _activations(step, stage), _logits(step) * stage.head
    weights, gradients = weights * copies, gradients * copies
    communication = _communication(step)
    if train.shards_parameters:  # a pipeline keeps them gathered (see `update.data_parallel_ops`)
        weights = weights + where(train.pp > 1, shares.total * es, 0)
    multi = where(train.num_devices > 1, NCCL_BYTES, 0)
    lost = 0 if step.stack.static_memory else FRAGMENTATION * (activations + logits)
    context = CONTEXT_BYTES + multi + lost
    if es < weight_bytes and not train.shards_parameters:
        # 16-bit copies live from their first use to the end of backward (those of gathered layers: as long as these)
        weights = weights + shares.trainable * es
    total = weights + gradients + optimizer + activations + logits + communication + context
    return Memory(
        weights_bytes=weights,
        gradients_bytes=gradients,
        optimizer_bytes=optimizer,
        activations_bytes=activations,
        logits_bytes=logits,
        communication_bytes=communication,
        context_bytes=context,
        total_bytes=total,
        capacity_bytes=capacity_bytes,
        fits=total <= capacity_bytes,
    )


def _weight_bytes(step: Step) -> int:
    """Bytes of a weight as kept: fp32 where it is trained in fp32 or cast at each use, 16-bit otherwise."""
    train = step.train
    casts = step.stack.cast_weights and train.master_weights
    return 4 if casts else train.activation_bytes


def _gradient_bytes(step: Step) -> int:
    """Bytes of gradient per parameter: fp32 sums stand beside 16-bit gradients unless the matmul adds into them."""
    es = step.train.activation_bytes
    summed = step.stack.gradient_bytes(step.train.dtype, es, master=step.train.master_weights)
    whole = step.stack.cast_weights or step.train.shards_parameters or "wgrad_accumulation" in step.stack.fused
    return summed if whole or summed == es else summed + es


def in_flight(step: Step, stage: Stage | None = None) -> Number:
    """Micro batches whose activations a stage (by default the first) holds at once, in units of one stage's.

    1F1B: pp on the first stage, one less on each that follows, 1 on the last; interleaved, (pp-1)/vp more on the first
    (arXiv:2104.04473, section 2.2) and ((vp-1)*pp+1)/vp on the last; other schedules as their facts say. Never more
    than there are: a step of few micro batches holds them all.
    """
    train = step.train
    index: Number = 0 if stage is None else stage.index
    if train.schedule is None:
        one, several = (pipeline_schedule(name).held(train.pp, train.vp, index) for name in ("1f1b", "interleaved"))
        depth = where(train.vp > 1, several, one)
    else:
        depth = where(train.pp > 1, pipeline_schedule(train.schedule).held(train.pp, train.vp, index), 1)
    return step.accumulation if depth is None else minimum(depth, step.accumulation)


def _activations(step: Step, stage: Stage) -> Number:
    """What every micro batch in flight keeps for backward, and the working set: the layer being recomputed."""
    kept: dict[tuple[str, int], Number] = {}
    for op in step.ops:
        if op.part in {"layer", "embedding"}:
            place = (op.part, op.layer_kind)
            kept[place] = kept.get(place, 0) + op.saved_bytes * op.count
    return stage.holds(kept, step.model) * in_flight(step, stage) + step.working_bytes


def _logits(step: Step) -> Number:
    """Tensors of tokens x vocabulary alive at once at the end of the forward pass: on the last stage only."""
    kept: Number = 0
    logits: Number = 0
    es = step.train.activation_bytes
    for op in step.ops:
        if op.part == "head" and op.phase == "forward":
            kept = kept + op.saved_bytes
            if op.role == "logits":
                logits = op.bytes_written
    # unfused, backward starts with logits, log-probabilities (saved) and their gradient in fp32: 10 bytes per logit in
    # 16-bit training, 12 in fp32; fused, the gradient takes the place of the logits (kept). Measured on an H100.
    return kept + (0 if "cross_entropy" in step.stack.fused else logits * (1 + 4 / es))


def _communication(step: Step) -> Number:
    """Gathered parameters and gradient buckets.

    Under FSDP the embedding and head stay gathered through the pass, beside the layer in use, the one prefetched and
    the gradients of the one behind them (arXiv:2304.11277, sections 3.3.2 and 4.2).
    """
    train = step.train
    if train.shards_parameters:
        parts: dict[str, Number] = {"layer": 0, "embedding": 0, "head": 0}
        for weight in step.weights:
            parts[weight.part] = parts[weight.part] + (0 if weight.tied else weight.local * weight.count)
        layer = parts["layer"] / max(step.model.n_layers, 1)
        gathered = parts["embedding"] + parts["head"] + 3 * layer
        return where(train.pp > 1, 0, gathered * train.activation_bytes)
    buckets = step.stack.bucket_buffers * (step.stack.bucket_mb or 0) * 1e6
    return where(train.data_parallel > 1, 0.2 * GIB, 0) + buckets
