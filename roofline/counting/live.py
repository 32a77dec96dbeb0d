"""What stands beside the kept tensors while one layer runs backward: gradients in flight, and what is made anew."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import msgspec

from ..arrays import Number, maximum
from .op import Op


class Keeper(msgspec.Struct, frozen=True, kw_only=True):
    """A forward op of a layer, what recompute leaves it of its `saved_bytes`, and with whom it runs again."""

    op: Op
    kept: Number
    region: Hashable  # dropped tensors of one region stand together


def in_hand(layer: Sequence[Keeper], stream: Number, es: int, longest: Number) -> Number:
    """Bytes beyond what is kept, at the fullest moment of a layer's backward pass.

    Backward goes from the last op to the first. At each, the layer holds what it and those before it keep, what is
    made anew for its region, and the gradients of the op's result and of its input; the gradient of the residual
    stream waits beside them.

    Args:
        layer: Forward ops of one layer in their order.
        stream: Bytes of the residual stream.
        es: Bytes of an element of a gradient.
        longest: The longest sequence, which decides memory, over the one that ops are counted for.
    """
    fullest: Number = 0
    held: Number = 0
    anew: dict[Hashable, Number] = {}
    for keeper, gradients in zip(layer, _gradients([each.op for each in layer], stream, es, longest), strict=True):
        held = held + keeper.kept
        anew[keeper.region] = anew.get(keeper.region, 0) + keeper.op.saved_bytes - keeper.kept
        fullest = maximum(fullest, held + anew[keeper.region] + gradients)
    return stream + maximum(0, fullest - held)


def _gradients(ops: Sequence[Op], stream: Number, es: int, longest: Number) -> list[Number]:
    """Bytes of the gradients of each op's input and result: of matmuls and attention by shape, others lie between."""
    sizes = [ends(op, es, longest) for op in ops]
    found: list[Number] = []
    before: Number = stream
    for size in sizes:
        found.append(before if size is None else size[0])
        before = before if size is None else size[1]
    after: Number = stream
    for place in reversed(range(len(ops))):
        size = sizes[place]
        found[place] = found[place] + (after if size is None else size[1])
        after = after if size is None else size[0]
    return found


def ends(op: Op, es: int, longest: Number) -> tuple[Number, Number] | None:
    """Bytes of what a matmul or attention reads and writes, and so of their gradients; None for other ops."""
    if op.kind == "attention":  # dq is summed in fp32 (arXiv:2307.08691, section 3.2)
        return op.saved.whole + op.saved.output, op.saved.output
    if op.kind != "matmul" or op.shape is None:
        return None
    m, n, k, batch = op.shape
    x, w, y = batch * m * k * es * longest, batch * k * n * es * longest, batch * m * n * es * longest
    if op.role == "attention_entry":  # queries x keys: both are lengths
        y = y * longest
    elif op.role == "attention_core":
        x = x * longest
    return x + (w if op.form == "batched" else 0), y
