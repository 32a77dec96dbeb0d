"""Exact parameter counts of a model: in all, active per token, and by component."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from .projections import beside, layer_projections, layer_vectors, model_projections, model_vectors
from .spec import Block, LayerGroup, ModelConfig, Tower

_COMPONENTS: Mapping[Block, str] = {  # where the parameters of a layer's blocks are listed; "other" where not here
    "attention": "attention",
    "cross_attention": "attention",
    "indexer": "attention",
    "mlp": "mlp",
    "shared_expert": "mlp",
    "router": "router",
    "experts": "experts",
    "norm": "norms",
}


class LayerParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of one layer; `count` layers are alike."""

    count: int
    attention: int  # projections, norms inside it, sinks; cross-attention included
    mlp: int  # dense feed-forward, or shared experts and their gate
    router: int
    experts: int  # all routed experts
    active_experts: int  # the routed experts one token visits
    norms: int
    other: int

    @property
    def total(self) -> int:
        """Parameters of one layer."""
        return self.attention + self.mlp + self.router + self.experts + self.norms + self.other

    @property
    def active(self) -> int:
        """Parameters of one layer that one token passes through."""
        return self.total - self.experts + self.active_experts


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a model; `total` is what a framework reports, tied weights counted once.

    Attributes:
        total: All parameters.
        active: Those one token passes through (all but the experts it does not visit).
        embedding: The input look-up table of tokens.
        positions: Learned position and token-type tables.
        head: The output projection: 0 when tied to the embedding, except for its bias.
        layers: By group of equal layers, for one layer each.
        other: Final and embedding norms, embedding projections, head transforms, ...
        towers: Encoders beside the language model, and what joins them to it.
    """

    total: int
    active: int
    embedding: int
    positions: int
    head: int
    layers: tuple[LayerParameters, ...]
    other: int
    towers: int = 0


def layer_parameters(group: LayerGroup, d_model: int) -> LayerParameters:
    """Parameters of one layer of `group`."""
    sums = dict.fromkeys(("attention", "mlp", "router", "experts", "norms", "other"), 0)
    active_experts = 0
    for projection in layer_projections(group, d_model):
        sums[_COMPONENTS.get(projection.block, "other")] += projection.params
        active_experts += projection.visited_params * projection.expert
    for vector in layer_vectors(group, d_model):
        sums[_COMPONENTS.get(vector.block, "other")] += vector.size
        active_experts += vector.visited * (vector.block == "experts")
    return LayerParameters(count=group.count, active_experts=active_experts, **sums)


def count_parameters(model: ModelConfig) -> Parameters:
    """Exact parameter counts of `model`, in all and by component; tied weights count once."""
    sums = dict.fromkeys(("embedding", "positions", "logits", "other"), 0)
    for projection in model_projections(model):
        sums[projection.block if projection.block == "logits" else "other"] += projection.params
    for vector in model_vectors(model):
        sums[vector.block] += vector.size
    layers = tuple(layer_parameters(group, model.d_model) for group in model.groups)
    towers = sum(tower_parameters(tower) for tower in model.towers)
    outside = sum(sums.values()) + towers
    return Parameters(
        total=outside + sum(layer.count * layer.total for layer in layers),
        active=outside + sum(layer.count * layer.active for layer in layers),
        embedding=sums["embedding"],
        positions=sums["positions"],
        head=sums["logits"],
        layers=layers,
        other=sums["other"],
        towers=towers,
    )


def tower_parameters(tower: Tower) -> int:
    """Parameters of an encoder and of what joins it to the language model."""
    joins = sum(projection.params for projection in beside((*tower.reads, *tower.joins)))
    return count_parameters(tower.encoder).total + joins + tower.extra_params
