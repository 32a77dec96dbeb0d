"""A training step as a list of ops: what one device runs for one micro batch, and once per update."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from . import layers
from .adapters import MODULES
from .arrays import Number, ceil_div, divide, maximum, minimum, some, where
from .errors import RooflineError
from .model import ModelConfig
from .op import Collective, Group, Op
from .stacks import Stack, load_stack
from .tape import Tape, Weights
from .training import TrainConfig, resolve

HSDP_NODE = 8  # devices of a DGX or HGX node


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one device does in a training step.

    Attributes:
        model: The model.
        train: The resolved configuration.
        stack: The software profile.
        ops: Ops of one micro batch through the whole model (``part`` layer, embedding, head) and of one update (step).
        weights: Parameters held by one device before data-parallel sharding, per layer and part.
        counted: Whether MFU counts the ops themselves rather than a rule of the model: adapters, traced modules.
        working_bytes: Bytes beside what is kept: gradients of the layer in hand, and what it would keep for backward
            where it is recomputed.
    """

    model: ModelConfig
    train: TrainConfig
    stack: Stack
    ops: tuple[Op, ...]
    weights: tuple[Weights, ...]
    working_bytes: Number
    counted: bool = False

    @property
    def accumulation(self) -> Number:
        """Micro batches per device group and step."""
        return self.train.accumulation


def build_step(model: ModelConfig, train: TrainConfig) -> Step:
    """Lay out one training step of `model`.

    Raises:
        RooflineError: The configuration does not fit the model (see `training.resolve`).
    """
    train = resolve(train, model)
    stack = load_stack(train.stack)
    if train.fused:
        stack = msgspec.structs.replace(stack, fused=stack.fused | set(train.fused))
    tape = Tape(train, stack)
    tape.part = "embedding"
    layers.embedding(tape, model)
    tape.input_needs_grad = (
        True  # from the first adapter on; one layer of many pays a gradient it does not need
    )
    tape.part = "layer"
    first_ops = set()
    for group in model.groups:
        tape.count = group.count
        first_ops.add(len(tape.ops))
        layers.layer(tape, group, model.d_model)
        if group.extra_params:
            tape.weight("extra", divide(group.extra_params, train.tp))
    tape.count, tape.part = 1, "head"
    layers.head(tape, model)
    if model.extra_params:
        tape.weight("extra", model.extra_params)
    _check_adapters(tape, model)
    weights = tuple(tape.weights)
    hidden = model.d_model * tape.norm_tokens * tape.es
    working = 4 * hidden
    if train.recompute == "full":
        layer_saved = sum(op.saved_bytes * op.count for op in tape.ops if op.part == "layer")
        working = working + layer_saved / max(1, model.n_layers)
    ops = _recomputed(tape.ops, train, stack, first_ops, hidden)
    ops += _update(model, train, stack, weights)
    return Step(
        model=model,
        train=train,
        stack=stack,
        ops=tuple(ops),
        weights=weights,
        working_bytes=working,
        counted=train.train == "lora" or bool(train.freeze),
    )


def _check_adapters(tape: Tape, model: ModelConfig) -> None:
    """Refuse a word of ``--lora-modules`` that names no projection of the model."""
    for word in tape.lora_words:
        if word not in tape.lora_known:
            there = ", ".join(known for known in MODULES if known in tape.lora_known)
            raise RooflineError(f"lora_modules {word!r}: {model.name} has no such projection: use {there}")


def build_ops(model: ModelConfig, train: TrainConfig) -> tuple[Op, ...]:
    """The ops of one training step (see `build_step`)."""
    return build_step(model, train).ops


def _recomputed(
    ops: list[Op], train: TrainConfig, stack: Stack, first_ops: set[int], layer_input: Number
) -> list[Op]:
    """Drop what recompute does not keep and add the forward ops it runs again.

    Full recompute keeps each layer's input only. Selective recompute is the stack's: the attention core keeps q, k, v
    and drops scores, probabilities and masks (arXiv:2205.05198, section 5); or half of each layer.
    """
    result: list[Op] = []
    half = train.recompute == "selective" and stack.selective == "half"
    for index, op in enumerate(ops):
        again = op.phase == "forward" and op.part == "layer" and train.recompute != "none"
        if train.recompute == "selective" and not half:
            again = again and op.in_attention_core
        if not again:
            result.append(op)
            continue
        kept = layer_input if index in first_ops else 0
        if half:
            kept = (op.saved_bytes + kept) / 2
        elif train.recompute == "selective":
            kept = op.saved_bytes if op.name.endswith((".scores", ".core")) else 0
        result.append(msgspec.structs.replace(op, saved_bytes=kept))
        result.append(
            msgspec.structs.replace(
                op, phase="recompute", saved_bytes=0, model_flops=0, count=op.count / 2 if half else op.count
            )
        )
    return result


