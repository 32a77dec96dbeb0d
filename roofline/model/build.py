"""From a flat description to a `ModelConfig`: the builder behind presets, tables and ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import msgspec

from ..errors import printable, shown
from ..reading import Work
from .keys import MODEL_KEYS, Flat
from .patches import Patches
from .read_layers import (
    activation_params,
    linear,
    read_activation,
    read_attention,
    read_cross_attention,
    read_feed_forward,
    read_linears,
    read_norm,
    read_recurrence,
)
from .spec import LayerGroup, Linear, ModelConfig, Norm


def build(flat: Flat) -> ModelConfig:
    """The model that a flat description states; equal layers are gathered into groups.

    Raises:
        RooflineError: A missing, impossible or inconsistent value; the message names it.
    """
    gated = flat.flag("gated_mlp", True)
    if "gated_mlp" not in flat:
        flat.assume("gated_mlp is not stated: assumes a gated feed-forward layer")
    flat = _with_style(flat, gated=gated)
    kind = cast('Literal["decoder", "encoder", "encoder-decoder", "vision", "audio"]', flat.word("kind", "decoder"))
    d_model = flat.integer("d_model")
    n_layers = flat.integer("n_layers")
    norm = read_norm(flat)
    sees = kind in {"vision", "audio"}
    linears: tuple[Linear, ...] = (_patch_embedding(flat, d_model),) if kind == "vision" else ()
    linears += read_linears(flat, "model_linears")
    embedding_dim = flat.optional_integer("embedding_dim")
    has_head = flat.flag("has_head", not sees)
    transforms = flat.flag("head_transform", False)  # BERT's masked-token head: dense, activation, norm
    if transforms:
        bias = flat.flag("head_transform_bias", True)
        linears += (linear("head.transform", d_model, embedding_dim or d_model, bias=bias),)
    groups, order = _groups(flat, n_layers)
    ahead = _layers_ahead(flat, n_layers)
    return ModelConfig(
        name=printable(flat.text("name", flat.where or "model")),
        kind=kind,
        d_model=d_model,
        vocab_size=0 if sees else flat.integer("vocab_size"),
        groups=groups + ahead,
        order=order
        and order + tuple(len(groups) + kind for kind, group in enumerate(ahead) for _ in range(group.count)),
        heads_ahead=flat.integer("mtp_layers", 0) if has_head else 0,
        residual_streams=flat.integer("residual_streams", 1),
        streams_apart=flat.flag("streams_apart", False),
        sinkhorn_rounds=flat.integer("sinkhorn_rounds", 0),
        tied_embeddings=flat.flag("tied_embeddings", False),
        has_head=has_head,
        head_bias=flat.flag("head_bias", False),
        head_activation=read_activation(flat, "gelu") if transforms else "",
        head_norm=msgspec.structs.replace(norm, fp32=False, written_out=False) if transforms else None,
        logits_softcap=flat.flag("logits_softcap", False),
        logits_scaled=flat.flag("logits_scaled", False),
        embedding_scaled=flat.flag("embedding_scaled", False),
        embedding_dim=None if embedding_dim == d_model else embedding_dim,
        embedding_norm=_embedding_norm(flat, norm),
        final_norm=norm if flat.flag("final_norm", True) else None,
        learned_positions=flat.integer("learned_positions", 0),
        token_types=flat.integer("token_types", 0),
        extra_params=flat.integer("extra_params", 0),
        linears=linears,
        max_seq_len=flat.optional_integer("max_seq_len"),
        patches=_patches(flat) if sees else None,
        source=flat.text("source", ""),
        assumptions=tuple(flat.assumptions),
    )


def _with_style(flat: Flat, *, gated: bool) -> Flat:
    """The description with the norm, biases and positions that its style implies where it does not say.

    A gated feed-forward layer implies Llama's choices (arXiv:2302.13971): RMSNorm, rotary positions, no
    biases. A plain one implies GPT-2's: LayerNorm, learned positions, biases.
    """
    style: dict[str, object] = {}
    rows = 0 if gated else flat.integer("max_seq_len", 2048)
    if "norm" not in flat:
        style["norm"] = "rms" if gated else "layer"
    if "biases" not in flat:
        style["biases"] = not gated
    if "rotary" not in flat and "learned_positions" not in flat:
        style["rotary"] = gated
        style["learned_positions"] = rows
    elif "rotary" not in flat:
        style["rotary"] = flat.integer("learned_positions") == 0
    if style:
        words = {
            "norm": "RMSNorm" if gated else "LayerNorm",
            "biases": "no biases" if gated else "biases",
            "learned_positions": "rotary positions" if gated else f"{rows} learned positions",
        }
        named = [words[key] for key in words if key in style]
        if named:
            kind = "gated" if gated else "plain"
            flat.assume(f"assumes {', '.join(named)} (usual with a {kind} feed-forward layer)")
    return flat.with_values(style)


def _embedding_norm(flat: Flat, norm: Norm) -> Norm | None:
    """The norm over the embeddings (BLOOM, BERT)."""
    if not flat.flag("embedding_norm", False):
        return None
    return msgspec.structs.replace(norm, bias=flat.flag("embedding_norm_bias", norm.bias))


def _patch_embedding(flat: Flat, d_model: int) -> Linear:
    """A vision transformer's convolution with stride = kernel: one projection of every patch."""
    channels, patch = flat.integer("image_channels", 3), flat.integer("patch_size")
    d_in = channels * flat.integer("patch_frames", 1) * patch * patch
    return linear("embedding.patch", d_in, d_model, bias=flat.flag("patch_bias", True))


