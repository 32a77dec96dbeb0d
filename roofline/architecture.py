"""From a flat description to a `ModelConfig`: the one builder behind presets, tables of runs and ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import msgspec

from .flat import INTEGERS, MODEL_KEYS, Flat, divisors_near, join
from .model import Attention, LayerGroup, Linear, Mlp, ModelConfig, Moe, Norm


def build(flat: Flat) -> ModelConfig:
    """The model that a flat description states; equal layers are gathered into groups.

    Raises:
        RooflineError: A missing, impossible or inconsistent value; the message names it.
    """
    gated = flat.flag("gated_mlp", True)
    if "gated_mlp" not in flat:
        flat.assume("gated_mlp is not stated: assumes a gated feed-forward layer")
    flat = _with_style(flat, gated=gated)
    kind = cast('Literal["decoder", "encoder", "encoder-decoder", "vision"]', flat.word("kind", "decoder"))
    d_model = flat.integer("d_model")
    n_layers = flat.integer("n_layers")
    norm = _norm(flat)
    linears: tuple[Linear, ...]
    if kind == "vision":
        vocab_size, linears = 0, (_patch_embedding(flat, d_model),)
    else:
        vocab_size, linears = flat.integer("vocab_size"), ()
    linears += _linears(flat, "model_linears")
    embedding_dim = flat.optional_integer("embedding_dim")
    has_head = flat.flag("has_head", kind != "vision")
    extra_params = flat.integer("extra_params", 0)
    if flat.flag("head_transform", False):  # BERT's masked-token head: dense, activation, norm
        linears += (Linear(name="head.transform", d_in=d_model, d_out=embedding_dim or d_model, bias=True),)
        extra_params += norm.params(embedding_dim or d_model)
    return ModelConfig(
        name=flat.text("name", flat.where or "model"),
        kind=kind,
        d_model=d_model,
        vocab_size=vocab_size,
        groups=_groups(flat, n_layers),
        tied_embeddings=flat.flag("tied_embeddings", False),
        has_head=has_head,
        head_bias=flat.flag("head_bias", False),
        embedding_dim=None if embedding_dim == d_model else embedding_dim,
        embedding_norm=_embedding_norm(flat, norm),
        final_norm=norm if flat.flag("final_norm", True) else None,
        learned_positions=flat.integer("learned_positions", 0),
        token_types=flat.integer("token_types", 0),
        extra_params=extra_params,
        linears=linears,
        max_seq_len=flat.optional_integer("max_seq_len"),
        source=flat.text("source", ""),
        assumptions=tuple(flat.assumptions),
    )


def _with_style(flat: Flat, *, gated: bool) -> Flat:
    """The description with the norm, biases and positions that its style implies where it does not say.

    A gated feed-forward layer implies Llama's choices (arXiv:2302.13971): RMSNorm, rotary positions, no biases.
    A plain one implies GPT-2's: LayerNorm, learned positions, biases.
    """
    style: dict[str, object] = {}
    if "norm" not in flat:
        style["norm"] = "rms" if gated else "layer"
    if "biases" not in flat:
        style["biases"] = not gated
    if "rotary" not in flat and "learned_positions" not in flat:
        style["rotary"] = gated
        rows = 0 if gated else flat.integer("max_seq_len", 2048)
        style["learned_positions"] = rows
    elif "rotary" not in flat:
        style["rotary"] = flat.integer("learned_positions") == 0
    if style:
        words = {
            "norm": "RMSNorm" if gated else "LayerNorm",
            "biases": "no biases" if gated else "biases",
            "learned_positions": "rotary positions"
            if gated
            else f"{style.get('learned_positions')} learned positions",
        }
        named = [words[key] for key in words if key in style]
        if named:
            kind = "gated" if gated else "plain"
            flat.assume(f"assumes {', '.join(named)} (usual with a {kind} feed-forward layer)")
    return flat.with_values(style)


def _norm(flat: Flat) -> Norm:
    """The norm over d_model; LayerNorm has a bias where the linear layers have, unless stated."""
    kind = cast('Literal["rms", "layer"]', flat.word("norm", "rms"))
    weight = flat.flag("norm_weight", True)
    bias = flat.flag("norm_bias", kind == "layer" and weight and flat.flag("biases", False))
    return Norm(kind=kind, weight=weight, bias=bias)


def _embedding_norm(flat: Flat, norm: Norm) -> Norm | None:
    """The norm over the embeddings (BLOOM, BERT)."""
    if not flat.flag("embedding_norm", False):
        return None
    return Norm(kind=norm.kind, weight=norm.weight, bias=flat.flag("embedding_norm_bias", norm.bias))


def _patch_embedding(flat: Flat, d_model: int) -> Linear:
    """A vision transformer's convolution with stride = kernel: one projection of every patch."""
    channels, patch = flat.integer("image_channels", 3), flat.integer("patch_size")
    return Linear(name="embedding.patch", d_in=channels * patch * patch, d_out=d_model, bias=True)


