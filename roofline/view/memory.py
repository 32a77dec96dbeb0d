"""Memory as people read it: parts against capacity, and the changes that make it fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..config.run import TrainConfig
from ..config.stack import load_stack
from ..counting.optimizer_step import master_bytes, optimizer_state_bytes
from ..footprint.parts import Memory
from .cells import points, seconds, share, size
from .table import Table

if TYPE_CHECKING:
    from ..answers.fixes import Fix

MEMORY_PARTS = {
    "weights_bytes": "weights",
    "gradients_bytes": "gradients",
    "optimizer_bytes": "optimizer state and master weights",
    "activations_bytes": "activations",
    "logits_bytes": "logits and loss",
    "communication_bytes": "gathered weights and buffers",
    "context_bytes": "context, libraries, fragmentation",
}


def optimizer_words(train: TrainConfig) -> str:
    """What the optimizer's row holds: its state, the fp32 master weights (unless the weights are kept in fp32), both.

    >>> optimizer_words(TrainConfig(stack="megatron")), optimizer_words(TrainConfig(dtype="fp32"))
    ('optimizer state and master weights', 'optimizer state')
    """
    copies = bool(master_bytes(train)) and not load_stack(train.stack).cast_weights
    if optimizer_state_bytes(train) == 0:
        return "master weights" if copies else "optimizer state"
    return "optimizer state and master weights" if copies else "optimizer state"


def memory_table(memory: Memory, train: TrainConfig, explained: Mapping[str, str] | None = None) -> Table:
    """Peak bytes of the fullest device by part, the largest first; `explained` adds the arithmetic."""
    labels = {**MEMORY_PARTS, "optimizer_bytes": optimizer_words(train)}
    parts = [name for name in MEMORY_PARTS if getattr(memory, name)]
    parts.sort(key=lambda name: -getattr(memory, name))
    rows: list[list[Any]] = []
    capacity = memory.capacity_bytes
    for name in (*parts, "total_bytes", *(() if capacity is None else ("capacity_bytes",))):
        value = getattr(memory, name)
        words = labels.get(name, name.removesuffix("_bytes"))
        rows.append([words, size(value), None if capacity is None else share(value / capacity)])
        if explained is not None:
            rows[-1].append(explained.get(name, ""))
    columns = ["memory per device", "peak", "of capacity"]
    if explained is None:
        return Table("", columns, rows, align="lrr")
    return Table("", [*columns, "how it comes about"], rows, align="lrrl")


def fixes_table(fixes: Sequence[Fix]) -> Table:
    """The cheapest changes that make it fit, each with what it saves and what it costs."""
    columns = ["cheapest changes that make it fit", "saves", "peak", "step time", "device-time"]
    if not fixes:
        none = "no combination of up to three changes fits: use more devices, or larger ones"
        return Table("", columns, [[none, None, None, None, None]])
    rows = [
        [
            fix.change,
            size(fix.saved_bytes),
            size(fix.total_bytes),
            seconds(fix.step_time_s),
            points(fix.cost),
        ]
        for fix in fixes
    ]
    return Table("", columns, rows, align="lrrrr")
