"""What each picture shows, as plain values: ceilings, points, bars and bands, without a drawing library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import RooflineError
from .estimate import BOUND_OF_TERM, Estimate
from .model import ModelConfig
from .report import layout_words, model_words
from .training import TrainConfig

if TYPE_CHECKING:
    from hardware import Device

    from .validate import Prediction

TRAINING_DTYPES = ("bf16", "fp16", "tf32", "fp32", "fp8", "fp64")  # what a bare device is shown in, first it has
# endings that name a part of the backward pass of one op
_BACKWARD_PARTS = (".backward", ".dgrad", ".wgrad", ".dgrad_a", ".dgrad_b")
Row = dict[str, Any]


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """A dense peak, with every dtype that shares it; `used` where training runs in one of them."""

    dtypes: tuple[str, ...]
    flops_per_s: float
    ridge: float  # FLOP per byte of device memory
    used: bool


class Slope(msgspec.Struct, frozen=True, kw_only=True):
    """The bandwidth of device memory or of a cache level."""

    level: str
    bytes_per_s: float


class Roof(msgspec.Struct, frozen=True, kw_only=True):
    """The roofline of one device: dense peaks (highest first) over bandwidths (device memory first)."""

    device: str
    name: str
    dtype: str  # training's; an item of the ceilings that are used
    ceilings: tuple[Ceiling, ...]
    slopes: tuple[Slope, ...]

    @property
    def main(self) -> Ceiling:
        """The ceiling of the training dtype: the highest that is used."""
        return next((ceiling for ceiling in self.ceilings if ceiling.used), self.ceilings[0])


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """Ops of one name, kind and phase on one device: how fast they run, and how fast the roofline lets them."""

    device: str
    name: str
    kind: str
    phase: str
    dtype: str
    intensity: float  # FLOP per byte of device memory
    flops_per_s: float  # achieved: FLOPs over the expected time
    ideal_flops_per_s: float
    seconds: float  # per step
    share: float  # of the step


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One device with the ops of a model on it (none: the device alone)."""

    roof: Roof
    points: tuple[Point, ...] = ()
    rest: float = 0.0  # share of the step without FLOPs (look-ups, casts, communication, waiting): not on the plane
    caption: str = ""


class RooflineData(msgspec.Struct, frozen=True, kw_only=True):
    """A roofline per device."""

    title: str
    panels: tuple[Panel, ...]

    def rows(self) -> list[Row]:
        """Ceilings, bandwidths and ops, one a row."""
        rows: list[Row] = []
        for panel in self.panels:
            roof = panel.roof
            for c in roof.ceilings:
                rows += [{"device": roof.device, "series": "ceiling", "dtype": dtype, "flops_per_s": c.flops_per_s,
                          "ridge_flop_per_byte": c.ridge} for dtype in c.dtypes]  # fmt: skip
            rows += [
                {"device": roof.device, "series": "bandwidth", "name": s.level, "bytes_per_s": s.bytes_per_s}
                for s in roof.slopes
            ]
            rows += [{"series": "op", **msgspec.structs.asdict(point)} for point in panel.points]
        return rows


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """One step from peak to MFU: the share of the peak that `term` takes."""

    term: str
    cause: str  # compute, memory, communication or latency
    seconds: float
    lost: float
    remaining: float


class Waterfall(msgspec.Struct, frozen=True, kw_only=True):
    """From 100 % of peak to the MFU on one device: 1 - sum(lost) = mfu."""

    device: str
    name: str
    caption: str
    terms: tuple[Term, ...]
    mfu: float
    mfu_low: float
    mfu_high: float
    mfu_rule: str


class WaterfallData(msgspec.Struct, frozen=True, kw_only=True):
    """A waterfall per device."""

    title: str
    panels: tuple[Waterfall, ...]

    def rows(self) -> list[Row]:
        """One term of one device a row."""
        return [
            {"device": panel.device, **msgspec.structs.asdict(term)} for panel in self.panels for term in panel.terms
        ]


class MemoryBar(msgspec.Struct, frozen=True, kw_only=True):
    """Peak memory of one configuration by what holds it, in bytes."""

    label: str
    parts: Mapping[str, float]
    total_bytes: float
    capacity_bytes: float
    fits: bool


class MemoryData(msgspec.Struct, frozen=True, kw_only=True):
    """Memory against capacity, for micro batches or for devices."""

    title: str
    axis: str  # what the labels are
    bars: tuple[MemoryBar, ...]
    largest: int | None = None  # micro batch that fits, where the bars are micro batches

    def rows(self) -> list[Row]:
        """One bar a row."""
        return [
            {self.axis.replace(" ", "_"): bar.label, **bar.parts, "total_bytes": bar.total_bytes,
             "capacity_bytes": bar.capacity_bytes, "fits": bar.fits}
            for bar in self.bars
        ]  # fmt: skip


