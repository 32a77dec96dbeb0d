"""Which memory each kernel of a traced pass reads and writes: what a compiler sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import msgspec

from ..counting.op import Op
from .rules import Call, Cost, Operand, in_library


class Access(NamedTuple):
    """Bytes of a part of a buffer; two accesses of one part are the same bytes."""

    buffer: int
    part: Any
    bytes: int


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel as the operators run one by one have it.

    Attributes:
        op: What it costs so.
        place: The module that it runs in, its index among equal ones starred.
        operator: Name without namespace.
        reads: What it reads, each part once; of 0 bytes where it only has to run later.
        writes: What it writes.
        loop: How a compiler would loop over it: see `rules.Cost`; None: it calls a library.
        size: Elements of the loop.
        reduced: Elements that a reduction leaves; `size` without one.
        random: Whether it draws numbers.
    """

    op: Op
    place: str
    operator: str
    reads: tuple[Access, ...]
    writes: tuple[Access, ...]
    loop: str | None
    size: int
    reduced: int
    random: bool = False

    @property
    def constant(self) -> bool:
        """Whether what it writes hangs on nothing: a compiler writes the number into the code."""
        return self.loop == "points" and not self.reads and not self.random


class Buffers:
    """Numbers of what storages hold: a storage that is written to, or freed and made again, has a new one."""

    def __init__(self) -> None:
        self.sizes: list[int] = []  # bytes of each number
        self.outside: set[int] = set()  # those of parameters, buffers of modules and inputs of the pass
        self._now: dict[int, int] = {}  # storage -> number
        self._storages: list[int] = []  # number -> storage

    def of(self, storage: int, size: int, *, outside: bool = False) -> int:
        """The number of what a storage of `size` bytes holds now."""
        if storage not in self._now:
            self._now[storage] = len(self.sizes)
            if outside:
                self.outside.add(len(self.sizes))
            self.sizes.append(size)
            self._storages.append(storage)
        return self._now[storage]

    def forget(self, storage: int) -> None:
        """A storage is freed, or all that it holds is old."""
        self._now.pop(storage, None)

    def rewrite(self, number: int) -> int:
        """The number of what is written over this one."""
        storage = self._storages[number]
        self.forget(storage)
        return self.of(storage, self.sizes[number], outside=number in self.outside)


def nodes(call: Call, kernels: Sequence[tuple[Cost, Op]], place: str, buffers: Buffers) -> list[Node]:
    """The kernels of a call; of what a compiler writes as two loops both of them."""
    overwritten = [operand.identity[0] for operand in call.mutated]
    kept = [number for number, one in zip(overwritten, call.mutated, strict=True) if one.bytes < buffers.sizes[number]]
    made = [(operand.numel, _access(operand)) for operand in call.outputs]
    for number, operand in zip(overwritten, call.mutated, strict=True):
        made.append((operand.numel, _access(operand)._replace(buffer=buffers.rewrite(number))))
    node = Node(
        op=kernels[-1][1],
        place=place,
        operator=call.name.partition(".")[2].strip("_"),
        reads=tuple(_access(operand) for operand in call.inputs),
        writes=tuple(access for _, access in made),
        loop=None,
        size=0,
        reduced=0,
        random="nondeterministic_seeded" in call.tags,
    )
    cost = kernels[0][0]
    if len(kernels) > 1 or in_library(call.name) or cost.loop is None:  # the last one has the results
        return [*(msgspec.structs.replace(node, op=op, writes=()) for _, op in kernels[:-1]), node]
    reads = (*_reads(call, cost), *(Access(number, None, 0) for number in kept))  # the rest of it is what it was
    node = msgspec.structs.replace(node, reads=reads)
    return _scatter(node, cost, call, buffers) if cost.loop == "scatter" else _loops(node, cost, call, made)


def _loops(node: Node, cost: Cost, call: Call, made: Sequence[tuple[int, Access]]) -> list[Node]:
    """One loop, or two: sums over columns, and what is done to each element."""
    size = max((elements for elements, _ in made), default=0)
    if cost.loop == "points":
        return [msgspec.structs.replace(node, loop="points", size=size, reduced=size)]
    size = max(size, call.largest)
    change, rows = msgspec.structs.replace, _rows(call, size)
    if cost.loop in {"reduction", "rows"}:
        left = max(elements for elements, _ in made) if cost.loop == "reduction" else rows
        loop = "rows" if 1 < left == rows else "columns" if cost.loop == "reduction" else None
        return [change(node, loop=loop, size=size, reduced=left or size)]
    sums = tuple(access for elements, access in made if elements < size)
    whole = tuple(access for elements, access in made if elements == size)
    left = max((elements for elements, _ in made if elements < size), default=1)
    columns = change(node, writes=sums, loop="columns", size=size, reduced=left)
    if cost.loop == "beside":
        found = [change(node, writes=whole, loop="rows", size=size, reduced=rows), columns]
    else:
        reads = (*node.reads, *sums)
        found = [columns, change(node, reads=reads, writes=whole, loop="points", size=size, reduced=size)]
    return [part for part in found if part.writes]


def _rows(call: Call, size: int) -> int:
    """Rows of the last dimensions that a reduction or a norm runs over; 0 where it is over others, or over all."""
    args, source = call.args, next(iter(call.inputs))
    if "normalized_shape" in args:
        return size // max(1, prod(args["normalized_shape"]))
    dims = args.get("dim")
    dims = [dims] if isinstance(dims, int) else dims or ()
    count = len(source.shape)
    last = {dim % count for dim in dims} == {*range(count - len(dims), count)} if count else False
    return size // max(1, prod(source.shape[count - len(dims) :])) if dims and last else 0


def _scatter(node: Node, cost: Cost, call: Call, buffers: Buffers) -> list[Node]:
    """A fresh table filled or copied; then rows added to it, element by element."""
    (table,) = node.writes
    change = msgspec.structs.replace
    base = call.args.get("self")
    number = base.identity[0] if isinstance(base, Operand) else None
    from_base = tuple(access for access in node.reads if access.buffer == number)
    rows = change(node, loop="columns", size=int(cost.flops), reads=tuple({*node.reads} - {*from_base}))
    size_of_rows = cost.written - sum(operand.bytes for operand in call.outputs)
    if call.mutated:
        return [change(rows, reads=node.reads, writes=(table._replace(bytes=size_of_rows),))]
    added = Access(buffers.rewrite(table.buffer), None, size_of_rows)
    size = call.outputs[0].numel
    return [
        change(node, reads=from_base, loop="points", size=size, reduced=size),
        change(rows, reads=(*rows.reads, Access(table.buffer, None, 0)), writes=(added,)),
    ]


def _access(operand: Operand) -> Access:
    number, *part = operand.identity
    return Access(number, tuple(part), operand.bytes)


def _reads(call: Call, cost: Cost) -> list[Access]:
    """All arguments, as far as the cost has them read: not what is only overwritten, and of a table the rows."""
    unread = max(0, call.read - cost.read) if cost.loop else 0
    overwritten = {operand.identity for operand in call.mutated}
    found = []
    for operand in sorted(call.inputs, key=lambda one: (one.identity in overwritten, one.bytes), reverse=True):
        left = min(unread, operand.bytes)
        unread -= left
        if operand.bytes > left:
            found.append(_access(operand)._replace(bytes=operand.bytes - left))
    return found
