"""How many devices a run needs: the fewest that meet a deadline, the most that a budget pays for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..answers.changes import MOST_DEVICES, device_counts
from ..config.defaults import default_dtype
from ..counting.mfu import model_flops_per_token
from ..errors import RooflineError
from ..model.spec import ModelConfig, default_seq_len
from ..search.layout import Layout, SearchResult
from ..search.remedy import remedy, shortage
from ..search.search import search
from ..search.space import RECOMPUTES
from ..units import format_bytes, format_count, format_share, format_time
from .cost import HOUR, Plan, Scaling, Terms

if TYPE_CHECKING:
    from ..hardware import Device

SIMPLER = 0.05  # a layout with less machinery is taken if it is at most this much slower
SCANNED = 16  # numbers of nodes tried one by one; more are halved first
DEARER = 1.25  # beyond the cheapest number of devices, more only cost more: the search for it ends here


class DoesNotFit(RooflineError):  # noqa: N818  (says what is wrong, as RooflineError subclasses do)
    """No layout fits in memory: the command line exits with 3."""


class Planner:
    """The arithmetic, with what stays the same over all numbers of devices."""

    def __init__(self, model: ModelConfig, device: Device, terms: Terms, options: dict[str, Any]) -> None:
        self.model, self.device, self.terms, self.options = model, device, terms, options
        self.notes: dict[int, tuple[str, ...]] = {}  # by number of devices
        self._found: dict[int, Layout | RooflineError] = {}
        self._failed: dict[int, SearchResult] = {}

    def best(self, num_devices: int) -> Layout:
        """The fastest layout of `num_devices`, or the simplest that is hardly slower.

        Raises:
            DoesNotFit: None fits.
            RooflineError: None is consistent.
        """
        if num_devices not in self._found:
            try:
                self._found[num_devices] = self._search(num_devices)
            except RooflineError as error:
                self._found[num_devices] = error
        found = self._found[num_devices]
        if isinstance(found, RooflineError):
            raise found
        return found

    def _search(self, num_devices: int, **fixed: int) -> Layout:
        options = {**self.options, **fixed}
        found = search(
            self.model, self.device, num_devices=num_devices, top=1, front=False, tolerance=SIMPLER, **options
        )
        if found.simplest is None:
            self._failed[num_devices] = found
            raise DoesNotFit(self._short(found, num_devices))
        self.notes[num_devices] = found.notes
        return found.simplest

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
        """Expected seconds of the whole run."""
        return self.steps(layout, tokens) * layout.step_time_s * self.terms.overhead[1]

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
        step = layout.step_time_s * self.terms.overhead[1]
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
                layout = self._layout(count)
                if layout is not None:
                    return layout
        for layout in self._ladder(1):
            return layout
        return self._largest()

    def _at_most(self, wanted: float) -> Iterator[int]:
        """Numbers of devices up to `wanted`, falling: a few of whole nodes, then powers of two."""
        node = self.device.devices_per_node
        nodes = int(min(wanted, MOST_DEVICES) // node)
        yield from (node * n for n in range(nodes, max(nodes - SCANNED, 0), -1))
        yield from (n for n in reversed(list(device_counts(node))) if n < min(wanted + 1, node))

    # --- devices from tokens -------------------------------------------------------------------------------

    def devices_for(self, tokens: int, deadline_s: float | None, budget: float | None) -> Layout:
        """The fewest devices that meet the deadline; without one, the most that the budget pays for.

        Raises:
            DoesNotFit: No number of devices holds the model.
            RooflineError: None is fast or cheap enough; the message says what stands in the way.
        """
        if deadline_s is None:
            return self._within_budget(tokens, budget or math.inf)
        fewest = self._fewest(tokens, deadline_s)
        if budget is None or self.cost(fewest, tokens) <= budget:
            return fewest
        cheapest = fewest
        for layout in self._ladder(fewest.num_devices + 1):
            if self.cost(layout, tokens) > DEARER * self.cost(cheapest, tokens):
                break
            if self.wall_time(layout, tokens) <= deadline_s:
                cheapest = min(cheapest, layout, key=lambda one: self.cost(one, tokens))
        if self.cost(cheapest, tokens) <= budget:
            return cheapest
        raise RooflineError(
            f"the deadline of {format_time(deadline_s)} and the budget of {budget:,.0f} contradict: the cheapest "
            f"that meets the deadline, {cheapest.num_devices:,} x {self.device.id}, costs "
            f"{self.cost(cheapest, tokens):,.0f}; the budget buys {self._bought(cheapest, tokens, budget)}: "
            "allow more time or money, or train on fewer tokens"
        )

    def devices_in_time(self, tokens: int, deadline_s: float) -> int | None:
        """The fewest devices that meet a deadline; None where none do."""
        try:
            return self.devices_for(tokens, deadline_s, None).num_devices
        except RooflineError:  # none in time, or no figure for the links (HardwareError)
            return None

    def _fewest(self, tokens: int, deadline_s: float) -> Layout:
        """The fewest devices that meet a deadline, in whole nodes beyond one."""
        late: Layout | None = None  # the fastest that does not meet it
        below = 0  # devices of the last rung
        for layout in self._ladder(self._least(tokens, deadline_s)):
            if self.wall_time(layout, tokens) <= deadline_s:
                return self._refined(layout, below, tokens, deadline_s)
            below = layout.num_devices
            if late is None or self.wall_time(layout, tokens) < self.wall_time(late, tokens):
                late = layout
        raise RooflineError(self._too_late(late or self._largest(), tokens, deadline_s))

    def _refined(self, layout: Layout, below: int, tokens: int, deadline_s: float) -> Layout:
        """The fewest whole nodes that still meet the deadline, more than `below` devices: halved, then one by one."""

        def in_time(nodes: int) -> Layout | None:
            found = self._layout(nodes * node)
            return found if found is not None and self.wall_time(found, tokens) <= deadline_s else None

        node, best = self.device.devices_per_node, layout
        # fewer would have to be more than 5 % more efficient each
        least = 0.95 * layout.num_devices * self.wall_time(layout, tokens) / deadline_s
        low, high = max(below // node + 1, math.ceil(least / node)), layout.num_devices // node
        while high - low > SCANNED:
            middle = (low + high) // 2
            found = in_time(middle)
            low, high, best = (low, middle, found) if found else (middle + 1, high, best)
        return next((found for nodes in range(low, high) if (found := in_time(nodes))), best)

    def _within_budget(self, tokens: int, budget: float) -> Layout:
        """The fastest layout on the ladder that a budget pays for."""
        best: Layout | None = None
        cheapest: Layout | None = None
        for layout in self._ladder(1):
            cost = self.cost(layout, tokens)
            if cheapest is None or cost < self.cost(cheapest, tokens):
                cheapest = layout
            if cost > budget:
                if best is not None or cost > DEARER * self.cost(cheapest, tokens):
                    break
            elif best is None or self.wall_time(layout, tokens) < self.wall_time(best, tokens):
                best = layout
        if best is not None:
            return best
        cheapest = cheapest or self._largest()
        raise RooflineError(
            f"a budget of {budget:,.0f} does not pay for {format_count(tokens)} tokens on {self.device.id}: they cost "
            f"at least {self.cost(cheapest, tokens):,.0f} ({cheapest.num_devices:,} devices for "
            f"{format_time(self.wall_time(cheapest, tokens))}); the budget buys "
            f"{self._bought(cheapest, tokens, budget)}: train on fewer, or raise --budget"
        )

    def _bought(self, layout: Layout, tokens: int, budget: float) -> str:
        """The tokens that a budget pays for on a layout."""
        step = self.cost(layout, tokens) / self.steps(layout, tokens)
        return f"{format_count(int(budget // step) * int(layout.train.tokens_per_step))} tokens there"

    def _least(self, tokens: int, deadline_s: float) -> float:
        """Devices that a deadline needs at 100 % of peak."""
        peak = self.device.peak_flops_per_s(self.options.get("dtype") or default_dtype(self.device))
        return float(model_flops_per_token(self.model, self._seq_len())) * tokens / peak / deadline_s

    def _layout(self, num_devices: int) -> Layout | None:
        """The best layout, or None where none is consistent or fits."""
        try:
            return self.best(num_devices)
        except RooflineError:
            return None

    def _ladder(self, least: float) -> Iterator[Layout]:
        """The best layout of rising numbers of devices, from `least` on."""
        failures = 0
        for count in device_counts(self.device.devices_per_node):
            if count < least:
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

    def _largest(self) -> Layout:
        """The layout of the largest number of devices that has one at all.

        Raises:
            DoesNotFit: None holds the model.
        """
        problem: RooflineError | None = None
        for count in reversed(list(device_counts(self.device.devices_per_node))):
            try:
                return self.best(count)
            except RooflineError as error:
                problem = error
        raise DoesNotFit(f"{self.model.name} trains on no number of {self.device.id} up to {MOST_DEVICES:,}: {problem}")

    def _seq_len(self) -> int:
        return int(self.options.get("seq_len") or default_seq_len(self.model))

    def _too_late(self, best: Layout, tokens: int, deadline_s: float) -> str:
        """Why no number of devices meets a deadline."""
        largest = _largest_term(self.model, self.device, best)
        batch, per_step = int(best.train.global_batch or 1), int(best.train.tokens_per_step)
        least = self._least(tokens, deadline_s)
        floor = f" (at 100 % of peak it would take {math.ceil(least):,})" if least > best.num_devices else ""
        return (
            f"no number of {self.device.id} trains {tokens:,} tokens in "
            f"{format_time(deadline_s)}{floor}: the fastest found, "
            f"{best.num_devices:,} devices, take {format_time(self.wall_time(best, tokens))}, with {largest}: "
            "allow more time, train on fewer tokens, or raise --global-batch: "
            f"{batch:,} sequences ({format_count(per_step)} tokens) a step limit how far the work splits"
        )

    def doubled(self, one: Plan) -> Scaling | None:
        """What twice the devices give at the same global batch; None where there is no such layout."""
        try:
            layout = self._search(2 * one.num_devices, global_batch=int(one.layout.train.global_batch or 1))
        except RooflineError:  # no layout, or no figure for the links (HardwareError)
            return None
        wall = self.wall_time(layout, one.tokens)
        speedup = one.wall_time_s / wall
        why = _relief(one.layout, layout) if speedup > 2 else ""
        return Scaling(num_devices=layout.num_devices, wall_time_s=wall, speedup=speedup, why=why)


def _relief(before: Layout, after: Layout) -> str:
    """What the layout of twice the devices does without or more of, as less of the model lies on each."""
    changes = []
    if RECOMPUTES.index(after.recompute) < RECOMPUTES.index(before.recompute):
        changes.append(f"recompute {after.recompute} instead of {before.recompute}")
    if after.micro_batch > before.micro_batch:
        changes.append(f"micro batch {after.micro_batch} instead of {before.micro_batch}")
    changes += [
        f"{name} {getattr(after, name)} instead of {getattr(before, name)}"
        for name in ("tp", "pp", "cp", "ep")
        if getattr(after, name) < getattr(before, name)
    ]
    if after.sharding != before.sharding:
        changes.append(f"sharding {after.sharding} instead of {before.sharding}")
    return ", ".join(changes)


def _largest_term(model: ModelConfig, device: Device, layout: Layout) -> str:
    from ..answers.estimate import estimate_step
    from ..counting.step import build_step
    from ..timing.terms import TERM_WORDS

    waterfall = estimate_step(build_step(model, layout.train), device).waterfall
    worst = max(waterfall, key=lambda step: float(step.lost))
    return f"{format_share(float(worst.lost))} of the peak lost to {TERM_WORDS.get(worst.term, worst.term)}"
