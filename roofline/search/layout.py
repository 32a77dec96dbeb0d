"""A parallel layout with what it costs, and what a search over layouts returns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from ..answers.estimate import model_flops_of
from ..answers.times import estimate_times
from ..arrays import is_scalar, number
from ..config.recompute import recompute_words
from ..config.run import TrainConfig
from ..config.settle import resolve
from ..config.stack import load_stack
from ..config.words import schedule_run
from ..constants import constant
from ..counting.step import lay_out
from ..footprint.parts import Memory
from ..footprint.spreads import SURE
from ..model.spec import ModelConfig
from ..result import Result
from ..timing.interval import Z80, ratio_spread
from ..timing.schedule import Schedule
from ..timing.terms import TERMS
from .space import DEGREES, WORDS

if TYPE_CHECKING:
    from ..hardware import Device

WAITING_DRAW = constant("waiting_draw")


ARRAY_FROM = 5  # layouts
VARIED = (*DEGREES, "micro_batch", "num_devices")  # of layouts on one set of words
HARDLY = 0.05  # a layout with less machinery is taken if it is expected to be at most this much worse


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """One layout with what it costs.

    Attributes:
        num_devices: Devices in all.
        tp, pp, vp, dp, cp, ep: Degrees, as in `TrainConfig`; vp are stages per device.
        micro_batch: Sequences per pass.
        etp: Devices that share each expert, where there are any.
        pipeline_schedule: Schedule of the pipeline; None: there is one stage.
        accumulation: Micro batches per device group and step.
        sharding, sequence_parallel, recompute, dtype, attention, stack: Words, as in `TrainConfig`.
        step_time_s: Expected seconds of a step.
        step_time_low_s, step_time_high_s: 10th and 90th percentile of that.
        tokens_per_s: Tokens per second, all devices.
        mfu: Model FLOPs over the dense peak, 0 to 1.
        memory_bytes: Bytes that the fullest device cannot do without.
        fits: Whether they are likelier than not within its memory.
        fit_probability: How likely they are.
        device_seconds_per_step: Devices times seconds.
        energy_share: Mean power over the power limit, 0 to 1.
        train: The complete configuration.
        schedule: Seconds of the step by cause.
    """

    num_devices: int
    tp: int
    pp: int
    vp: int
    dp: int
    cp: int
    ep: int
    etp: int
    pipeline_schedule: str | None
    micro_batch: int
    accumulation: int
    sharding: str
    sequence_parallel: bool
    recompute: str
    dtype: str
    attention: str
    stack: str
    step_time_s: float
    step_time_low_s: float
    step_time_high_s: float
    tokens_per_s: float
    mfu: float
    memory_bytes: float
    fits: bool
    fit_probability: float
    device_seconds_per_step: float
    energy_share: float
    train: TrainConfig
    schedule: Schedule

    def __repr__(self) -> str:
        """The layout, its software and its time in a few words."""
        return f"<Layout of {layout_line(self)[1:]}"


class SearchResult(Result, msgspec.Struct, frozen=True, kw_only=True):
    """What a search found.

    Attributes:
        model: The model.
        device: The device.
        evaluated: Layouts decided: those that may be among the best are priced, the rest are ruled out by their memory
            or by what their step takes at least.
        fitting: Layouts that surely fit.
        seconds: Time of the search.
        layouts: The best by the objective of those that surely fit, best first; where none surely does, the one
            that needs least if it is likelier than not to fit.
        simplest: The layout with the least machinery of all that cannot be told from the best and are expected to be
            at most `HARDLY` worse.
        by_software: The best on each software profile, best first.
        front: No other layout is both faster and smaller; by rising memory.
        smallest: The layout that needs least memory of those considered, where none fits.
        smallest_memory: What it holds.
        interrupted: Whether the search was stopped before its end.
        objective: What `layouts` is sorted by.
        global_batch: Sequences per step of every layout.
        notes: Assumptions.
        price: Money per device-hour; None: costs are not known.
        remedy: Where none fits: what is short, and what would make it fit, as sentences.
    """

    VIEW: ClassVar[str] = "layouts"

    model: ModelConfig
    device: Any
    evaluated: int
    fitting: int
    seconds: float
    layouts: list[Layout]
    simplest: Layout | None
    by_software: list[Layout]
    front: list[Layout]
    smallest: Layout | None
    smallest_memory: Memory | None
    interrupted: bool
    objective: str
    global_batch: int
    notes: tuple[str, ...] = ()
    price: float | None = None
    remedy: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The best and the simplest layout."""
        if not self.layouts:
            return f"<SearchResult: {self.evaluated:,} layouts, none fits>"
        simplest = "" if self.simplest is None else f"; simplest {layout_line(self.simplest)}"
        return (
            f"<SearchResult: {self.evaluated:,} layouts, {self.fitting:,} fit: "
            f"best {layout_line(self.layouts[0])}{simplest}>"
        )

    @property
    def near_ties(self) -> list[Layout]:
        """The best layouts that cannot be told from the best one: even that they are slower is not sure."""
        return [layout for layout in self.layouts if self.ties(layout)]

    def ties(self, layout: Layout) -> bool:
        """Whether a layout cannot be told from the best one (see `worse_by`)."""
        return worse_by(self.layouts[0], layout, self.objective, self.device)[0] <= 0


