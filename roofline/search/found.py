"""The layouts that stand out of a search, estimated with their intervals: the best, the simplest, the front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ..answers.machine import caveats_of, machine_notes
from ..answers.measured import seen_notes
from ..config.asserts import refuse
from ..config.run import TrainConfig
from ..counting.step import build_step
from ..footprint.parts import Memory, memory_of
from .best import Best
from .grid import ROUNDING, Bundle
from .layout import HARDLY, VARIED, Layout, SearchResult, layouts_of, value_of, worse_by
from .question import Bundles, Piece

# Leaders kept for each layout returned: of those that differ in the virtual stages alone one is, and twins of the
# same degrees that are neither faster nor smaller are left out.
TWINS = 50


class Found:
    """What a search kept, and the question it answers."""

    def __init__(self, bundles: Bundles, best: Best, top: int, tolerance: float | None) -> None:
        self.question, self.best, self.top, self.tolerance = bundles.question, best, top, tolerance
        self.pieces, self.bundles = bundles.pieces, bundles
        bundles.kept = None  # those of the few that stand out
        self.layouts: dict[tuple[int, int], Layout] = {}

    def result(self, *, seconds: float, interrupted: bool, notes: tuple[str, ...]) -> SearchResult:
        """The answer.

        Raises:
            RooflineError: The software refuses every layout.
            KeyboardInterrupt: It was stopped before anything was found.
        """
        question, best = self.question, self.best
        if best.empty:
            if interrupted:
                raise KeyboardInterrupt
            self._refuse()
        leaders = self._distinct()
        points = [] if best.front is None else best.front.points()
        fastest = [of.best()[0] for of in best.software.values()]
        self._estimate([*leaders, *points, *fastest])
        found = [self._layout(entry) for entry in leaders]
        smallest = None if found else next(iter(self._layout(entry) for entry in best.smallest.best()), None)
        if smallest is not None and smallest.fits:  # likelier than not, where none surely does
            found, smallest = [smallest], None
        simplest = self._simplest(found[0]) if found else None
        return SearchResult(
            model=question.model,
            device=question.device,
            evaluated=best.evaluated,
            fitting=best.priced,
            seconds=seconds,
            layouts=found,
            simplest=simplest,
            front=[self._layout(entry) for entry in points],
            smallest=smallest,
            smallest_memory=self._memory(smallest),
            by_software=sorted(map(self._layout, fastest), key=lambda each: value_of(each, question.objective)),
            interrupted=interrupted,
            objective=question.objective,
            global_batch=int(question.base.global_batch or 1),
            notes=(
                *notes,
                *(machine_notes(found[0].train, question.device) if found else ()),
                *(seen_notes(found[0].train, question.device) if found else ()),
                *caveats_of(question.device),
            ),
        )

    def _at(self, source: int) -> tuple[Bundle, Piece]:
        piece = self.pieces[source]
        return self.bundles.of(piece), piece

    def _distinct(self) -> list[tuple[int, Any]]:
        """The leaders: of those that differ in the virtual stages alone the best, and no dominated twins.

        A twin has the same degrees, software, dtype and attention, and is neither better nor smaller.
        """
        seen: set[tuple[Any, ...]] = set()
        smallest: dict[tuple[Any, ...], float] = {}  # memory of the best twin so far
        found = []
        for (source, index), memory in self._with_memory(self.best.leaders.best()):
            bundle, piece = self._at(source)
            variant, row, micro = bundle.layout_at(int(index))
            train = bundle.trains[variant]
            degrees = tuple(int(column[row]) for name, column in bundle.space.columns.items() if name != "vp")
            twin = (*degrees, train.stack, train.dtype, train.attention)
            if memory < smallest.get(twin, math.inf):
                smallest[twin] = memory
                alike = (piece.part, piece.bundle, piece.sharding, variant, micro, *degrees)
                if alike not in seen:
                    seen.add(alike)
                    found.append((source, index))
            if len(found) == self.top:
                break
        return found

    def _with_memory(self, entries: list[tuple[int, Any]]) -> Iterator[tuple[tuple[int, Any], float]]:
        """Each entry with its bytes, worked out for a few times as many as are wanted at once."""
        for some in _chunks(entries, 4 * self.top):
            yield from zip(some, self._memories(some), strict=True)

    def _memories(self, entries: list[tuple[int, Any]]) -> list[float]:
        """Bytes of each entry."""
        import numpy as np

        found = [0.0] * len(entries)
        for source in {source for source, _ in entries}:
            bundle, piece = self._at(source)
            places = [place for place, entry in enumerate(entries) if entry[0] == source]
            layouts = [bundle.layout_at(int(entries[place][1])) for place in places]
            rows, back = np.unique([row for _, row, _ in layouts], return_inverse=True)
            memory = bundle.memory(piece.sharding, rows).needed
            for place, (variant, _, micro), row in zip(places, layouts, back.tolist(), strict=True):
                found[place] = float(memory[variant, row, micro])
        return found

    def _memory(self, layout: Layout | None) -> Memory | None:
        return (
            None if layout is None else memory_of(build_step(self.question.model, layout.train), self.question.device)
        )

    def _simplest(self, best: Layout) -> Layout:
        tolerance, objective = HARDLY if self.tolerance is None else self.tolerance, self.question.objective
        most = value_of(best, objective) * (1 + tolerance) * (1 + ROUNDING)
        for level in sorted(self.best.simple):  # none where the best is borderline
            if self.best.simple[level].worst > most and self.question.device.seen is None:
                continue  # which needs no estimate
            layout = self._layout(self.best.simple[level].best()[0])
            least, expected, _ = worse_by(best, layout, objective, self.question.device)
            if expected <= tolerance and (least <= 0 or self.tolerance is not None):
                return layout
        return best

    def _layout(self, entry: tuple[int, Any]) -> Layout:
        """The layout at `entry` (source, index in its bundle)."""
        self._estimate([entry])
        return self.layouts[entry[0], int(entry[1])]

    def _estimate(self, entries: Iterable[tuple[int, Any]]) -> None:
        """Estimate the layouts at `entries` that were not yet, those on one set of words together."""
        alike: dict[TrainConfig, dict[tuple[int, int], TrainConfig]] = {}  # by their words, wherever they were found
        for source, index in entries:
            key = source, int(index)
            if key not in self.layouts:
                train = self._train(source, *self._at(source)[0].layout_at(key[1]))
                words = msgspec.structs.replace(train, **dict.fromkeys(VARIED, 1))
                alike.setdefault(words, {})[key] = train
        for trains in alike.values():
            found = layouts_of(self.question.model, list(trains.values()), self.question.device)
            self.layouts |= zip(trains, found, strict=True)

    def _train(self, source: int, variant: int, row: int, micro: int) -> TrainConfig:
        bundle, piece = self._at(source)
        degrees = {name: int(column[row]) for name, column in bundle.space.columns.items()}
        return msgspec.structs.replace(
            bundle.trains[variant],
            **degrees,
            sharding=piece.sharding,
            micro_batch=int(bundle.space.micro_batches[micro]),
        )

    def _refuse(self) -> None:
        """Say what the software refuses of the first layout of a piece.

        Raises:
            RooflineError: It does.
        """
        for source in range(len(self.pieces)):
            bundle, piece = self._at(source)
            rows, micro = bundle.space.consistent[piece.first : piece.last].nonzero()
            for variant in range(len(bundle.trains) if len(rows) else 0):
                train = self._train(source, variant, piece.first + int(rows[0]), int(micro[0]))
                refuse(train, self.question.model)


def _chunks(values: Any, size: int) -> list[Any]:
    return [values[start : start + size] for start in range(0, len(values), size)]
