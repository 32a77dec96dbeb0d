"""What a step runs once: the optimizer's update, and the collectives of data parallelism."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ..arrays import Number, maximum, minimum, some, where
from ..config.optimizer import optimizer
from ..config.profile import sums_whole
from ..config.run import TrainConfig
from ..config.sharding import SHARDINGS
from ..config.stack import Stack
from ..model.spec import ModelConfig
from . import kernels
from .op import Collective, Group, Op, step_op
from .ownership import Shares, Update, expert_shard_degree, matrices_of, parameter_shares, shard_degree
from .stages import stages
from .weights import Matrices, Weights, gradient_bytes

FUSED_KERNELS, FOREACH_KERNELS = 4, 96


def update_of(model: ModelConfig, train: TrainConfig, stack: Stack, weights: Iterable[Weights]) -> list[Op]:
    """The optimizer step and the data-parallel collectives, once per step."""
    weights = tuple(weights)
    shares = parameter_shares(model, train, weights)
    grad = gradient_bytes(train)
    updated = on_one_rank(train, shares.trainable_dense, shares.trainable_expert)
    ops = [_clip(updated, grad)]
    for each in shares.updates:
        ops += _update(train, stack, each, grad)
    if optimizer(train.optimizer).matmuls:
        ops += matrix_products(model, train, weights)
    if "wgrad_accumulation" in stack.fused and not train.shards_parameters:  # PyTorch drops them instead
        ops.append(_zero_gradients(shares.trainable, grad))
    shared = data_parallel_ops(model, train, stack, shares, grad, gathered_bytes(train, stack, weights))
    ops += _by_owners(model, train, weights, shared) if stack.broadcasts else shared
    if train.offload:
        from .offload import host_transfers

        slices = shares.dense / shard_degree(train) + shares.expert / expert_shard_degree(train)
        ops += host_transfers(train, updated, slices)
    return ops


def _clip(params: Number, grad: int) -> Op:
    """Norm of the gradients, then their scaling."""
    read, written = 2 * params * grad, params * grad
    return step_op("optimizer.clip_gradients", "optimizer", read, written, flops=3 * params, kernels=2)


def _zero_gradients(params: Number, grad: int) -> Op:
    return step_op("optimizer.zero_gradients", "optimizer", 0, params * grad)


def _update(train: TrainConfig, stack: Stack, update: Update, grad: int) -> list[Op]:
    """One update: reads gradient, weight and state, writes weight, state and the 16-bit copy that master weights need.

    Fused it is one pass in a few launches; a foreach implementation runs a dozen kernels per chunk of tensors, in
    several passes (`Optimizer.passes`; 30 % of the bandwidth on a B200, github:stas00/ml-engineering).
    """
    how, master, es = optimizer(update.optimizer), train.master_bytes, train.activation_bytes
    params, state = (
        on_one_rank(train, update.dense, update.expert),
        on_one_rank(train, update.dense_state, update.expert_state),
    )
    weight = train.updated_bytes
    copied = 0 if not master or stack.cast_weights or train.master_dtype == "split" else es
    fused = how.fused_on(stack.fused)
    passes, kernels = (how.fused_passes, FUSED_KERNELS) if fused else (how.passes, FOREACH_KERNELS)
    read = params * (grad + weight) + state
    written = params * (weight + copied) + state
    if "optimizer" in train.offload:
        from .offload import offloaded_gradient_bytes, update_on_host

        read += params * (offloaded_gradient_bytes(train) - grad)
        return update_on_host(train, update.optimizer, read, written, state + params * train.updated_bytes)
    name, moved = f"optimizer.{update.optimizer}", (read * passes, written * passes)
    return [step_op(name, "optimizer", *moved, flops=how.flops * params, kernels=kernels)]


def on_one_rank(train: TrainConfig, dense: Number, expert: Number) -> Number:
    """What one rank updates of what a device holds."""
    if train.sharding == "none":
        return dense + expert
    return dense / shard_degree(train) + expert / expert_shard_degree(train)


def matrix_products(model: ModelConfig, train: TrainConfig, weights: Sequence[Weights]) -> list[Op]:
    """The matrix products of one update on the fullest stage, of the slices that tensor parallelism leaves.

    A sharded optimizer deals whole matrices out: a rank has its share of them, one at the least (Megatron-LM's
    LayerWiseDistributedOptimizer with muon_tp_mode blockwise; github:KellerJordan/Muon).
    """
    how, found = optimizer(train.optimizer), stages(model, train)
    held: list[tuple[Weights, Matrices, Number]] = []
    for weight in weights:
        if matrices := matrices_of(weight, how):
            place: dict[tuple[str, int], Number] = {(weight.part, weight.layer_kind): weight.count}
            layers = maximum(0, *(stage.holds(place, model) for stage in found))
            held += [(weight, each, layers * each.number) for each in matrices]
    ops = []
    for expert, ranks in ((False, shard_degree(train)), (True, expert_shard_degree(train))):
        mine = [each for each in held if each[0].expert == expert]
        total = sum(number for _, _, number in mine)
        share = 1 if train.sharding == "none" else maximum(1 / ranks, 1 / maximum(total, 1))
        for weight, shape, number in mine:
            name = f"optimizer.{train.optimizer}.{weight.name}"
            products = how.products(shape.rows, shape.columns)
            ops += [_product(train, name, m, n, k, times * number * share) for m, n, k, times in products]
    return ops


def _product(train: TrainConfig, name: str, m: Number, n: Number, k: Number, count: Number) -> Op:
    """One matrix product of an update, [m, k] . [k, n]; in 16 bits where training is."""
    kernel = kernels.matmul(m, n, k, 1, train.activation_bytes, train.activation_bytes)
    return Op(
        name=name,
        kind="matmul",
        phase="optimizer",
        part="step",
        dtype=train.compute_dtype,
        flops=kernel.flops,
        bytes_read=kernel.bytes_read,
        bytes_written=kernel.bytes_written,
        shape=kernel.shape,
        count=count,
    )


def gathered_bytes(train: TrainConfig, stack: Stack, weights: Iterable[Weights]) -> Number:
    """Bytes per parameter that data parallelism gathers: those of layers as they were cast, where the stack can."""
    es, recipe = train.activation_bytes, train.recipe
    if recipe is None or not (recipe.gathers_weights and train.low_precision_recipe in stack.quantised_gathers):
        return es
    every = [(weight.part in {"layer", "tower"}, weight.local * weight.count) for weight in weights]
    in_layers = sum(params for in_layer, params in every if in_layer) / maximum(sum(params for _, params in every), 1)
    return es + (recipe.bytes - es) * in_layers


def data_parallel_ops(
    model: ModelConfig, train: TrainConfig, stack: Stack, shares: Shares, grad: int, gathered: Number
) -> list[Op]:
    """Gradient reduction and, where the optimizer or the parameters are sharded, the parameter gathers.

    ``count`` is per step: parameters that are sharded are gathered for each micro batch's forward and backward pass
    (ZeRO, arXiv:1910.02054, section 7; FSDP, arXiv:2304.11277).
    """
    ops: list[Op] = []
    stage_layers = maximum(0, *(stage.depth for stage in stages(model, train)))
    main, whole = shares.updates[0], optimizer(train.optimizer).whole
    stored = shares.stored(train.activation_bytes)
    for prefix, params, all_bytes, matrices, in_8_bits in (
        ("", shares.trainable_dense, stored[0], main.dense, shares.dense_8bit),
        ("expert_", shares.trainable_expert, stored[1], main.expert, shares.expert_8bit),
    ):
        if not (isinstance(all_bytes, (int, float)) and all_bytes == 0):
            whole_ones, saved = matrices if whole else 0, in_8_bits * (train.activation_bytes - 1)
            found = _data_parallel(
                train, stack, prefix, params, all_bytes, whole_ones, saved, grad, gathered, stage_layers
            )
            runs = where(all_bytes > 0, 1, 0)  # of arrays some stages may have none
            ops += [msgspec.structs.replace(op, count=op.count * runs) for op in found]
    return ops


def _collective(name: str, how: Collective, group: Group, payload: Number, count: Number, rounds: Number) -> Op:
    """Communication of a step: `count` times, in `rounds` that cannot overlap each other."""
    fields: dict[str, Any] = {"collective": how, "group": group, "count": count, "rounds": rounds}
    return step_op(name, "collective", bytes_sent=payload, **fields)


def _data_parallel(
    train: TrainConfig,
    stack: Stack,
    prefix: str,
    params: Number,
    all_bytes: Number,
    matrices: Number,
    saved: Number,
    grad: int,
    weight: Number,
    stage_layers: Number,
) -> list[Op]:
    """The collectives of dense (no prefix) or expert parameters, with the copies in and out of their buffers.

    `matrices` are the parameters whose update needs them whole; `saved` the bytes that primary weights of 8 bits save.
    """
    es = train.activation_bytes
    shards = SHARDINGS[train.sharding]
    hybrid = shards.node
    ranks: Group = "expert_dp" if prefix else "dp"
    group: Group = ("expert_shard" if prefix else "shard") if hybrid else ranks
    # A pipeline keeps gathered parameters, and gradients, from micro batch to micro batch (arXiv:2407.21783, 3.3.2).
    passes = where(train.pp > 1, 1, train.accumulation) if train.shards_parameters else train.accumulation

    def collect(
        what: str, how: Collective, payload: Number, rounds: Number, each: Number = 1, among: Group = group
    ) -> Op:
        buckets = _buckets(train, stack, payload, stage_layers)
        return _collective(f"{what}.{prefix}{how}", how, among, payload / buckets, rounds * each * buckets, rounds)

    if train.sharding == "none":
        return [collect("gradients", "all_reduce", params * grad, 1)]
    if not shards.gradients:
        gathered = collect("parameters", "all_gather", params * weight - saved, 1)
        reduced: Collective = "all_reduce" if hybrid or some(matrices > 0) else stack.zero1
        return [collect("gradients", reduced, params * grad, 1, among=ranks), gathered]
    reduced_in = 1 if sums_whole(train, stack) else passes
    ops = [
        collect("gradients", "reduce_scatter", params * grad, reduced_in),
        _copy(f"gradients.{prefix}copy_in", params * es, params * grad, reduced_in),
    ]
    shard = params / (expert_shard_degree(train) if prefix else shard_degree(train)) * grad
    if some(passes > 1):
        summed = shard if reduced_in is passes else params * es  # each rank's own, whole
        ops.append(_copy(f"gradients.{prefix}accumulate", 2 * summed, summed, passes - 1))
    if some(matrices > 0):  # shards become matrices again, in 16 bits (arXiv:2502.16982, section 2.3)
        ops.append(msgspec.structs.replace(collect("update", "all_gather", matrices * 2, 1), role="update"))
    if hybrid:
        copies: Group = "expert_replica" if prefix else "replica"
        ops.append(collect("replicas", "all_reduce", shard, reduced_in, among=copies))
    if train.sharding == "zero2":
        return [*ops, collect("parameters", "all_gather", params * weight - saved, 1)]
    twice = where(train.pp > 1, 1, 2)  # for the forward and the backward pass
    held = all_bytes * (weight / es)  # as they were cast
    ops.append(collect("parameters", "all_gather", held, passes, twice))
    ops.append(_copy(f"parameters.{prefix}copy_out", held, held, passes * twice))
    return ops


def _by_owners(model: ModelConfig, train: TrainConfig, weights: Iterable[Weights], ops: Iterable[Op]) -> list[Op]:
    """Collectives of data parallelism where each matrix has an owner, who broadcasts it after its update.

    Ranks that own several send them together. One broadcast follows another, and nothing runs beside them.
    """
    if SHARDINGS[train.sharding].gradients:
        return list(ops)
    held: dict[tuple[str, int], Number] = {}
    for weight in weights:
        if weight.trainable and not weight.expert:
            place = weight.part, weight.layer_kind
            held[place] = held.get(place, 0) + weight.count * sum(each.number for each in weight.matrices)
    owned = maximum(0, *(stage.holds(held, model) for stage in stages(model, train)))
    times = maximum(minimum(owned, shard_degree(train)), 1)
    return [
        msgspec.structs.replace(
            op,
            name="parameters.broadcast",
            collective="broadcast",
            role="update",
            bytes_sent=op.bytes_sent * op.count / times,
            count=times,
        )
        if op.collective == "all_gather" and op.group in {"dp", "shard"}
        else op
        for op in ops
    ]


def _copy(name: str, read: Number, written: Number, count: Number) -> Op:
    """Parameters leave the gathered buffer, gradients enter the one to reduce, by a copy (arXiv:2304.11277, 3.2.1)."""
    return step_op(name, "elementwise", read, written, count=count)


def _buckets(train: TrainConfig, stack: Stack, payload: Number, layers: Number) -> Number:
    """Collectives in one pass over the parameters: one per layer where they are sharded, else one per bucket."""
    if train.shards_parameters:
        return layers
    if stack.bucket_mb is None:
        return 1
    return maximum(payload / (stack.bucket_mb * 1e6), 1)
