"""Finds the best parallel layouts: every consistent one is checked for memory and priced, in bounded memory.

Words (sharding, recompute, ...) are an outer loop; within it a million layouts are a few array operations, in
chunks. The layouts returned are estimated once more one by one, with their intervals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .batched import Bundle
from .errors import RooflineError, unknown
from .estimate import Estimate, estimate_step
from .model import ModelConfig, Moe
from .presets import load_model
from .pricing import domain_size
from .ranking import Front, Leaders
from .schedule import Schedule
from .space import DEGREES, LONGEST_SEARCH, WORDS, Choices, Space, default_global_batch, space_of
from .step import build_step
from .training import TrainConfig, resolve, train_config

if TYPE_CHECKING:
    import pandas as pd

    from hardware import Device

OBJECTIVES = ("time", "cost", "energy", "memory")
CHUNK = 2**15  # layouts priced at once: arrays of 256 KiB stay in the cache
WAITING_DRAW = 0.5  # assumes a device that waits for others or for its host draws half its power limit
WAITING = (
    "tensor_parallel", "context_parallel", "expert_parallel", "pipeline_bubble", "pipeline_transfer", "data_parallel",
    "launch",
)  # fmt: skip
Progress = Callable[[int, int], None]


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """One layout with what it costs; the fields of the configuration are those of `TrainConfig`."""

    num_devices: int
    tp: int
    pp: int
    vp: int
    dp: int
    cp: int
    ep: int
    micro_batch: int
    accumulation: int
    sharding: str
    sequence_parallel: bool
    recompute: str
    dtype: str
    attention: str
    step_time_s: float
    step_time_low_s: float
    step_time_high_s: float
    tokens_per_s: float
    mfu: float
    memory_bytes: float
    fits: bool
    device_seconds_per_step: float
    energy_share: float  # mean power over the power limit
    train: TrainConfig

    @property
    def complexity(self) -> tuple[int, int, int, int]:
        """How much machinery the layout needs: kinds of parallelism, recompute, model-parallel ranks, stages."""
        kinds = sum(degree > 1 for degree in (self.tp, self.pp, self.cp, self.ep)) + (self.vp > 1)
        words = (self.recompute != "none") + (self.sharding not in {"none", "zero1"}) + self.sequence_parallel
        return (kinds + words, kinds, self.tp * self.pp * self.cp, self.vp)


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found.

    Attributes:
        evaluated: Layouts decided: those that fit are priced, the rest are ruled out by their memory.
        priced: Layouts that fit.
        seconds: Time of the search.
        layouts: The best by the objective, best first.
        front: No other layout is both faster and smaller; by rising memory.
        smallest: The layout that needs least memory of those considered, where none fits.
        interrupted: Whether the search was stopped before its end.
        objective: What `layouts` is sorted by.
        global_batch: Sequences per step of every layout.
        notes: Assumptions.
    """

    evaluated: int
    priced: int
    seconds: float
    layouts: list[Layout]
    front: list[Layout]
    smallest: Layout | None
    interrupted: bool
    objective: str
    global_batch: int
    notes: tuple[str, ...] = ()

    @property
    def near_ties(self) -> list[Layout]:
        """Layouts whose expected step time is within the best one's interval."""
        best = self.layouts[0]
        return [layout for layout in self.layouts if layout.step_time_s <= best.step_time_high_s]

    @property
    def simplest(self) -> Layout:
        """The near-tie with the least machinery."""
        return min(self.near_ties, key=lambda layout: (layout.complexity, layout.step_time_s))

    def to_frame(self) -> pd.DataFrame:
        """The best layouts as a pandas frame."""
        import pandas as pd

        return pd.DataFrame([layout_dict(layout) for layout in self.layouts])


def layout_dict(layout: Layout) -> dict[str, Any]:
    """A layout's fields, without the configuration object."""
    return {name: getattr(layout, name) for name in Layout.__struct_fields__ if name != "train"}


