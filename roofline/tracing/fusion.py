"""A traced pass as a compiler runs it: chains of element-wise kernels and reductions as one kernel each.

The rules are those of TorchInductor (doi:10.1145/3620665.3640366, section 4.4; pytorch/pytorch
torch/_inductor/scheduler.py): kernels over equal loops that share memory become one; it reads each tensor once and
writes what others read. Matmuls and what else is a library call stay as they are. A reduction along the last dimensions
takes what comes before and after it; one along others, or over a whole tensor, ends its kernel.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from ..counting.op import Op
from .flow import Access, Buffers, Node
from .partition import again

_LARGEST = 64  # nodes of a kernel: Inductor's max_fusion_size
_NAMED = 3  # operators in the name of a kernel
_KINDS = ("normalization", "softmax", "embedding", "elementwise")  # a kernel of several is of the first it has


class Fused(msgspec.Struct, frozen=True, kw_only=True):
    """A pass of fused kernels.

    Attributes:
        ops: Its kernels, in an order in which they can run.
        activation_bytes: Bytes kept for backward.
        peak_bytes: Bytes of tensors alive at once, at the fullest moment.
    """

    ops: tuple[Op, ...]
    activation_bytes: int
    peak_bytes: int


class _Kernel:
    """Nodes that are one kernel."""

    def __init__(self, number: int, node: Node, backward: bool) -> None:
        self.number, self.nodes, self.backward = number, [(number, node)], backward
        self.loop, self.size, self.reduced = node.loop, node.size, node.reduced
        self.first = self.last = number
        self.parents: set[int] = set()
        self.made = {access.buffer for access in node.writes}
        self.sums = self.made if node.loop == "columns" else set()  # not known before the loop ends
        self.wide = {access.buffer for access in node.reads}  # read by every turn of the loop

    def fits(self, other: _Kernel) -> bool:
        """Whether both are one loop."""
        if self.loop is None or other.loop is None or self.backward != other.backward:
            return False
        if self.loop == "points" == other.loop:
            return self.size == other.size
        if "points" in {self.loop, other.loop}:
            points, reduction = (self, other) if self.loop == "points" else (other, self)
            if points.size == reduction.reduced:
                return True
            return points.size == reduction.size and not reduction.sums & points.wide
        alike = (self.loop, self.size, self.reduced) == (other.loop, other.size, other.reduced)
        return alike and not (self.sums & other.wide or other.sums & self.wide)

    def take(self, other: _Kernel) -> None:
        """Take over its nodes."""
        self.nodes = sorted([*self.nodes, *other.nodes], key=lambda item: item[0])
        if self.loop == "points" and (other.loop != "points" or other.size > self.size):
            self.loop, self.size, self.reduced = other.loop, other.size, other.reduced
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.parents = (self.parents | other.parents) - {self.number, other.number}
        self.made, self.sums, self.wide = self.made | other.made, self.sums | other.sums, self.wide | other.wide


class _Graph:
    """Kernels and which has to run before which."""

    def __init__(self, readers: Mapping[int, list[int]]) -> None:
        self.readers = readers  # nodes that read each buffer
        self.kernels: dict[int, _Kernel] = {}
        self.into: dict[int, int] = {}  # a kernel that was taken over -> by which

    def now(self, number: int) -> int:
        """The kernel that holds the node with this number."""
        while number in self.into:
            number = self.into[number]
        return number

    def parents(self, number: int) -> set[int]:
        """Kernels that have to run directly before one."""
        kernel = self.kernels[number]
        kernel.parents = {self.now(parent) for parent in kernel.parents} - {number}
        return kernel.parents

    def add(self, node: Node, *, backward: bool, producers: Iterable[int], neighbours: Iterable[int]) -> None:
        """A node, fused with the kernels that make what it reads, and with those that read the same."""
        number = len(self.kernels) + len(self.into)
        kernel = self.kernels[number] = _Kernel(number, node, backward)
        kernel.parents = {self.now(producer) for producer in producers}
        for other in dict.fromkeys([*sorted(kernel.parents, reverse=True), *neighbours]):
            self._fuse(self.now(number), self.now(other))

    def _fuse(self, number: int, other: int) -> None:
        if number == other:
            return
        later, earlier = self.kernels[number], self.kernels[other]
        if len(later.nodes) + len(earlier.nodes) > _LARGEST:
            return
        inside = earlier.loop == "points" and later.loop is not None and self._reads_alone(later, earlier)
        if later.loop == "columns" and earlier.loop == "points" and not inside:
            return  # what is written in rows is read again in columns
        fits = later.fits(earlier) or (inside and later.backward == earlier.backward)
        if fits and not self._between(other, number) and not self._between(number, other):
            earlier.take(later)
            earlier.parents -= {number, other}
            del self.kernels[number]
            self.into[number] = other

    def _reads_alone(self, later: _Kernel, earlier: _Kernel) -> bool:
        """Whether nothing else reads what a kernel makes: it is computed where it is used, whatever its size."""
        both = {earlier.number, later.number}
        return all(
            readers and all(self.now(reader) in both for reader in readers)
            for readers in (self.readers[made] for made in earlier.made)
        )

    def _between(self, start: int, end: int) -> bool:
        """Whether a third kernel has to run after `start` and before `end`."""
        first = self.kernels[start].first
        left = [parent for parent in self.parents(end) if parent != start]
        seen = set(left)
        while left:
            here = left.pop()
            if here == start:
                return True
            if self.kernels[here].last > first:
                more = self.parents(here) - seen
                seen |= more
                left += more
        return False

    def ordered(self) -> Iterator[_Kernel]:
        """The kernels in an order in which they can run."""
        waits = {number: len(self.parents(number)) for number in self.kernels}
        children: dict[int, list[int]] = {}
        for number, kernel in self.kernels.items():
            for parent in kernel.parents:
                children.setdefault(parent, []).append(number)
        ready = [number for number, count in waits.items() if not count]
        heapq.heapify(ready)
        while ready:
            number = heapq.heappop(ready)
            yield self.kernels[number]
            for child in children.get(number, ()):
                waits[child] -= 1
                if not waits[child]:
                    heapq.heappush(ready, child)


def fuse(nodes: Sequence[Node], buffers: Buffers, results: set[int]) -> Fused:
    """The pass of kernels one by one as a compiler would run it.

    Args:
        nodes: The kernels in order; with phase "forward" those of the first graph, all others of the second.
        buffers: What they read and write.
        results: Buffers that are still held when the pass is over: outputs.
    """
    nodes = sorted(_without_constants(nodes), key=lambda node: node.op.phase != "forward")
    forward = sum(node.op.phase == "forward" for node in nodes)
    nodes = again(nodes, forward, buffers.sizes, buffers.outside)
    readers = defaultdict[int, list[int]](list)
    for number, node in enumerate(nodes):
        for access in node.reads:
            readers[access.buffer].append(number)
    graph = _Graph(readers)
    maker: dict[int, int] = {}
    reader: dict[int, int] = {}
    for number, node in enumerate(nodes):
        read = [access.buffer for access in node.reads]
        graph.add(
            node,
            backward=node.op.phase != "forward",
            producers=[maker[buffer] for buffer in read if buffer in maker],
            neighbours=[reader[access.buffer] for access in node.reads if access.bytes and access.buffer in reader],
        )
        reader.update(dict.fromkeys(read, number))
        maker.update((access.buffer, number) for access in node.writes)
    return _priced([*graph.ordered()], buffers, results)


def _without_constants(nodes: Sequence[Node]) -> list[Node]:
    """Without the fills that only loops read: these have the number in their code."""
    constants = {access.buffer for node in nodes if node.constant for access in node.writes}
    read = {access.buffer for node in nodes if node.loop for access in node.reads}
    needed = {access.buffer for node in nodes for access in node.reads if node.loop is None or not access.bytes}
    constants = (constants & read) - needed
    return [
        msgspec.structs.replace(node, reads=tuple(one for one in node.reads if one.buffer not in constants))
        for node in nodes
        if not (node.constant and constants.issuperset(access.buffer for access in node.writes))
    ]


def _priced(kernels: Sequence[_Kernel], buffers: Buffers, results: set[int]) -> Fused:
    """What the kernels cost in this order, and what they hold."""
    readers: dict[int, list[int]] = {}
    for place, kernel in enumerate(kernels):
        for buffer in kernel.wide:
            readers.setdefault(buffer, []).append(place)
    makers = {buffer: place for place, kernel in enumerate(kernels) for buffer in kernel.made}
    in_memory = {
        buffer
        for buffer, place in makers.items()
        if buffer in results
        or kernels[place].loop is None
        or any(other != place for other in readers.get(buffer, [-1]))
    }
    kept = {
        buffer
        for buffer, places in readers.items()
        if buffer not in buffers.outside
        and kernels[places[-1]].backward
        and not kernels[makers.get(buffer, places[0])].backward  # made or first read before
    }
    ops = Counter(_op(kernel, in_memory, kept, buffers.sizes) for kernel in kernels)
    return Fused(
        ops=tuple(msgspec.structs.replace(op, count=count) for op, count in ops.items()),
        activation_bytes=sum(buffers.sizes[buffer] for buffer in kept),
        peak_bytes=_peak(kernels, in_memory, readers, buffers, results),
    )


def _op(kernel: _Kernel, in_memory: set[int], kept: set[int], sizes: Sequence[int]) -> Op:
    saved = sum(sizes[buffer] for buffer in kernel.made & kept)
    first, *rest = [node for _, node in kernel.nodes]
    if kernel.loop is None:
        return msgspec.structs.replace(first.op, saved_bytes=saved)
    ops = [first.op, *(node.op for node in rest)]
    phases = {op.phase for op in ops}
    reads = [one for _, node in kernel.nodes for one in node.reads if one.buffer not in kernel.made]
    writes = [one for _, node in kernel.nodes for one in node.writes if one.buffer in in_memory]
    return msgspec.structs.replace(
        first.op,
        name=_name([first, *rest]) if rest else first.op.name,
        kind=next(kind for kind in _KINDS if any(op.kind == kind for op in ops)),
        phase=phases.pop() if len(phases) == 1 else "backward",
        flops=sum(op.flops for op in ops),
        bytes_read=_bytes(reads, sizes),
        bytes_written=_bytes(writes, sizes),
        kernels=1,
        saved_bytes=saved,
    )


def _bytes(accesses: Iterable[Access], sizes: Sequence[int]) -> int:
    """Each part once, and no more of a buffer than it has."""
    sums: Counter[int] = Counter()
    for access in dict.fromkeys(accesses):
        sums[access.buffer] += access.bytes
    return sum(min(size, sizes[buffer]) for buffer, size in sums.items())


def _name(nodes: Sequence[Node]) -> str:
    """The module that all are in, and the first operators: ``h.*.fused_add_native_layer_norm``."""
    paths = [node.place.split(".") if node.place else [] for node in nodes]
    common = [words[0] for words in zip(*paths, strict=False) if len({*words}) == 1]
    operators = [*dict.fromkeys(node.operator for node in nodes)]
    more = ["more"] if len(operators) > _NAMED else []
    return ".".join([*common, "_".join(["fused", *operators[:_NAMED], *more])])


def _peak(
    kernels: Sequence[_Kernel],
    in_memory: set[int],
    readers: dict[int, list[int]],
    buffers: Buffers,
    results: set[int],
) -> int:
    """Largest sum of live tensors: inputs and results for good, others until they are last read.

    A fused kernel writes where what it reads last was (Inductor's `inplace_buffers`). What nothing reads is a gradient
    of a parameter; what backward reads and nothing makes are the gradients it starts from.
    """
    made = {buffer for kernel in kernels for buffer in kernel.made}
    given = readers.keys() - made - buffers.outside

    def size(found: set[int]) -> int:
        return sum(buffers.sizes[buffer] for buffer in found)

    inputs = {buffer for buffer in given if not kernels[readers[buffer][0]].backward}
    in_memory = in_memory - buffers.outside
    temporary = in_memory - results
    live = peak = size(inputs)
    for place, kernel in enumerate(kernels):
        if kernel.backward and (place == 0 or not kernels[place - 1].backward):
            live += size(given - inputs)
        read = {buffer for buffer in kernel.wide & temporary - kernel.made if readers[buffer][-1] == place}
        written, unread = size(kernel.made & in_memory), kernel.made & temporary - readers.keys()
        peak = max(peak, live + written - (size(read) if kernel.loop else 0))
        live += written - size(read) - size(unread)
    return peak
