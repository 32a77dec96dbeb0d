"""Which projections have a low-rank adapter: the words of ``--lora-modules`` against the projections of a layer."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..arrays import Number

_ATTENTION = frozenset({"attention", "cross_attention"})
_FEED_FORWARD = frozenset({"mlp", "experts", "shared_expert"})
# the names in use for one projection: of Llama, BERT, GPT-2, OPT and DeepSeek
_SINGLE: Mapping[str, str] = {
    "q_proj": "attention.q",
    "query": "attention.q",
    "k_proj": "attention.k",
    "key": "attention.k",
    "v_proj": "attention.v",
    "value": "attention.v",
    "o_proj": "attention.out",
    "out_proj": "attention.out",
    "q_a_proj": "attention.q_down",
    "q_b_proj": "attention.q_up",
    "kv_a_proj_with_mqa": "attention.kv_down",
    "kv_b_proj": "attention.kv_up",
    "gate_proj": "mlp.gate",
    "up_proj": "mlp.up",
    "fc1": "mlp.up",
    "c_fc": "mlp.up",
    "down_proj": "mlp.down",
    "fc2": "mlp.down",
}
# those of projections that are one matrix: one adapter for all its parts
_JOINED: Mapping[str, frozenset[str]] = {
    "qkv_proj": frozenset({"attention.q", "attention.k", "attention.v"}),
    "query_key_value": frozenset({"attention.q", "attention.k", "attention.v"}),
    "c_attn": frozenset({"attention.q", "attention.k", "attention.v"}),
    "gate_up_proj": frozenset({"mlp.gate", "mlp.up"}),
}
MODULES = ("attention", "mlp", "all", *_SINGLE, *_JOINED)


def module_words(modules: str) -> tuple[str, ...]:
    """The words of ``--lora-modules``, joined with commas or plus signs.

    >>> module_words("q_proj, v_proj"), module_words("attention+down_proj")
    (('q_proj', 'v_proj'), ('attention', 'down_proj'))
    """
    return tuple(word.strip() for word in re.split(r"[,+]", modules))


def adapters(words: tuple[str, ...], name: str, parts: Mapping[str, Number]) -> tuple[int, Number]:
    """How many adapters a projection has, and how many outputs they have together.

    Args:
        words: Which modules have adapters.
        name: The projection, such as ``attention.qkv``.
        parts: The projections joined in this one, with the outputs of each.

    >>> joined = {"q": 64, "k": 16, "v": 16}
    >>> adapters(("q_proj", "v_proj"), "attention.qkv", joined), adapters(("c_attn",), "attention.qkv", joined)
    ((2, 80), (1, 96))
    """
    block = name.split(".", maxsplit=1)[0]
    kind = "attention" if block in _ATTENTION else "mlp" if block in _FEED_FORWARD else ""
    if "all" in words or kind in words:
        return len(parts), sum(parts.values())
    named = {f"{kind}.{part}": outputs for part, outputs in parts.items()}
    if any(_JOINED.get(word) == named.keys() for word in words):
        return 1, sum(parts.values())
    wanted = {_SINGLE.get(word) for word in words}
    chosen = [outputs for part, outputs in named.items() if part in wanted]
    return len(chosen), sum(chosen)