def unsure(layout: Layout) -> str:
    """How likely a layout fits, where it does not surely; else empty."""
    return "" if layout.fit_probability >= SURE else f"{100 * layout.fit_probability:.0f} % sure to fit"


def layout_dict(layout: Layout) -> dict[str, Any]:
    """A layout's figures, without the configuration and the terms of its time."""
    return {name: getattr(layout, name) for name in Layout.__struct_fields__ if name not in {"train", "schedule"}}


def layout_line(layout: Layout) -> str:
    """A layout, its software and its time in a few words."""
    from ..config.words import layout_words
    from ..units import format_bytes, format_share, format_time

    recompute = "" if layout.recompute == "none" else f", {recompute_words(layout.train)}"
    figures = f"{format_time(layout.step_time_s)}, MFU {format_share(layout.mfu)}"
    return (
        f"<{layout_words(layout.train)}, micro batch {layout.micro_batch}{recompute}, {layout.stack}: "
        f"{figures}, {format_bytes(layout.memory_bytes)}>"
    )


def value_of(layout: Layout, objective: str) -> float:
    """What `objective` ranks a layout by: smaller is better."""
    match objective:
        case "memory":
            return layout.memory_bytes
        case "cost":
            return layout.device_seconds_per_step
        case "energy":
            return layout.device_seconds_per_step * layout.energy_share
    return layout.step_time_s


def worse_by(best: Layout, other: Layout, objective: str, device: Device) -> tuple[float, float, float]:
    """By what fraction `other` is worse than `best`: 10th percentile, expected, 90th percentile.

    Layouts of one software share nearly all their error, so their ratio is surer than either; two software profiles
    err by themselves. Memory is certain enough.
    """
    ratio = value_of(other, objective) / value_of(best, objective)
    if objective == "memory":
        return ratio - 1, ratio - 1, ratio - 1
    deviation = float(ratio_spread(best.schedule, other.schedule, device))
    if other.stack != best.stack:
        own = (load_stack(one.stack).spread for one in (best, other))
        deviation = math.hypot(deviation, *own)
    width = math.exp(Z80 * deviation)
    return ratio / width - 1, ratio - 1, ratio * width - 1


def mean_draw(times: Schedule[Any]) -> Any:
    """Mean power of a device over its power limit: the limit while kernels run, half of it while waiting."""
    waiting = sum(getattr(times, name) for name, term in TERMS.items() if term.waits) / times.total
    return 1 - waiting * (1 - WAITING_DRAW)


def layouts_of(model: ModelConfig, trains: Sequence[TrainConfig], device: Device) -> list[Layout]:
    """Layouts with their figures on `device`: those of `trains`, which differ in degrees and micro batch alone.

    Several are priced as one configuration of arrays, which takes as long as about four of them.
    """
    complete = [resolve(train, model) for train in trains]
    if len(trains) < ARRAY_FROM:
        return [layout for train in complete for layout in _layouts(model, [train], train, device)]
    figures = {name: _array([getattr(train, name) for train in trains]) for name in VARIED}
    together = resolve(msgspec.structs.replace(trains[0], **figures), model)
    return _layouts(model, complete, together, device)


def _array(values: list[int]) -> Any:
    """Numbers as formulas take them: an array, or the number where it is one."""
    return number(values) if len(set(values)) > 1 else values[0]


def _layouts(model: ModelConfig, trains: Sequence[TrainConfig], together: TrainConfig, device: Device) -> list[Layout]:
    """The layouts of complete `trains`, of which `together`, complete as well, is all in one."""
    step = lay_out(model, together)
    times, flops = estimate_times(step, device), model_flops_of(step)
    found = []
    for place, train in enumerate(trains):

        def of(figure: Any, place: int = place) -> Any:
            return figure if is_scalar(figure) else figure[place].item()

        seconds, devices = float(of(times.expected)), int(train.num_devices)
        peak = device.peak_flops_per_s(train.dtype) * devices
        terms = Schedule(**{name: of(figure) for name, figure in msgspec.structs.asdict(times.schedule).items()})
        found.append(
            Layout(
                **{name: getattr(train, name) for name in (*VARIED, *WORDS, "stack")},
                etp=int(train.expert_tensor_parallel),
                pipeline_schedule=schedule_run(train),
                accumulation=int(train.accumulation),
                step_time_s=seconds,
                step_time_low_s=float(of(times.low)),
                step_time_high_s=float(of(times.high)),
                tokens_per_s=float(train.tokens_per_step) / seconds,
                mfu=float(of(flops) / (seconds * peak)),
                memory_bytes=float(of(times.memory.needed_bytes)),
                fits=bool(of(times.memory.fits)),
                fit_probability=float(of(times.memory.fit_probability)),
                device_seconds_per_step=seconds * devices,
                energy_share=mean_draw(terms),
                train=train,
                schedule=terms,
            )
        )
    return found