def _patches(flat: Flat) -> Patches | None:
    """What becomes a token; None where an image may have any size and none is usual."""
    if "image_size" not in flat:
        return None
    sides = 1 if flat.word("kind", "decoder") == "audio" else 2
    found = Patches(size=flat.integer("image_size"), piece=flat.integer("patch_size"), sides=sides)
    positions = flat.integer("learned_positions", 0)
    beside = flat.integer("tokens_beside", max(positions - found.number(), 0) if positions else 0)
    share = flat.integer("image_tokens") / found.number() if "image_tokens" in flat else 1.0
    fit = cast('Literal["cut", "nearest", "up"]', flat.word("image_fit", "cut"))
    return msgspec.structs.replace(found, beside=beside, share=share, fit=fit)


def _groups(flat: Flat, n_layers: int) -> tuple[tuple[LayerGroup, ...], tuple[int, ...]]:
    """Equal layers gathered, in the order in which each make first appears; and the group of each layer."""
    changes = _variations(flat, n_layers)
    keys = [changes.get(index, ()) for index in range(n_layers)]
    made = {key: _layer(flat.with_values(dict(key)) if key else flat) for key in dict.fromkeys(keys)}
    kinds = list(dict.fromkeys(made.values()))
    order = tuple(kinds.index(made[key]) for key in keys)
    groups = tuple(_replace_count(group, order.count(kind)) for kind, group in enumerate(kinds))
    return groups, order if list(order) != sorted(order) else ()


def _layers_ahead(flat: Flat, n_layers: int) -> tuple[LayerGroup, ...]:
    """The layers that predict tokens further ahead, each made like the last (arXiv:2412.19437, section 2.2).

    ``mtp_like`` names others that it is made like, one behind the other. Beside them each has a projection of hidden
    state and embedding together, their norms and a final norm; table and head are the model's own. Where the residual
    stream has several copies, the hidden state of each is projected, and the embedding once.
    """
    count = flat.integer("mtp_layers", 0)
    if not count:
        return ()
    norm, width = read_norm(flat), flat.integer("d_model")
    changes, like = _variations(flat, n_layers), flat.values.get("mtp_like", [n_layers - 1])
    layers = [_layer(flat.with_values(dict(changes.get(i, ())))) for i in _layer_indices(flat, like, n_layers, Work())]
    streams = flat.integer("residual_streams", 1)
    project = [linear("ahead.project", 2 * width, width)]
    if streams > 1:
        project = [linear("ahead.embedding", width, width), linear("ahead.hidden", width, width, runs=streams)]
    first = (*project, *read_linears(flat, "mtp_linears"))
    last = len(layers) - 1
    return tuple(
        msgspec.structs.replace(
            layer,
            count=count,
            norms=(*layer.norms, *(norm,) * (2 * (i == 0) + (i == last))),
            linears=layer.linears + first * (i == 0),
            extra_params=layer.extra_params + flat.integer("mtp_extra_params", 0) * (i == 0),
            ahead=True,
        )
        for i, layer in enumerate(layers)
    )


