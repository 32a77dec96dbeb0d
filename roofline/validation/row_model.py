"""The model that a row of a table of measurements describes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from ..model.hub import names_of_size, plain_name
from ..model.load import load_model, model_from_flat
from ..model.presets import model_ids
from ..model.spec import ModelConfig, Moe
from .rows import Skipped, integer

_LETTERS = re.compile("[^a-z0-9]")

MODEL_COLUMNS = (
    "n_layers",
    "d_model",
    "n_heads",
    "n_kv_heads",
    "d_ff",
    "gated_mlp",
    "vocab_size",
    "tied_embeddings",
    "n_experts",
    "experts_per_token",
    "d_ff_expert",
)


def model_of(row: Mapping[str, str]) -> ModelConfig:
    """The model a row's columns describe; a preset of the same dimensions adds what the columns leave out."""
    flat: dict[str, Any] = {key: integer(row, key) for key in MODEL_COLUMNS}
    for key in ("n_layers", "d_model", "n_heads", "vocab_size"):
        if not flat[key]:
            raise Skipped(f"{key} is not stated")
    of_experts = (flat["d_model"], flat["n_heads"], flat["n_experts"] or 1, flat["n_layers"])
    dense = (flat["d_model"], flat["n_heads"], flat["n_layers"])
    known = _preset_like(*of_experts) or _hub_like(*of_experts) or _named_like(row.get("model") or "", *dense)
    if known is not None:
        return known
    if not flat["d_ff"]:
        flat["d_ff"] = flat["d_ff_expert"] or 4 * flat["d_model"]
    for key in ("gated_mlp", "tied_embeddings"):
        flat[key] = bool(flat[key])
    if (flat["n_experts"] or 1) <= 1:
        flat.update(n_experts=None, experts_per_token=None, d_ff_expert=None)
    flat["name"] = row.get("model") or row["id"]
    flat["has_head"] = "classification" not in flat["name"]  # a head of a few classes instead
    flat["max_seq_len"] = integer(row, "seq_len")
    sizes = (flat["d_model"], flat["n_heads"], flat["n_kv_heads"], flat["n_layers"])
    flat |= _of_class(flat["name"], *sizes)
    return _build(tuple(sorted((k, v) for k, v in flat.items() if v is not None)))


@cache
def _build(items: tuple[tuple[str, Any], ...]) -> ModelConfig:
    return model_from_flat(dict(items))


def _signature(model: ModelConfig) -> tuple[int, int, int]:
    attention = next((group.attention for group in model.groups if group.attention is not None), None)
    experts = next((group.mlp.n_experts for group in model.groups if isinstance(group.mlp, Moe)), 1)
    return (model.d_model, attention.n_heads if attention else 0, experts)


@cache
def _known_models() -> dict[tuple[int, int, int], str]:
    """Mixtures of experts among the presets, by dimensions: their attention and dense layers have no columns."""
    models = (load_model(name) for name in model_ids())
    mixtures = (model for model in models if any(isinstance(group.mlp, Moe) for group in model.groups))
    return {_signature(model): model.name for model in mixtures}


@cache
def _preset_like(d_model: int, n_heads: int, n_experts: int, n_layers: int) -> ModelConfig | None:
    """The preset of these dimensions, cut to so many layers where the row has fewer."""
    name = _known_models().get((d_model, n_heads, n_experts))
    if name is None:
        return None
    model = load_model(name)
    return model if model.n_layers == n_layers else load_model(name, {"n_layers": n_layers})


def _preset_of(name: str) -> str | None:
    """The preset whose name has the same letters and figures."""
    letters = _LETTERS.sub("", plain_name(name))
    return next((known for known in model_ids() if _LETTERS.sub("", known) == letters), None)


@cache
def _named_like(name: str, d_model: int, n_heads: int, n_layers: int) -> ModelConfig | None:
    """The preset of this name and these dimensions, where columns do not tell all of its attention.

    That is: heads of another width than d_model / n_heads, or windows in some layers.
    """
    preset = _preset_of(name)
    if preset is None:
        return None
    model = load_model(preset)
    attentions = [group.attention for group in model.groups if group.attention is not None]
    untold = len({each.window for each in attentions}) > 1 or attentions[0].head_dim * n_heads != d_model
    same = model.n_layers == n_layers and _signature(model) == (d_model, n_heads, 1)
    return model if same and untold else None


@cache
def _hub_like(d_model: int, n_heads: int, n_experts: int, n_layers: int) -> ModelConfig | None:
    """The model of the Hub of these dimensions, where it has experts or recurrences: no columns tell of them."""
    for name in names_of_size(d_model, n_layers):
        model = load_model(name)
        plain = not any(group.recurrence or isinstance(group.mlp, Moe) for group in model.groups)
        if not plain and _signature(model) == (d_model, n_heads, n_experts):
            return model
    return None


@cache
def _of_class(name: str, d_model: int, n_heads: int, n_kv_heads: int | None, n_layers: int) -> dict[str, bool]:
    """What no column says, but the class of the preset of this name, or of all models of the Hub of these dimensions.

    That is: whether it hands caches back in training, and makes queries, keys and values by one product.
    """
    preset = _preset_of(name)
    names = names_of_size(d_model, n_layers) if preset is None else (preset,)
    groups = (group for each in names for group in load_model(each).groups)
    found = (group.attention for group in groups if group.attention is not None)
    alike = [each for each in found if (each.n_heads, each.n_kv_heads) == (n_heads, n_kv_heads)]
    flags = ("hands_back_cache", "joint_qkv")
    return {flag: bool(alike) and all(getattr(each, flag) for each in alike) for flag in flags}
