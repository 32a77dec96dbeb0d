"""The flat description of a model: the keys of a preset file and of ``--set``, and the values each may hold.

Layer keys may vary from layer to layer through `variations`: a list of tables, each with ``layers`` (a list
of indices, or a condition on the index `i`) and the keys that differ there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NoReturn

from ..errors import RooflineError, nearest, shown, unknown

FOLLOWERS = {
    "n_heads": "n_kv_heads",
    "learned_positions": "max_seq_len",
}  # where both are equal and one is set


# Whole numbers: the smallest and largest value that makes sense. The largest are far above any model built.
_COUNT = (1, 100_000)
_WIDTH = (1, 10_000_000)
_ZERO_WIDTH = (0, 10_000_000)
_PARAMS = (0, 10**15)
_MODEL_INTEGERS: Mapping[str, tuple[int, int]] = {
    "n_layers": (1, 10_000),
    "d_model": _WIDTH,
    "vocab_size": (1, 1_000_000_000),
    "embedding_dim": _WIDTH,
    "learned_positions": (0, 1_000_000_000),
    "max_seq_len": (1, 1_000_000_000),
    "token_types": (0, 1_000_000),
    "image_channels": (1, 1_000),
    "image_size": (1, 1_000_000_000),
    "patch_size": (1, 10_000),
    "patch_frames": (1, 1_000),
    "tokens_beside": (0, 10_000),
    "image_tokens": (1, 1_000_000_000),
    "extra_params": _PARAMS,
    "dense_first_layers": (0, 100_000),
    "mtp_layers": (0, 100),
    "mtp_extra_params": _PARAMS,
    "residual_streams": (1, 64),
    "sinkhorn_rounds": (0, 1000),
}
INTEGERS: Mapping[str, tuple[int, int]] = {
    **_MODEL_INTEGERS,
    "n_heads": _COUNT,
    "n_kv_heads": _COUNT,
    "head_dim": _WIDTH,
    "value_head_dim": _WIDTH,
    "attention_d_in": _WIDTH,
    "q_lora_rank": _WIDTH,
    "kv_lora_rank": _WIDTH,
    "rope_head_dim": _ZERO_WIDTH,
    "window": (1, 1_000_000_000),
    "d_ff": _ZERO_WIDTH,
    "n_experts": (0, 1_000_000),
    "experts_per_token": (1, 1_000_000),
    "expert_groups": (1, 1_000_000),
    "groups_per_token": (1, 1_000_000),
    "d_ff_expert": _WIDTH,
    "d_ff_shared": _ZERO_WIDTH,
    "n_shared_experts": (0, 10_000),
    "norms_per_layer": (0, 16),
    "core_passes": (1, 16),
    "recurrence_heads": _COUNT,
    "recurrence_key_dim": _WIDTH,
    "recurrence_key_heads": _COUNT,
    "recurrence_decays_kept": _WIDTH,
    "recurrence_value_dim": _WIDTH,
    "recurrence_chunk": (1, 1_000_000),
    "index_heads": (0, 100_000),
    "index_head_dim": _WIDTH,
    "index_key_matrices": (1, 16),
    "index_pool": (1, 1_000_000),
    "index_extra_params": _PARAMS,
    "top_keys": (1, 1_000_000_000),
    "compress_ratio": (0, 1_000_000),
    "compress_top_k": (1, 1_000_000_000),
    "out_lora_rank": _WIDTH,
    "out_groups": _COUNT,
    "expert_latent_dim": _WIDTH,
    "attention_extra_params": _PARAMS,
    "moe_extra_params": _PARAMS,
    "layer_extra_params": _PARAMS,
    "mixer_kept": _PARAMS,
}
_MODEL_FLAGS = frozenset(
    {
        "tied_embeddings",
        "has_head",
        "head_bias",
        "head_transform",
        "head_transform_bias",
        "logits_softcap",
        "logits_scaled",
        "embedding_scaled",
        "streams_apart",
        "embedding_norm",
        "embedding_norm_bias",
        "patch_bias",
        "final_norm",
    }
)
FLAGS = _MODEL_FLAGS | frozenset(
    {
        "norm_weight",
        "norm_bias",
        "norm_fp32",
        "norm_written_out",
        "norm_keeps_input",
        "biases",
        "rotary",
        "rotary_joined",
        "rotary_fp32",
        "rotary_learned",
        "inputs_copied",
        "outputs_joined",
        "attention_gate",
        "attention_gate_fp32",
        "no_attention",
        "causal",
        "window_chunked",
        "cross_attention",
        "joint_qkv",
        "sliced_qkv",
        "hands_back_cache",
        "qkv_bias",
        "q_bias",
        "k_bias",
        "v_bias",
        "out_bias",
        "qk_norm_bias",
        "qk_norm_weight",
        "q_norm_plain",
        "sinks",
        "sinks_scale",
        "softcap",
        "scores_clamped",
        "position_scores",
        "relative_scores",
        "axis_scores",
        "masked",
        "tiled",
        "position_lookup",
        "cross_position_scores",
        "sequence_scores",
        "difference_norm",
        "softmax_fp32",
        "scores_fp32",
        "core_fp32",
        "head_gate",
        "layer_scale",
        "residual_scaled",
        "recurrence_gated_norm",
        "recurrence_centred_norm",
        "gated_mlp",
        "joint_up",
        "activation_fp32",
        "mlp_bias",
        "mlp_up_bias",
        "mlp_down_bias",
        "expert_bias",
        "shared_gate",
        "router_bias",
        "router_fp32",
        "expert_weights_cast",
        "router_outside_autocast",
        "expert_latent_bias",
        "index_fp32",
        "index_weights",
        "parallel_block",
        "shares_weights",
        "reuses_kv",
        "value_is_key",
        "sub_norms",
        "lora_bias",
        "lora_norms",
        "shared_bias",
    }
)
WORDS: Mapping[str, tuple[str, ...]] = {
    "image_fit": ("cut", "nearest", "up"),
    "kind": ("decoder", "encoder", "encoder-decoder", "vision", "audio"),
    "norm": ("rms", "layer"),
    "recurrence": ("none", "delta", "ssd", "lightning", "matrix", "scan"),
    "qk_norm": ("none", "head", "full"),
    "qk_norm_kind": ("rms", "layer"),
}
# activations and their parameters: those of transformers (activations.py, ACT2CLS), and what single models write
_PLAIN_ACTIVATIONS = """gelu gelu_10 gelu_accurate gelu_fast gelu_new gelu_python gelu_python_tanh gelu_pytorch_tanh
    gelu_tanh hardswish laplace leaky_relu linear mish quick_gelu relu relu2 relu6 sigmoid silu silu_clamped
    situ sqrtsoftplus swiglu_clamped swish tanh"""
ACTIVATIONS: Mapping[str, int] = {**dict.fromkeys(_PLAIN_ACTIVATIONS.split(), 0), "prelu": 1, "xielu": 2}
TEXTS = frozenset({"name", "source", "activation", "model_type", "ignore"})
LISTS = frozenset({"variations", "linears", "model_linears", "mtp_like", "mtp_linears"})
KEYS = frozenset(INTEGERS) | FLAGS | frozenset(WORDS) | TEXTS | LISTS
# what is of the whole model; all else may vary from layer to layer
MODEL_KEYS = (
    frozenset(_MODEL_INTEGERS) | _MODEL_FLAGS | {"kind", "image_fit"} | (TEXTS - {"activation"}) | (LISTS - {"linears"})
)

_MISSING = object()


def _is_blank(value: object) -> bool:
    """Whether a table cell says nothing: None, an empty string, or NaN."""
    return value is None or value == "" or (isinstance(value, float) and value != value)  # noqa: PLR0124


class Flat:
    """Checked access to flat keys: every value is validated when it is read, every default is on record.

    Attributes:
        values: The flat keys and their values.
        names: What the user calls a key, where that differs (the field of a ``config.json``).
        where: The file or preset, for messages.
        assumptions: Sentences on the values that were assumed, shared by all layers of one model.
    """

    def __init__(
        self,
        values: Mapping[str, object],
        *,
        names: Mapping[str, str] | None = None,
        where: str = "",
        assumptions: dict[str, None] | None = None,
    ) -> None:
        """Drop blank cells; refuse keys that do not exist."""
        self.values = {key: value for key, value in values.items() if not _is_blank(value)}
        self.names = names or {}
        self.where = where
        self.assumptions: dict[str, None] = {} if assumptions is None else assumptions
        for key in self.values:
            if key not in KEYS:
                raise unknown("model key", str(key), KEYS, "'roofline models ID' shows the keys of a model")

    def with_values(self, changes: Mapping[str, object]) -> Flat:
        """The same description with some keys replaced; assumptions are shared."""
        return Flat({**self.values, **changes}, names=self.names, where=self.where, assumptions=self.assumptions)

    def __contains__(self, key: str) -> bool:
        """Whether the description states `key`."""
        return key in self.values

    def name(self, key: str) -> str:
        """How messages call `key`."""
        return self.names.get(key, key)

    def fail(self, message: str) -> NoReturn:
        """Raise `message` as the user's error, with the place it comes from."""
        raise RooflineError(f"{self.where}: {message}" if self.where else message)

    def assume(self, sentence: str) -> None:
        """Record a value the description did not state."""
        self.assumptions[sentence] = None

    def integer(self, key: str, default: int | None = None) -> int:
        """The whole number under `key`; 800.0 is accepted (tables hold floats), true and 'abc' are not."""
        value = self.values.get(key, _MISSING)
        if value is _MISSING:
            if default is None:
                self.fail(f"{self.name(key)} is missing; add it, or pass --set {key}=...")
            return default
        low, high = INTEGERS[key]
        whole = _whole(value)
        if whole is None or not low <= whole <= high:
            self.fail(f"{self.name(key)} must be a whole number from {low} to {high}, got {shown(value)}")
        return whole

    def optional_integer(self, key: str) -> int | None:
        """The whole number under `key`, or None where the description does not state it."""
        return self.integer(key) if key in self.values else None

    def flag(self, key: str, default: bool) -> bool:
        """The truth value under `key`: true or false, also 1, 0, 1.0, 0.0 as tables hold them."""
        value = self.values.get(key, default)
        if value not in (0, 1) or not isinstance(value, (bool, int, float)):
            self.fail(f"{self.name(key)} must be true or false, got {shown(value)}")
        return bool(value)

    def word(self, key: str, default: str) -> str:
        """The word under `key`, out of its closed list."""
        value = self.values.get(key, default)
        if value not in WORDS[key]:
            self.fail(f"{self.name(key)} must be one of {', '.join(WORDS[key])}, got {shown(value)}")
        return str(value)

    def text(self, key: str, default: str) -> str:
        """The free text under `key`."""
        value = self.values.get(key, default)
        if not isinstance(value, str):
            self.fail(f"{self.name(key)} must be text, got {shown(value)}")
        return value