class BatchCurve(msgspec.Struct, frozen=True, kw_only=True):
    """MFU and memory of one device over micro batches."""

    device: str
    name: str
    micro_batch: tuple[int, ...]
    mfu: tuple[float, ...]
    mfu_low: tuple[float, ...]
    mfu_high: tuple[float, ...]
    memory_bytes: tuple[float, ...]
    capacity_bytes: float
    largest: int  # micro batch that fits; 0: none does


class BatchData(msgspec.Struct, frozen=True, kw_only=True):
    """MFU and memory against micro batch, a curve per device."""

    title: str
    mfu_rule: str
    curves: tuple[BatchCurve, ...]

    def rows(self) -> list[Row]:
        """One micro batch of one device a row."""
        names = ("micro_batch", "mfu", "mfu_low", "mfu_high", "memory_bytes")
        return [
            {"device": curve.device, **dict(zip(names, values, strict=True)),
             "capacity_bytes": curve.capacity_bytes, "fits": values[0] <= curve.largest}
            for curve in self.curves
            for values in zip(*(getattr(curve, name) for name in names), strict=True)
        ]  # fmt: skip


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One published run: tokens per second and device, measured and predicted with its interval."""

    id: str
    device: str
    source: str
    measured: float
    predicted: float
    low: float
    high: float

    @property
    def ratio(self) -> float:
        """Predicted over measured throughput."""
        return self.predicted / self.measured

    @property
    def inside(self) -> bool:
        """Whether the interval holds the measurement."""
        return self.low <= self.measured <= self.high


class ValidationData(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions beside measurements, coloured by device or by source."""

    title: str
    by: str
    runs: tuple[Measurement, ...]

    def rows(self) -> list[Row]:
        """One run a row."""
        return [{**msgspec.structs.asdict(run), "inside": run.inside} for run in self.runs]


PlotData = RooflineData | WaterfallData | MemoryData | BatchData | ValidationData


# --- roofline -------------------------------------------------------------------------------------------------------


def roofline_data(items: Iterable[Estimate | Device], dtype: str | None = None) -> RooflineData:
    """The rooflines of devices, or of devices with the ops of an estimate on them.

    Args:
        items: Devices, or scalar estimates.
        dtype: The dtype a bare device is shown in; by default the first of bf16, fp16, tf32, fp32 it has.

    Raises:
        RooflineError: Nothing to draw, or an estimate over arrays.
        HardwareError: A device has no such engine.
    """
    items = list(items)
    panels = tuple(_estimate_panel(i) if isinstance(i, Estimate) else Panel(roof=roof_of(i, dtype)) for i in items)
    if not panels:
        raise RooflineError("nothing to draw: name at least one device")
    return RooflineData(title=_title([item for item in items if isinstance(item, Estimate)]), panels=panels)


def roof_of(device: Device, dtype: str | None = None, others: Iterable[str] = ()) -> Roof:
    """The roofline of `device`; training runs in `dtype`, and some of its ops in `others`."""
    if dtype is None:
        dtype = next((name for name in TRAINING_DTYPES if name in device.peaks), "bf16")
    rates = {device.peak_flops_per_s(name) for name in (dtype, *others)}
    bandwidth = device.memory_bandwidth_bytes_per_s
    names: dict[float, list[str]] = {}
    for name, peak in device.peaks.items():
        names.setdefault(peak, []).append(name)
    slopes = [Slope(level=device.memory.type, bytes_per_s=bandwidth)]
    for cache in device.caches:
        if cache.bandwidth_bytes_per_s is not None:
            slopes.append(Slope(level=cache.level, bytes_per_s=cache.bandwidth_bytes_per_s))
    return Roof(
        device=device.id,
        name=device.name,
        dtype=dtype,
        ceilings=tuple(
            Ceiling(dtypes=tuple(names[peak]), flops_per_s=peak, ridge=peak / bandwidth, used=peak in rates)
            for peak in sorted(names, reverse=True)
        ),
        slopes=tuple(slopes),
    )


def points_of(estimate: Estimate) -> tuple[Point, ...]:
    """The ops of an estimate as points, the costliest first.

    The parts of one op's backward pass (data and weight gradients) are one point; ops without FLOPs have no place
    on the plane and are left out.
    """
    _scalar(estimate)
    groups: dict[tuple[str, str, str, str], list[Any]] = {}
    for op in estimate.ops:
        if op.flops > 0 and op.expected_s > 0:
            groups.setdefault((_base_name(op.name), op.kind, op.phase, op.dtype), []).append(op)
    points = []
    for (name, kind, phase, dtype), ops in groups.items():
        flops = float(sum(op.flops * op.runs for op in ops))
        seconds = float(sum(op.expected_s for op in ops))
        points.append(
            Point(
                device=estimate.device.id,
                name=name,
                kind=kind,
                phase=phase,
                dtype=dtype,
                intensity=flops / float(sum(op.bytes * op.runs for op in ops)),
                flops_per_s=flops / seconds,
                ideal_flops_per_s=flops / float(sum(op.ideal_s for op in ops)),
                seconds=seconds,
                share=seconds / estimate.step_time_s,
            )
        )
    return tuple(sorted(points, key=lambda point: -point.seconds))


