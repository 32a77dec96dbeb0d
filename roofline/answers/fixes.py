"""What makes a run fit in memory: the smallest sets of changes out of all that apply, ranked by device-time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..config.settle import Run
from ..config.sharding import SHARDINGS
from ..counting.step import Step, build_step
from ..errors import RooflineError
from ..footprint.parts import Memory, memory_of
from ..footprint.spreads import SURE
from .changes import ADAPTS, DEGREES, FITS, Change, applied, changes
from .choice import fastest
from .minimal import Set, smallest_sets
from .times import time_and_memory

MOST_CHANGES = 3
MOST_DEVICES = 1024
MOST_TIMES = 8  # more devices alone: beyond, recompute or another optimizer comes first
DEAREST = 3.0  # what costs four times the device-time is no advice where there is another
DEAR = 1.0  # what takes twice the device-time leaves room for another answer
WORTH = 0.01  # of the device-time that one change more must save
LISTED = 5
OF_LARGER = 2  # sets of more changes than the fewest that do it


class Fix(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of the configuration that make it fit: none can be left out; one alone is the weakest that surely does.

    Attributes:
        change: What to change, in words: all that the figures hang on.
        options: The options to give.
        needed_bytes: What it needs per device with the change, by which what fits is judged (`Memory.needed_bytes`).
        total_bytes: Its peak memory per device, never above the capacity: with what the allocator keeps.
        saved_bytes: What it saves per device: what the run needs as given, less `needed_bytes`.
        fit_probability: How likely it then fits.
        step_time_s: Expected step time with the change.
        cost: Device-time per token relative to the configuration as given: 0.25 is 25 % dearer.
    """

    change: str
    options: dict[str, Any]
    needed_bytes: float
    total_bytes: float
    saved_bytes: float
    fit_probability: float
    step_time_s: float
    cost: float


def cheapest_fixes(run: Run, limit: int = LISTED) -> tuple[Fix, ...]:
    """The smallest sets of changes that make a configuration fit, the least device-time first.

    Of every choice of kinds the cheapest set; a set of more changes only where it is cheaper than those of fewer on the
    same software. The global batch stays: a smaller micro batch means more accumulation steps. What of the batch the
    other options alone would change is among the options, and in the words. Where the software profile is the usual one
    of the layout, a change of layout takes the profile usual for the new one (``stack`` in its options); another
    profile is kept. Adapters in place of all weights are tried where nothing else fits, or all of it is too dear. None
    are looked for where an option is an array: each of its values would have its own.
    """
    if any(getattr(value, "ndim", 0) for value in run.options.values()):
        return ()
    search = _Search(run)
    best: dict[tuple[str, ...], Fix] = {}
    found = list(search.fixes())
    cheapest = min((fix.cost for _, fix in found), default=math.inf)
    for made, fix in found if cheapest <= DEAREST else [*found, *search.adapted()]:
        kinds = tuple(change.kind for change in made)
        if kinds not in best or fix.cost < best[kinds].cost - WORTH:
            best[kinds] = fix
    kept: list[Fix] = []
    for software in {fix.options.get("stack") for fix in best.values()}:
        kept += _worth_it({kinds: fix for kinds, fix in best.items() if fix.options.get("stack") == software})
    kept.sort(key=lambda fix: fix.cost)
    return tuple([_with_batch(run, fix) for fix in kept if fix.cost <= max(DEAREST, cheapest)][:limit])


def _with_batch(run: Run, fix: Fix) -> Fix:
    """The fix, with the micro batch and the global batch where its options alone would not lead to them."""
    changed, _ = applied(run, [Change(kind="", what="", options=fix.options)])
    others = {name: value for name, value in fix.options.items() if name != "global_batch"}
    # a global batch that was said, and that the change does not divide, must be said anew
    batch = {name: fix.options[name] for name in fix.options.keys() & run.options.keys() & {"global_batch"}}
    for name in ("micro_batch", "global_batch"):
        value = getattr(changed.train, name)
        if getattr(_typed(run, {**others, **batch}).train, name) != value:
            batch[name] = value
    same = {name: " (as now)" if value == getattr(run.train, name) else "" for name, value in batch.items()}
    words = [fix.change, *(f"{name.replace('_', ' ')} {value:,}{same[name]}" for name, value in batch.items())]
    return msgspec.structs.replace(fix, change=" + ".join(words), options={**fix.options, **batch})


