"""What a compiler keeps of a forward pass for backward: the fewest bytes from which the rest can be computed again.

A minimum cut between what has to be kept or is there anyway and what backward reads (TorchInductor's partitioner,
pytorch/pytorch torch/_functorch/partitioners.py). Only what is element by element runs again, within the kernel that
reads it; never matmuls, reductions, random numbers and what a library call of backward reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from .flow import Access, Node

_SOURCE, _SINK = -1, -2
_WITHOUT_END = float("inf")
_Inputs: TypeAlias = "dict[int, list[Access] | None]"


def again(nodes: Sequence[Node], forward: int, sizes: Sequence[int], outside: Iterable[int]) -> list[Node]:
    """The nodes, the first `forward` of the forward pass, with backward reading what is kept instead of the rest.

    Args:
        nodes: Of both passes, in order.
        forward: How many are of the forward pass.
        sizes: Bytes of each buffer.
        outside: Buffers that are there anyway: parameters and inputs.
    """
    makers = {access.buffer: node for node in nodes[:forward] for access in node.writes}
    read: dict[int, bool] = {}  # what backward reads of it -> whether a library call is among the readers
    for node in nodes[forward:]:
        for access in node.reads:
            if access.buffer in makers:
                read[access.buffer] = read.get(access.buffer, False) or node.loop is None
    inputs = _inputs(read, makers)
    kept = {buffer for buffer, by_library in read.items() if by_library or inputs[buffer] is None}
    kept |= _smallest_cut(read, inputs, sizes, kept | {*outside})
    sources = {buffer: _kept_under(inputs[buffer], inputs, kept) for buffer in read if buffer not in kept}
    return [*nodes[:forward], *(_reading(node, sources) for node in nodes[forward:])]


def _inputs(read: Iterable[int], makers: Mapping[int, Node]) -> _Inputs:
    """What each buffer is computed from that backward may need."""
    found: _Inputs = {}
    left = [*read]
    while left:
        buffer = left.pop()
        if buffer not in found:
            found[buffer] = _computed_from(makers.get(buffer), buffer)
            left += [access.buffer for access in found[buffer] or ()]
    return found


def _computed_from(maker: Node | None, buffer: int) -> list[Access] | None:
    """What a buffer is computed from again; None: it has to be kept."""
    if maker is None or maker.loop not in {"points", "rows"} or maker.random or maker.op.kind == "embedding":
        return None
    made = {access.buffer: access for access in maker.writes}
    largest = max(access.bytes for access in maker.writes)
    small = [access for access in maker.writes if access.bytes < largest]
    if maker.loop == "rows" and (made[buffer] in small or not small):
        return None  # a reduction, or of a norm its statistics: with these its result is computed again
    return [*maker.reads, *(small if maker.loop == "rows" else ())]


def _smallest_cut(read: Iterable[int], inputs: _Inputs, sizes: Sequence[int], free: set[int]) -> set[int]:
    """Buffers to keep beside those that are `free`: of the smallest cuts the one nearest to backward.

    Each buffer is an edge of its bytes between two ends (2 b, 2 b + 1); paths of fewest edges first (Edmonds and Karp).
    """
    room: dict[int, dict[int, float]] = {_SOURCE: {}, _SINK: {}}

    def edge(start: int, end: int, size: float) -> None:
        room.setdefault(start, {})[end] = size
        room.setdefault(end, {}).setdefault(start, 0)

    for buffer in inputs.keys() - free:
        edge(2 * buffer, 2 * buffer + 1, sizes[buffer])
        before = inputs[buffer]
        if before is None:
            edge(_SOURCE, 2 * buffer, _WITHOUT_END)
        for access in before or ():
            if access.buffer not in free:
                edge(2 * access.buffer + 1, 2 * buffer, _WITHOUT_END)
    for buffer in {*read} - free:
        edge(2 * buffer + 1, _SINK, _WITHOUT_END)
    while path := _path(room):
        least = min(room[start][end] for start, end in path)
        for start, end in path:
            room[start][end] -= least
            room[end][start] += least
    to_sink = _ends_at_sink(room)
    return {buffer for buffer in inputs.keys() - free if 2 * buffer + 1 in to_sink and 2 * buffer not in to_sink}


def _path(room: Mapping[int, Mapping[int, float]]) -> list[tuple[int, int]]:
    """A shortest way from source to sink with room on every edge; empty where there is none."""
    came: dict[int, int] = {_SOURCE: _SOURCE}
    queue = deque([_SOURCE])
    while queue and _SINK not in came:
        here = queue.popleft()
        for there, free in room[here].items():
            if free > 0 and there not in came:
                came[there] = here
                queue.append(there)
    if _SINK not in came:
        return []
    way, here = [], _SINK
    while here != _SOURCE:
        way.append((came[here], here))
        here = came[here]
    return way


def _ends_at_sink(room: Mapping[int, Mapping[int, float]]) -> set[int]:
    """Ends from which there is room left to the sink."""
    seen, queue = {_SINK}, deque([_SINK])
    while queue:
        here = queue.popleft()
        for there in room[here]:
            if there not in seen and room[there][here] > 0:
                seen.add(there)
                queue.append(there)
    return seen


def _kept_under(start: Iterable[Access] | None, inputs: _Inputs, kept: set[int]) -> list[Access]:
    """What is kept, or there anyway, under what a buffer is computed from."""
    found: dict[Access, None] = {}
    left: list[Access] = list(start or ())
    seen: set[int] = set()
    while left:
        here = left.pop()
        before = inputs.get(here.buffer)
        if here.buffer in kept or before is None:
            found[here] = None
        elif here.buffer not in seen:
            seen.add(here.buffer)
            left += before
    return [*found]


def _reading(node: Node, sources: Mapping[int, Sequence[Access]]) -> Node:
    """A node of backward that reads what is kept."""
    reads = [one for access in node.reads for one in sources.get(access.buffer, (access,))]
    return msgspec.structs.replace(node, reads=tuple(dict.fromkeys(reads)))