def _whole(value: object) -> int | None:
    """The value as an exact whole number, or None when it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not value.is_integer():  # also NaN and infinity
        return None
    return int(value)


def divisors_near(total: int, wanted: int, count: int = 3) -> list[int]:
    """The divisors of `total` nearest to `wanted`.

    >>> divisors_near(768, 11)
    [12, 8, 6]
    """
    small = [n for n in range(1, int(total**0.5) + 1) if total % n == 0]
    return sorted({*small, *(total // n for n in small)}, key=lambda n: (abs(n - wanted), n))[:count]


def join(words: Iterable[object]) -> str:
    """Words as a list in a sentence.

    >>> join([8, 12, 16])
    '8, 12 or 16'
    """
    texts = [str(word) for word in words]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


def overridden(values: Mapping[str, object], overrides: Mapping[str, object]) -> dict[str, object]:
    """`values` with `overrides`; a key that only varies by layer is replaced where it varies.

    Keys and values follow the heads of the queries where there are as many, and the longest sequence follows the
    learned positions.
    """
    result = dict(values)
    for key, follower in FOLLOWERS.items():
        equal = key in values and values.get(follower) == values[key]
        if key in overrides and follower not in overrides and equal:
            overrides = {**overrides, follower: overrides[key]}
    for key, value in overrides.items():
        if key not in KEYS:
            close = nearest(key, KEYS)
            hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
            raise RooflineError(f"unknown model key {key!r}: {hint}('roofline models ID' shows the keys of a model)")
        if value == "" or (isinstance(value, float) and math.isnan(value)):
            raise RooflineError(f"{key} = {value!r} is no value: give a number or a word")
        variations = result.get("variations")
        varying = [v for v in variations if isinstance(v, Mapping) and key in v] if isinstance(variations, list) else []
        if varying and key not in result and isinstance(variations, list):
            result["variations"] = [{**v, key: value} if v in varying else v for v in variations]
        else:
            result[key] = value
    return result