def _typed(run: Run, options: Mapping[str, Any]) -> Run:
    """What was said of the run, with options typed beside it: all else follows from them."""
    unsaid = {"micro_batch"} if run.chosen else set()
    unsaid |= {"dp"} if options.keys() & {*DEGREES, "num_devices"} else set()
    said = {name: value for name, value in run.options.items() if name not in unsaid}
    typed = msgspec.structs.replace(run, options=said).changed(**options)
    return fastest(typed) if run.chosen else typed


def _worth_it(best: Mapping[tuple[str, ...], Fix]) -> list[Fix]:
    """The cheapest of the fewest changes, and of more those that cost less."""
    kept: list[Fix] = []
    for number in range(1, MOST_CHANGES + 1):
        least = min((fix.cost for fix in kept), default=math.inf)
        of_number = sorted((fix for kinds, fix in best.items() if len(kinds) == number), key=lambda fix: fix.cost)
        kept += [fix for fix in of_number if fix.cost < least - WORTH][: OF_LARGER if kept else LISTED]
    return kept


class _Search:
    """Tries changes of one run, each set once."""

    def __init__(self, run: Run) -> None:
        self.run = run
        step = build_step(run.model, run.train)
        self.needed = float(memory_of(step, run.device).needed_bytes)
        self.price = self._device_time(run, step)
        self._memory: dict[tuple[str, ...], Memory | None] = {}

    def fixes(self) -> Iterator[tuple[Set, Fix]]:
        """The smallest sets on the devices given, then on the fewest more that hold it and up to twice as many.

        What takes more than twice the device-time ends no search.
        """
        found = self._priced(self._sets_with((), MOST_CHANGES))
        yield from found
        own = int(self.run.train.num_devices)
        beside = min((len(made) for made, fix in found if fix.cost <= DEAR), default=MOST_CHANGES) - 1
        most = max(MOST_DEVICES, MOST_TIMES * own) if beside else MOST_TIMES * own
        for more in changes(FITS, self.run).get("num_devices", ()):
            number = more.options["num_devices"]
            if number > most:
                return
            on_more = self._priced(self._sets_with((more,), beside))
            yield from on_more
            if any(fix.cost <= DEAR for _, fix in on_more):
                most = min(most, 2 * number if len(on_more[0][0]) > 1 else number)

    def adapted(self) -> list[tuple[Set, Fix]]:
        """The smallest sets with adapters in place of all weights, on the devices given."""
        adapters = changes(ADAPTS, self.run).get("train", ())
        return [one for each in adapters for one in self._priced(self._sets_with((each,), MOST_CHANGES - 1))]

    def _priced(self, sets: Iterable[Set]) -> list[tuple[Set, Fix]]:
        needed = {_key(made): made for made in map(self._needed, sets)}
        return [(made, fix) for made in needed.values() if (fix := self.priced(made)) is not None]

    def _needed(self, made: Set) -> Set:
        """Without the changes that the software which comes along makes needless."""
        stack = applied(self.run, made)[1].get("stack")
        if stack is None:
            return made
        kept: Set = (*made, Change(kind="stack", what=f"{stack} stack", options={"stack": stack}))
        smaller: Set | None = kept
        while smaller is not None:
            kept, parts = smaller, [tuple(one for one in smaller if one is not change) for change in smaller[:-1]]
            smaller = next(filter(self.fits, parts), None)
        return kept if len(kept) <= len(made) else made

    def _sets_with(self, first: Set, most: int) -> list[Set]:
        """The smallest sets of at most so many changes beside those that are made first."""
        whole = self._needs(first)
        if whole is None:
            return []
        if first and self.fits(first):
            return [first]
        kinds = changes(FITS, applied(self.run, first)[0])
        kinds.pop("num_devices", None)
        able = {kind: self._savings(first, each, whole) for kind, each in kinds.items()}
        able = {kind: each for kind, each in able.items() if each}
        found = smallest_sets(able, lambda made: self.fits((*first, *made)), most)
        surer = [self._surer(first, made, able) if len(made) == 1 else made for made in found]
        return [(*first, *made) for made in surer]

    def _surer(self, first: Set, made: Set, able: Mapping[str, Sequence[Change]]) -> Set:
        """The weakest change of the same kind that surely fits; where none does, one that is likelier than not to."""
        kind = able[made[0].kind]
        stronger = kind[kind.index(made[0]) :]
        return next(((one,) for one in stronger if self.fits((*first, one), SURE)), made)

    def _savings(self, first: Set, each: Sequence[Change], whole: float) -> list[Change]:
        """Those of a kind that are possible and save memory, the one that saves least first."""
        needs = [(self._needs((*first, change)), place) for place, change in enumerate(each)]
        saving = [(-need, place) for need, place in needs if need is not None and need < whole]
        return [each[place] for _, place in sorted(saving)]

    def fits(self, made: Set, least: float = 0.5) -> bool:
        """Whether the run is at least so likely to fit with changes."""
        memory = self._of(made)
        return memory is not None and bool(memory.fit_probability >= least)

    def _needs(self, made: Set) -> float | None:
        """What one device cannot do without with changes, in bytes; None where they are not possible."""
        memory = self._of(made)
        return None if memory is None else float(memory.needed_bytes)

    def _of(self, made: Set) -> Memory | None:
        """Memory of one device with changes; None where they are not possible."""
        key = _key(made)
        if key not in self._memory:
            try:
                self._memory[key] = memory_of(self._step(made), self.run.device)
            except RooflineError:  # degrees that do not divide
                self._memory[key] = None
        return self._memory[key]

    def _step(self, made: Iterable[Change]) -> Step:
        changed, _ = applied(self.run, made)
        return build_step(changed.model, changed.train)

    def priced(self, made: Set) -> Fix | None:
        """What changes that fit cost; None where the device has no figure for it."""
        changed, options = applied(self.run, made)
        step = build_step(changed.model, changed.train)
        try:
            seconds, memory = time_and_memory(step, changed.device)
        except RooflineError:  # no network figure
            return None
        train = step.train
        return Fix(
            change=_words(made, options, shards=train.sharding if train.sharding != self.run.train.sharding else ""),
            options=options,
            needed_bytes=float(memory.needed_bytes),
            total_bytes=float(memory.total_bytes),
            saved_bytes=self.needed - float(memory.needed_bytes),
            fit_probability=float(memory.fit_probability),
            step_time_s=float(seconds),
            cost=float(seconds * train.num_devices / train.tokens_per_step) / self.price - 1,
        )

    def _device_time(self, run: Run, step: Step) -> float:
        """Device-seconds per token."""
        seconds, _ = time_and_memory(step, run.device)
        return float(seconds * run.train.num_devices / run.train.tokens_per_step)


def _key(made: Set) -> tuple[str, ...]:
    return tuple(change.what for change in made)


def _words(made: Set, options: dict[str, Any], shards: str) -> str:
    """The changes in words, and the software that they bring along, which may be what shards the parameters."""
    what = [change.what for change in made if change.kind != "stack"]
    if "stack" in options:
        if shards and SHARDINGS[shards].parameters and "sharding" not in options:
            what.insert(int(made[0].kind == "num_devices"), f"{shards} sharding")
        what.append(f"{options['stack']} stack")
    if made[0].kind == "num_devices" and len(what) > 1:
        return f"{what[0]} with {' + '.join(what[1:])}"
    return " + ".join(what)