def _linears(flat: Flat, key: str) -> tuple[Linear, ...]:
    """Projections beside the common parts: a list of [name, d_in, d_out], with optional bias, count and runs per token."""
    entries = flat.values.get(key, ())
    if not isinstance(entries, (list, tuple)):
        flat.fail(f"{key} must be a list of [name, d_in, d_out, bias, count, runs], got {entries!r:.60}")
    linears = []
    for entry in entries:
        name, d_in, d_out, *rest = entry if isinstance(entry, (list, tuple)) and 2 < len(entry) < 7 else ("", 0, 0)
        bias, count, runs = [*rest, *(False, 1, 1)[len(rest) :]]
        sizes = (d_in, d_out, count, runs)
        if not isinstance(name, str) or any(type(n) is not int or not 0 < n <= INTEGERS["d_ff"][1] for n in sizes):
            flat.fail(f"{key} must hold [name, d_in, d_out, bias, count, runs], got {entry!r:.80}")
        linears.append(Linear(name=name, d_in=d_in, d_out=d_out, bias=bool(bias), count=count, runs=runs))
    return tuple(linears)


def _groups(flat: Flat, n_layers: int) -> tuple[LayerGroup, ...]:
    """Equal layers gathered, in the order in which each make first appears."""
    counts: dict[tuple[tuple[str, object], ...], int] = {}
    changes = _variations(flat, n_layers)
    for index in range(n_layers):
        key = changes.get(index, ())
        counts[key] = counts.get(key, 0) + 1
    gathered: dict[LayerGroup, int] = {}
    for key, count in counts.items():
        group = _layer(flat.with_values(dict(key)) if key else flat)
        gathered[group] = gathered.get(group, 0) + count
    return tuple(_replace_count(group, count) for group, count in gathered.items())


def _replace_count(group: LayerGroup, count: int) -> LayerGroup:
    """The group with another number of layers."""
    return msgspec.structs.replace(group, count=count)


def _variations(flat: Flat, n_layers: int) -> dict[int, tuple[tuple[str, object], ...]]:
    """For each layer that differs from the base description: the keys that differ, and their values."""
    changes: dict[int, dict[str, object]] = {}
    variations = flat.values.get("variations", ())
    if not isinstance(variations, (list, tuple)):
        flat.fail(f"variations must be a list of tables, got {variations!r:.60}")
    dense_first = flat.integer("dense_first_layers", 0)
    if dense_first:
        if "n_experts" not in flat:
            flat.fail(
                f"{flat.name('dense_first_layers')} = {dense_first} has no meaning without experts (n_experts)"
            )
        variations = [*variations, {"layers": list(range(min(dense_first, n_layers))), "n_experts": 0}]
    for variation in variations:
        if not isinstance(variation, Mapping) or "layers" not in variation:
            flat.fail(f"each of variations must be a table with 'layers', got {variation!r:.60}")
        values = {key: value for key, value in variation.items() if key != "layers"}
        for key in values:
            if key in MODEL_KEYS:
                flat.fail(f"{key} belongs to the whole model: it cannot vary by layer")
        for index in _layer_indices(flat, variation["layers"], n_layers):
            changes.setdefault(index, {}).update((key, _hashable(value)) for key, value in values.items())
    return {index: tuple(sorted(values.items())) for index, values in changes.items()}


