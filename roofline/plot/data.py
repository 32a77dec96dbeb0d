"""What each picture shows, as plain values: ceilings, points, bars and bands, without a drawing library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

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
    """Ops of one name, kind and phase on one device: how fast they run, and how fast they could."""

    device: str
    name: str
    kind: str
    phase: str
    dtype: str
    intensity: float  # FLOP per byte of device memory
    flops_per_s: float  # achieved: FLOPs over the expected time, in a profile over the measured one
    ideal_flops_per_s: float
    seconds: float  # per step
    share: float  # of the step
    expected_flops_per_s: float | None = None  # of a measured op: what we expect


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One device with the ops of a model on it (none: the device alone)."""

    roof: Roof
    points: tuple[Point, ...] = ()
    rest: float = 0.0  # share of the step in what has no FLOPs: look-ups, casts, communication, waiting
    caption: str = ""


class RooflineData(msgspec.Struct, frozen=True, kw_only=True):
    """A roofline per device; `measured` where the points are, not expected."""

    title: str
    panels: tuple[Panel, ...]
    measured: bool = False

    def rows(self) -> list[Row]:
        """Ceilings, bandwidths and ops, one a row."""
        columns = ("device", "series", *Point.__struct_fields__[1:], "ridge_flop_per_byte", "bytes_per_s")
        rows: list[Row] = []
        for panel in self.panels:
            roof = panel.roof
            start = {"device": roof.device, "series": "ceiling"}
            for c in roof.ceilings:
                figures = {"flops_per_s": c.flops_per_s, "ridge_flop_per_byte": c.ridge}
                rows += [{**start, "dtype": dtype, **figures} for dtype in c.dtypes]
            start = {"device": roof.device, "series": "bandwidth"}
            rows += [{**start, "name": slope.level, "bytes_per_s": slope.bytes_per_s} for slope in roof.slopes]
            rows += [{"series": "op", **msgspec.structs.asdict(point)} for point in panel.points]
        return [{column: row.get(column) for column in columns} for row in rows]


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
    words: str = ""  # what is asked of this device alone, where bars are devices
    parts: Mapping[str, float]
    total_bytes: float
    capacity_bytes: float
    fits: bool  # likelier than not
    verdict: str  # fits, borderline or does not fit


class MemoryData(msgspec.Struct, frozen=True, kw_only=True):
    """Memory against capacity, for micro batches or for devices."""

    title: str
    axis: str  # what the labels are
    bars: tuple[MemoryBar, ...]
    part_words: Mapping[str, str]
    largest: int | None = None  # micro batch likelier than not to fit, where the bars are micro batches

    def rows(self) -> list[Row]:
        """One bar a row."""
        return [
            {
                self.axis.replace(" ", "_"): bar.label,
                **bar.parts,
                "total_bytes": bar.total_bytes,
                "capacity_bytes": bar.capacity_bytes,
                "fits": bar.fits,
                "verdict": bar.verdict,
            }
            for bar in self.bars
        ]


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Step time, MFU and memory of one device over micro batches or sequence lengths."""

    device: str
    name: str
    values: tuple[int, ...]  # of what varies
    step_time_s: tuple[float, ...]
    step_time_low_s: tuple[float, ...]
    step_time_high_s: tuple[float, ...]
    mfu: tuple[float, ...]
    mfu_low: tuple[float, ...]
    mfu_high: tuple[float, ...]
    memory_bytes: tuple[float, ...]
    capacity_bytes: float
    largest: int  # value that is likelier than not to fit; 0: none is
    verdicts: tuple[str, ...]  # fits, borderline or does not fit

    @property
    def fitting(self) -> int:
        """How many of the values are likelier than not to fit: they rise, and memory with them."""
        return sum(value <= self.largest for value in self.values)

    @property
    def sure(self) -> int:
        """How many of the values surely fit."""
        return self.verdicts.count("fits")

    @property
    def unsure(self) -> bool:
        """Whether some are likelier than not to fit, and not sure to."""
        return self.sure < self.fitting


class CurveData(msgspec.Struct, frozen=True, kw_only=True):
    """Step time, MFU and memory against `over`, a curve per device."""

    title: str
    over: str  # micro_batch or seq_len
    mfu_rule: str
    curves: tuple[Curve, ...]

    def rows(self) -> list[Row]:
        """One value of one device a row."""
        names = (
            "values",
            "step_time_s",
            "step_time_low_s",
            "step_time_high_s",
            "mfu",
            "mfu_low",
            "mfu_high",
            "memory_bytes",
            "verdicts",
        )
        columns = (self.over, *names[1:-1])
        return [
            {
                "device": curve.device,
                **dict(zip(columns, values[:-1], strict=True)),
                "capacity_bytes": curve.capacity_bytes,
                "fits": values[0] <= curve.largest,
                "verdict": values[-1],
            }
            for curve in self.curves
            for values in zip(*(getattr(curve, name) for name in names), strict=True)
        ]


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


PlotData = RooflineData | WaterfallData | MemoryData | CurveData | ValidationData
