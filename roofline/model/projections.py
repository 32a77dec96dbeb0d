"""The matrices and vectors of a model, each stated once: parameters, MFU, adapters and the ops of a step follow.

`layer_projections(group, d_model)` gives the matrices of one layer (`attention_projections`,
`feed_forward_projections` and `beside` those of its blocks), `model_projections(model)` those outside layers, and
`tensors.kernels` gathers them by the matmul that runs them. What depends on a matrix is a field or a property of it
(`tensors.Projection`):

- parameters: `params`, and `visited_params` of one token; with `layer_vectors` and `model_vectors` they add up to
  the model (see `parameters`);
- matmul weights that one token meets (MFU): `met`, of all blocks but the indexer's (``d_in * d_out``, tied head too);
- the ops of a step: the matrices of one kernel read one input; `local(tp, ep)` is the shape on one device (experts
  with the tensor parallelism of experts), and `block`, `runs`, `low_precision`, `takes_gradient` say how it counts;
- low-rank adapters: `words` name this matrix alone; `tensors.joined_words` name all matrices of a kernel as one.

Parts and kernels are labels for people: nothing depends on how they are spelt, but for the words people type.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .spec import Attention, Block, LayerGroup, Linear, Mlp, ModelConfig, Moe, Norm
from .tensors import Projection, Vector


def layer_projections(group: LayerGroup, d_model: int) -> tuple[Projection, ...]:
    """The matrices of one layer of `group`: attention, cross-attention, feed-forward, and those beside them."""
    found: tuple[Projection, ...] = ()
    if group.attention is not None:
        found += attention_projections(group.attention, d_model)
    if group.cross_attention is not None:
        found += attention_projections(group.cross_attention, d_model, "cross_attention")
    found += feed_forward_projections(group.mlp, d_model)
    if group.shares_weights:
        found = tuple(msgspec.structs.replace(projection, repeated=True) for projection in found)
    return found + beside(group.linears)


def layer_vectors(group: LayerGroup, d_model: int) -> tuple[Vector, ...]:
    """The other parameters of one layer of `group`."""
    each, norms = group.norms_per_block, group.norms
    first = each * group.mixes
    last = len(norms) if group.parallel else first + each * len(group.blocks)
    found = _norms((*norms[:first], *norms[last:]), d_model) + _plain("other", "layer.extra", group.extra_params)
    return found if group.shares_weights else found + _block_vectors(group, norms[first:last], d_model)


def _block_vectors(group: LayerGroup, norms: tuple[Norm, ...], d_model: int) -> tuple[Vector, ...]:
    """Those of the blocks of a layer, and their norms."""
    wide = group.attention.d_in if group.attention is not None else None
    found = _norms(norms[: wide is not None], wide or d_model) + _norms(norms[wide is not None :], d_model)
    if group.attention is not None:
        found += attention_vectors(group.attention)
    if group.cross_attention is not None:
        found += attention_vectors(group.cross_attention, "cross_attention")
    return found + feed_forward_vectors(group.mlp)


def _norms(norms: tuple[Norm, ...], width: int) -> tuple[Vector, ...]:
    return tuple(vector for norm in norms for vector in _norm("norm", "norm", norm, width))


def attention_projections(
    a: Attention, d_model: int, block: Block = "attention", d_source: int | None = None
) -> tuple[Projection, ...]:
    """The matrices of one attention, keys and values from a source of width `d_source` (`d_model` if not given).

    Latent attention as in arXiv:2405.04434, section 2.1: the down projections, and the rope part of the key that all
    heads share, are whole on every device.
    """
    found: tuple[Projection, ...] = ()
    width = a.d_in or d_model
    source = width if d_source is None else d_source

    def one(part: str, d_in: int, d_out: int, kernel: str = "", **more: Any) -> tuple[Projection]:
        kernel = f"{block}.{kernel or part}"
        return (Projection(block=block, part=part, kernel=kernel, d_in=d_in, d_out=d_out, **more),)

    joined = "" if a.kv_lora_rank is not None else "qkv"
    queries = a.n_heads * a.head_dim
    if a.q_lora_rank is not None:
        found += one("q_down", width, a.q_lora_rank, bias=a.lora_bias)
        found += one("q_up", a.q_lora_rank, queries, bias=a.q_bias, split="columns")
    else:
        found += one("q", width, queries, joined, bias=a.q_bias, split="columns")
    if a.kv_lora_rank is not None:
        found += one("kv_down", source, a.kv_lora_rank + a.rope_head_dim, bias=a.lora_bias)
        up = a.n_heads * (a.head_dim - a.rope_head_dim + a.value_head_dim)
        found += one("kv_up", a.kv_lora_rank, up, bias=a.k_bias, split="columns")
    elif not a.reuses_kv:
        heads: dict[str, Any] = {"split": "columns", "pieces": a.n_kv_heads}
        found += one("k", source, a.n_kv_heads * a.head_dim, joined, bias=a.k_bias, **heads)
        if not a.value_is_key:
            found += one("v", source, a.n_kv_heads * a.value_head_dim, joined, bias=a.v_bias, **heads)
    if a.index_heads:
        found += _indexer(a, d_model)
    values = a.n_heads * a.value_head_dim
    if a.out_lora_rank is None:
        return found + one("out", values, d_model, bias=a.out_bias, split="rows")
    groups: dict[str, Any] = {"count": a.out_groups, "visited": a.out_groups, "split": "count"}
    found += one("out_down", values // a.out_groups, a.out_lora_rank, **groups)
    return found + one("out", a.out_groups * a.out_lora_rank, d_model, bias=a.out_bias, split="rows")


def _indexer(a: Attention, d_model: int) -> tuple[Projection, ...]:
    """The indexer of sparse attention: queries from the latent, one key, a weight per head; whole on every device."""
    shapes = {
        "q": (a.q_lora_rank or d_model, a.index_heads * a.index_head_dim),
        "k": (d_model, a.index_head_dim * a.index_key_matrices),
    }
    if a.index_weights:
        shapes["weights"] = (d_model, a.index_heads)
    return tuple(
        Projection(block="indexer", part=part, kernel=f"index.{part}", d_in=d_in, d_out=d_out, takes_gradient=False)
        for part, (d_in, d_out) in shapes.items()
    )


def attention_vectors(a: Attention, block: Block = "attention") -> tuple[Vector, ...]:
    """Norms inside an attention, sinks, position tables."""
    whole, rank = not a.qk_norm_per_head, a.kv_lora_rank or 0
    found = _norm(block, "q_norm", a.q_norm, a.n_heads * a.head_dim if whole else a.head_dim, split=whole)
    if not a.reuses_kv:
        found += _norm(block, "k_norm", a.k_norm, a.n_kv_heads * a.head_dim if whole else a.head_dim, split=whole)
    if a.q_lora_rank is not None:
        found += _norm(block, "q_latent_norm", a.q_lora_norm, a.q_lora_rank)
    if rank:
        found += _norm(block, "kv_latent_norm", a.kv_lora_norm, rank)
    if a.index_heads:
        found += _plain("indexer", "extra", a.index_extra_params)
    found += _plain(block, "sinks", a.n_heads * a.sinks, split=True)
    found += _plain(block, "extra", a.extra_params, split=True)
    return (*found, *_norm(block, "sub_norm", a.sub_norm, a.n_heads * a.value_head_dim, split=True))


def feed_forward_projections(mlp: Mlp | Moe | None, d_model: int) -> tuple[Projection, ...]:
    """The matrices of a feed-forward layer: of a mixture the router, all experts, the shared experts and their gate."""
    if mlp is None:
        return ()
    if isinstance(mlp, Mlp):
        return mlp_projections(mlp, d_model, "mlp")
    router = Projection(
        block="router",
        part="router",
        kernel="router",
        d_in=d_model,
        d_out=mlp.n_experts,
        bias=mlp.router_bias,
        low_precision=False,
    )
    width = mlp.latent_dim or d_model
    found = (router, *mlp_projections(mlp.expert, width, "experts", mlp.n_experts, mlp.experts_per_token))
    for part, d_in, d_out in (("latent_down", d_model, width), ("latent_up", width, d_model)):
        if mlp.latent_dim is not None:
            found += (_latent(part, d_in, d_out, mlp.latent_bias),)
    if mlp.shared is not None:
        found += mlp_projections(mlp.shared, d_model, "shared_expert")
    if mlp.shared_gate:
        gate = {"block": "shared_expert", "part": "weigh", "kernel": "shared_expert.gate", "d_out": 1, "bias": False}
        found += (msgspec.structs.replace(router, **gate),)
    return found


def _latent(part: str, d_in: int, d_out: int, bias: bool) -> Projection:
    """A projection of every token between the model's width and that of its routed experts."""
    return Projection(block="mlp", part=part, kernel=f"moe.{part}", d_in=d_in, d_out=d_out, bias=bias)


