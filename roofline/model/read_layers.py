"""The parts of one layer, read from flat keys and checked: norm, attention, feed-forward, projections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec

from ..errors import shown, unknown
from .keys import ACTIVATIONS, INTEGERS, Flat, divisors_near, join
from .spec import Attention, Block, Linear, Mlp, Moe, Norm, Recurrence, Split

_BLOCKS: Mapping[str, Block] = {  # the first word of a projection's name
    "attention": "attention",
    "recurrence": "recurrence",
    "convolution": "recurrence",
    "mlp": "mlp",
    "embedding": "embedding",
    "head": "head",
}
_LINEAR_WORDS = "[name, d_in, d_out, bias, count, runs, every, windows, kept, fp32, weight_norm]"
_MOST_KEPT = 100
_LINEAR_DEFAULTS: tuple[Any, ...] = (False, 1, 1, 1, 1, 0, False, False)  # from bias on


def read_norm(flat: Flat) -> Norm:
    """The norm over d_model; LayerNorm has a bias where the linear layers have, unless stated."""
    kind = cast('Literal["rms", "layer"]', flat.word("norm", "rms"))
    weight = flat.flag("norm_weight", True)
    bias = flat.flag("norm_bias", kind == "layer" and weight and flat.flag("biases", False))
    forms = {field: flat.flag(f"norm_{field}", False) for field in ("fp32", "written_out", "keeps_input")}
    return Norm(kind=kind, weight=weight, bias=bias, **forms)


def read_linears(flat: Flat, key: str) -> tuple[Linear, ...]:
    """Projections beside the common parts: [name, d_in, d_out], and what further fields of `Linear` are not usual."""
    entries = flat.values.get(key, ())
    if not isinstance(entries, (list, tuple)):
        flat.fail(f"{key} must be a list of {_LINEAR_WORDS}, got {shown(entries)}")
    linears = []
    for entry in entries:
        values: list[Any] = list(entry) if isinstance(entry, (list, tuple)) and 2 < len(entry) < 12 else ["", 0, 0]
        name, d_in, d_out, bias, count, runs, *more = [*values, *_LINEAR_DEFAULTS[len(values) - 3 :]]
        every, windows, kept, fp32, weight_norm = more
        sizes = (d_in, d_out, count, runs, every + 1 if type(every) is int else every)
        wrong = any(type(n) is not int or not 0 < n <= INTEGERS["d_ff"][1] for n in sizes)
        wrong = wrong or any(type(n) not in {int, float} for n in (windows, kept))
        if wrong or not isinstance(name, str) or not 1 <= windows <= d_in or not 0 <= kept <= _MOST_KEPT:
            flat.fail(f"{key} must hold {_LINEAR_WORDS}, got {shown(entry, 80)}")
        one = linear(name, d_in, d_out, bias=bool(bias), count=count, runs=runs)
        windows = one.windows if windows == 1 else windows
        further = {"every": every, "windows": windows, "kept": kept, "fp32": bool(fp32)}
        linears.append(msgspec.structs.replace(one, **further, weight_norm=bool(weight_norm)))
    return tuple(linears)


def linear(name: str, d_in: int, d_out: int, *, bias: bool = False, count: int = 1, runs: int = 1) -> Linear:
    """A projection whose dotted name says where it belongs, and by that how tensor parallelism divides it.

    What mixes tokens is split by heads: the output projection by its inputs, a depthwise convolution by its channels.

    >>> linear("recurrence.out", 64, 48).split, linear("recurrence.convolution", 4, 1, count=64).split
    ('rows', 'count')
    """
    first, _, last = name.partition(".")
    block = _BLOCKS.get(first, "other")
    split: Split = "none"
    if block in {"attention", "recurrence"}:
        split = "rows" if last == "out" else "count" if d_out == 1 else "columns"
    windows = d_in if d_out == 1 and count > 1 else 1  # a depthwise convolution of stride 1
    own: dict[str, Any] = {"bias": bias, "count": count, "runs": runs, "windows": windows}
    return Linear(name=name, d_in=d_in, d_out=d_out, block=block, split=split, **own)


def read_recurrence(flat: Flat) -> Recurrence | None:
    """The recurrent core of a linear-attention or state-space layer."""
    kind = flat.word("recurrence", "none")
    if kind == "none":
        return None
    n_heads = flat.integer("recurrence_heads")
    return Recurrence(
        kind=cast('Literal["delta", "ssd", "lightning", "matrix", "scan"]', kind),
        n_heads=n_heads,
        key_heads=flat.integer("recurrence_key_heads", n_heads),
        decays_kept=flat.integer("recurrence_decays_kept", 1),
        gated_norm=flat.flag("recurrence_gated_norm", False),
        centred_norm=flat.flag("recurrence_centred_norm", False),
        key_dim=flat.integer("recurrence_key_dim"),
        value_dim=flat.integer("recurrence_value_dim", 1),
        chunk=flat.integer("recurrence_chunk", 1),
    )


def read_cross_attention(flat: Flat, attention: Attention | None) -> Attention | None:
    """Attention to the encoder's output, made like the layer's self-attention: no mask, no positions.

    Code that adds scores of positions may add a table of zeros here (UMT5).
    """
    if attention is None:
        return None
    own = {"position_scores": flat.flag("cross_position_scores", False), "position_lookup": False, "extra_params": 0}
    return msgspec.structs.replace(attention, causal=False, window=None, window_chunked=False, rotary=False, **own)


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
            f"(nearest that do: {options}{'; are the two swapped?' if n_kv_heads > n_heads else ''})"
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
            f"{flat.name('n_heads')} = {n_heads} does not divide {flat.name('d_model')} = {d_model} and "
            f"{flat.name('head_dim')} is not given (nearest that do: {join(divisors_near(d_model, n_heads))}){hint}"
        )
    return n_heads, n_kv_heads, d_model // n_heads


def _qk_norm(flat: Flat) -> Norm | None:
    """The norm over queries and keys."""
    if flat.word("qk_norm", "none") == "none":
        return None
    kind = cast('Literal["rms", "layer"]', flat.word("qk_norm_kind", flat.word("norm", "rms")))
    weight = flat.flag("qk_norm_weight", flat.flag("norm_weight", True))
    return Norm(kind=kind, weight=weight, bias=flat.flag("qk_norm_bias", False), fp32=flat.flag("norm_fp32", False))


def _query_norm(flat: Flat, norm: Norm | None) -> Norm | None:
    """That over queries alone, where it has no weight (DeepSeek-V4)."""
    if norm is None or not flat.flag("q_norm_plain", False):
        return norm
    return Norm(kind=norm.kind, weight=False, keeps_input=True)


_PLAIN = (  # flags of attention that are called as the field is, and are off where nothing is said
    "joint_qkv", "sliced_qkv", "hands_back_cache", "rotary_joined", "rotary_fp32", "rotary_learned", "inputs_copied",
    "outputs_joined", "tiled", "window_chunked", "sinks", "sinks_scale", "head_gate", "scores_fp32", "core_fp32",
    "softcap", "scores_clamped", "position_scores", "relative_scores", "axis_scores", "masked", "position_lookup",
    "sequence_scores", "lora_bias", "reuses_kv", "value_is_key", "index_fp32",
)  # fmt: skip


def read_attention(flat: Flat) -> Attention:
    """Self-attention of one layer."""
    n_heads, n_kv_heads, head_dim = _heads(flat)
    biases = flat.flag("biases", False)
    qkv_bias = flat.flag("qkv_bias", biases)
    qk_norm = _qk_norm(flat)
    latent = "kv_lora_rank" in flat
    lora_norm = Norm(kind="rms", fp32=flat.flag("norm_fp32", False)) if flat.flag("lora_norms", True) else None
    rope_head_dim = flat.integer("rope_head_dim", 0)
    if latent and rope_head_dim >= head_dim:
        flat.fail(
            f"{flat.name('rope_head_dim')} = {rope_head_dim} must be smaller than {flat.name('head_dim')} = {head_dim}"
        )
    flags: dict[str, Any] = {name: flat.flag(name, False) for name in _PLAIN}
    return Attention(
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        d_in=flat.optional_integer("attention_d_in"),
        gate=flat.flag("attention_gate", False),
        gate_fp32=flat.flag("attention_gate_fp32", False),
        value_head_dim=flat.integer("value_head_dim", head_dim),
        q_bias=flat.flag("q_bias", qkv_bias),
        k_bias=flat.flag("k_bias", qkv_bias),
        v_bias=flat.flag("v_bias", qkv_bias),
        out_bias=flat.flag("out_bias", biases),
        q_norm=_query_norm(flat, qk_norm),
        k_norm=qk_norm,
        qk_norm_per_head=flat.word("qk_norm", "none") != "full",
        window=flat.optional_integer("window"),
        causal=flat.flag("causal", flat.word("kind", "decoder") in {"decoder", "encoder-decoder"}),
        softmax_fp32=flat.flag("softmax_fp32", flat.flag("rotary", True)),
        rotary=flat.flag("rotary", True),
        q_lora_rank=flat.optional_integer("q_lora_rank"),
        kv_lora_rank=flat.optional_integer("kv_lora_rank"),
        rope_head_dim=rope_head_dim,
        q_lora_norm=lora_norm if "q_lora_rank" in flat else None,
        kv_lora_norm=lora_norm if latent else None,
        core_passes=flat.integer("core_passes", 1),
        difference_norm=Norm(weight=False) if flat.flag("difference_norm", False) else None,
        index_heads=flat.integer("index_heads", 0),
        index_head_dim=(index_width := flat.integer("index_head_dim", 0) if "index_head_dim" in flat else 0),
        index_key_matrices=flat.integer("index_key_matrices", 1),
        index_pool=flat.integer("index_pool", 1),
        index_weights=flat.flag("index_weights", True),
        index_extra_params=flat.integer("index_extra_params", 2 * index_width),  # a LayerNorm over the key
        top_keys=flat.optional_integer("top_keys"),
        compress_ratio=flat.integer("compress_ratio", 0),
        compress_top_k=flat.optional_integer("compress_top_k"),
        out_lora_rank=flat.optional_integer("out_lora_rank"),
        out_groups=flat.integer("out_groups", 1),
        sub_norm=read_norm(flat) if flat.flag("sub_norms", False) else None,
        extra_params=flat.integer("attention_extra_params", 0),
        **flags,
    )


def read_activation(flat: Flat, default: str) -> str:
    """The name of an activation.

    Raises:
        RooflineError: There is none of that name.
    """
    name = flat.text("activation", default)
    if name not in ACTIVATIONS:
        flat.fail(str(unknown(flat.name("activation"), name, ACTIVATIONS)))
    return name


def activation_params(block: Mlp | Moe | None) -> int:
    """Parameters that the activations of a layer have: all experts share one, shared experts another."""
    if isinstance(block, Moe):
        return ACTIVATIONS[block.expert.activation] * (1 + (block.shared is not None))
    return 0 if block is None else ACTIVATIONS[block.activation]


def read_feed_forward(flat: Flat) -> Mlp | Moe | None:
    """The feed-forward part of one layer: dense, a mixture of experts, or none (d_ff = 0)."""
    gated = flat.flag("gated_mlp", True)
    activation = read_activation(flat, "silu" if gated else "gelu")
    own: dict[str, Any] = {
        "activation_fp32": flat.flag("activation_fp32", False),
        "joint_up": flat.flag("joint_up", False),
    }
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
            **own,
            up_bias=flat.flag("mlp_up_bias", biases),
            down_bias=flat.flag("mlp_down_bias", biases),
            sub_norm=read_norm(flat) if flat.flag("sub_norms", False) else None,
            inputs_copied=flat.flag("inputs_copied", False),
        )
    per_token = flat.integer("experts_per_token")
    if per_token > n_experts:
        flat.fail(f"{flat.name('experts_per_token')} = {per_token} is more than {flat.name('n_experts')} = {n_experts}")
    d_ff_expert = flat.integer("d_ff_expert" if "d_ff_expert" in flat else "d_ff")
    expert_bias = flat.flag("expert_bias", biases)
    d_ff_shared = flat.integer("d_ff_shared", flat.integer("n_shared_experts", 0) * d_ff_expert)
    if d_ff_shared > INTEGERS["d_ff_shared"][1]:
        flat.fail(f"{flat.name('n_shared_experts')} x {flat.name('d_ff_expert')} = {d_ff_shared} is too large")

    def mlp(width: int, bias: bool) -> Mlp:
        return Mlp(d_ff=width, gated=gated, activation=activation, up_bias=bias, down_bias=bias, **own)

    return Moe(
        n_experts=n_experts,
        experts_per_token=per_token,
        groups=flat.integer("expert_groups", 1),
        groups_per_token=flat.integer("groups_per_token", 1),
        expert=mlp(d_ff_expert, expert_bias),
        shared=mlp(d_ff_shared, flat.flag("shared_bias", expert_bias)) if d_ff_shared else None,
        shared_gate=flat.flag("shared_gate", False),
        router_bias=flat.flag("router_bias", False),
        router_fp32=flat.flag("router_fp32", False),
        weights_cast=flat.flag("expert_weights_cast", False),
        router_outside_autocast=flat.flag("router_outside_autocast", False),
        latent_dim=flat.optional_integer("expert_latent_dim"),
        latent_bias=flat.flag("expert_latent_bias", False),
        extra_params=flat.integer("moe_extra_params", 0),
    )
