"""What a whole run costs on a layout: time, device-hours, energy, money, every line of the arithmetic."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from ..counting.mfu import DEFAULT_RULE, model_flops_per_token
from ..model.parameters import count_parameters
from ..model.spec import ModelConfig
from ..result import Result
from ..search.layout import Layout, layout_line
from ..units import (
    format_amount,
    format_count,
    format_flops,
    format_number,
    format_rate,
    format_ratio,
    format_share,
    format_time,
    format_time_range,
)
from .laws import Verdict
from .overhead import Overhead, overhead_of

if TYPE_CHECKING:
    import pandas as pd

    from ..hardware import Device

HOUR = 3600
Z90 = NormalDist().inv_cdf(0.9)  # standard deviations from the median to the 90th percentile


class Line(msgspec.Struct, frozen=True):
    """One line of the arithmetic.

    Attributes:
        what: What is worked out.
        how: From what.
        value: What comes out, with its unit.
    """

    what: str
    how: str
    value: str


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """What twice the devices give.

    Attributes:
        num_devices: Twice the plan's.
        wall_time_s: Seconds of the whole run on them.
        speedup: The plan's time over that.
        layout: The layout on them.
        why: What makes more than twice as fast possible, where it is known.
    """

    num_devices: int
    wall_time_s: float
    speedup: float
    layout: Layout
    why: str = ""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is charged by.

    Attributes:
        price: Per device-hour.
        intensity: kg of CO2 per kWh.
        pue: Energy of the data centre over that of its computers.
        power_w: Mean power of a device; None: the power limit while kernels run, half of it while waiting.
        overhead: Low, expected and high factor of the whole run over its steps; None: derived (see `Overhead`).
        mtbf_s: Seconds between failures of one device; None: as published fleets.
        checkpoint_every_s: Seconds of training between checkpoints; None: what loses least.
        settled: Whether software and split are those that will run, not the best of a search.
    """

    price: float | None = None
    intensity: float | None = None
    pue: float = 1.0
    power_w: float | None = None
    overhead: tuple[float, float, float] | None = None
    mtbf_s: float | None = None
    checkpoint_every_s: float | None = None
    settled: bool = False

    def overhead_on(self, model: ModelConfig, device: Device, layout: Layout) -> Overhead:
        """The overhead on a layout: as given, or derived."""
        if self.overhead is not None:
            low, usual, high = self.overhead
            return Overhead(low=low, usual=usual, high=high)
        return overhead_of(model, device, layout.train, self.mtbf_s, self.checkpoint_every_s, settled=self.settled)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, where the answer says how it was met; None: it was not.

    Attributes:
        num_devices: Devices.
        deadline_s: Seconds the run may take.
        budget: Money it may cost.
        confidence: How sure it must be that time and money suffice: 0.5 is an even chance.
    """

    num_devices: int | None = None
    deadline_s: float | None = None
    budget: float | None = None
    confidence: float = 0.5


class Limited:
    """An answer that was given limits; its field `asked` holds them."""

    __slots__ = ()
    asked: Asked

    @property
    def deadline_s(self) -> float | None:
        """Seconds the run may take; None: as many as it needs."""
        return self.asked.deadline_s

    @property
    def budget(self) -> float | None:
        """Money it may cost; None: as much as it needs."""
        return self.asked.budget

    @property
    def confidence(self) -> float:
        """How sure it must be that they suffice."""
        return self.asked.confidence


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """A deadline or a budget that is not met.

    Attributes:
        what: deadline or budget.
        by: Seconds, or money, too much at the confidence asked for.
        why: What would meet it, or what stands in the way.
        devices: The fewest devices that would meet a deadline; None where none does, and for a budget.
    """

    what: str
    by: float
    why: str
    devices: int | None = None


class OtherSoftware(msgspec.Struct, frozen=True, kw_only=True):
    """The same run on another software profile.

    Attributes:
        stack: The profile.
        wall_time_s: Seconds of the whole run.
        slower: That over the plan's.
        layout: Its own best layout.
    """

    stack: str
    wall_time_s: float
    slower: float
    layout: Layout


class Plan(Limited, Result, msgspec.Struct, frozen=True, kw_only=True):
    """A training run; attributes are the JSON keys of ``roofline plan``.

    Attributes:
        model: The model.
        device: The `Device`.
        tokens: Tokens trained on.
        steps: Optimizer steps.
        tokens_per_step: Tokens of one step, all devices.
        wall_time_s: Expected seconds of the whole run, overhead included.
        wall_time_low_s, wall_time_high_s: 10th and 90th percentile of that.
        device_hours: Devices times hours.
        energy_kwh: Of the devices alone times the PUE; None where the power is not known.
        cost: Device-hours times price; None without a price.
        co2_kg: Energy times carbon intensity; None without one.
        num_devices: Devices.
        layout: The layout, with its step time and memory.
        overhead: The whole run over its steps: low, expected and high factor, its parts, and practice beside it.
        doubling: What twice the devices give; None where there is no such layout, or it was not asked for.
        devices_in_time: Where a deadline is missed, the fewest devices that would meet it; else None.
        missed: Deadline and budget that are not met, each with how much is missing.
        other_software: The same run on the other profiles that people train on, the fastest first.
        arithmetic: Every line of the calculation.
        notes: Assumptions.
        terms: What it is charged by.
        asked: Devices, deadline and budget, where they were given.
        verdict: What a scaling law says of size and tokens, where one was named.
    """

    VIEW: ClassVar[str] = "plan"

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
    overhead: Overhead
    doubling: Scaling | None
    arithmetic: tuple[Line, ...]
    notes: tuple[str, ...]
    devices_in_time: int | None = None
    missed: tuple[Missed, ...] = ()
    other_software: tuple[OtherSoftware, ...] = ()
    terms: Terms = Terms()
    asked: Asked = Asked()
    verdict: Verdict | None = None

    @property
    def deadline_chance(self) -> float | None:
        """How likely the deadline suffices; None without one."""
        return None if self.deadline_s is None else self.chance(self.deadline_s)

    def chance(self, seconds: float) -> float:
        """How likely so many seconds suffice, up to the percentiles that are known."""
        end = self.wall_time_high_s if seconds > self.wall_time_s else self.wall_time_low_s
        width = abs(math.log(end / self.wall_time_s)) / Z90
        return _normal(math.log(seconds / self.wall_time_s) / width) if width else float(seconds >= self.wall_time_s)

    def __repr__(self) -> str:
        """The run in one line."""
        ends = format_time_range(self.wall_time_low_s, self.wall_time_s, self.wall_time_high_s)
        cost = "" if self.cost is None else f", cost {self.cost:,.0f}"
        return (
            f"<Plan of {self.model.name}: {format_count(self.tokens)} tokens on {self.num_devices:,} x "
            f"{self.device.id}: {format_time(self.wall_time_s)} ({ends}), "
            f"{self.device_hours:,.0f} device-hours{cost}; {layout_line(self.layout)}>"
        )

    def to_frame(self) -> pd.DataFrame:
        """The figures and the layout as a pandas frame of one row."""
        import pandas as pd

        found = self.to_dict()
        nested = ("layout", "overhead", "doubling", "arithmetic", "notes", "missed", "other_software", "verdict")
        plain = {name: value for name, value in found.items() if name not in nested}
        return pd.DataFrame([{**plain, **{k: v for k, v in found["layout"].items() if k not in plain}}])


def run_cost(
    model: ModelConfig, device: Device, layout: Layout, tokens: int, terms: Terms, notes: tuple[str, ...] = ()
) -> Plan:
    """The run of `tokens` on `layout`."""
    tokens_per_step = int(layout.train.tokens_per_step)
    steps = -(-tokens // tokens_per_step)
    overhead = terms.overhead_on(model, device, layout)
    wall = steps * layout.step_time_s * overhead.range[1]
    low, high = (quantile(layout, overhead.range, share) for share in (0.1, 0.9))
    hours = wall / HOUR * layout.num_devices
    power = mean_power(layout, device, terms)
    energy = None if power is None else hours * power * terms.pue / 1000
    co2 = None if energy is None or terms.intensity is None else energy * terms.intensity
    found = Plan(
        model=model,
        device=device,
        tokens=tokens,
        steps=steps,
        tokens_per_step=tokens_per_step,
        wall_time_s=wall,
        wall_time_low_s=wall * low,
        wall_time_high_s=wall * high,
        device_hours=hours,
        energy_kwh=energy,
        cost=None if terms.price is None else hours * terms.price,
        co2_kg=co2,
        num_devices=layout.num_devices,
        layout=layout,
        overhead=overhead,
        doubling=None,
        arithmetic=(),
        notes=notes,
        terms=terms,
    )
    return msgspec.structs.replace(found, arithmetic=arithmetic(found, terms, power))


def quantile(layout: Layout, overhead: tuple[float, float, float], confidence: float) -> float:
    """What suffices with a confidence, over the expectation of the whole run.

    Step time and overhead err independently; each side is log-normal through its 10th or 90th percentile.

    >>> quantile(None, (1, 1, 1), 0.5)
    1.0
    """
    if confidence == 0.5:
        return 1.0
    step, least, usual, most = layout.step_time_s, *overhead
    end, factor = (layout.step_time_high_s, most) if confidence > 0.5 else (layout.step_time_low_s, least)
    width = math.hypot(math.log(end / step), math.log(factor / usual)) / Z90
    return math.exp(NormalDist().inv_cdf(confidence) * width)


def _normal(deviations: float) -> float:
    return NormalDist().cdf(deviations)


def mean_power(layout: Layout, device: Device, terms: Terms) -> float | None:
    """Mean watts of one device; None where neither the terms nor the catalog say."""
    if terms.power_w is not None:
        return terms.power_w
    return None if device.tdp_w is None else device.tdp_w * layout.energy_share


def arithmetic(one: Plan, terms: Terms, power: float | None) -> tuple[Line, ...]:
    """Every line from tokens to cost, so that a reader can check it."""
    layout, train = one.layout, one.layout.train
    flops = float(model_flops_per_token(one.model, train.sample_length))
    peak = one.device.peak_flops_per_s(train.dtype)
    hours, charged = format_amount(one.wall_time_s / HOUR), format_amount(one.device_hours)
    ends = format_time_range(layout.step_time_low_s, layout.step_time_s, layout.step_time_high_s)
    rate = f"{layout.num_devices:,} x {format_rate(peak)} ({train.dtype}, dense)"
    least, usual, most = one.overhead.range
    parts = one.overhead.parts
    if one.overhead.practice is not None:
        parts["practice"] = one.overhead.practice[1]
    factors = " x ".join(f"{factor:.3f} {name}" for name, factor in parts.items()) or "given"
    extra = f"x {usual:.3g} ({least:.3g} to {most:.3g}): {factors}"
    steady = one.steps * layout.step_time_s
    rule = DEFAULT_RULE if one.model.recorded is None else "as counted; a token is one pass"
    lines = [
        ("parameters", one.model.name, format_count(count_parameters(one.model).total)),
        ("tokens", f"{format_ratio(one.tokens / count_parameters(one.model).total)} per parameter", f"{one.tokens:,}"),
        (
            "tokens per step",
            f"{train.global_batch:,} sequences x {train.sequence_length:,} tokens",
            f"{one.tokens_per_step:,}",
        ),
        ("steps", f"{one.tokens:,} / {one.tokens_per_step:,}, rounded up", f"{one.steps:,}"),
        ("FLOPs per token", f"forward and backward, {rule}", format_flops(flops)),
        ("FLOPs of the run", f"{format_flops(flops)} x {one.tokens:,}", f"{flops * one.tokens:.3g} FLOPs"),
        ("peak", rate, format_rate(peak * layout.num_devices)),
        ("step time", f"estimated: {ends}", format_time(layout.step_time_s)),
        (
            "MFU",
            f"{format_flops(flops)} x {one.tokens_per_step:,} / ({layout.step_time_s:.4g} s x peak)",
            format_share(layout.mfu),
        ),
        ("time in steps", f"{one.steps:,} x {layout.step_time_s:.4g} s", format_time(steady)),
        ("whole run", extra, format_time(one.wall_time_s)),
        ("device-hours", f"{hours} h x {format_number(layout.num_devices, 'device')}", charged),
    ]
    if one.energy_kwh is not None and power is not None:
        pue, energy = f" x PUE {terms.pue:g}" if terms.pue != 1 else "", f"{format_amount(one.energy_kwh)} kWh"
        lines.append(("energy", f"{charged} h x {power:,.0f} W{pue}", energy))
        if one.co2_kg is not None:
            lines.append(("CO2", f"{energy} x {terms.intensity:g} kg/kWh", f"{format_amount(one.co2_kg)} kg"))
    if one.cost is not None:
        lines.append(("cost", f"{charged} h x {terms.price:g}", format_amount(one.cost)))
    return tuple(Line(*line) for line in lines)