def _hashable(value: object) -> object:
    """The value with lists as tuples, so that equal layers can be recognised."""
    return tuple(_hashable(item) for item in value) if isinstance(value, (list, tuple)) else value


def _layer_indices(flat: Flat, layers: object, n_layers: int) -> list[int]:
    """The layers of a variation: a list of indices, or a condition on the index `i`."""
    if isinstance(layers, str):
        from .expressions import evaluate

        return [i for i in range(n_layers) if evaluate(layers, {**flat.values, "i": i})]
    if not isinstance(layers, (list, tuple)) or not all(type(i) is int for i in layers):
        flat.fail(f"layers of a variation must be a condition on i, or a list of indices, got {layers!r:.60}")
    return [i for i in layers if 0 <= i < n_layers]


def _layer(flat: Flat) -> LayerGroup:
    """One layer."""
    norm = _norm(flat)
    parallel = flat.flag("parallel_block", False)
    cross = flat.flag("cross_attention", False)
    attention = None if flat.flag("no_attention", False) else _attention(flat)
    norms = flat.integer("norms_per_layer", 3 if cross else 2)
    return LayerGroup(
        count=1,
        attention=attention,
        mlp=_feed_forward(flat),
        norms=(norm,) * norms,
        parallel=parallel,
        cross_attention=_cross_attention(attention) if cross else None,
        extra_params=flat.integer("layer_extra_params", 0),
        linears=_linears(flat, "linears"),
    )


def _cross_attention(attention: Attention | None) -> Attention | None:
    """Attention to the encoder's output, made like the layer's self-attention: no mask, no positions."""
    if attention is None:
        return None
    return msgspec.structs.replace(attention, causal=False, window=None, rotary=False, extra_params=0)


def _heads(flat: Flat) -> tuple[int, int, int]:
    """(query heads, key-value heads, width of a head), checked against each other and d_model."""
    n_heads, d_model = flat.integer("n_heads"), flat.integer("d_model")
    n_kv_heads = flat.integer("n_kv_heads", n_heads)
    if "n_kv_heads" not in flat:
        flat.assume(f"{flat.name('n_kv_heads')} is not stated: assumes one per query head")
    if n_kv_heads > n_heads or n_heads % n_kv_heads:
        options = join(n for n in divisors_near(n_heads, n_kv_heads))
        flat.fail(
            f"{flat.name('n_kv_heads')} = {n_kv_heads} does not divide {flat.name('n_heads')} = {n_heads} "
            f"(nearest that do: {options})"
        )
    if "head_dim" in flat:
        return n_heads, n_kv_heads, flat.integer("head_dim")
    if d_model % n_heads:
        n_layers = flat.integer("n_layers")
        swapped = d_model % n_layers == 0
        hint = (
            f"; did you swap {flat.name('n_layers')} = {n_layers} and {flat.name('n_heads')} = {n_heads}?"
            if swapped
            else ""
        )
        flat.fail(
            f"{flat.name('n_heads')} = {n_heads} does not divide {flat.name('d_model')} = {d_model} and head_dim is "
            f"not given (nearest that do: {join(divisors_near(d_model, n_heads))}){hint}"
        )
    return n_heads, n_kv_heads, d_model // n_heads


def _qk_norm(flat: Flat) -> Norm | None:
    """The norm over queries and keys."""
    if flat.word("qk_norm", "none") == "none":
        return None
    kind = cast('Literal["rms", "layer"]', flat.word("qk_norm_kind", flat.word("norm", "rms")))
    weight = flat.flag("norm_weight", True)
    return Norm(kind=kind, weight=weight, bias=flat.flag("qk_norm_bias", False))


