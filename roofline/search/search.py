"""Finds the best parallel layouts: every consistent one is checked for memory and priced, in bounded memory.

Words (sharding, recompute, ...) are an outer loop; within it a million layouts are a few array operations, in
chunks. The layouts returned are estimated once more one by one, with their intervals.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .. import units
from ..answers.asked import described
from ..answers.machine import caveats_of, machine_notes
from ..arrays import is_scalar
from ..config.defaults import default_attention
from ..config.options import check_names, read_flag, read_one
from ..config.options import choices as said
from ..config.recorded import as_recorded
from ..config.run import TrainConfig
from ..config.sharding import SHARDINGS
from ..counting.step import build_step
from ..errors import RooflineError, shown, unknown
from ..footprint.parts import Memory, memory_of
from ..model.spec import ModelConfig, Moe
from ..timing.ranks import domain_size
from ..timing.schedule import Schedule
from .grid import Bundle
from .layout import Layout, SearchResult, layout_of, mean_draw, value_of, worse_by
from .ranking import Front, Leaders
from .software import Part, choices_of, parts_in, parts_of, several, software_note
from .space import (
    LONGEST_SEARCH,
    WORDS,
    Choices,
    Space,
    space_of,
)

if TYPE_CHECKING:
    from ..answers.asked import Described, Named
    from ..hardware import Device

OBJECTIVES = ("time", "cost", "energy", "memory")
CHUNK = 2**14  # layouts priced at once: arrays of 128 KiB stay in the cache
# Leaders kept for each layout returned: of those that differ in the virtual stages alone one is, and twins of the
# same degrees that are neither faster nor smaller are left out.
TWINS = 50
# What splits add to think about. A sharded optimizer and sequence parallelism beside tp are switches: nothing.
MACHINERY = {"tp": 2, "pp": 2, "ep": 2, "cp": 3, "vp": 1}
TOP = 10  # layouts shown
MOST_MACHINERY = sum(MACHINERY.values()) + 3
Progress = Callable[[int, int], None]


def search(
    model: Described,
    device: Named,
    *,
    num_devices: int | Sequence[int] | None = None,
    objective: str = "time",
    top: int = TOP,
    across_nodes: bool = False,
    front: bool = True,
    tolerance: float | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> SearchResult:
    """Search the layouts of `num_devices` devices.

    Args:
        model: As for `estimate`.
        device: As for `estimate`.
        num_devices: Devices in all; several numbers are searched together. By default as many as the name of an
            instance stands for, else one.
        objective: time (of a step), cost (device-seconds of a step), energy (of a step) or memory.
        top: How many layouts to return.
        across_nodes: Whether tensor parallelism may leave the domain of fast links.
        front: Whether to return the front of time against memory.
        tolerance: How much worse than the best the simplest layout may be, as a fraction; by default it
            cannot be told from the best (see `layout.worse_by`).
        progress: Called before the start and after each chunk, with layouts decided and (at most) in all.
        **options: Fields of `TrainConfig`. A degree, micro batch or word that is given restricts the search
            to it (a tuple: to any of them); the others take every value that makes sense.

    Raises:
        RooflineError: No layout is consistent, the search would take hours, or an option is wrong.
    """
    from ..hardware import load_device

    check_names(options, "objective", "top", "across_nodes", "front", "tolerance", "progress")
    device = load_device(device)
    model, left = described(model, device, options)
    if not isinstance(objective, str) or objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    if progress is not None and not callable(progress):
        raise RooflineError(f"progress must be a function of two numbers, got {shown(progress)}")
    top = read_one("top", top, units.positive_int) or TOP
    tolerance = read_one("tolerance", tolerance, units.share)
    across_nodes, front = read_flag("across_nodes", across_nodes), read_flag("front", front)
    options = said({**left, "num_devices": num_devices})
    if model.recorded is not None:
        options = as_recorded(options)
    if "pp_layout" in options:
        raise RooflineError("pp_layout is of one pipeline, and a search tries many: leave it out, or use estimate")
    counts = list(several(options.pop("num_devices", None)) or (device.num_devices or 1,))
    parts = parts_of(device, options.get("stack"), several(options.get("sharding")))
    choices, base, notes = choices_of(model, device, counts, options, across_nodes, parts)
    space = space_of(model, base, choices, int(domain_size(base, device)), counts)
    rows = parts_in(parts, space)
    found = _Search(model, device, choices, base, objective, top, tolerance)
    if not front:
        found.front = None
    return found.run(rows, progress or _silent, software_note([part for part, _ in rows]) + notes)


class _Search:
    """Runs over the words, and keeps the best."""

    def __init__(
        self,
        model: ModelConfig,
        device: Device,
        choices: Choices,
        base: TrainConfig,
        objective: str,
        top: int,
        tolerance: float | None,
    ) -> None:
        import numpy as np

        self.model, self.device, self.choices, self.base = model, device, choices, base
        self.objective, self.tolerance = objective, tolerance
        self.top = max(top, 1)
        self.leaders, self.smallest = Leaders(self.top * TWINS), Leaders(1)
        self.front: Front | None = Front()
        self.simple: dict[int, Leaders] = {}  # the best of each amount of machinery
        self.simple_values = np.full(MOST_MACHINERY, np.inf)
        self.software: dict[str, Leaders] = {}  # the best on each profile
        self.evaluated = self.priced = self.total = 0
        self.sources: list[tuple[Bundle, str]] = []
        self.layouts: dict[tuple[int, int], Layout] = {}

    def run(self, parts: list[tuple[Part, Space]], progress: Progress, notes: tuple[str, ...]) -> SearchResult:
        """Search all parts of the space; an interrupt (Ctrl-C) ends it early."""
        start = time.perf_counter()
        self.total = self._size(parts)
        interrupted = False
        try:
            progress(0, self.total)
            for part, space in parts:
                if not space.consistent.any():
                    continue
                for trains in self._bundles(part):
                    self._bundle(Bundle(self.model, self.device, space, trains), part, progress)
        except KeyboardInterrupt:
            interrupted = True
        found = [self._layout(entry) for entry in self._distinct()]
        simplest = self._simplest(found[0]) if found else None
        front = [] if self.front is None else [self._layout(entry) for entry in self.front.points()]
        smallest = None if found else next(iter(self._layout(entry) for entry in self.smallest.best()), None)
        return SearchResult(
            model=self.model,
            device=self.device,
            evaluated=self.evaluated,
            priced=self.priced,
            seconds=time.perf_counter() - start,
            layouts=found,
            simplest=simplest,
            front=front,
            smallest=smallest,
            smallest_memory=self._memory(smallest),
            by_software=self._by_software(),
            interrupted=interrupted,
            objective=self.objective,
            global_batch=int(self.base.global_batch or 1),
            notes=(*notes, *(machine_notes(found[0].train, self.device) if found else ()), *caveats_of(self.device)),
        )

    def _distinct(self) -> list[tuple[int, Any]]:
        """The leaders: of those that differ in the virtual stages alone the best, and no dominated twins.

        A twin has the same degrees, software, dtype and attention, and is neither better nor smaller.
        """
        seen: set[tuple[int, ...]] = set()
        smallest: dict[tuple[Any, ...], float] = {}  # memory of the best twin so far
        found = []
        for (source, index), memory in self._with_memory(self.leaders.best()):
            bundle = self.sources[source][0]
            variant, row, micro = bundle.layout_at(int(index))
            train = bundle.trains[variant]
            degrees = tuple(int(column[row]) for name, column in bundle.space.columns.items() if name != "vp")
            twin = (*degrees, train.stack, train.dtype, train.attention)
            if memory < smallest.get(twin, math.inf):
                smallest[twin] = memory
                alike = (source, variant, micro, *degrees)
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
            bundle, sharding = self.sources[source]
            places = [place for place, entry in enumerate(entries) if entry[0] == source]
            layouts = [bundle.layout_at(int(entries[place][1])) for place in places]
            rows, back = np.unique([row for _, row, _ in layouts], return_inverse=True)
            memory = bundle.memory(sharding, rows)
            for place, (variant, _, micro), row in zip(places, layouts, back.tolist(), strict=True):
                found[place] = float(memory[variant, row, micro])
        return found

    def _size(self, parts: list[tuple[Part, Space]]) -> int:
        """Layouts in all.

        Raises:
            RooflineError: There are more than can be searched in minutes to an hour.
        """
        names = [name for name in WORDS if name != "sharding"]
        total = sum(
            int(space.consistent.sum()) * len(part.shardings) * sum(1 for _ in self._choices(part).words(*names))
            for part, space in parts
        )
        if total > LONGEST_SEARCH:
            raise RooflineError(
                f"{total:,} layouts would take about {total / 1e6 / 60:.0f} minutes: fix a degree "
                "(--tp, --pp, ...), a "
                f"--micro-batch or a word (--recompute, --sharding), at most {LONGEST_SEARCH:,} layouts"
            )
        return total

    def _choices(self, part: Part) -> Choices:
        """What may vary on one software profile, whose attention kernel runs where none is asked for."""
        own = self.choices.attention or (default_attention(self.device, part.stack),)
        return msgspec.structs.replace(self.choices, attention=own)

    def _bundles(self, part: Part) -> list[list[TrainConfig]]:
        """Configurations that can be priced together: those that differ in the words that few formulas read.

        Sequence parallelism is one of them unless there are experts: it decides how they are spread.
        """
        choices = self._choices(part)
        experts = any(isinstance(group.mlp, Moe) for group in self.model.groups)
        outer = ("dtype", "attention", "sequence_parallel") if experts else ("dtype", "attention")
        inner = [name for name in ("sequence_parallel", "recompute") if name not in outer]
        return [
            [
                msgspec.structs.replace(self.base, stack=part.stack, **words, **others)
                for others in choices.words(*inner)
            ]
            for words in choices.words(*outer)
        ]

    def _bundle(self, bundle: Bundle, part: Part, progress: Progress) -> None:
        for sharding in part.shardings:
            self.sources.append((bundle, sharding))
            self._sharding(bundle, sharding, progress)

    def _sharding(self, bundle: Bundle, sharding: str, progress: Progress) -> None:
        """Rule out rows by what they always hold, then layouts by their memory; price the rest."""
        space = bundle.space
        meaningful = self._meaningful(bundle, sharding)  # [variants, rows]
        rows = (meaningful.any(axis=0) & space.consistent.any(axis=1)).nonzero()[0]
        if not len(rows):
            return
        floor = bundle.memory_floor(sharding)
        fitting = rows[floor[rows] <= self.device.memory_bytes]
        if not len(fitting):
            fitting = rows[[floor[rows].argmin()]]  # to say what comes closest
        layouts_of_row = meaningful.sum(axis=0) * space.consistent.sum(axis=1)
        self.evaluated += int(layouts_of_row[rows].sum() - layouts_of_row[fitting].sum())
        size = len(bundle.trains) * len(space.micro_batches)
        for chunk in _chunks(fitting, max(1, CHUNK // size)):
            self._chunk(bundle, sharding, chunk, meaningful[:, chunk, None] & space.consistent[chunk])
            self.evaluated += int(layouts_of_row[chunk].sum())
            progress(self.evaluated, self.total)

    def _chunk(self, bundle: Bundle, sharding: str, rows: Any, candidates: Any) -> None:
        """`candidates`: [variants, rows, micro batches]."""
        memory = bundle.memory(sharding, rows)
        fits = candidates & (memory <= self.device.memory_bytes)
        source = len(self.sources) - 1
        if not fits.any():
            variant, row, micro = candidates.nonzero()
            self.smallest.offer(memory[candidates], bundle.index_of(variant, rows[row], micro), source)
            return
        self.priced += int(fits.sum())
        fits &= bundle.saves(memory)
        variant, row, micro = fits.nonzero()
        row, needed = rows.take(row), memory[fits]
        index = bundle.index_of(variant, row, micro)
        times = bundle.schedule(sharding, variant, row, micro)
        values = self._objective(times, needed, _taken(bundle.columns["num_devices"], row))
        self.leaders.offer(values, index, source)
        if self.front is not None:
            self.front.offer(needed, times.total, index, source)
        best = values.argmin(keepdims=True)
        stack = bundle.trains[0].stack
        self.software.setdefault(stack, Leaders(1)).offer(values[best], index[best], source)
        self._offer_simple(values, index, self._machinery(bundle, sharding, variant, row), source)

    def _offer_simple(self, values: Any, index: Any, machinery: Any, source: int) -> None:
        """Keep the best of each amount of machinery."""
        import numpy as np

        better = (values < self.simple_values[machinery]).nonzero()[0]
        for level in np.unique(machinery[better]).tolist():
            chosen = better[machinery[better] == level]
            best = chosen[values[chosen].argmin(keepdims=True)]
            self.simple_values[level] = values[best[0]]
            self.simple.setdefault(level, Leaders(1)).offer(values[best], index[best], source)

    def _memory(self, layout: Layout | None) -> Memory | None:
        return None if layout is None else memory_of(build_step(self.model, layout.train), self.device)

    def _by_software(self) -> list[Layout]:
        found = [self._layout(leaders.best()[0]) for leaders in self.software.values()]
        return sorted(found, key=lambda layout: value_of(layout, self.objective))

    def _simplest(self, best: Layout) -> Layout:
        for level in sorted(self.simple):
            layout = self._layout(self.simple[level].best()[0])
            least, expected, _ = worse_by(best, layout, self.objective, self.device)
            if least <= 0 if self.tolerance is None else expected <= self.tolerance:
                return layout
        return best

    def _machinery(self, bundle: Bundle, sharding: str, variant: Any, rows: Any) -> Any:
        """How much a layout adds to plain data parallelism (see `MACHINERY`)."""
        import numpy as np

        columns = bundle.space.columns
        row = sum(weight * (columns[name] > 1).astype(int) for name, weight in MACHINERY.items())
        row = row + (sharding not in {"none", "zero1"})
        words = np.array([train.recompute != "none" for train in bundle.trains], dtype=int)
        return row.take(rows) + words.take(variant)

    def _objective(self, times: Schedule[Any], memory: Any, num_devices: Any) -> Any:
        match self.objective:
            case "memory":
                return memory
            case "cost":
                return times.total * num_devices
            case "energy":
                return mean_draw(times) * times.total * num_devices
        return times.total

    def _meaningful(self, bundle: Bundle, sharding: str) -> Any:
        """Where the words say something: nothing is sharded over one rank. Returns [variants, rows]."""
        import numpy as np

        columns = bundle.space.columns
        keep = np.ones(len(columns["tp"]), dtype=bool)
        if sharding != "none" and "none" in self.choices.sharding:
            keep &= columns["dp"] * columns["cp"] > 1
        if sharding == "zero2" and len(self.choices.sharding) > 1:  # a pipeline keeps all gradients until its end
            keep &= columns["pp"] == 1
        if SHARDINGS[sharding].parameters and self.choices.pp is None:
            keep &= columns["pp"] == 1  # every micro batch would gather the parameters again
        several = columns["tp"] > 1
        optional = False in self.choices.sequence_parallel
        spreads = columns["dp"] * columns["cp"] % columns["ep"] == 0  # experts that are split over tp
        kept = {True: keep & several if optional else keep, False: keep & spreads}
        return np.stack([kept[train.sequence_parallel] for train in bundle.trains])

    def _layout(self, entry: tuple[int, Any]) -> Layout:
        """The layout at `entry` (source, index in its bundle), estimated on its own, once."""
        source, index = entry
        key = (source, int(index))
        if key not in self.layouts:
            self.layouts[key] = self._estimated(source, *self.sources[source][0].layout_at(int(index)))
        return self.layouts[key]

    def _estimated(self, source: int, variant: int, row: int, micro: int) -> Layout:
        bundle, sharding = self.sources[source]
        degrees = {name: int(column[row]) for name, column in bundle.space.columns.items()}
        train = msgspec.structs.replace(
            bundle.trains[variant],
            **degrees,
            sharding=sharding,
            micro_batch=int(bundle.space.micro_batches[micro]),
        )
        return layout_of(build_step(self.model, train), self.device)


def _taken(column: Any, rows: Any) -> Any:
    return column if is_scalar(column) else column.take(rows)


def _silent(_done: int, _all: int) -> None:
    """Report no progress."""


def _chunks(values: Any, size: int) -> list[Any]:
    return [values[start : start + size] for start in range(0, len(values), size)]
