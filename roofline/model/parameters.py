"""Exact parameter counts of a model: in all, active per token, and by component."""

from __future__ import annotations

import msgspec

from .spec import Attention, LayerGroup, Linear, Mlp, ModelConfig, Moe


class LayerParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of one layer; `count` layers are alike."""

    count: int
    attention: int  # projections, norms over queries and keys, sinks; cross-attention included
    mlp: int  # dense feed-forward, or shared experts
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
    """

    total: int
    active: int
    embedding: int
    positions: int
    head: int
    layers: tuple[LayerParameters, ...]
    other: int

    @property
    def without_embedding(self) -> int:
        """Parameters that multiply: the total without look-up tables, unless the head uses the table."""
        return self.total - self.positions - (self.embedding if self.head else 0)


def linear_parameters(d_in: int, d_out: int, *, bias: bool = False) -> int:
    """Parameters of a projection ``[d_in, d_out]``."""
    return d_in * d_out + bias * d_out


def attention_parameters(attention: Attention, d_model: int, d_kv_source: int | None = None) -> int:
    """Parameters of one attention: projections, norms inside it, sinks.

    Args:
        attention: The attention.
        d_model: Width of the layer's input.
        d_kv_source: Width of what keys and values are projected from (cross-attention), if not `d_model`.
    """
    a = attention
    source = d_model if d_kv_source is None else d_kv_source
    total = int(a.sinks) * a.n_heads + a.extra_params
    if a.index_heads:
        total += _indexer_parameters(a, d_model)
    if a.sub_norm is not None:
        total += a.sub_norm.params(a.n_heads * a.value_head_dim)
    total += linear_parameters(a.n_heads * a.value_head_dim, d_model, bias=a.out_bias)
    total += _query_parameters(a, d_model)
    if a.kv_lora_rank is not None:
        total += _latent_kv_parameters(a, source)
    elif not a.reuses_kv:
        total += linear_parameters(source, a.n_kv_heads * a.head_dim, bias=a.k_bias)
        if not a.value_is_key:
            total += linear_parameters(source, a.n_kv_heads * a.value_head_dim, bias=a.v_bias)
    if a.q_norm is not None:
        total += a.q_norm.params(a.head_dim if a.qk_norm_per_head else a.n_heads * a.head_dim)
    if a.k_norm is not None and not a.reuses_kv:
        total += a.k_norm.params(a.head_dim if a.qk_norm_per_head else a.n_kv_heads * a.head_dim)
    return total


def _query_parameters(a: Attention, d_model: int) -> int:
    """The query projection, through a bottleneck of q_lora_rank where there is one."""
    if a.q_lora_rank is None:
        return linear_parameters(d_model, a.n_heads * a.head_dim, bias=a.q_bias)
    norm = a.q_lora_norm.params(a.q_lora_rank) if a.q_lora_norm else 0
    down = linear_parameters(d_model, a.q_lora_rank, bias=a.lora_bias)
    return down + norm + linear_parameters(a.q_lora_rank, a.n_heads * a.head_dim, bias=a.q_bias)


def _latent_kv_parameters(a: Attention, d_source: int) -> int:
    """Keys and values of multi-head latent attention; the rope part of the key is shared by all heads."""
    rank = a.kv_lora_rank or 0
    norm = a.kv_lora_norm.params(rank) if a.kv_lora_norm else 0
    down = linear_parameters(d_source, rank + a.rope_head_dim, bias=a.lora_bias)  # latent, and the shared rope key
    up_width = a.n_heads * (a.head_dim - a.rope_head_dim + a.value_head_dim)
    return down + norm + linear_parameters(rank, up_width, bias=a.k_bias)


def _indexer_parameters(a: Attention, d_model: int) -> int:
    """The indexer of sparse attention: queries from the latent, one key, head weights, a LayerNorm."""
    width, heads = a.index_head_dim, a.index_heads
    return (a.q_lora_rank or d_model) * heads * width + d_model * (width + heads) + 2 * width


def mlp_parameters(mlp: Mlp, d_model: int) -> int:
    """Parameters of a dense feed-forward layer."""
    up = linear_parameters(d_model, mlp.d_ff, bias=mlp.up_bias) * (1 + mlp.gated)
    norm = mlp.sub_norm.params(mlp.d_ff) if mlp.sub_norm else 0
    return up + norm + linear_parameters(mlp.d_ff, d_model, bias=mlp.down_bias)


def _feed_forward_parameters(mlp: Mlp | Moe | None, d_model: int) -> tuple[int, int, int, int, int]:
    """(dense or shared, router, experts, active experts, other) of the feed-forward part of a layer."""
    if mlp is None:
        return 0, 0, 0, 0, 0
    if isinstance(mlp, Mlp):
        return mlp_parameters(mlp, d_model), 0, 0, 0, 0
    expert = mlp_parameters(mlp.expert, d_model)
    shared = mlp_parameters(mlp.shared, d_model) if mlp.shared else 0
    router = linear_parameters(d_model, mlp.n_experts, bias=mlp.router_bias) + mlp.shared_gate * d_model
    return shared, router, expert * mlp.n_experts, expert * mlp.experts_per_token, mlp.extra_params


def layer_parameters(group: LayerGroup, d_model: int) -> LayerParameters:
    """Parameters of one layer of `group`."""
    attention = attention_parameters(group.attention, d_model) if group.attention else 0
    if group.cross_attention is not None:
        attention += attention_parameters(group.cross_attention, d_model)
    mlp, router, experts, active_experts, other = _feed_forward_parameters(group.mlp, d_model)
    return LayerParameters(
        count=group.count,
        attention=attention,
        mlp=mlp,
        router=router,
        experts=experts,
        active_experts=active_experts,
        norms=sum(norm.params(d_model) for norm in group.norms),
        other=other + group.extra_params + _linears_parameters(group.linears),
    )


def _linears_parameters(linears: tuple[Linear, ...]) -> int:
    """Parameters of the projections that have weights of their own."""
    return sum(
        linear.count * linear_parameters(linear.d_in, linear.d_out, bias=linear.bias)
        for linear in linears
        if linear.params
    )


def count_parameters(model: ModelConfig) -> Parameters:
    """Exact parameter counts of `model`, in all and by component; tied weights count once."""
    width = model.embedding_dim or model.d_model
    embedding = model.vocab_size * width
    positions = model.learned_positions * model.d_model + model.token_types * width
    head = 0
    if model.has_head:
        head = model.head_bias * model.vocab_size + (0 if model.tied_embeddings else embedding)
    other = model.extra_params + _linears_parameters(model.linears)
    if model.embedding_dim is not None:
        other += model.embedding_dim * model.d_model * (2 if model.has_head else 1)  # in, and back out at the head
    if model.embedding_norm is not None:
        other += model.embedding_norm.params(model.d_model)
    if model.final_norm is not None:
        other += model.final_norm.params(model.d_model)
    layers = tuple(layer_parameters(group, model.d_model) for group in model.groups)
    outside = embedding + positions + head + other
    return Parameters(
        total=outside + sum(layer.count * layer.total for layer in layers),
        active=outside + sum(layer.count * layer.active for layer in layers),
        embedding=embedding,
        positions=positions,
        head=head,
        layers=layers,
        other=other,
    )