def _attention(flat: Flat) -> Attention:
    """Self-attention of one layer."""
    n_heads, n_kv_heads, head_dim = _heads(flat)
    biases = flat.flag("biases", False)
    qkv_bias = flat.flag("qkv_bias", biases)
    qk_norm = _qk_norm(flat)
    latent = "kv_lora_rank" in flat
    lora_norm = Norm(kind="rms") if flat.flag("lora_norms", True) else None
    rope_head_dim = flat.integer("rope_head_dim", 0)
    if latent and rope_head_dim >= head_dim:
        flat.fail(
            f"{flat.name('rope_head_dim')} = {rope_head_dim} must be smaller than head_dim = {head_dim}"
        )
    return Attention(
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        value_head_dim=flat.integer("value_head_dim", head_dim),
        q_bias=flat.flag("q_bias", qkv_bias),
        k_bias=flat.flag("k_bias", qkv_bias),
        v_bias=flat.flag("v_bias", qkv_bias),
        out_bias=flat.flag("out_bias", biases),
        q_norm=qk_norm,
        k_norm=qk_norm,
        qk_norm_per_head=flat.word("qk_norm", "none") != "full",
        window=flat.optional_integer("window"),
        causal=flat.flag("causal", flat.word("kind", "decoder") in {"decoder", "encoder-decoder"}),
        sinks=flat.flag("sinks", False),
        rotary=flat.flag("rotary", True),
        softcap=flat.flag("softcap", False),
        q_lora_rank=flat.optional_integer("q_lora_rank"),
        kv_lora_rank=flat.optional_integer("kv_lora_rank"),
        rope_head_dim=rope_head_dim,
        q_lora_norm=lora_norm if "q_lora_rank" in flat else None,
        kv_lora_norm=lora_norm if latent else None,
        lora_bias=flat.flag("lora_bias", False),
        reuses_kv=flat.flag("reuses_kv", False),
        core_passes=flat.integer("core_passes", 1),
        value_is_key=flat.flag("value_is_key", False),
        index_heads=flat.integer("index_heads", 0),
        index_head_dim=flat.integer("index_head_dim", 0) if "index_head_dim" in flat else 0,
        sub_norm=_norm(flat) if flat.flag("sub_norms", False) else None,
        extra_params=flat.integer("attention_extra_params", 0),
    )


def _feed_forward(flat: Flat) -> Mlp | Moe | None:
    """The feed-forward part of one layer: dense, a mixture of experts, or none (d_ff = 0)."""
    gated = flat.flag("gated_mlp", True)
    activation = flat.text("activation", "silu" if gated else "gelu")
    biases = flat.flag("mlp_bias", flat.flag("biases", False))
    n_experts = flat.integer("n_experts", 0)
    if not n_experts:
        d_ff = flat.integer("d_ff")
        if not d_ff:
            return None
        return Mlp(
            d_ff=d_ff,
            gated=gated,
            activation=activation,
            up_bias=flat.flag("mlp_up_bias", biases),
            down_bias=flat.flag("mlp_down_bias", biases),
            sub_norm=_norm(flat) if flat.flag("sub_norms", False) else None,
        )
    per_token = flat.integer("experts_per_token")
    if per_token > n_experts:
        flat.fail(
            f"{flat.name('experts_per_token')} = {per_token} is more than {flat.name('n_experts')} = {n_experts}"
        )
    d_ff_expert = flat.integer("d_ff_expert" if "d_ff_expert" in flat else "d_ff")
    expert_bias = flat.flag("expert_bias", biases)
    d_ff_shared = flat.integer("d_ff_shared", flat.integer("n_shared_experts", 0) * d_ff_expert)
    if d_ff_shared > INTEGERS["d_ff_shared"][1]:
        flat.fail(
            f"{flat.name('n_shared_experts')} x {flat.name('d_ff_expert')} = {d_ff_shared} is too large"
        )

    def mlp(width: int, bias: bool) -> Mlp:
        return Mlp(d_ff=width, gated=gated, activation=activation, up_bias=bias, down_bias=bias)

    return Moe(
        n_experts=n_experts,
        experts_per_token=per_token,
        expert=mlp(d_ff_expert, expert_bias),
        shared=mlp(d_ff_shared, flat.flag("shared_bias", expert_bias)) if d_ff_shared else None,
        shared_gate=flat.flag("shared_gate", False),
        router_bias=flat.flag("router_bias", False),
        extra_params=flat.integer("moe_extra_params", 0),
    )
