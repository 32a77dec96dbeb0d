"""Who holds what: layers of a pipeline stage, parameters of the fullest device, the ranks that share them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Any

import msgspec

from ..arrays import Number, divide, is_scalar, maximum, minimum, where
from ..config.optimizer import Optimizer, optimizer
from ..config.run import TrainConfig
from ..config.sharding import SHARDINGS
from ..config.stack import load_stack
from ..model.spec import ModelConfig
from .stages import Stage, stages
from .weights import Matrices, Weights

NODE = 8  # devices of a DGX or HGX node


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters that one optimizer updates, and what it keeps of them.

    Attributes:
        optimizer: Its name.
        dense, expert: Parameters, by how their gradients are reduced.
        dense_state, expert_state: Bytes of its state.
    """

    optimizer: str
    dense: Number
    expert: Number
    dense_state: Number
    expert_state: Number


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters on the device that holds most of them, by how their gradients are reduced."""

    dense: Number  # reduced over dp*cp ranks
    expert: Number  # reduced over dp*cp*tp/ep ranks
    trainable_dense: Number
    trainable_expert: Number
    dense_8bit: Number = 0  # of the trainable ones, kept in 8 bits (primary weights)
    expert_8bit: Number = 0
    quantised_dense: Number = 0  # of the frozen ones, those that are stored in few bits
    quantised_expert: Number = 0
    quantised_dense_bytes: Number = 0
    quantised_expert_bytes: Number = 0
    updates: tuple[Update, ...] = ()  # of the trainable ones, by the optimizer that takes them

    @property
    def in_8_bits(self) -> tuple[Number, Number]:
        """Primary weights, dense and of experts."""
        return self.dense_8bit, self.expert_8bit

    @property
    def total(self) -> Number:
        """All parameters of the device."""
        return self.dense + self.expert

    def stored(self, es: Number) -> tuple[Number, Number]:
        """Bytes of the dense and the expert parameters at `es` each, those in few bits as they are kept."""
        dense = (self.dense - self.quantised_dense) * es + self.quantised_dense_bytes
        expert = (self.expert - self.quantised_expert) * es + self.quantised_expert_bytes
        return dense - self.dense_8bit * (es - 1), expert - self.expert_8bit * (es - 1)

    @property
    def trainable(self) -> Number:
        """Parameters with gradients and optimizer state."""
        return self.trainable_dense + self.trainable_expert


def stage_shares(model: ModelConfig, train: TrainConfig, weights: Iterable[Weights]) -> list[tuple[Stage, Shares]]:
    """Parameters of each stage that may be the fullest (see `stages`), and what their optimizers keep.

    With one stage a tied head is the embedding; with several, the last stage holds its own copy.
    """
    sums: dict[tuple[object, ...], dict[tuple[str, int], Number]] = {}
    for weight in weights:
        copies = weight.count * (where(train.pp == 1, 0, 1) if weight.tied else 1)
        figures: dict[tuple[object, ...], Number] = {("parameters", weight.expert, weight.trainable): weight.local}
        if weight.trainable and weight.low_precision and train.weight_dtype == "fp8":
            figures["8 bits", weight.expert] = weight.local
        if weight.stored_bytes is not None:
            figures["quantised", weight.expert] = weight.local
            figures["stored", weight.expert] = weight.local * weight.stored_bytes
        for name, taken, state in updates_of(weight, train) if weight.trainable else ():
            figures |= {(name, weight.expert): taken, (name, "state", weight.expert): state}
        place = (weight.part, weight.layer_kind)
        for key, figure in figures.items():
            of = sums.setdefault(key, {})
            of[place] = of.get(place, 0) + figure * copies
    main = optimizer(train.optimizer)
    names = (train.optimizer,) if main.takes == "all" else (train.optimizer, main.rest)

    def shares(stage: Stage) -> Shares:
        def held(*key: object) -> Number:
            return stage.holds(sums[key], model) if key in sums else 0

        trained, frozen = ([held("parameters", expert, kind) for expert in (False, True)] for kind in (True, False))
        return Shares(
            dense=trained[0] + frozen[0],
            expert=trained[1] + frozen[1],
            trainable_dense=trained[0],
            trainable_expert=trained[1],
            dense_8bit=held("8 bits", False),
            expert_8bit=held("8 bits", True),
            quantised_dense=held("quantised", False),
            quantised_expert=held("quantised", True),
            quantised_dense_bytes=held("stored", False),
            quantised_expert_bytes=held("stored", True),
            updates=tuple(
                Update(
                    optimizer=name,
                    dense=held(name, False),
                    expert=held(name, True),
                    dense_state=held(name, "state", False),
                    expert_state=held(name, "state", True),
                )
                for name in names
            ),
        )

    return [(stage, shares(stage)) for stage in stages(model, train)]


def updates_of(weight: Weights, train: TrainConfig) -> Iterator[tuple[str, Number, Number]]:
    """(optimizer, parameters, bytes of state) of one weight in one layer: of its matrices, and of the rest."""
    main, each = optimizer(train.optimizer), train.moment_bytes
    matrices = matrices_of(weight, main)
    taken: Number = sum(shape.parameters for shape in matrices)
    if matrices:
        state = sum(shape.number * main.matrix_bytes(each, shape.rows, shape.columns) for shape in matrices)
        yield train.optimizer, taken, state
    rest = main if main.takes == "all" else optimizer(main.rest)
    left = weight.local - taken
    name = train.optimizer if main.takes == "all" else main.rest
    table = rest.wide_tables and weight.part == "embedding" and train.sharding == "none"  # slices are of no one tensor
    wide = table and load_stack(train.stack).wide_tables
    yield name, left, left * rest.moments * (4 if wide else rest.stored_bytes(each, weight.local))


def matrices_of(weight: Weights, how: Optimizer) -> tuple[Matrices, ...]:
    """The matrices of a weight that an optimizer updates as such (see `Optimizer.takes`)."""
    hidden = how.takes == "hidden matrices" and weight.part in {"layer", "tower"}
    return weight.matrices if weight.trainable and (hidden or how.takes == "matrices") else ()


def parameter_shares(model: ModelConfig, train: TrainConfig, weights: Iterable[Weights]) -> Shares:
    """Parameters of the fullest stage: the one that updates most."""

    def fuller(one: Shares, other: Shares) -> Shares:
        return _chosen(other.total > one.total, other, one)

    return reduce(fuller, (shares for _, shares in stage_shares(model, train, weights)))


def _chosen(more: Any, yes: Shares, no: Shares) -> Shares:
    """One of two, of arrays element by element."""
    if is_scalar(more):
        return yes if more else no
    numbers = [name for name in Shares.__struct_fields__ if name != "updates"]
    fields = Update.__struct_fields__[1:]
    updates = (
        Update(
            optimizer=one.optimizer, **{name: where(more, getattr(one, name), getattr(other, name)) for name in fields}
        )
        for one, other in zip(yes.updates, no.updates, strict=True)
    )
    chosen = {name: where(more, getattr(yes, name), getattr(no, name)) for name in numbers}
    return Shares(**chosen, updates=tuple(updates))


def shard_ranks(train: TrainConfig) -> Number:
    """Ranks that hold the same dense parameters: dp * cp."""
    return train.data_parallel * train.cp


def shard_degree(train: TrainConfig) -> Number:
    """Ranks that dense parameters, gradients and optimizer state are sharded over: of a hybrid those of one replica.

    They are a node's where nobody says (`TrainConfig.dp_shard`), and a node of 8 devices where nobody says that.
    """
    ranks = shard_ranks(train)
    if not SHARDINGS[train.sharding].node:
        return ranks
    node = train.devices_per_node if train.devices_per_node is not None else NODE
    usual = maximum(node // train.tp, 1) if train.dp_shard is None else train.dp_shard
    shard = minimum(ranks, usual)
    return where(ranks % shard == 0, shard, ranks)  # ranks that do not divide into replicas are sharded as one


def expert_ranks(train: TrainConfig) -> Number:
    """Ranks that hold the same expert parameters: dp * cp * tp / (ep * etp) (see `feedforward.moe`)."""
    return divide(train.data_parallel * train.cp * train.tp, train.ep * train.expert_tensor_parallel)


def expert_shard_degree(train: TrainConfig) -> Number:
    """Ranks that expert parameters are sharded over: of a hybrid those of one replica, where ep lies within it."""
    ranks, replicas = expert_ranks(train), divide(shard_ranks(train), shard_degree(train))
    return where(ranks % replicas == 0, divide(ranks, replicas), ranks)
