"""Which projections have a low-rank adapter: the words of ``--lora-modules`` against the projections of a layer."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ..arrays import Number
from ..model.tensors import JOINED_WORDS, WORDS, Projection, joined_words
from .sharding import SHARDINGS

if TYPE_CHECKING:
    from .run import TrainConfig
    from .stack import Stack

LORA_RANK = 16  # of adapters where nothing is said; 4 to 64 are common (arXiv:2106.09685, table 6)
_NAMED = (word for table in (WORDS, JOINED_WORDS) for words in table.values() for word in words)
MODULES = tuple(dict.fromkeys(("attention", "mlp", "all", *_NAMED)))


def module_words(modules: str) -> tuple[str, ...]:
    """The words of ``--lora-modules``, joined with commas or plus signs.

    >>> module_words("q_proj, v_proj"), module_words("attention+down_proj")
    (('q_proj', 'v_proj'), ('attention', 'down_proj'))
    """
    return tuple(word.strip() for word in re.split(r"[,+]", modules))


def are_units(train: TrainConfig, stack: Stack) -> bool:
    """Whether each matrix of an adapter is an FSDP unit of its own, as PEFT wraps those that nothing fuses."""
    wraps = SHARDINGS[train.sharding].wraps
    return train.adapts and wraps and stack.unit_us > 0 and "adapter" not in stack.fused


def adapters(words: Collection[str], parts: Sequence[Projection], outputs: Sequence[Number]) -> tuple[int, Number]:
    """How many adapters the matrices of one kernel have, and how many outputs they have together.

    Args:
        words: Which modules have adapters.
        parts: The matrices of the kernel.
        outputs: The outputs of each on one device.

    >>> q, k = (Projection(block="attention", part=part, kernel="qk", d_in=64, d_out=64) for part in "qk")
    >>> adapters(("q_proj", "v_proj"), (q, k), (64, 16)), adapters(("all",), (q, k), (64, 16))
    ((1, 64), (2, 80))
    """
    chosen = [out for part, out in zip(parts, outputs, strict=True) if not set(part.words).isdisjoint(words)]
    if len(chosen) < len(parts) and not set(joined_words(tuple(parts))).isdisjoint(words):
        return 1, sum(outputs)  # one matrix in the checkpoint: one adapter
    return len(chosen), sum(chosen)
