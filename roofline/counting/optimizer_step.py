"""What a step runs once: the optimizer's update, and the collectives of data parallelism."""

from __future__ import annotations

from collections.abc import Iterable

from ..arrays import Number, maximum, some, where
from ..config.run import TrainConfig
from ..config.stack import Stack
from ..model.spec import ModelConfig
from .op import Collective, Group, Op
from .ownership import Shares, expert_ranks, parameter_shares, shard_degree
from .stages import stages
from .weights import Weights

FOREACH_PASSES, FOREACH_KERNELS = 3, 96
OPTIMIZER_STATE = {"adamw": 8, "adamw-8bit": 2, "sgd": 0, "sgd-momentum": 4}  # bytes per parameter


def optimizer_state_bytes(train: TrainConfig) -> int:
    """Bytes of optimizer state per trainable parameter, fp32 master weights not included."""
    full = OPTIMIZER_STATE[train.optimizer]
    return full if train.master_weights or train.optimizer == "adamw-8bit" else full // 2


def master_bytes(train: TrainConfig) -> int:
    """Bytes of the fp32 copies that 16-bit training updates: weights, and in fp16 the unscaled gradients."""
    copies = 2 if train.dtype == "fp16" else 1
    return 4 * copies if train.master_weights and train.activation_bytes == 2 else 0


def update_of(model: ModelConfig, train: TrainConfig, stack: Stack, weights: Iterable[Weights]) -> list[Op]:
    """The optimizer step and the data-parallel collectives, once per step."""
    shares = parameter_shares(model, train, weights)
    grad = stack.gradient_bytes(train.dtype, train.activation_bytes, master=train.master_weights)
    sharded = train.sharding != "none"
    dense = shares.trainable_dense / shard_degree(train) if sharded else shares.trainable_dense
    expert = shares.trainable_expert / expert_ranks(train) if sharded else shares.trainable_expert
    updated = dense + expert
    ops = [_clip(updated, grad), _optimizer(train, stack, updated, grad)]
    if "wgrad_accumulation" in stack.fused and not train.shards_parameters:  # PyTorch drops them instead
        ops.append(_zero_gradients(shares.trainable, grad))
    ops += data_parallel_ops(model, train, stack, shares, grad)
    return ops


def _step_op(name: str, flops: Number, read: Number, written: Number, kernels: Number = 1) -> Op:
    return Op(
        name=name,
        kind="optimizer",
        phase="optimizer",
        part="step",
        dtype="fp32",
        flops=flops,
        bytes_read=read,
        bytes_written=written,
        kernels=kernels,
    )


def _clip(params: Number, grad: int) -> Op:
    """Norm of the gradients, then their scaling."""
    return _step_op("optimizer.clip_gradients", 3 * params, 2 * params * grad, params * grad, kernels=2)


def _zero_gradients(params: Number, grad: int) -> Op:
    return _step_op("optimizer.zero_gradients", 0, 0, params * grad)


def _optimizer(train: TrainConfig, stack: Stack, params: Number, grad: int) -> Op:
    """One update: reads gradient, weight and state, writes weight, state and the 16-bit copy that master weights need.

    Fused it is one pass in a few launches; a foreach implementation runs a dozen kernels per chunk of tensors, in about
    three passes (measured on an H100: 1.0 TB/s of one pass's bytes against 2.6, hardware/measurements; on a B200 30 %
    of the bandwidth, github:stas00/ml-engineering).
    """
    state, master, es = optimizer_state_bytes(train), master_bytes(train), train.activation_bytes
    weight = 4 if master else es
    read = params * (grad + weight + state)
    written = params * (weight + state + (es if master and not stack.cast_weights else 0))
    fused = "optimizer" in stack.fused
    passes, kernels = (1, 4) if fused else (FOREACH_PASSES, FOREACH_KERNELS)
    flops = {"adamw": 14, "adamw-8bit": 20, "sgd": 2, "sgd-momentum": 4}[train.optimizer]
    return _step_op(f"optimizer.{train.optimizer}", flops * params, read * passes, written * passes, kernels)