def feed_forward_vectors(mlp: Mlp | Moe | None) -> tuple[Vector, ...]:
    """Norms inside a feed-forward layer, and what a router has beside its matrix."""
    if mlp is None:
        return ()
    if isinstance(mlp, Mlp):
        return _norm("mlp", "sub_norm", mlp.sub_norm, mlp.d_ff, split=True)
    found = _plain("other", "router.extra", mlp.extra_params)
    if mlp.shared is not None:
        found += _norm("shared_expert", "sub_norm", mlp.shared.sub_norm, mlp.shared.d_ff, split=True)
    if mlp.expert.sub_norm is None:
        return found
    each = mlp.expert.sub_norm.params(mlp.expert.d_ff)
    visited = each * mlp.experts_per_token
    return (*found, Vector(block="experts", part="sub_norm", size=each * mlp.n_experts, visited=visited, split=True))


def mlp_projections(mlp: Mlp, d_model: int, block: Block, count: int = 1, visited: int = 1) -> tuple[Projection, ...]:
    """Gate, up and down of `count` dense feed-forward layers side by side, of which a token visits some."""
    up = Projection(
        block=block,
        part="up",
        kernel=f"{block}.up",
        d_in=d_model,
        d_out=mlp.d_ff,
        bias=mlp.up_bias,
        count=count,
        visited=visited,
        split="columns",
    )
    gate = (msgspec.structs.replace(up, part="gate"),) if mlp.gated else ()
    changes = {"part": "down", "kernel": f"{block}.down", "d_in": mlp.d_ff, "d_out": d_model, "bias": mlp.down_bias}
    return (*gate, up, msgspec.structs.replace(up, split="rows", **changes))


