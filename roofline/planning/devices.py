"""How many devices a run needs: the fewest that meet a deadline, the most that are worth it and paid for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from .. import units
from ..answers.alternatives import MOST_DEVICES, device_counts
from ..config.options import read, read_one
from ..errors import RooflineError
from ..hardware.errors import HardwareError
from ..model.spec import ModelConfig, default_seq_len
from ..search.layout import HARDLY, Layout, SearchResult, unsure
from ..search.remedy import remedy, shortage
from ..search.search import search
from ..search.software import several
from ..search.space import LARGEST_BATCH, default_global_batch
from ..units import format_bytes, format_count, format_time
from .cost import HOUR, Missed, OtherSoftware, Plan, Scaling, Terms, quantile
from .fewest import fewest, least
from .reasons import faster_words, largest_term, relief

if TYPE_CHECKING:
    from ..hardware import Device

SETTLES = ("stack", "tp", "pp")  # who gives these runs that layout, not the best of a search
AFFORDED = 3  # numbers of whole nodes tried below what a budget buys, before powers of two
WORTH = 0.5  # what each further device adds at least, of what one of those before it does: less is not bought
DEARER = 1.25  # beyond the cheapest number of devices, more only cost more: the search for it ends here


Progress = Callable[[int], None]  # told each number of devices that is tried


class DoesNotFit(RooflineError):  # noqa: N818  (says what is wrong, as RooflineError subclasses do)
    """No layout fits in memory: the command line exits with 3."""


class Planner:
    """The arithmetic, with what stays the same over all numbers of devices."""

    def __init__(
        self,
        model: ModelConfig,
        device: Device,
        terms: Terms,
        options: dict[str, Any],
        confidence: float = 0.5,
        progress: Progress | None = None,
    ) -> None:
        self.model, self.device, self.options = model, device, options
        settled = all(isinstance(options.get(name), int | str) for name in SETTLES)
        self.terms = msgspec.structs.replace(terms, settled=terms.settled or settled)
        self.confidence, self.progress = confidence, progress
        self.fine_tunes = False
        self.largest_batch: float = LARGEST_BATCH  # tokens of a step that the run's compute makes use of
        self.notes: dict[int, tuple[str, ...]] = {}  # by number of devices
        self._found: dict[int, Layout | RooflineError] = {}
        self._failed: dict[int, SearchResult] = {}
        self._others: dict[int, list[Layout]] = {}  # the best on each software profile
        self._fastest: dict[tuple[int, str], Layout] = {}  # by number of devices and the software of the simplest

    def best(self, num_devices: int) -> Layout:
        """The fastest layout of `num_devices`, or the simplest that is hardly slower.

        Raises:
            DoesNotFit: None fits.
            RooflineError: None is consistent.
        """
        if num_devices not in self._found:
            try:
                self._found[num_devices] = self.search_on(num_devices)
            except RooflineError as error:
                self._found[num_devices] = error
        found = self._found[num_devices]
        if isinstance(found, RooflineError):
            raise found
        return found

    def search_on(self, num_devices: int, **fixed: Any) -> Layout:
        """The simplest layout that is hardly slower than the best, with options fixed beside those of the plan.

        Raises:
            DoesNotFit: None fits.
            RooflineError: None is consistent.
        """
        options = {**self.options, **fixed}
        notes: tuple[str, ...] = ()
        batch = None if fixed.get("global_batch") else self._batch(num_devices)
        if batch is not None:
            options["global_batch"], said = batch
            notes = (said,)
        if self.progress is not None:
            self.progress(num_devices)
        found = search(
            self.model, self.device, num_devices=num_devices, top=1, front=False, tolerance=HARDLY, **options
        )
        if found.simplest is None:
            self._failed[num_devices] = found
            raise DoesNotFit(self._short(found, num_devices))
        if unsure(found.simplest):
            notes = (*notes, f"no layout surely fits: this one needs least, and is {unsure(found.simplest)}")
        self._fastest[num_devices, found.simplest.stack] = found.layouts[0]
        self.notes[num_devices] = (*found.notes, *notes)
        if not fixed:
            self._others[num_devices] = found.by_software
        return found.simplest

    def _batch(self, num_devices: int) -> tuple[int, str] | None:
        """Sequences of a step that the tokens of a run decide, and the sentence that says so; None where they do not.

        Fine-tuning takes few, and no run is split into larger steps than train well (`best_batch`).
        """
        micro_batch = max(several(read("micro_batch", self.options.get("micro_batch"), units.positive_int)) or (1,))
        splits = num_devices * micro_batch * self.seq_len > self.largest_batch
        if self.options.get("global_batch") is not None or not (self.fine_tunes or splits):
            return None
        batch = default_global_batch(
            num_devices, self.seq_len, micro_batch, fine_tunes=self.fine_tunes, largest=self.largest_batch
        )
        why = ", as fine-tuning takes" if self.fine_tunes else ", about the most that trains well with this compute"
        limits = ": it limits how far the work splits" if batch < num_devices * micro_batch else ""
        tokens = format_count(batch * self.seq_len)
        return (
            batch,
            f"assumed a global batch of {batch:,} sequences ({tokens} tokens{why}{limits}): set --global-batch",
        )

    def on(self, num_devices: int) -> Layout:
        """As `best`, for a number of devices that was asked for: says what would fit if nothing does."""
        try:
            return self.best(num_devices)
        except DoesNotFit as error:
            ways = remedy(self.model, self.device, self._failed[num_devices], num_devices, self.options)
            raise DoesNotFit(f"{error}: {ways}") from None

    def _short(self, found: SearchResult, num_devices: int) -> str:
        return (
            f"{self.model.name} does not fit on {num_devices:,} x {self.device.id} of "
            f"{format_bytes(self.device.memory_bytes)}: {shortage(found)} ({found.evaluated:,} layouts tried)"
        )

    # --- what a layout takes and costs ---------------------------------------------------------------------

    def wall_time(self, layout: Layout, tokens: int) -> float:
        """Seconds of the whole run that suffice with the confidence asked for."""
        return self.steps(layout, tokens) * self.step_time(layout)

    def step_time(self, layout: Layout) -> float:
        """Seconds of one step with its share of the overhead, that suffice with the confidence asked for."""
        overhead = self.terms.overhead_on(self.model, self.device, layout).range
        return layout.step_time_s * overhead[1] * quantile(layout, overhead, self.confidence)

    def expected_time(self, layout: Layout, tokens: int) -> float:
        """Expected seconds of the whole run."""
        overhead = self.terms.overhead_on(self.model, self.device, layout).range
        return self.steps(layout, tokens) * layout.step_time_s * overhead[1]

    def steps(self, layout: Layout, tokens: int) -> int:
        """Optimizer steps."""
        return -(-tokens // int(layout.train.tokens_per_step))

    def cost(self, layout: Layout, tokens: int) -> float:
        """Money; infinite without a price."""
        hours = self.wall_time(layout, tokens) / HOUR * layout.num_devices
        return hours * (self.terms.price if self.terms.price is not None else math.inf)

    # --- tokens from a deadline and a budget ---------------------------------------------------------------

    def tokens_within(
        self, num_devices: int | None, deadline_s: float | None, budget: float | None
    ) -> tuple[Layout, int]:
        """The most tokens within a deadline and a budget, in whole steps."""
        layout = self._affordable(deadline_s, budget) if num_devices is None else self.on(num_devices)
        seconds = math.inf if deadline_s is None else deadline_s
        if budget is not None and self.terms.price is not None:
            seconds = min(seconds, budget / self.terms.price / layout.num_devices * HOUR)
        step = self.step_time(layout)
        steps = int(seconds // step)
        if steps < 1:
            raise RooflineError(
                f"{format_time(seconds)} is less than one step of {format_time(step)} on "
                f"{layout.num_devices:,} x {self.device.id}: allow more"
            )
        return layout, steps * int(layout.train.tokens_per_step)

    def _affordable(self, deadline_s: float | None, budget: float | None) -> Layout:
        """The layout of the devices that spend a budget by a deadline; of the fewest that hold the model otherwise."""
        if deadline_s is not None and budget is not None and self.terms.price is not None:
            wanted = budget / self.terms.price / (deadline_s / HOUR)
            for count in self._at_most(wanted):
                layout = self.layout_on(count)
                if layout is not None:
                    return layout
        for layout in self.ladder(lambda: 1):
            return layout
        return self.largest()

    def _at_most(self, wanted: float) -> Iterator[int]:
        """Numbers of devices up to `wanted`, falling: a few of whole nodes, then powers of two."""
        node = self.device.devices_per_node
        nodes = int(min(wanted, MOST_DEVICES) // node)
        yield from (node * n for n in range(nodes, max(nodes - AFFORDED, 0), -1))
        yield from (n for n in reversed(list(device_counts(node))) if n < min(wanted + 1, node))

    # --- devices from tokens -------------------------------------------------------------------------------

    def devices_for(self, tokens: int, deadline_s: float | None, budget: float | None) -> Layout:
        """The fewest devices that meet the deadline; without one, the most that are worth it and paid for.

        Where none meets the deadline the fastest, where none is paid for the cheapest: `missed` says what is missing.

        Raises:
            DoesNotFit: No number of devices holds the model.
        """
        if deadline_s is None:
            return self._within_budget(tokens, budget or math.inf)
        in_time = fewest(self, tokens, deadline_s)
        if budget is None or self.cost(in_time, tokens) <= budget or self.wall_time(in_time, tokens) > deadline_s:
            return in_time
        cheapest = in_time
        for layout in self.ladder(lambda: in_time.num_devices + 1):
            if self.cost(layout, tokens) > DEARER * self.cost(cheapest, tokens):
                break
            if self.wall_time(layout, tokens) <= deadline_s:
                cheapest = min(cheapest, layout, key=lambda one: self.cost(one, tokens))
        return cheapest

    def missed(self, one: Plan) -> tuple[Missed, ...]:
        """The deadline and the budget that a plan does not meet, with what would, or what stands in the way."""
        layout, tokens, asked = one.layout, one.tokens, one.asked
        seconds, cost = self.wall_time(layout, tokens), self.cost(layout, tokens)
        found = []
        if asked.deadline_s is not None and seconds > asked.deadline_s:
            devices, why = self._in_time(tokens, asked.deadline_s)
            found.append(Missed(what="deadline", by=seconds - asked.deadline_s, why=why, devices=devices))
        if asked.budget is not None and cost > asked.budget:
            why = f"it buys {self._bought(layout, tokens, asked.budget)}"
            found.append(Missed(what="budget", by=cost - asked.budget, why=why))
        return tuple(found)

    def _in_time(self, tokens: int, deadline_s: float) -> tuple[int | None, str]:
        """The fewest devices that meet a deadline, or None and what stands in the way."""
        try:
            found = fewest(self, tokens, deadline_s)
        except RooflineError as error:  # no layout, or no figure for the links
            return None, str(error)
        if self.wall_time(found, tokens) > deadline_s:
            return None, self._too_late(found, tokens, deadline_s)
        return found.num_devices, f"{units.format_number(found.num_devices, 'device')} would meet it"

    def other_software(self, one: Plan) -> tuple[OtherSoftware, ...]:
        """The run on each other profile that holds it, of those its layouts were searched on: its own best layout."""
        found = []
        batch = int(one.layout.train.global_batch or 1)
        for stack in dict.fromkeys(layout.stack for layout in self._others.get(one.num_devices, ())):
            if stack != one.layout.stack:
                layout = self.search_on(one.num_devices, stack=stack, global_batch=batch)
                wall = self.expected_time(layout, one.tokens)
                slower = wall / one.wall_time_s - 1
                found.append(OtherSoftware(stack=stack, wall_time_s=wall, slower=slower, layout=layout))
        return tuple(sorted(found, key=lambda other: other.wall_time_s))

    def _within_budget(self, tokens: int, budget: float) -> Layout:
        """The most devices that a budget pays for and that are worth it; the cheapest where it pays for none."""
        best: Layout | None = None
        cheapest: Layout | None = None
        fastest: Layout | None = None
        for layout in self.ladder(lambda: 1):
            cost = self.cost(layout, tokens)
            if cheapest is None or cost < self.cost(cheapest, tokens):
                cheapest = layout
            if cost > budget:
                if best is not None or cost > DEARER * self.cost(cheapest, tokens):
                    break
                continue
            if best is None or self._adds(best, layout, tokens) >= WORTH:
                best = layout
            if fastest is None or self.wall_time(layout, tokens) < self.wall_time(fastest, tokens):
                fastest = layout
        if best is not None and fastest is not None and self._adds(best, fastest, tokens) > 0:
            self.notes[best.num_devices] += (self._left_over(fastest, tokens),)
        return best or cheapest or self.largest()

    def _adds(self, before: Layout, layout: Layout, tokens: int) -> float:
        """What each further device of a layout adds in speed, of what each of those before it does; 0 for none."""
        further = layout.num_devices / before.num_devices - 1
        return (self.wall_time(before, tokens) / self.wall_time(layout, tokens) - 1) / further if further else 0.0

    def _left_over(self, fastest: Layout, tokens: int) -> str:
        """What the rest of a budget could buy."""
        return (
            f"the budget would pay for up to {units.format_number(fastest.num_devices, 'device')} "
            f"({format_time(self.expected_time(fastest, tokens))}), but each further one adds less than "
            f"{WORTH:.0%} of what one adds here: a --deadline takes as many as it needs"
        )

    def _bought(self, layout: Layout, tokens: int, budget: float) -> str:
        """The tokens that a budget pays for on a layout."""
        step = self.cost(layout, tokens) / self.steps(layout, tokens)
        return f"{format_count(int(budget // step) * int(layout.train.tokens_per_step))} tokens there"

    def layout_on(self, num_devices: int, **fixed: Any) -> Layout | None:
        """The best layout, or the best of those with fixed options; None where none is consistent or fits."""
        try:
            return self.search_on(num_devices, **fixed) if fixed else self.best(num_devices)
        except RooflineError:
            return None

    def ladder(self, least: Callable[[], float]) -> Iterator[Layout]:
        """The best layout of rising numbers of devices, each at least `least` when its turn comes."""
        failures = 0
        for count in device_counts(self.device.devices_per_node):
            if count < least():
                continue
            try:
                layout = self.best(count)
            except DoesNotFit:
                continue
            except RooflineError:  # no layout divides the batch: larger numbers will not either, soon
                failures += 1
                if failures > 4:
                    return
                continue
            failures = 0
            yield layout

    def largest(self) -> Layout:
        """The layout of the largest number of devices that has one at all.

        Raises:
            HardwareError: Those that hold it lack a figure.
            DoesNotFit: None holds the model.
        """
        problem: RooflineError | None = None
        most = 0  # devices below those that lack a figure
        for count in reversed(list(device_counts(self.device.devices_per_node))):
            try:
                return self.best(count)
            except HardwareError:
                most = 0
            except RooflineError as error:
                problem, most = error, most or count
        if self.lacking is not None:
            needs = f"{self.model.name} needs more than {most:,} x {self.device.id}: " if most else ""
            raise HardwareError(f"{needs}{self.lacking}")
        raise DoesNotFit(f"{self.model.name} trains on no number of {self.device.id} up to {MOST_DEVICES:,}: {problem}")

    @property
    def lacking(self) -> HardwareError | None:
        """The figure without which a number of devices that was tried has no answer: of what joins so many."""
        return next((found for found in self._found.values() if isinstance(found, HardwareError)), None)

    @property
    def seq_len(self) -> int:
        """Tokens of a sequence."""
        given: int | None = read_one("seq_len", self.options.get("seq_len"), units.sequence_length)
        return given or default_seq_len(self.model)

    def _too_late(self, best: Layout, tokens: int, deadline_s: float) -> str:
        """Why no number of devices meets a deadline, or why it is not known whether one does."""
        if self.lacking is not None:
            return f"whether more devices would meet it is not known: {self.lacking}"
        largest = largest_term(self.model, self.device, best)
        needed = least(self, tokens, deadline_s)
        batch, per_step = int(best.train.global_batch or 1), int(best.train.tokens_per_step)
        floor = f" (at 100 % of peak it would take {math.ceil(needed):,})" if needed > best.num_devices else ""
        return (
            f"no number of {self.device.id} does{floor}: the fastest found, "
            f"{units.format_number(best.num_devices, 'device')}, takes {format_time(self.wall_time(best, tokens))}, "
            f"with {largest}; allow more time, train on fewer tokens, or raise --global-batch: "
            f"{batch:,} sequences ({format_count(per_step)} tokens) a step limit how far the work splits"
        )

    def faster(self, one: Plan) -> tuple[str, ...]:
        """A note where the plan, or what stands beside it, takes a simpler layout than the fastest."""
        shown = {"": one.layout} | {f"on {other.stack}": other.layout for other in one.other_software}
        if one.doubling is not None:
            shown["on twice the devices"] = one.doubling.layout
        fastest = {where: self._fastest[layout.num_devices, layout.stack] for where, layout in shown.items()}
        passed = {where: fast for where, fast in fastest.items() if fast.train != shown[where].train}
        return (faster_words(passed, HARDLY),) if passed else ()

    def doubled(self, one: Plan) -> Scaling | None:
        """What twice the devices give at the same global batch on the same software; None where nothing does."""
        same = {"global_batch": int(one.layout.train.global_batch or 1), "stack": one.layout.stack}
        try:
            layout = self.search_on(2 * one.num_devices, **same)
        except RooflineError:  # no layout, or no figure for the links (HardwareError)
            return None
        wall = self.expected_time(layout, one.tokens)
        speedup = one.wall_time_s / wall
        why = relief(one.layout, layout) if speedup > 2 else ""
        return Scaling(num_devices=layout.num_devices, wall_time_s=wall, speedup=speedup, why=why, layout=layout)