# --- parameters, and the work they cause once per step -----------------------------------------------------------


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters on the device that holds most of them, by how their gradients are reduced."""

    dense: Number  # reduced over dp*cp ranks
    expert: Number  # reduced over dp*cp*tp/ep ranks
    trainable_dense: Number
    trainable_expert: Number

    @property
    def total(self) -> Number:
        """All parameters of the device."""
        return self.dense + self.expert

    @property
    def trainable(self) -> Number:
        """Parameters with gradients and optimizer state."""
        return self.trainable_dense + self.trainable_expert


class Stages(msgspec.Struct, frozen=True, kw_only=True):
    """Layers of one pipeline stage: the first (with the embedding), the last (with the head), those between."""

    first: Number
    interior: Number
    last: Number


def stages(model: ModelConfig, train: TrainConfig) -> Stages:
    """How layers are dealt out to pipeline stages.

    Evenly where they divide. Otherwise, where counting the head, or embedding and head, as a layer each makes them
    divide, the ends hold one layer less (BLOOM, arXiv:2211.05100; Llama 3, arXiv:2407.21783, section 3.3.2); else the
    first stages hold one layer more than the last.
    """
    layers, chunks = model.n_layers, train.pp * train.vp
    if isinstance(train.pp, int) and train.pp == 1:
        return Stages(first=layers, interior=layers, last=layers)
    full = layers // chunks * train.vp + ceil_div(layers % chunks, train.pp)
    even = layers % chunks == 0
    head_counts = (layers + 1) % chunks == 0
    both_count = (layers + 2) % chunks == 0
    full = where(both_count & (1 - even), (layers + 2) // chunks * train.vp, full)
    last = where(even, full, where(both_count | head_counts, full - 1, layers // chunks * train.vp))
    first = where(both_count & (1 - even), full - 1, full)
    return Stages(first=first, interior=full, last=maximum(last, 0))


def parameter_shares(model: ModelConfig, train: TrainConfig, weights: Iterable[Weights]) -> Shares:
    """Parameters of the fullest device: its layers, with the embedding or the head (both when pp = 1).

    With one stage a tied head is the embedding; with several, the last stage holds its own copy.
    """
    layout = stages(model, train)
    sums: dict[tuple[str, bool, bool], Number] = {}
    for weight in weights:
        local = weight.local * weight.count
        if model.tied_embeddings and weight.name == "head.logits":
            # the table is the embedding's; a bias is the head's own
            joined = model.head_bias and "embeddings" not in train.freeze  # else it has an entry of its own
            bias = divide(local, (model.embedding_dim or model.d_model) + 1) if joined else 0
            local = where(train.pp == 1, bias, local)
        key = (weight.part, weight.expert, weight.trainable)
        sums[key] = sums.get(key, 0) + local

    def of(expert: bool, *kinds: bool) -> Number:
        """Parameters of the fullest stage: trainable (True), frozen (False), or both."""
        if all(key[1:] not in {(expert, trainable) for trainable in kinds} for key in sums):
            return 0

        def held(part: str) -> Number:
            return sum(sums.get((part, expert, trainable), 0) for trainable in kinds)

        layer, first, last = divide(held("layer"), model.n_layers), held("embedding"), held("head")
        ends = maximum(layer * layout.first + first, layer * layout.last + last)
        return where(
            train.pp == 1, layer * model.n_layers + first + last, maximum(ends, layer * layout.interior)
        )

    return Shares(
        dense=of(False, True, False),
        expert=of(True, True, False),
        trainable_dense=of(False, True),
        trainable_expert=of(True, True),
    )


def shard_ranks(train: TrainConfig) -> Number:
    """Ranks that hold the same dense parameters: dp * cp."""
    return train.data_parallel * train.cp


def shard_degree(train: TrainConfig) -> Number:
    """Ranks that dense parameters, gradients and optimizer state are sharded over: under hsdp those of one node.

    A node of 8 devices is assumed where the configuration does not say.
    """
    ranks = shard_ranks(train)
    if train.sharding != "hsdp":
        return ranks
    node = train.devices_per_node if train.devices_per_node is not None else HSDP_NODE
    shard = minimum(ranks, maximum(node // train.tp, 1))
    return where(ranks % shard == 0, shard, ranks)  # ranks that do not divide into nodes are sharded as one


def expert_ranks(train: TrainConfig) -> Number:
    """Ranks that hold the same expert parameters (see `feedforward.moe`)."""
    ranks = train.data_parallel * train.cp * (train.tp if train.sequence_parallel else 1)
    return divide(ranks, train.ep)


OPTIMIZER_STATE = {"adamw": 8, "adamw-8bit": 2, "sgd": 0, "sgd-momentum": 4}  # bytes per parameter


def optimizer_state_bytes(train: TrainConfig) -> int:
    """Bytes of optimizer state per trainable parameter, fp32 master weights not included."""
    full = OPTIMIZER_STATE[train.optimizer]
    return full if train.master_weights or train.optimizer == "adamw-8bit" else full // 2


def master_bytes(train: TrainConfig) -> int:
    """Bytes of the fp32 copies that 16-bit training updates: weights, and in fp16 the unscaled gradients."""
    copies = 2 if train.dtype == "fp16" else 1
    return 4 * copies if train.master_weights and train.activation_bytes == 2 else 0


def update_ops(step: Step) -> list[Op]:
    """The ops of one update for the configuration and weights of `step`: what runs once per step."""
    return _update(step.model, step.train, step.stack, step.weights)


def _update(model: ModelConfig, train: TrainConfig, stack: Stack, weights: Iterable[Weights]) -> list[Op]:
    """The optimizer step and the data-parallel collectives, once per step."""
    shares = parameter_shares(model, train, weights)
    grad = stack.gradient_bytes(train.dtype, train.activation_bytes)
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
        name=name, kind="optimizer", phase="optimizer", part="step", dtype="fp32", flops=flops, bytes_read=read,
        bytes_written=written, kernels=kernels,
    )  # fmt: skip


def _clip(params: Number, grad: int) -> Op:
    """Norm of the gradients, then their scaling."""
    return _step_op("optimizer.clip_gradients", 3 * params, 2 * params * grad, params * grad, kernels=2)


def _zero_gradients(params: Number, grad: int) -> Op:
    return _step_op("optimizer.zero_gradients", 0, 0, params * grad)


def _optimizer(train: TrainConfig, stack: Stack, params: Number, grad: int) -> Op:
    """One update: reads gradient, weight and state, writes weight, state and the 16-bit copy that master weights need.

    Fused it is one pass; a foreach implementation makes about three (measured: AdamW of 8B parameters on B200 takes
    46.6 ms, 30 % of what one pass would).
    """
    state, master, es = optimizer_state_bytes(train), master_bytes(train), train.activation_bytes
    weight = 4 if master else es
    read = params * (grad + weight + state)
    written = params * (weight + state + (es if master and not stack.cast_weights else 0))
    fused = "optimizer" in stack.fused
    passes, kernels = (1, 4) if fused else (3, 12 * 8)
    flops = {"adamw": 14, "adamw-8bit": 20, "sgd": 2, "sgd-momentum": 4}[train.optimizer]
    return _step_op(f"optimizer.{train.optimizer}", flops * params, read * passes, written * passes, kernels)


def data_parallel_ops(
    model: ModelConfig, train: TrainConfig, stack: Stack, shares: Shares, grad: int
) -> list[Op]:
    """Gradient reduction and, where the optimizer or the parameters are sharded, the parameter gathers.

    ``count`` is per step: parameters that are sharded are gathered for each micro batch's forward and backward pass
    (ZeRO, arXiv:1910.02054, section 7; FSDP, arXiv:2304.11277).
    """
    ops: list[Op] = []
    stage_layers = stages(model, train).interior
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
            name=f"{what}.{prefix}{how}", kind="collective", phase="optimizer", part="step", dtype="fp32", flops=0,
            bytes_read=0, bytes_written=0, bytes_sent=payload / buckets, collective=how, group=among,
            count=rounds * each * buckets, rounds=rounds,
        )  # fmt: skip

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
        name=name, kind="elementwise", phase="optimizer", part="step", dtype="fp32", flops=0, bytes_read=read,
        bytes_written=written, count=count,
    )  # fmt: skip


def _buckets(train: TrainConfig, stack: Stack, payload: Number, layers: Number) -> Number:
    """Collectives in one pass over the parameters: one per layer where they are sharded, else one per bucket."""
    if train.shards_parameters:
        return layers
    if stack.bucket_mb is None:
        return 1
    return maximum(payload / (stack.bucket_mb * 1e6), 1)
