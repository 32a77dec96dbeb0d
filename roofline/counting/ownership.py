"""Who holds what: layers of a pipeline stage, parameters of the fullest device, the ranks that share them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import msgspec

from ..arrays import Number, divide, maximum, minimum, where
from ..config.run import TrainConfig
from ..model.spec import ModelConfig
from .stages import Stage, stages
from .weights import Weights

HSDP_NODE = 8  # devices of a DGX or HGX node


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


def stage_shares(model: ModelConfig, train: TrainConfig, weights: Iterable[Weights]) -> list[tuple[Stage, Shares]]:
    """Parameters of each stage that may be the fullest (see `stages`).

    With one stage a tied head is the embedding; with several, the last stage holds its own copy.
    """
    sums: dict[tuple[bool, bool], dict[tuple[str, int], Number]] = {}
    for weight in weights:
        local = weight.local * weight.count
        if weight.tied:
            local = where(train.pp == 1, 0, local)
        of = sums.setdefault((weight.expert, weight.trainable), {})
        place = (weight.part, weight.layer_kind)
        of[place] = of.get(place, 0) + local

    def held(stage: Stage, expert: bool, *kinds: bool) -> Number:
        """Parameters of a stage: trainable (True), frozen (False), or both."""
        return sum(stage.holds(sums[expert, kind], model) for kind in kinds if (expert, kind) in sums)

    return [
        (
            stage,
            Shares(
                dense=held(stage, False, True, False),
                expert=held(stage, True, True, False),
                trainable_dense=held(stage, False, True),
                trainable_expert=held(stage, True, True),
            ),
        )
        for stage in stages(model, train)
    ]


def parameter_shares(model: ModelConfig, train: TrainConfig, weights: Iterable[Weights]) -> Shares:
    """Parameters of the fullest stage: the one that updates most."""

    def fuller(one: Shares, other: Shares) -> Shares:
        more = other.total > one.total
        names = Shares.__struct_fields__
        return Shares(**{name: where(more, getattr(other, name), getattr(one, name)) for name in names})

    return reduce(fuller, (shares for _, shares in stage_shares(model, train, weights)))


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
    """Ranks that hold the same expert parameters: dp * cp * tp / (ep * etp) (see `feedforward.moe`)."""
    return divide(train.data_parallel * train.cp * train.tp, train.ep * train.expert_tensor_parallel)
