"""What a ``config.json`` states of sizes that its family does not read: refused, or said to be left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import RooflineError
from .family import load_family, recognised_fields

# fields whose name says layers, heads, widths, windows or experts; those below do not decide a shape
_SHAPE = re.compile(r"(^|_)(layers?|heads?|size|dim|window|experts?|rank|width|ffn|mlp|intermediate|kv|conv)(_|$)")
_NO_SHAPE = frozenset(
    {
        "vocab_size",
        "type_vocab_size",
        "chunk_size",
        "max_window_layers",
        "attn_window_size",
        "cache_layers",
        "image_size",
        # positions
        "rotary_dim",
        "qk_head_dim",  # the sum of two that are read
        "no_rope_layer_interval",
        "global_attn_every_n_layers",  # layer_types lists it
        # classes of the same base model, and generation
        "classifier_proj_size",
        "pooler_output_size",
        "median_filter_width",
        "encoder_no_repeat_ngram_size",
        "block_size",  # of block-sparse attention, refused where it is on
        # routing within experts that are read
        "num_expert_group",
        "num_hash_layers",
    }
)
_DEPTH = re.compile(r"^(n_|num_|num_hidden_)?layers?$|^depth$")


def unread_sizes(model_type: str, config: Mapping[str, Any], where: str, ignore: str) -> list[str]:
    """A sentence on the fields that look like a size, are not read and are to be ignored, all of them or by name.

    Raises:
        RooflineError: There are others: a count that leaves a size out would be wrong in silence.
    """
    known, ignored = recognised_fields(model_type), {name.strip() for name in ignore.split(",")}
    harmless = _NO_SHAPE.union(load_family(model_type).ignored)
    odd = {
        name: config[name]
        for name in sorted(config.keys() - known - harmless)
        if _SHAPE.search(name) and _is_size(config[name]) and not _repeats(name, config, known)
    }
    unknown = [name for name in odd if name not in ignored and "all" not in ignored]
    if unknown:
        shown = ", ".join(f"{name} = {odd[name]}" for name in unknown)
        raise RooflineError(
            f"{where}: what {shown} means in models of type {model_type!r} is not known, and a size may be missing "
            f"without it: pass --set ignore={','.join(unknown)} to count all the same"
        )
    return [f"ignored, as asked: {', '.join(f'{name} = {value}' for name, value in odd.items())}"] if odd else []


def holds_other_models(config: Mapping[str, Any], model_type: str) -> bool:
    """Whether a config of one language model holds others, with layers of their own, that are not read."""
    unread = config.keys() - recognised_fields(model_type) - set(load_family(model_type).ignored)
    parts = [part for name in unread if isinstance(part := config[name], Mapping)]
    return any(_is_size(value) and _DEPTH.search(name) for part in parts for name, value in part.items())


def _repeats(name: str, config: Mapping[str, Any], known: frozenset[str]) -> bool:
    """Whether a field says again what another that is read says under the same name, with a word more."""
    return any(name != other and other in name and config.get(other) == config[name] for other in known)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1