def data_parallel_ops(model: ModelConfig, train: TrainConfig, stack: Stack, shares: Shares, grad: int) -> list[Op]:
    """Gradient reduction and, where the optimizer or the parameters are sharded, the parameter gathers.

    ``count`` is per step: parameters that are sharded are gathered for each micro batch's forward and backward pass
    (ZeRO, arXiv:1910.02054, section 7; FSDP, arXiv:2304.11277).
    """
    ops: list[Op] = []
    stage_layers = maximum(0, *(stage.depth for stage in stages(model, train)))
    for prefix, params, all_params in (
        ("", shares.trainable_dense, shares.dense),
        ("expert_", shares.trainable_expert, shares.expert),
    ):
        if not (isinstance(all_params, (int, float)) and all_params == 0):
            ops += _data_parallel(train, stack, prefix, params, all_params, grad, stage_layers)
    return ops


def _data_parallel(
    train: TrainConfig,
    stack: Stack,
    prefix: str,
    params: Number,
    all_params: Number,
    grad: int,
    stage_layers: Number,
) -> list[Op]:
    """The collectives of dense (no prefix) or expert parameters, with the copies in and out of their buffers."""
    es = train.activation_bytes
    hybrid = train.sharding == "hsdp" and not prefix
    group: Group = "expert_dp" if prefix else "shard" if hybrid else "dp"
    # A pipeline keeps gathered parameters, and gradients, from micro batch to micro batch (arXiv:2407.21783, 3.3.2).
    passes = where(train.pp > 1, 1, train.accumulation) if train.shards_parameters else train.accumulation

    def collect(
        what: str, how: Collective, payload: Number, rounds: Number, each: Number = 1, among: Group = group
    ) -> Op:
        buckets = _buckets(train, stack, payload, stage_layers)
        return Op(
            name=f"{what}.{prefix}{how}",
            kind="collective",
            phase="optimizer",
            part="step",
            dtype="fp32",
            flops=0,
            bytes_read=0,
            bytes_written=0,
            bytes_sent=payload / buckets,
            collective=how,
            group=among,
            count=rounds * each * buckets,
            rounds=rounds,
        )

    if train.sharding == "none":
        return [collect("gradients", "all_reduce", params * grad, 1)]
    if train.sharding == "zero1":
        gathered = collect("parameters", "all_gather", params * es, 1)
        return [collect("gradients", stack.zero1, params * grad, 1), gathered]
    ops = [
        collect("gradients", "reduce_scatter", params * grad, passes),
        _copy(f"gradients.{prefix}copy_in", params * es, params * grad, passes),
    ]
    shard = params / (expert_ranks(train) if prefix else shard_degree(train)) * grad
    if some(passes > 1):
        ops.append(_copy(f"gradients.{prefix}accumulate", 2 * shard, shard, passes - 1))
    if hybrid:
        ops.append(collect("replicas", "all_reduce", shard, passes, among="replica"))
    if train.sharding == "zero2":
        return [*ops, collect("parameters", "all_gather", params * es, 1)]
    twice = where(train.pp > 1, 1, 2)  # for the forward and the backward pass
    ops.append(collect("parameters", "all_gather", all_params * es, passes, twice))
    ops.append(_copy(f"parameters.{prefix}copy_out", all_params * es, all_params * es, passes * twice))
    return ops


def _copy(name: str, read: Number, written: Number, count: Number) -> Op:
    """Parameters leave the gathered buffer, gradients enter the one to reduce, by a copy (arXiv:2304.11277, 3.2.1)."""
    return Op(
        name=name,
        kind="elementwise",
        phase="optimizer",
        part="step",
        dtype="fp32",
        flops=0,
        bytes_read=read,
        bytes_written=written,
        count=count,
    )


def _buckets(train: TrainConfig, stack: Stack, payload: Number, layers: Number) -> Number:
    """Collectives in one pass over the parameters: one per layer where they are sharded, else one per bucket."""
    if train.shards_parameters:
        return layers
    if stack.bucket_mb is None:
        return 1
    return maximum(payload / (stack.bucket_mb * 1e6), 1)
