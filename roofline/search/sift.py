"""Searches one piece: rules out rows by what they always hold, layouts by their memory and time; prices the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from .best import Best
from .columns import taken
from .grid import Bundle
from .layout import WAITING_DRAW, mean_draw
from .question import Bundles, Piece, Question

CHUNK = 2**16  # layouts priced at once: arrays of 512 KiB, few enough that calls cost little beside them
KEPT = 2**24  # bytes: without them, giving memory back and taking it again is a third of a search
# What splits add to think about. A sharded optimizer and sequence parallelism beside tp are switches: nothing.
MACHINERY = {"tp": 2, "pp": 2, "ep": 2, "etp": 1, "cp": 3, "vp": 1}
# [layouts] each: what fits, as (variant, row, micro batch) of a bundle, with its bytes and seconds
Take = Callable[[Bundle, Any, Any, Any, Any, Any], None]


def sift(
    bundles: Bundles,
    number: int,
    piece: Piece,
    best: Best,
    *,
    decided: Callable[[int], None] | None = None,
    take: Take | None = None,
) -> None:
    """Offer the layouts of a piece to `best`.

    Args:
        bundles: Those of the search.
        number: Of the piece: where its entries come from.
        piece: The piece.
        best: What was best so far.
        decided: Told of layouts as they are decided.
        take: Given all that fit, a chunk at a time.
    """
    _Sift(bundles.question, bundles.of(piece), number, piece, best, take).run(decided)


class _Sift:
    def __init__(
        self, question: Question, bundle: Bundle, number: int, piece: Piece, best: Best, take: Take | None
    ) -> None:
        self.question, self.bundle, self.number, self.piece = question, bundle, number, piece
        self.sharding, self.best, self.take = piece.sharding, best, take
        # not where all are asked for, or where a measured step says that they are faster than we think
        self.bounded = take is None and bundle.device.seen is None
        self.waiting: list[tuple[Any, ...]] = []  # (variants, rows, micro batches, bytes) that fit, not yet priced

    def run(self, decided: Callable[[int], None] | None) -> None:
        import numpy as np

        np.empty(KEPT, dtype=np.uint8)  # freed at once: from now on glibc keeps as much of what is freed (mallopt(3))
        space, best = self.bundle.space, self.best
        told = self.question.meaningful(space, self.sharding)
        meaningful = np.stack([told[train.sequence_parallel] for train in self.bundle.trains])  # [variants, rows]
        sensible = meaningful.any(axis=0) & space.consistent.any(axis=1)
        rows = sensible[self.piece.first : self.piece.last].nonzero()[0] + self.piece.first
        layouts_of_row = meaningful.sum(axis=0) * space.consistent.sum(axis=1)
        candidates = meaningful[:, rows, None] & space.consistent[rows] & self.bundle.allowed(self.sharding, rows)
        runs = rows[candidates.any(axis=(0, 2))]
        if not len(runs):
            best.evaluated += int(layouts_of_row[rows].sum())
            return
        floor = self.bundle.memory_floor(self.sharding, runs)
        fitting = runs[floor <= self.bundle.sure.take(runs)]
        if self.bounded:  # more devices first: beside what they take, few layouts of fewer are worth pricing
            fitting = fitting[np.argsort(-space.columns["num_devices"][fitting], kind="stable")]
        if not len(fitting):
            fitting = runs[[floor.argmin()]]  # to say what comes closest
        best.evaluated += int(layouts_of_row[rows].sum() - layouts_of_row[fitting].sum())
        size = max(1, CHUNK // (len(self.bundle.trains) * len(space.micro_batches)))
        try:
            for start in range(0, len(fitting), size):
                chunk = fitting[start : start + size]
                self._chunk(chunk, candidates[:, np.searchsorted(rows, chunk)])
                best.evaluated += int(layouts_of_row[chunk].sum())
                if decided is not None:
                    decided(best.evaluated)
        finally:  # also where an interrupt ends the search
            self._price()

    def _chunk(self, rows: Any, candidates: Any) -> None:
        """`candidates`: [variants, rows, micro batches]."""
        bundle, best = self.bundle, self.best
        peak = bundle.memory(self.sharding, rows)
        memory, held = peak.needed, peak.held
        fits = candidates & (held <= self.bundle.sure.take(rows)[:, None])
        if not fits.any():
            variant, row, micro = candidates.nonzero()
            best.smallest.offer(held[candidates], bundle.index_of(variant, rows[row], micro), self.number)
            return
        best.priced += int(fits.sum())
        if self.take is None:
            fits &= bundle.saves(memory)
        variant, row, micro = fits.nonzero()
        found = variant, rows.take(row), micro, memory[fits]
        if self.bounded:
            wanted = self._wanted(*found).nonzero()[0]
            found = tuple(column.take(wanted) for column in found)
        if len(found[0]):
            self.waiting.append(found)
        if sum(len(each[0]) for each in self.waiting) >= CHUNK // 2:
            self._price()

    def _wanted(self, variant: Any, rows: Any, micro: Any, needed: Any) -> Any:
        """Which of the layouts may be kept, by what a step surely takes: [layouts]."""
        seconds, devices = self.bundle.least(variant, rows, micro), taken(self.bundle.columns["num_devices"], rows)
        values = self._objective(seconds, lambda: WAITING_DRAW, needed, devices)
        machinery, stack = self._machinery(variant, rows), self.bundle.trains[0].stack
        return self.best.wants(values, needed, seconds, machinery, stack)

    def _price(self) -> None:
        """Offer the layouts that wait, with their times."""
        import numpy as np

        if not self.waiting:
            return
        variant, row, micro, needed = (np.concatenate(columns) for columns in zip(*self.waiting, strict=True))
        self.waiting.clear()
        bundle = self.bundle
        times = bundle.schedule(self.sharding, variant, row, micro)
        if self.take is not None:
            self.take(bundle, variant, row, micro, needed, times.total)
        devices = taken(bundle.columns["num_devices"], row)
        values = self._objective(times.total, lambda: mean_draw(times), needed, devices)
        index = bundle.index_of(variant, row, micro)
        machinery, stack = self._machinery(variant, row), bundle.trains[0].stack
        self.best.offer(values, needed, times.total, index, machinery, stack=stack, number=self.number)

    def _machinery(self, variant: Any, rows: Any) -> Any:
        """How much a layout adds to plain data parallelism (see `MACHINERY`)."""
        of_variant, of_row = self._added
        return of_variant.take(variant) + of_row.take(rows)

    @cached_property
    def _added(self) -> tuple[Any, Any]:
        """The machinery of the words of each variant, and of the degrees of each row."""
        import numpy as np

        columns = self.bundle.space.columns
        rows = sum(MACHINERY[name] * (columns[name] > 1).astype(int) for name in MACHINERY.keys() & columns.keys())
        words = np.array([train.recompute != "none" for train in self.bundle.trains], dtype=int)
        # weights' gradients in passes of their own
        rows = rows + (columns["pp"] > 1) * self.bundle.by_pass
        return words, rows + (self.sharding not in {"none", "zero1"})

    def _objective(self, seconds: Any, draw: Callable[[], Any], memory: Any, num_devices: Any) -> Any:
        match self.question.objective:
            case "memory":
                return memory
            case "cost":
                return seconds * num_devices
            case "energy":
                return draw() * seconds * num_devices
        return seconds
