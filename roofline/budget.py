"""A whole training run: tokens, devices, deadline and budget, each from the others, with every line of the arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import RooflineError
from .layout import Layout, SearchResult, layout_dict
from .mfu import DEFAULT_RULE, model_flops_per_token
from .model import ModelConfig
from .parameters import count_parameters
from .presets import load_model
from .search import layouts
from .units import format_bytes, format_count, format_flops, format_rate, format_share, format_time

if TYPE_CHECKING:
    from hardware import Device

# Whole-run time over steady-state steps: checkpoints, evaluation, restarts, lost work. Low: DeepSeek-V3 reports no
# rollback (arXiv:2412.19437, section 1). High: effective training time above 90 % at scale (Llama 3, arXiv:2407.21783,
# section 3.3.4; MegaScale, arXiv:2402.15627, section 6.3) with the evaluations beside it.
OVERHEAD = (1.0, 1.05, 1.15)
SIMPLER = 0.02  # a layout with less machinery is taken if it is at most this much slower
CHINCHILLA = 20  # tokens per parameter (arXiv:2203.15556, table 3)
MOST_DEVICES = 2**17
HOUR, DAY = 3600, 86400


class DoesNotFit(RooflineError):
    """No layout fits in memory: the command line exits with 3."""


class Line(msgspec.Struct, frozen=True):
    """One line of the arithmetic: what, how, and what comes out."""

    what: str
    how: str
    value: str


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """What twice the devices give."""

    num_devices: int
    wall_time_s: float
    speedup: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A training run; attributes are the JSON keys of ``roofline plan``.

    Attributes:
        tokens: Tokens trained on.
        steps: Optimizer steps.
        wall_time_s: Expected time of the whole run, overhead included; `wall_time_low_s` and `wall_time_high_s` are
            its 10th and 90th percentile.
        device_hours: Devices times hours.
        energy_kwh: Of the devices alone times the PUE; None where the power is not known.
        cost: Device-hours times price; None without a price.
        co2_kg: Energy times carbon intensity; None without one.
        num_devices: Devices.
        layout: The layout, with its step time and memory.
        overhead: Low, expected and high factor of the whole run over its steps.
        doubling: What twice the devices give; None where there is no such layout, or it was not asked for.
        arithmetic: Every line of the calculation.
        notes: Assumptions.
    """

    model: ModelConfig
    device: Any
    tokens: int
    steps: int
    tokens_per_step: int
    wall_time_s: float
    wall_time_low_s: float
    wall_time_high_s: float
    device_hours: float
    energy_kwh: float | None
    cost: float | None
    co2_kg: float | None
    num_devices: int
    layout: Layout
    overhead: tuple[float, float, float]
    doubling: Scaling | None
    arithmetic: tuple[Line, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        found = {name: getattr(self, name) for name in self.__struct_fields__}
        found.update(model=self.model.name, device=self.device.id, layout=layout_dict(self.layout))
        return found


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is charged by.

    Attributes:
        price: Per device-hour.
        intensity: kg of CO2 per kWh.
        pue: Energy of the data centre over that of its computers.
        power_w: Mean power of a device; None: the power limit while kernels run, half of it while waiting.
        overhead: Low, expected and high factor of the whole run over its steps.
    """

    price: float | None = None
    intensity: float | None = None
    pue: float = 1.0
    power_w: float | None = None
    overhead: tuple[float, float, float] = OVERHEAD


def plan(
    model: str | Path | ModelConfig,
    device: str | Path | Device,
    *,
    tokens: int | str | None = None,
    num_devices: int | None = None,
    deadline_s: float | None = None,
    budget: float | None = None,
    terms: Terms | None = None,
    doubling: bool = False,
    **options: Any,
) -> Plan:
    """Plan a training run on the best layout, or on the one that `options` leave.

    Tokens and devices give time and cost; tokens and a deadline give the devices; tokens and a budget give the most
    devices it pays for; devices and a deadline or budget give the tokens.

    Args:
        model: As for `estimate`.
        device: As for `estimate`.
        tokens: Tokens to train on, or ``chinchilla`` for 20 per parameter.
        num_devices: Devices; default 1 unless it is what is asked for.
        deadline_s: Seconds the whole run may take.
        budget: Money the whole run may cost; needs ``terms.price``.
        terms: Price, carbon intensity, power and overhead.
        doubling: Whether to work out what twice the devices give.
        **options: Fields of `TrainConfig`; they restrict the search for a layout (see `search.layouts`).

    Raises:
        DoesNotFit: No layout fits in memory.
        RooflineError: Too little or contradictory is given, or no number of devices meets the deadline.
    """
    from hardware import load_device

    planner = _Planner(load_model(model), load_device(device), terms or Terms(), options)
    if budget is not None and planner.terms.price is None:
        raise RooflineError("a budget in money needs a price per device-hour: add --price, such as --price 2.5/h")
    count = chinchilla_tokens(planner.model) if tokens == "chinchilla" else tokens
    if count is None:
        if deadline_s is None and budget is None:
            raise RooflineError("nothing to plan: give --tokens (300B, or chinchilla), or a --deadline or --budget to fill")
        found = planner.tokens_within(num_devices or 1, deadline_s, budget)
    elif num_devices is None and (deadline_s is not None or budget is not None):
        found = planner.devices_for(int(count), deadline_s, budget)
    else:
        found = planner.run(num_devices or 1, int(count))
    return planner.finish(*found, doubling=doubling)


def chinchilla_tokens(model: ModelConfig) -> int:
    """Compute-optimal tokens: 20 per parameter (arXiv:2203.15556)."""
    return CHINCHILLA * count_parameters(model).total


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
            self.model, self.device, num_devices=num_devices, top=1, tolerance=SIMPLER, **{**self.options, **fixed}
        )
        if found.simplest is None:
            raise DoesNotFit(self._short(found, num_devices))
        self.notes[num_devices] = found.notes
        return found.simplest

    def _short(self, found: SearchResult, num_devices: int) -> str:
        smallest = found.smallest
        needed = f": it needs {format_bytes(smallest.memory_bytes)} per device at least" if smallest else ""
        return (
            f"{self.model.name} does not fit on {num_devices:,} x {self.device.id} of {format_bytes(self.device.memory_bytes)}"
            f"{needed} ({found.evaluated:,} layouts tried): use more devices, a shorter --seq-len, or --stack fsdp"
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

    def run(self, num_devices: int, tokens: int) -> tuple[Layout, int]:
        """Tokens on so many devices."""
        return self.best(num_devices), tokens

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
                f"{format_time(seconds)} is less than one step of {format_time(step)} on {num_devices:,} x {self.device.id}"
            )
        return layout, steps * int(layout.train.tokens_per_step)

    def devices_for(self, tokens: int, deadline_s: float | None, budget: float | None) -> tuple[Layout, int]:
        """The fewest devices that meet the deadline; without one, the most that the budget pays for.

        Raises:
            RooflineError: None does; the message says what stands in the way.
        """
        best: Layout | None = None
        fits = False
        for layout in self._ladder(tokens, deadline_s):
            fits = True
            affordable = budget is None or self.cost(layout, tokens) <= budget
            in_time = deadline_s is None or self.wall_time(layout, tokens) <= deadline_s
            if deadline_s is not None and in_time and affordable:
                return layout, tokens
            if best is not None and deadline_s is None and not affordable:
                return best, tokens
            faster = best is None or layout.step_time_s < best.step_time_s
            if (deadline_s is not None and faster) or (deadline_s is None and affordable and faster):
                best = layout
        if not fits:
            raise DoesNotFit(f"{self.model.name} fits on no number of {self.device.id} up to {MOST_DEVICES:,}")
        if best is not None and deadline_s is None:
            return best, tokens
        raise RooflineError(self._out_of_reach(best, tokens, deadline_s, budget))

    def _ladder(self, tokens: int, deadline_s: float | None) -> Iterator[Layout]:
        """The best layout of rising numbers of devices, from what 100 % of peak would need on."""
        peak = self.device.peak_flops_per_s(self.options.get("dtype", "bf16"))
        flops = float(model_flops_per_token(self.model, self._seq_len())) * tokens
        least = 1 if deadline_s is None else flops / peak / deadline_s
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

    def _seq_len(self) -> int:
        from .training import default_seq_len

        return int(self.options.get("seq_len") or default_seq_len(self.model))

    def _out_of_reach(
        self, best: Layout | None, tokens: int, deadline_s: float | None, budget: float | None
    ) -> str:
        if best is None:
            return f"a budget of {budget:,.0f} does not pay for {tokens:,} tokens on {self.device.id}: use fewer tokens"
        wall = self.wall_time(best, tokens)
        if deadline_s is not None and wall <= deadline_s:
            return (
                f"the deadline of {format_time(deadline_s)} and the budget of {budget:,.0f} contradict: {best.num_devices:,} x "
                f"{self.device.id} meet the deadline and cost {self.cost(best, tokens):,.0f}"
            )
        largest = _largest_term(self.model, self.device, best)
        batch = int(best.train.global_batch or 1)
        return (
            f"no number of {self.device.id} trains {tokens:,} tokens in {format_time(deadline_s or 0)}: the fastest found, "
            f"{best.num_devices:,} devices, take {format_time(wall)}, with {largest}; the global batch of {batch:,} sequences "
            "limits how far the work splits: raise --global-batch, or train on fewer tokens"
        )

    def finish(self, layout: Layout, tokens: int, *, doubling: bool) -> Plan:
        """The plan of a layout."""
        terms, hours_of = self.terms, layout.num_devices / HOUR
        steps, wall = self.steps(layout, tokens), self.wall_time(layout, tokens)
        low, high = _interval(layout, terms.overhead)
        hours = wall * hours_of
        power = mean_power(layout, self.device, terms)
        energy = None if power is None else hours * power * terms.pue / 1000
        co2 = None if energy is None or terms.intensity is None else energy * terms.intensity
        found = Plan(
            model=self.model, device=self.device, tokens=tokens, steps=steps,
            tokens_per_step=int(layout.train.tokens_per_step), wall_time_s=wall, wall_time_low_s=wall * low,
            wall_time_high_s=wall * high, device_hours=hours, energy_kwh=energy,
            cost=None if terms.price is None else hours * terms.price, co2_kg=co2, num_devices=layout.num_devices,
            layout=layout, overhead=terms.overhead, doubling=None, arithmetic=(), notes=self.notes[layout.num_devices],
        )  # fmt: skip
        return msgspec.structs.replace(
            found,
            doubling=self._doubled(found) if doubling else None,
            arithmetic=arithmetic(found, terms, power),
        )

    def _doubled(self, one: Plan) -> Scaling | None:
        try:
            layout = self.best(2 * one.num_devices, global_batch=int(one.layout.train.global_batch or 1))
        except RooflineError:
            return None
        wall = self.wall_time(layout, one.tokens)
        return Scaling(num_devices=layout.num_devices, wall_time_s=wall, speedup=one.wall_time_s / wall)


def _interval(layout: Layout, overhead: tuple[float, float, float]) -> tuple[float, float]:
    """Low and high of the whole run over its expectation: step time and overhead err independently."""
    step, least, usual, most = layout.step_time_s, *overhead
    low = math.hypot(math.log(step / layout.step_time_low_s), math.log(usual / least))
    high = math.hypot(math.log(layout.step_time_high_s / step), math.log(most / usual))
    return math.exp(-low), math.exp(high)


def mean_power(layout: Layout, device: Device, terms: Terms) -> float | None:
    """Mean watts of one device; None where neither the terms nor the catalog say."""
    if terms.power_w is not None:
        return terms.power_w
    return None if device.tdp_w is None else device.tdp_w * layout.energy_share


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


def arithmetic(one: Plan, terms: Terms, power: float | None) -> tuple[Line, ...]:
    """Every line from tokens to cost, so that a reader can check it."""
    layout, train = one.layout, one.layout.train
    flops = float(model_flops_per_token(one.model, train.sequence_length))
    peak = one.device.peak_flops_per_s(train.dtype)
    days, least, usual, most = one.wall_time_s / DAY, *terms.overhead
    steady = one.steps * layout.step_time_s
    lines = [
        ("parameters", one.model.name, format_count(count_parameters(one.model).total)),
        ("tokens", f"{one.tokens / count_parameters(one.model).total:.3g} per parameter", f"{one.tokens:,}"),
        (
            "tokens per step", f"{train.global_batch:,} sequences x {train.sequence_length:,} tokens",
            f"{one.tokens_per_step:,}",
        ),
        ("steps", f"{one.tokens:,} / {one.tokens_per_step:,}, rounded up", f"{one.steps:,}"),
        ("FLOPs per token", f"forward and backward, {DEFAULT_RULE}", format_flops(flops)),
        ("FLOPs of the run", f"{format_flops(flops)} x {one.tokens:,}", f"{flops * one.tokens:.3g} FLOPs"),
        ("peak", f"{layout.num_devices:,} x {format_rate(peak)} ({train.dtype}, dense)", format_rate(peak * layout.num_devices)),
        (
            "step time", f"estimated: {format_time(layout.step_time_low_s)} to {format_time(layout.step_time_high_s)}",
            format_time(layout.step_time_s),
        ),
        (
            "MFU", f"{format_flops(flops)} x {one.tokens_per_step:,} / ({layout.step_time_s:.4g} s x peak)",
            format_share(layout.mfu),
        ),
        ("time in steps", f"{one.steps:,} x {layout.step_time_s:.4g} s", f"{steady / DAY:,.2f} days"),
        (
            "whole run", f"x {usual:g} for restarts, evaluation and checkpoints (assumed {least:g} to {most:g})",
            f"{days:,.2f} days",
        ),
        ("device-hours", f"{days * 24:,.1f} h x {layout.num_devices:,} devices", f"{one.device_hours:,.0f}"),
    ]  # fmt: skip
    if one.energy_kwh is not None and power is not None:
        pue = f" x PUE {terms.pue:g}" if terms.pue != 1 else ""
        lines.append(("energy", f"{one.device_hours:,.0f} h x {power:,.0f} W{pue}", f"{one.energy_kwh:,.0f} kWh"))
    if one.co2_kg is not None:
        lines.append(("CO2", f"{one.energy_kwh:,.0f} kWh x {terms.intensity:g} kg/kWh", f"{one.co2_kg:,.0f} kg"))
    if one.cost is not None:
        lines.append(("cost", f"{one.device_hours:,.0f} h x {terms.price:g}", f"{one.cost:,.0f}"))
    return tuple(Line(*line) for line in lines)


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """A model size and the tokens that a compute budget then allows."""

    parameters: float
    tokens: float
    tokens_per_parameter: float


def ladder(flops: float) -> list[Rung]:
    """Model sizes around the compute-optimal one for a budget of FLOPs: C = 6ND with D = 20N (arXiv:2203.15556).

    >>> optimal = ladder(6 * 70e9 * 1.4e12)[2]
    >>> f"{optimal.parameters:.3g} {optimal.tokens:.3g}"
    '7e+10 1.4e+12'
    """
    best = math.sqrt(flops / (6 * CHINCHILLA))
    return [
        Rung(parameters=best * f, tokens=flops / (6 * best * f), tokens_per_parameter=CHINCHILLA / f**2)
        for f in (0.25, 0.5, 1.0, 2.0, 4.0)
    ]