def _replace_count(group: LayerGroup, count: int) -> LayerGroup:
    """The group with another number of layers."""
    return msgspec.structs.replace(group, count=count)


def _variations(flat: Flat, n_layers: int) -> dict[int, tuple[tuple[str, object], ...]]:
    """For each layer that differs from the base description: the keys that differ, and their values."""
    changes: dict[int, dict[str, object]] = {}
    variations = flat.values.get("variations", ())
    if not isinstance(variations, (list, tuple)):
        flat.fail(f"variations must be a list of tables, got {shown(variations)}")
    dense_first = flat.integer("dense_first_layers", 0)
    if dense_first:
        if "n_experts" not in flat:
            flat.fail(f"{flat.name('dense_first_layers')} = {dense_first} has no meaning without n_experts")
        variations = [*variations, {"layers": list(range(min(dense_first, n_layers))), "n_experts": 0}]
    work = Work()
    for variation in variations:
        if not isinstance(variation, Mapping) or "layers" not in variation:
            flat.fail(f"each of variations must be a table with 'layers', got {shown(variation)}")
        values = {key: value for key, value in variation.items() if key != "layers"}
        for key in values:
            if key in MODEL_KEYS:
                flat.fail(f"{key} belongs to the whole model: it cannot vary by layer")
        for index in _layer_indices(flat, variation["layers"], n_layers, work):
            changes.setdefault(index, {}).update((key, _hashable(value)) for key, value in values.items())
    return {index: tuple(sorted(values.items())) for index, values in changes.items()}


def _hashable(value: object) -> object:
    """The value with lists as tuples (and tables as text), so that equal layers can be recognised."""
    if isinstance(value, Mapping):
        return repr(value)
    return tuple(_hashable(item) for item in value) if isinstance(value, (list, tuple)) else value


def _layer_indices(flat: Flat, layers: object, n_layers: int, work: Work) -> list[int]:
    """The layers of a variation: a list of indices, or a condition on the index `i`."""
    if isinstance(layers, str):
        from .expressions import evaluate

        work.spend(n_layers * len(flat.values) // 100)
        return [i for i in range(n_layers) if evaluate(layers, {**flat.values, "i": i}, work)]
    if not isinstance(layers, (list, tuple)) or not all(type(i) is int for i in layers):
        flat.fail(f"layers of a variation must be a condition on i, or a list of indices, got {shown(layers)}")
    return [i for i in layers if 0 <= i < n_layers]


def _layer(flat: Flat) -> LayerGroup:
    """One layer."""
    norm = read_norm(flat)
    parallel = flat.flag("parallel_block", False)
    cross = flat.flag("cross_attention", False)
    attention = None if flat.flag("no_attention", False) else read_attention(flat)
    norms = flat.integer("norms_per_layer", 3 if cross else 2)
    mlp = read_feed_forward(flat)
    return LayerGroup(
        count=1,
        attention=attention,
        mlp=mlp,
        norms=(norm,) * norms,
        parallel=parallel,
        cross_attention=read_cross_attention(flat, attention) if cross else None,
        layer_scale=flat.flag("layer_scale", False),
        residual_scaled=flat.flag("residual_scaled", False),
        mixer_kept=flat.integer("mixer_kept", 0),
        extra_params=flat.integer("layer_extra_params", 0) + activation_params(mlp),
        recurrence=read_recurrence(flat),
        linears=read_linears(flat, "linears"),
        shares_weights=flat.flag("shares_weights", False),
    )
