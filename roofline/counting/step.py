"""A training step as a list of ops: what one device runs for one micro batch, and once per update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ..arrays import Number, divide, maximum
from ..config.base import base_of, hands_out_fp32, leaves_experts
from ..config.lora import MODULES
from ..config.profile import profile_of
from ..config.recompute import RECOMPUTES, recompute_modules
from ..config.run import TrainConfig
from ..config.settle import resolve
from ..config.stack import Stack
from ..errors import RooflineError
from ..model.recorded import RecordedPass
from ..model.spec import ModelConfig
from . import layers
from .op import Op
from .optimizer_step import update_of
from .recompute import recomputed
from .recorder import Tape
from .towers import record_towers
from .weights import Weights


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one device does in a training step.

    Attributes:
        model: The model.
        train: The resolved configuration.
        stack: The software profile.
        ops: Ops of one micro batch through the whole model (``part`` layer, embedding, head) and of one update (step).
        weights: Parameters held by one device before data-parallel sharding, per layer and part.
        counted: Whether MFU counts the ops themselves rather than a rule of the model: adapters, traced modules.
        working_bytes: Bytes beside what is kept while a layer runs backward: its gradients, and what it makes anew
            where it is recomputed.
        last_bytes: Bytes of the layer that runs backward last: the same, and what it keeps.
    """

    model: ModelConfig
    train: TrainConfig
    stack: Stack
    ops: tuple[Op, ...]
    weights: tuple[Weights, ...]
    working_bytes: Number
    last_bytes: Number = 0
    counted: bool = False

    @property
    def accumulation(self) -> Number:
        """Micro batches per device group and step."""
        return self.train.accumulation


def build_step(model: ModelConfig, train: TrainConfig) -> Step:
    """Lay out one training step of `model`.

    Raises:
        RooflineError: The configuration does not fit the model (see `settle.resolve`).
    """
    return lay_out(model, resolve(train, model))


def lay_out(model: ModelConfig, train: TrainConfig) -> Step:
    """The step of a configuration that is resolved already (see `build_step`)."""
    [step] = without_updates(model, [train])
    return msgspec.structs.replace(step, ops=(*step.ops, *update_of(model, train, step.stack, step.weights)))


def without_updates(model: ModelConfig, trains: Sequence[TrainConfig]) -> list[Step]:
    """The steps of resolved configurations without their updates, counted once.

    Args:
        model: The model.
        trains: Configurations that differ in what they recompute, and in nothing else.
    """
    train = trains[0]
    stack = profile_of(train)
    if train.fused:
        stack = msgspec.structs.replace(stack, fused=stack.fused | set(train.fused))
    if model.recorded is not None:
        return [_recorded_pass(model, each, stack, model.recorded) for each in trains]
    tape, entries = _record(model, train, stack)
    return [_with_recompute(tape, entries, model, each) for each in trains]


def _record(model: ModelConfig, train: TrainConfig, stack: Stack) -> tuple[Tape, dict[int, Number]]:
    """A micro batch that recomputes nothing, and the bytes of layers' inputs by the places of their first ops."""
    tape = Tape(train, stack)
    tape.base, tape.wide = base_of(train, model), hands_out_fp32(train, stack, model)
    tape.leaves_experts = leaves_experts(train, stack, model)
    tape.part = "embedding"
    entries = record_towers(tape, model)
    layers.embedding(tape, model)
    tape.input_needs_grad = True  # from the first adapter on; one layer of many pays a gradient it does not need
    tape.part = "layer"
    tape.streams, tape.sinkhorn_rounds = model.residual_streams, model.sinkhorn_rounds
    tape.streams_apart = model.streams_apart
    stream = model.stream_width * tape.norm_tokens * train.longest * tape.stream_es
    for tape.layer_kind, group in enumerate(model.groups):
        whole = _ends_in_16_bits(model, train, stack, tape.layer_kind)
        for count, recipe in ((group.count - whole, train.recipe), (whole, None)):
            if count == 0:
                continue
            entries[len(tape.ops)] = stream
            tape.count, tape.recipe = count, recipe
            layers.layer(tape, group, model.d_model)
            if group.extra_params:
                tape.weight("extra", divide(group.extra_params, train.tp))
    tape.recipe = train.recipe
    tape.count, tape.part, tape.layer_kind = 1, "head", 0
    layers.head(tape, model)
    if model.heads_ahead:  # the same head once more for each token further ahead, behind a norm of its own
        held, tape.count = len(tape.weights), model.heads_ahead
        layers.head(tape, msgspec.structs.replace(model, final_norm=None, linears=()))
        del tape.weights[held:]
        tape.count = 1
    if model.extra_params:
        tape.weight("extra", model.extra_params)
    _check_adapters(tape, model)
    return tape, entries


