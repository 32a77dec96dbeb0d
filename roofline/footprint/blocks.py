"""Blocks that tensors leave in the caching allocator and that those of other sizes do not take.

A freed block goes to the next tensor that it holds (pytorch c10/cuda/CUDACachingAllocator.cpp, `get_free_block`: the
smallest that is large enough). A larger tensor finds no room in smaller blocks, so that of tensors of several sizes,
smaller ones first, the allocator holds the most there ever are of each size, and not the most there are at once.
"""

from __future__ import annotations

from ..arrays import Number, maximum, where
from ..config.recompute import Module
from ..counting.live import ends
from ..counting.op import Op
from ..counting.step import Step

FEED_FORWARD: frozenset[Module | None] = frozenset({"mlp", "moe_act", "experts", "shared_experts", "dispatch"})


def forward_bytes(step: Step) -> Number:
    """What a layer's forward pass frees again: at the fullest moment of its feed-forward block, and of the rest.

    The two work on tensors of different width, and the narrower come first. An op stands beside what it reads; of
    a chain of kernels, each of which reads what the one before it wrote, half is there at a time.
    """
    layers: dict[tuple[str, int], list[Op]] = {}
    for op in step.ops:
        if op.phase == "forward" and op.part in {"layer", "tower"} and op.kind not in {"collective", "transfer"}:
            layers.setdefault((op.part, op.layer_kind), []).append(op)
    return maximum(0, *(_of_layer(step, layer) for layer in layers.values()))


def _of_layer(step: Step, layer: list[Op]) -> Number:
    longest, es = step.train.longest, step.train.activation_bytes
    fullest: dict[bool, Number] = {}
    before: Number = 0
    for op in layer:
        size = ends(op, es, longest)
        if size is None:
            whole = op.bytes_written * longest
            freed = before + where(op.kernels > 1, whole / 2, whole) - op.saved_bytes
        else:
            read, before = size
            freed = read + before - op.saved_bytes
        block = op.module in FEED_FORWARD
        fullest[block] = maximum(fullest.get(block, 0), freed)
    return sum(fullest.values())
