"""Who holds what: layers of a pipeline stage, parameters of the fullest device, the ranks that share them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..arrays import Number, ceil_div, divide, maximum, minimum, where
from ..config.run import TrainConfig
from ..model.spec import ModelConfig
from .recorder import Weights

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
        if weight.tied:
            local = where(train.pp == 1, 0, local)
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
        return where(train.pp == 1, layer * model.n_layers + first + last, maximum(ends, layer * layout.interior))

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