def _with_recompute(tape: Tape, entries: Mapping[int, Number], model: ModelConfig, train: TrainConfig) -> Step:
    """The step of what was recorded, with what runs again and what is offloaded."""
    weights = tuple(tape.weights)
    _check_modules(tape, model, train)
    found = recomputed(tape.ops, model, train, tape.stack, entries, tape.inner_es)
    ops = found.ops
    if "activations" in train.offload:
        from .offload import activation_transfers

        share = train.offloaded_share(model.n_layers)
        ops = [*ops, *activation_transfers(tuple(ops), [group.count for group in model.groups], share)]
    whole = _dequantised(weights) * tape.es
    return Step(
        model=model,
        train=train,
        stack=tape.stack,
        ops=tuple(ops),
        weights=weights,
        working_bytes=whole + found.working,
        last_bytes=whole + found.last,
        counted=train.adapts or bool(train.freeze) or bool(model.towers),
    )


def _recorded_pass(model: ModelConfig, train: TrainConfig, stack: Stack, recorded: RecordedPass) -> Step:
    """The step of a traced module without its update: the recorded pass, fused where the stack compiles."""
    from .recorded import recorded_pass

    if stack.launch != "eager" and recorded.fused is not None:
        recorded = recorded.fused
    ops, weights = recorded_pass(model, recorded)
    # the peak of the pass holds what is in hand
    return Step(model=model, train=train, stack=stack, ops=ops, weights=weights, working_bytes=0, counted=True)


def _dequantised(weights: tuple[Weights, ...]) -> Number:
    """Weights of the largest quantised matrix: what a matmul multiplies is there beside them, in 16 bits."""
    return maximum(0, *(weight.local for weight in weights if (weight.stored_bytes or 4) < 4))


def _ends_in_16_bits(model: ModelConfig, train: TrainConfig, stack: Stack, kind: int) -> int:
    """Layers of a kind among the first and last that the recipe leaves in 16 bits."""
    ends = stack.ends_in_16_bit.get(train.low_precision_recipe or "", 0)
    if not ends:
        return 0
    order = model.layer_order
    return [*order[:ends], *order[max(ends, len(order) - ends) :]].count(kind)


def _check_adapters(tape: Tape, model: ModelConfig) -> None:
    """Refuse a word of ``--lora-modules`` that names no projection of the model."""
    for word in tape.lora_words:
        if word not in tape.lora_known:
            there = ", ".join(known for known in MODULES if known in tape.lora_known)
            raise RooflineError(f"lora_modules {word!r}: {model.name} has no such projection: use {there}")


def _check_modules(tape: Tape, model: ModelConfig, train: TrainConfig) -> None:
    """Refuse words of ``--recompute`` none of which names a module of the model: nothing would run again."""
    detail = train.recompute_detail
    if detail is None or detail in RECOMPUTES:
        return
    known, said = recompute_modules(), detail.split(",")
    named = {module for word in said if word in known for module in known[word].modules}
    if named and not any(op.module in named for op in tape.ops):
        there = {op.module for op in tape.ops}
        able = [word for word, each in known.items() if not there.isdisjoint(each.modules)]
        what = f"recompute {detail}: {model.name} has no such module"
        raise RooflineError(f"{what}: use {', '.join(able)} or full")


def build_ops(model: ModelConfig, train: TrainConfig) -> tuple[Op, ...]:
    """The ops of one training step (see `build_step`)."""
    return build_step(model, train).ops


def update_ops(step: Step) -> list[Op]:
    """The ops of one update for the configuration and weights of `step`: what runs once per step."""
    return update_of(step.model, step.train, step.stack, step.weights)