def beside(linears: Iterable[Linear]) -> tuple[Projection, ...]:
    """The projections beside a layer's common parts, or outside the layers."""
    return tuple(
        Projection(
            block=linear.block,
            part=linear.name.partition(".")[2] or linear.name,
            kernel=linear.name,
            d_in=linear.d_in,
            d_out=linear.d_out,
            bias=linear.bias,
            count=linear.count,
            visited=linear.count,
            runs=linear.runs,
            every=linear.every,
            split=linear.split,
        )
        for linear in linears
    )


def model_projections(model: ModelConfig) -> tuple[Projection, ...]:
    """The matrices outside the layers: those beside the embedding, those before the head, and the logits last."""
    width = model.embedding_dim or model.d_model
    found = beside(model.linears)
    if width != model.d_model:
        found = (_between("embedding", width, model.d_model), *found)
    if not model.has_head:
        return found
    if width != model.d_model:
        found += (_between("head", model.d_model, width),)
    logits = Projection(
        block="logits",
        part="logits",
        kernel="head.logits",
        d_in=width,
        d_out=model.vocab_size,
        bias=model.head_bias,
        visited=1 + model.heads_ahead,
        split="columns",
        stored=not model.tied_embeddings,
        low_precision=False,
    )
    return (*found, logits)


def _between(block: Block, d_in: int, d_out: int) -> Projection:
    """The projection between the width of the tables and that of the layers."""
    return Projection(block=block, part="project", kernel=f"{block}.project", d_in=d_in, d_out=d_out)


def model_vectors(model: ModelConfig) -> tuple[Vector, ...]:
    """The look-up tables and the norms outside the layers."""
    width = model.embedding_dim or model.d_model
    tables = _plain("embedding", "tokens", model.vocab_size * width, split=True)
    tables += _plain("positions", "positions", model.learned_positions * model.d_model)
    tables += _plain("positions", "token_types", model.token_types * width)
    norms = _norm("other", "embedding.norm", model.embedding_norm, model.d_model)
    norms += _norm("other", "final_norm", model.final_norm, model.d_model)
    norms += _norm("other", "head.norm", model.head_norm, width)
    return (*tables, *norms, *_plain("other", "extra", model.extra_params))


def _norm(block: Block, part: str, norm: Norm | None, width: int, *, split: bool = False) -> tuple[Vector, ...]:
    return () if norm is None else _plain(block, part, norm.params(width), split=split)


def _plain(block: Block, part: str, size: int, *, split: bool = False) -> tuple[Vector, ...]:
    return (Vector(block=block, part=part, size=size, visited=size, split=split),) if size else ()