def _estimate_panel(estimate: Estimate) -> Panel:
    points = points_of(estimate)
    dtypes = {point.dtype for point in points if point.kind in {"matmul", "attention"}}
    return Panel(
        roof=roof_of(estimate.device, estimate.train.dtype, dtypes),
        points=points,
        rest=max(1.0 - sum(point.share for point in points), 0.0),
        caption=caption(estimate),
    )


def _base_name(name: str) -> str:
    """The op that a part of the backward pass belongs to."""
    for ending in _BACKWARD_PARTS:
        name = name.removesuffix(ending)
    return name


# --- waterfall ------------------------------------------------------------------------------------------------------


def waterfall_data(estimates: Sequence[Estimate]) -> WaterfallData:
    """The way from peak to MFU of one or several estimates."""
    panels = []
    for estimate in estimates:
        _scalar(estimate)
        scale = estimate.mfu * estimate.step_time_s
        panels.append(
            Waterfall(
                device=estimate.device.id,
                name=estimate.device.name,
                caption=caption(estimate),
                terms=tuple(
                    Term(
                        term=step.term,
                        cause=BOUND_OF_TERM.get(step.term, "compute"),
                        seconds=float(step.seconds),
                        lost=float(step.lost),
                        remaining=float(step.remaining),
                    )
                    for step in estimate.waterfall
                ),
                mfu=float(estimate.mfu),
                mfu_low=float(scale / estimate.step_time_high_s),
                mfu_high=float(scale / estimate.step_time_low_s),
                mfu_rule=estimate.mfu_rule,
            )
        )
    return WaterfallData(title=_title(estimates), panels=tuple(panels))


# --- validation -----------------------------------------------------------------------------------------------------


def validation_data(predictions: Iterable[Prediction], by: str = "device") -> ValidationData:
    """Predicted beside measured throughput, by `by`: device or source. Rows that were skipped are left out."""
    from .validate import predicted, source_of

    if by not in {"device", "source"}:
        raise RooflineError(f"unknown grouping {by!r} (allowed: device, source)")
    runs = []
    for p in predicted(predictions):
        assert p.measured and p.predicted and p.low and p.high
        runs.append(
            Measurement(id=p.id, device=p.row["device"], source=source_of(p), measured=p.measured,
                        predicted=p.predicted, low=p.low, high=p.high)
        )  # fmt: skip
    if not runs:
        raise RooflineError("nothing to draw: no row of the table could be predicted")
    return ValidationData(title="Published training runs", by=by, runs=tuple(runs))


# --- titles ---------------------------------------------------------------------------------------------------------


def caption(estimate: Estimate) -> str:
    """Step time with its interval, and MFU."""
    scale, unit = (1e3, "ms") if estimate.step_time_s < 2 else (1.0, "s")
    low, middle, high = (
        f"{scale * t:.{0 if scale * t >= 100 else 3}{'f' if scale * t >= 100 else 'g'}}"
        for t in (estimate.step_time_low_s, estimate.step_time_s, estimate.step_time_high_s)
    )
    fits = "" if estimate.fits else ", does not fit in memory"
    return f"step {middle} {unit} ({low} to {high}), MFU {100 * estimate.mfu:.1f} %{fits}"


def workload(model: ModelConfig, train: TrainConfig, *, batch: bool = True) -> str:
    """What is trained and how, in a line; without the batch where that is what varies."""
    words = [model_words(model), train.dtype]
    words.append(f"{f'micro batch {train.micro_batch:,} of ' if batch else ''}{train.sequence_length:,} tokens")
    if batch and train.accumulation != 1:
        words.append(f"global batch {train.global_batch:,}")
    if train.num_devices != 1:
        words.append(layout_words(train))
    if train.recompute != "none":
        words.append(f"{train.recompute} recompute")
    words += [f"{train.attention} attention", f"{train.stack} stack"]
    return ", ".join(words)


def _title(estimates: Sequence[Estimate]) -> str:
    """The workload, where all estimates share one: on top of the picture."""
    titles = {workload(each.model, each.train) for each in estimates}
    return titles.pop() if len(titles) == 1 else ""


def _scalar(estimate: Estimate) -> None:
    from .arrays import is_scalar

    if not is_scalar(estimate.step_time_s):
        raise RooflineError("this picture shows one configuration, and the estimate holds an array of them")
