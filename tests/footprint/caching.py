"""PyTorch's caching allocator, tensor by tensor: what the closed form of `footprint/allocator.py` is held against.

Rules of pytorch/pytorch c10/cuda/CUDACachingAllocator.cpp (`round_size`, `get_allocation_size`, `get_free_block`,
`should_split`, `free_block`), for one stream and segments that do not expand.
"""

from __future__ import annotations

from bisect import bisect_left, insort

MIB = 2**20
ROUND = 512  # bytes: sizes are multiples of it
SMALL = MIB  # the largest that comes from the pool of small blocks, and what is not split off a large one
SMALL_SEGMENT, LARGE_SEGMENT = 2 * MIB, 20 * MIB
LARGE = 10 * MIB  # from here on a segment is as large as its tensor
ROUND_LARGE = 2 * MIB


class Block:
    """A piece of a segment, between its neighbours there."""

    def __init__(self, size: int, small: bool) -> None:
        self.size, self.small, self.free, self.age = size, small, True, 0
        self.before: Block | None = None
        self.after: Block | None = None


class CachingAllocator:
    """Hands out blocks by name.

    Attributes:
        live: Bytes of blocks in use.
        reserved: Bytes of all segments.
        most_live: The most `live` ever was.
    """

    def __init__(self) -> None:
        self.live = self.reserved = self.most_live = 0
        self._pools: dict[bool, list[tuple[int, int, Block]]] = {True: [], False: []}  # free blocks by size and age
        self._age = 0
        self._named: dict[object, Block] = {}

    def make(self, name: object, size: float) -> None:
        """A tensor of so many bytes."""
        wanted = max(ROUND, -(-int(size) // ROUND) * ROUND)
        small = wanted <= SMALL
        pool = self._pools[small]
        place = bisect_left(pool, (wanted, -1))
        block = pool.pop(place)[2] if place < len(pool) else self._segment(wanted, small)
        rest = block.size - wanted
        if rest >= ROUND if small else rest > SMALL:
            self._split(block, wanted)
        block.free = False
        self.live += block.size
        self.most_live = max(self.most_live, self.live)
        assert name not in self._named, name
        self._named[name] = block

    def drop(self, *names: object) -> None:
        """Free tensors; their blocks grow together with free neighbours."""
        for name in names:
            block = self._named.pop(name)
            self.live -= block.size
            for other in (block.before, block.after):
                if other is not None and other.free:
                    self._pools[other.small].remove(self._entry(other))
                    self._join(block, other)
            self._give(block)

    def _segment(self, wanted: int, small: bool) -> Block:
        large = LARGE_SEGMENT if wanted < LARGE else -(-wanted // ROUND_LARGE) * ROUND_LARGE
        size = SMALL_SEGMENT if small else large
        self.reserved += size
        return Block(size, small)

    def _split(self, block: Block, wanted: int) -> None:
        rest = Block(block.size - wanted, block.small)
        block.size = wanted
        rest.before, rest.after, block.after = block, block.after, rest
        if rest.after is not None:
            rest.after.before = rest
        self._give(rest)

    def _join(self, block: Block, other: Block) -> None:
        block.size += other.size
        if other is block.before:
            block.before = other.before
            if block.before is not None:
                block.before.after = block
        else:
            block.after = other.after
            if block.after is not None:
                block.after.before = block

    def _give(self, block: Block) -> None:
        block.free = True
        self._age += 1
        block.age = self._age
        insort(self._pools[block.small], self._entry(block))

    @staticmethod
    def _entry(block: Block) -> tuple[int, int, Block]:
        return block.size, block.age, block
