"""Memory as people read it: parts against capacity, and the changes that make it fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .cells import points, seconds, share, size
from .memory import Memory
from .output import Table

if TYPE_CHECKING:
    from .fixes import Fix

MEMORY_PARTS = {
    "weights_bytes": "weights",
    "gradients_bytes": "gradients",
    "optimizer_bytes": "optimizer state and master weights",
    "activations_bytes": "activations",
    "logits_bytes": "logits and loss",
    "communication_bytes": "gathered weights and buffers",
    "context_bytes": "context, libraries, fragmentation",
}


def fit_words(memory: Memory) -> str:
    """Total against capacity, and what is left or missing."""
    total, capacity = size(memory.total_bytes).text, size(memory.capacity_bytes).text
    difference = size(abs(memory.capacity_bytes - memory.total_bytes)).text
    if memory.fits:
        return f"{total} of {capacity}: fits, {difference} free"
    return f"DOES NOT FIT: {total} needed, {capacity} there: {difference} short per device"


def memory_table(memory: Memory, explained: Mapping[str, str] | None = None) -> Table:
    """Peak bytes of the fullest device by part, the largest first; `explained` adds the arithmetic."""
    parts = [name for name in MEMORY_PARTS if getattr(memory, name)]
    parts.sort(key=lambda name: -getattr(memory, name))
    rows: list[list[Any]] = []
    for name in (*parts, "total_bytes", "capacity_bytes"):
        value = getattr(memory, name)
        words = MEMORY_PARTS.get(name, name.removesuffix("_bytes"))
        rows.append([words, size(value), share(value / memory.capacity_bytes)])
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