def layouts(
    model: str | Path | ModelConfig,
    device: str | Path | Device,
    *,
    num_devices: int | Sequence[int] = 1,
    objective: str = "time",
    top: int = 10,
    across_nodes: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> SearchResult:
    """Search the layouts of `num_devices` devices.

    Args:
        model: As for `estimate`.
        device: As for `estimate`.
        num_devices: Devices in all; several numbers are searched together.
        objective: time (of a step), cost (device-seconds of a step), energy (of a step) or memory.
        top: How many layouts to return.
        across_nodes: Whether tensor parallelism may leave the domain of fast links.
        progress: Called with layouts decided and layouts in all.
        **options: Fields of `TrainConfig`. A degree, micro batch or word that is given restricts the search to it
            (a tuple: to any of them); the others take every value that makes sense.

    Raises:
        RooflineError: No layout is consistent, the search would take hours, or an option is wrong.
    """
    from hardware import load_device

    model, device = load_model(model), load_device(device)
    if objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    counts = [num_devices] if isinstance(num_devices, int) else list(num_devices)
    choices, base, notes = _settle(model, counts, dict(options), across_nodes)
    space = space_of(model, base, choices, int(domain_size(base, device)), counts)
    return _Search(model, device, choices, base, objective, top).run(space, progress, notes)


def _settle(
    model: ModelConfig, counts: Sequence[int], options: dict[str, Any], across_nodes: bool
) -> tuple[Choices, TrainConfig, tuple[str, ...]]:
    """What may vary, the configuration common to all layouts, and the assumptions made."""
    given: dict[str, Any] = {}
    for name in (*DEGREES, "micro_batch", *WORDS):
        value = options.pop(name, None)
        if value is not None:
            given[name] = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    base = resolve(train_config({**options, "num_devices": 1, "global_batch": 1}), model)
    notes: tuple[str, ...] = ()
    batch = options.get("global_batch")
    for name, value in [("global_batch", 1 if batch is None else batch), *(("num_devices", n) for n in counts)]:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RooflineError(f"{name} must be a whole number of at least 1, got {value!r}")
    if batch is None:
        batch = default_global_batch(max(counts), int(base.sequence_length), max(given.get("micro_batch", (1,))))
        notes = (
            f"assumed a global batch of {batch} sequences ({batch * base.sequence_length:,} tokens): set --global-batch",
        )
    base = msgspec.structs.replace(base, global_batch=batch)
    return Choices(**given, across_nodes=across_nodes), base, notes


class _Search:
    """Runs over the words, and keeps the best."""

    def __init__(
        self, model: ModelConfig, device: Device, choices: Choices, base: TrainConfig, objective: str, top: int
    ) -> None:
        self.model, self.device, self.choices, self.base = model, device, choices, base
        self.objective = objective
        self.leaders, self.front, self.smallest = Leaders(max(top, 1)), Front(), Leaders(1)
        self.evaluated = self.priced = 0
        self.sources: list[tuple[Bundle, str]] = []

    def run(self, space: Space, progress: Progress | None, notes: tuple[str, ...]) -> SearchResult:
        """Search the whole space; an interrupt (Ctrl-C) ends it early."""
        start = time.perf_counter()
        total = self._size(space)
        interrupted = False
        try:
            for trains in self._bundles():
                self._bundle(Bundle(self.model, self.device, space, trains), progress, total)
        except KeyboardInterrupt:
            interrupted = True
        found = [self._layout(entry) for entry in self.leaders.best()]
        front = [self._layout(entry) for entry in self.front.points()]
        smallest = None if found else next(iter(self._layout(entry) for entry in self.smallest.best()), None)
        return SearchResult(
            evaluated=self.evaluated, priced=self.priced, seconds=time.perf_counter() - start, layouts=found,
            front=front, smallest=smallest, interrupted=interrupted, objective=self.objective,
            global_batch=int(self.base.global_batch or 1), notes=notes,
        )  # fmt: skip

    def _size(self, space: Space) -> int:
        """Layouts in all.

        Raises:
            RooflineError: There are more than can be searched in minutes to an hour.
        """
        total = int(space.consistent.sum()) * sum(1 for _ in self.choices.words(*WORDS))
        if total > LONGEST_SEARCH:
            raise RooflineError(
                f"{total:,} layouts would take about {total / 1e6 / 60:.0f} minutes: fix a degree (--tp, --pp, ...), a "
                f"--micro-batch or a word (--recompute, --sharding), at most {LONGEST_SEARCH:,} layouts"
            )
        return total

    def _bundles(self) -> list[list[TrainConfig]]:
        """Configurations that can be priced together: those that differ in recompute, and in sequence parallelism
        unless it decides how experts are spread."""
        experts = any(isinstance(group.mlp, Moe) for group in self.model.groups)
        outer = ("dtype", "attention", "sequence_parallel") if experts else ("dtype", "attention")
        inner = [name for name in ("sequence_parallel", "recompute") if name not in outer]
        return [
            [msgspec.structs.replace(self.base, **words, **others) for others in self.choices.words(*inner)]
            for words in self.choices.words(*outer)
        ]

    def _bundle(self, bundle: Bundle, progress: Progress | None, total: int) -> None:
        for sharding in self.choices.sharding:
            self.sources.append((bundle, sharding))
            self._sharding(bundle, sharding)
            if progress is not None:
                progress(self.evaluated, total)

    def _sharding(self, bundle: Bundle, sharding: str) -> None:
        """Rule out rows by what they hold whatever the batch, then layouts by their memory; price the rest."""
        space = bundle.space
        meaningful = self._meaningful(bundle, sharding)  # [variants, rows]
        self.evaluated += int((meaningful @ space.consistent.sum(axis=1)).sum())
        floor = bundle.memory_floor(sharding)
        rows = (meaningful.any(axis=0) & space.consistent.any(axis=1)).nonzero()[0]
        if not len(rows):
            return
        fitting = rows[floor[rows] <= self.device.memory_bytes]
        if not len(fitting):
            fitting = rows[[floor[rows].argmin()]]  # priced by nobody: kept to say what comes closest
        size = len(bundle.trains) * len(space.micro_batches)
        for chunk in _chunks(fitting, max(1, CHUNK // size)):
            self._chunk(bundle, sharding, chunk, meaningful[:, chunk, None] & space.consistent[chunk])

    def _chunk(self, bundle: Bundle, sharding: str, rows: Any, candidates: Any) -> None:
        """`candidates`: [variants, rows, micro batches]."""
        import numpy as np

        memory = bundle.memory(sharding, rows)
        fits = candidates & (memory <= self.device.memory_bytes)
        source = len(self.sources) - 1
        chosen = np.nonzero(fits if fits.any() else candidates)
        layouts = np.stack([chosen[0], rows[chosen[1]], chosen[2]], axis=1)  # [layouts, 3]
        needed = memory[chosen]
        if not fits.any():
            self.smallest.offer(needed, layouts, source)
            return
        self.priced += len(layouts)
        times = bundle.schedule(sharding, *layouts.T)
        devices = bundle.columns["num_devices"][layouts[:, 1]]
        self.leaders.offer(self._objective(times, needed, devices), layouts, source)
        self.front.offer(needed, times.total, layouts, source)

    def _objective(self, times: Schedule, memory: Any, num_devices: Any) -> Any:
        match self.objective:
            case "memory":
                return memory
            case "cost":
                return times.total * num_devices
            case "energy":
                return mean_draw(times) * times.total * num_devices
        return times.total

    def _meaningful(self, bundle: Bundle, sharding: str) -> Any:
        """Where the words say something: nothing is sharded over one rank, no sequence over tp = 1. [variants, rows]"""
        import numpy as np

        columns = bundle.space.columns
        keep = np.ones(len(columns["tp"]), dtype=bool)
        if sharding != "none" and "none" in self.choices.sharding:
            keep &= columns["dp"] * columns["cp"] > 1
        several = columns["tp"] > 1
        optional = False in self.choices.sequence_parallel
        return np.stack([keep & several if t.sequence_parallel and optional else keep for t in bundle.trains])

    def _layout(self, entry: tuple[int, Any]) -> Layout:
        """The layout at `entry` (source; variant, row, micro batch), estimated on its own."""
        source, (variant, row, micro) = entry
        bundle, sharding = self.sources[source]
        degrees = {name: int(column[row]) for name, column in bundle.space.columns.items()}
        train = msgspec.structs.replace(
            bundle.trains[variant], **degrees, sharding=sharding, micro_batch=int(bundle.space.micro_batches[micro])
        )
        return layout_of(estimate_step(build_step(self.model, train), self.device))


def _chunks(values: Any, size: int) -> list[Any]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def mean_draw(times: Schedule) -> Any:
    """Mean power of a device over its power limit: the limit while kernels run, half of it while waiting."""
    waiting = sum(getattr(times, term) for term in WAITING) / times.total
    return 1 - waiting * (1 - WAITING_DRAW)


def layout_of(result: Estimate) -> Layout:
    """The layout of an estimate, with its figures."""
    train = result.train
    taken = {name: getattr(train, name) for name in (*DEGREES, "micro_batch", *WORDS, "num_devices")}
    return Layout(
        **taken,
        accumulation=train.accumulation,
        step_time_s=result.step_time_s,
        step_time_low_s=result.step_time_low_s,
        step_time_high_s=result.step_time_high_s,
        tokens_per_s=result.tokens_per_s,
        mfu=result.mfu,
        memory_bytes=result.memory.total_bytes,
        fits=bool(result.fits),
        device_seconds_per_step=result.step_time_s * train.num_devices,
        energy_share=mean_draw(result.schedule),
        train=train,
    )
