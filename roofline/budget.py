"""Plans a whole training run: tokens, devices, deadline and budget, each from the others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from . import units
from .errors import RooflineError
from .layout import Layout, SearchResult
from .mfu import model_flops_per_token
from .model import ModelConfig
from .parameters import count_parameters
from .presets import load_model
from .runcost import COMPUTE_OPTIMAL, HOUR, Plan, Scaling, Terms, run_cost
from .search import layouts
from .space import RECOMPUTES
from .training import default_dtype, default_seq_len
from .typed import read_one, read_options
from .units import format_bytes, format_share, format_time

if TYPE_CHECKING:
    from hardware import Device

SIMPLER = 0.05  # a layout with less machinery is taken if it is at most this much slower
MOST_DEVICES = 2**17
FEWEST_TOKENS, MOST_TOKENS = 1000, 10**16  # outside, a unit is missing or a digit too many


class DoesNotFit(RooflineError):  # noqa: N818  (says what is wrong, as RooflineError subclasses do)
    """No layout fits in memory: the command line exits with 3."""


def plan(
    model: str | Path | ModelConfig,
    device: str | Path | Device,
    *,
    tokens: int | str | None = None,
    num_devices: int | str | None = None,
    deadline_s: float | str | None = None,
    budget: float | str | None = None,
    terms: Terms | None = None,
    doubling: bool = False,
    **options: Any,
) -> Plan:
    """Plan a training run on the best layout, or on the one that `options` leave.

    Tokens and devices give time and cost; tokens and a deadline give the devices; tokens and a budget give
    the most devices it pays for; devices and a deadline or budget give the tokens.

    Args:
        model: As for `estimate`.
        device: As for `estimate`.
        tokens: Tokens to train on, such as ``10**12`` or ``"1T"``, or ``chinchilla`` for 20 per parameter.
        num_devices: Devices; default 1 unless it is what is asked for.
        deadline_s: Seconds the whole run may take, or text with a unit such as ``"30d"``.
        budget: Money the whole run may cost; needs ``terms.price``.
        terms: Price, carbon intensity, power and overhead.
        doubling: Whether to work out what twice the devices give.
        **options: Fields of `TrainConfig`; they restrict the search for a layout (see `search.layouts`).

    Raises:
        DoesNotFit: No layout fits in memory.
        RooflineError: Too little or contradictory is given, or no number of devices meets the deadline.
    """
    from hardware import load_device

    devices: int | None = read_one("num_devices", num_devices, units.positive_int)
    deadline: float | None = read_one("deadline_s", deadline_s, units.duration_s)
    money: float | None = read_one("budget", budget, units.positive)
    device = load_device(device)
    settings = {**read_options(options), "dtype": options.get("dtype") or default_dtype(device)}
    planner = _Planner(load_model(model), device, read_terms(terms or Terms()), settings)
    if money is not None and planner.terms.price is None:
        raise RooflineError(
            "a budget in money needs a price per device-hour: add --price, such as --price 2.5/h"
        )
    count = read_tokens(tokens, planner.model)
    if count is None:
        if deadline is None and money is None:
            raise RooflineError(
                "nothing to plan: give --tokens (300B, or chinchilla), or a --deadline or --budget to fill"
            )
        layout, count = planner.tokens_within(devices or 1, deadline, money)
    elif devices is None and (deadline is not None or money is not None):
        layout = planner.devices_for(count, deadline, money)
    else:
        layout = planner.best(devices or 1)
    one = run_cost(planner.model, device, layout, count, planner.terms, planner.notes[layout.num_devices])
    if deadline is not None and one.wall_time_s > deadline:
        one = msgspec.structs.replace(one, devices_in_time=planner.devices_in_time(count, deadline))
    return msgspec.structs.replace(one, doubling=planner.doubled(one)) if doubling else one


def read_tokens(tokens: int | str | None, model: ModelConfig) -> int | None:
    """Tokens as typed, or ``chinchilla``; None stays.

    Raises:
        RooflineError: So few or so many that a unit is missing or a digit too many.
    """
    if isinstance(tokens, str) and tokens.strip().lower() == "chinchilla":
        return chinchilla_tokens(model)
    count: int | None = read_one("tokens", tokens, units.count)
    if count is not None and count < FEWEST_TOKENS:
        raise RooflineError(
            f"tokens: {count} is less than one sequence: did you mean {count}B ({count}e9) or {count}T?"
        )
    if count is not None and count > MOST_TOKENS:
        raise RooflineError(
            f"tokens: {count:.3g} is out of range: give {FEWEST_TOKENS:,} to {MOST_TOKENS:.0e}, such as 300B"
        )
    return count


def read_terms(terms: Terms) -> Terms:
    """What a run is charged by, numbers as typed."""
    return msgspec.structs.replace(
        terms,
        price=read_one("price", terms.price, units.price),
        intensity=read_one("intensity", terms.intensity, units.positive),
        pue=read_one("pue", terms.pue, units.overhead),
        power_w=read_one("power_w", terms.power_w, units.power),
    )


def chinchilla_tokens(model: ModelConfig) -> int:
    """Compute-optimal tokens: 20 per parameter (arXiv:2203.15556)."""
    return COMPUTE_OPTIMAL * count_parameters(model).total


class _Planner:
    """The arithmetic, with what stays the same over all numbers of devices."""

    def __init__(self, model: ModelConfig, device: Device, terms: Terms, options: dict[str, Any]) -> None:
        self.model, self.device, self.terms, self.options = model, device, terms, options
        self.notes: dict[int, tuple[str, ...]] = {}  # by number of devices

    def best(self, num_devices: int, **fixed: int) -> Layout:
        """The fastest layout of `num_devices`, or the simplest that is hardly slower.

        Raises:
            DoesNotFit: None fits.
        """
        found = layouts(
            self.model,
            self.device,
            num_devices=num_devices,
            top=1,
            tolerance=SIMPLER,
            **{**self.options, **fixed},
        )
        if found.simplest is None:
            raise DoesNotFit(self._short(found, num_devices))
        self.notes[num_devices] = found.notes
        return found.simplest

    def _short(self, found: SearchResult, num_devices: int) -> str:
        smallest = found.smallest
        needed = f": it needs {format_bytes(smallest.memory_bytes)} per device at least" if smallest else ""
        return (
            f"{self.model.name} does not fit on {num_devices:,} x {self.device.id} of "
            f"{format_bytes(self.device.memory_bytes)}"
            f"{needed} ({found.evaluated:,} layouts tried): {found.advice()}"
        )

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

    def tokens_within(
        self, num_devices: int, deadline_s: float | None, budget: float | None
    ) -> tuple[Layout, int]:
        """The most tokens within a deadline and a budget, in whole steps."""
        layout = self.best(num_devices)
        seconds = math.inf if deadline_s is None else deadline_s
        if budget is not None and self.terms.price is not None:
            seconds = min(seconds, budget / self.terms.price / num_devices * HOUR)
        step = layout.step_time_s * self.terms.overhead[1]
        steps = int(seconds // step)
        if steps < 1:
            raise RooflineError(
                f"{format_time(seconds)} is less than one step of {format_time(step)} on "
                f"{num_devices:,} x {self.device.id}"
            )
        return layout, steps * int(layout.train.tokens_per_step)

    def devices_for(self, tokens: int, deadline_s: float | None, budget: float | None) -> Layout:
        """The fewest devices that meet the deadline; without one, the most that the budget pays for.

        Raises:
            DoesNotFit: No number of devices holds the model.
            RooflineError: None is fast or cheap enough; the message says what stands in the way.
        """
        best: Layout | None = None
        fits = False
        for layout in self._ladder(self._least(tokens, deadline_s)):
            fits = True
            affordable = budget is None or self.cost(layout, tokens) <= budget
            in_time = deadline_s is None or self.wall_time(layout, tokens) <= deadline_s
            if deadline_s is not None and in_time and affordable:
                return layout
            if best is not None and deadline_s is None and not affordable:
                return best
            if (deadline_s is not None or affordable) and self._faster(layout, best, tokens):
                best = layout
        if best is not None and deadline_s is None:
            return best
        if not fits:
            best = self._largest()
        raise RooflineError(self._out_of_reach(best, tokens, deadline_s, budget))

    def devices_in_time(self, tokens: int, deadline_s: float) -> int | None:
        """The fewest devices that meet a deadline; None where none do."""
        try:
            return self.devices_for(tokens, deadline_s, None).num_devices
        except ValueError:  # none in time, or no figure for the links (HardwareError)
            return None

    def _faster(self, layout: Layout, best: Layout | None, tokens: int) -> bool:
        return best is None or self.wall_time(layout, tokens) < self.wall_time(best, tokens)

    def _least(self, tokens: int, deadline_s: float | None) -> float:
        """Devices that a deadline needs at 100 % of peak."""
        if deadline_s is None:
            return 1.0
        peak = self.device.peak_flops_per_s(self.options["dtype"])
        return float(model_flops_per_token(self.model, self._seq_len())) * tokens / peak / deadline_s

    def _ladder(self, least: float) -> Iterator[Layout]:
        """The best layout of rising numbers of devices, from `least` on."""
        failures = 0
        for count in _device_counts(self.device.devices_per_node):
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
        for count in reversed(list(_device_counts(self.device.devices_per_node))):
            try:
                return self.best(count)
            except RooflineError as error:
                problem = error
        raise DoesNotFit(
            f"{self.model.name} trains on no number of {self.device.id} up to {MOST_DEVICES:,}: {problem}"
        )

    def _seq_len(self) -> int:
        return int(self.options.get("seq_len") or default_seq_len(self.model))

    def _out_of_reach(
        self, best: Layout | None, tokens: int, deadline_s: float | None, budget: float | None
    ) -> str:
        if best is None:
            return (
                f"a budget of {budget:,.0f} does not pay for {tokens:,} tokens on {self.device.id}: use fewer"
            )
        wall = self.wall_time(best, tokens)
        if deadline_s is not None and wall <= deadline_s:
            return (
                f"the deadline of {format_time(deadline_s)} and the budget of {budget:,.0f} "
                f"contradict: {best.num_devices:,} x "
                f"{self.device.id} meet the deadline and cost {self.cost(best, tokens):,.0f}"
            )
        largest = _largest_term(self.model, self.device, best)
        batch = int(best.train.global_batch or 1)
        least = self._least(tokens, deadline_s)
        floor = f" (at 100 % of peak it would take {math.ceil(least):,})" if least > best.num_devices else ""
        return (
            f"no number of {self.device.id} trains {tokens:,} tokens in "
            f"{format_time(deadline_s or 0)}{floor}: the fastest found, "
            f"{best.num_devices:,} devices, take {format_time(wall)}, with {largest}: allow more time, train on "
            f"fewer tokens{self._more_batch(batch)}"
        )

    def _more_batch(self, batch: int) -> str:
        """What a fixed batch stands in the way of."""
        if self.options.get("global_batch") is None:
            return ""
        return f", or raise --global-batch: {batch:,} sequences limit how far the work splits"

    def doubled(self, one: Plan) -> Scaling | None:
        """What twice the devices give at the same global batch; None where there is no such layout."""
        try:
            layout = self.best(2 * one.num_devices, global_batch=int(one.layout.train.global_batch or 1))
        except ValueError:  # no layout, or no figure for the links (HardwareError)
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


def _device_counts(node: int) -> Iterator[int]:
    """1, 2, 4, ... within a node, then 1, 2, 3, 4, 6, 8, 12, ... nodes."""
    count = 1
    while count < node:
        yield count
        count *= 2
    nodes = 1
    while node * nodes <= MOST_DEVICES:
        yield node * nodes
        if nodes >= 2:
            yield node * nodes * 3 // 2
        nodes *= 2


def _largest_term(model: ModelConfig, device: Device, layout: Layout) -> str:
    from .estimate import estimate_step
    from .report import TERM_WORDS
    from .step import build_step

    waterfall = estimate_step(build_step(model, layout.train), device).waterfall
    worst = max(waterfall, key=lambda step: float(step.lost))
    return f"{format_share(float(worst.lost))} of the peak lost to {TERM_WORDS.get(worst.term, worst.term)}"
