"""Which projections have a low-rank adapter: the words of ``--lora-modules`` against the projections of a layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from ..arrays import Number
from ..model.tensors import JOINED_WORDS, WORDS

Module = Literal["attention", "mlp", "other"]
_SINGLE: Mapping[str, str] = {word: ".".join(place) for place, words in WORDS.items() for word in words}
# those of projections that are one matrix: one adapter for all its parts
_JOINED: Mapping[str, frozenset[str]] = {
    word: frozenset(f"{block}.{part}" for part in parts)
    for (block, parts), words in JOINED_WORDS.items()
    for word in words
}
MODULES = ("attention", "mlp", "all", *_SINGLE, *_JOINED)


def module_words(modules: str) -> tuple[str, ...]:
    """The words of ``--lora-modules``, joined with commas or plus signs.

    >>> module_words("q_proj, v_proj"), module_words("attention+down_proj")
    (('q_proj', 'v_proj'), ('attention', 'down_proj'))
    """
    return tuple(word.strip() for word in re.split(r"[,+]", modules))


def adapters(words: tuple[str, ...], module: Module, parts: Mapping[str, Number]) -> tuple[int, Number]:
    """How many adapters a projection has, and how many outputs they have together.

    Args:
        words: Which modules have adapters.
        module: The module it belongs to; what is no attention and no feed-forward layer is meant by ``all`` alone.
        parts: The projections joined in this one, with the outputs of each.

    >>> joined = {"q": 64, "k": 16, "v": 16}
    >>> adapters(("q_proj", "v_proj"), "attention", joined), adapters(("c_attn",), "attention", joined)
    ((2, 80), (1, 96))
    """
    if "all" in words or module in words:
        return len(parts), sum(parts.values())
    named = {f"{module}.{part}": outputs for part, outputs in parts.items()}
    if any(_JOINED.get(word) == named.keys() for word in words):
        return 1, sum(parts.values())
    wanted = {_SINGLE.get(word) for word in words}
    chosen = [outputs for part, outputs in named.items() if part in wanted]
    return len(chosen), sum(chosen)
