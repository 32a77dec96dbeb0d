"""Turns estimates, devices and predictions into what pictures show (see `data`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..answers.estimate import Estimate
from ..answers.inference import Inference
from ..arrays import is_scalar, some
from ..config.recompute import recompute_words
from ..config.run import TrainConfig
from ..config.words import layout_words
from ..errors import RooflineError
from ..hardware.device import SAME_ENGINE
from ..model.spec import ModelConfig
from ..timing.terms import LOSSES
from ..units import format_time, format_time_range
from ..view.words import model_words
from .data import (
    Ceiling,
    Measurement,
    Panel,
    Point,
    Roof,
    RooflineData,
    Slope,
    Term,
    ValidationData,
    Waterfall,
    WaterfallData,
)

if TYPE_CHECKING:
    from ..hardware import Device
    from ..validation.runs import Prediction

# what a bare device is shown in: the first it has
TRAINING_DTYPES = ("bf16", "fp16", "tf32", "fp32", "fp8", "fp64")
LEAST_SHARE = 0.001  # of the time: what takes less would only stretch the axes


# --- roofline ---------------------------------------------------------------------------------------------


def roofline_data(items: Iterable[Estimate | Inference | Device], dtype: str | None = None) -> RooflineData:
    """The rooflines of devices, or of devices with the ops of an estimate on them.

    Args:
        items: Devices, or scalar estimates of training or of a pass of inference.
        dtype: The dtype a bare device is shown in; by default the first of bf16, fp16, tf32, fp32 it has.

    Raises:
        RooflineError: Nothing to draw, or an estimate over arrays.
        HardwareError: A device has no such engine.
    """
    items = list(items)
    if not items:
        raise RooflineError("nothing to draw: name at least one device")
    title, own = shared_words([_words(i) if isinstance(i, Estimate | Inference) else "" for i in items])
    panels = tuple(
        _estimate_panel(i, words) if isinstance(i, Estimate | Inference) else Panel(roof=roof_of(i, dtype))
        for i, words in zip(items, own, strict=True)
    )
    return RooflineData(title=title, panels=_alike(panels))


def _alike(panels: tuple[Panel, ...]) -> tuple[Panel, ...]:
    """Caches are drawn for every device or for none: those whose bandwidth is known for all."""
    levels = [{slope.level for slope in panel.roof.slopes[1:]} for panel in panels]
    shared = set.intersection(*levels)
    return tuple(
        msgspec.structs.replace(
            panel,
            roof=msgspec.structs.replace(
                panel.roof,
                slopes=(panel.roof.slopes[0], *(slope for slope in panel.roof.slopes[1:] if slope.level in shared)),
            ),
        )
        for panel in panels
    )


ADAPTERS = {"lora": "LoRA", "qlora": "QLoRA"}
RARELY = frozenset({"fp64", "int8", "fp4"})  # engines that training seldom uses


def roof_of(device: Device, dtype: str | None = None, others: Iterable[str] = (), *, by_use: bool = False) -> Roof:
    """The roofline of `device`; training runs in `dtype`, and some of its ops in `others`.

    With `by_use`, engines that training seldom uses have a ceiling only where it does.
    """
    if dtype is None:
        dtype = next((name for name in TRAINING_DTYPES if name in device.peaks), "bf16")
    used = {SAME_ENGINE.get(name, name) for name in (dtype, *others)}
    rates = {device.peak_flops_per_s(name) for name in used}
    bandwidth = device.memory_bandwidth_bytes_per_s
    names: dict[float, list[str]] = {}
    for name, peak in device.peaks.items():
        if not by_use or name not in RARELY or name in used:
            names.setdefault(peak, []).append(name)
    slopes = [Slope(level=device.memory.type, bytes_per_s=bandwidth)]
    known = ((cache.level, cache.bandwidth_bytes_per_s) for cache in device.caches)
    slopes += [Slope(level=level, bytes_per_s=rate) for level, rate in known if rate is not None]
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


def points_of(estimate: Estimate | Inference) -> tuple[Point, ...]:
    """The ops of an estimate as points, the costliest first.

    The parts of one op's backward pass (data and weight gradients) are one point.
    Ops without FLOPs or bytes have no place on the plane.
    """
    whole = float(estimate.time_s if isinstance(estimate, Inference) else estimate.step_time_s)
    groups: dict[tuple[str, str, str, str], list[Any]] = {}
    for op in estimate.ops:
        if op.flops > 0 and op.bytes > 0 and op.expected_s > 0:
            groups.setdefault((op.of, op.kind, op.phase, op.dtype), []).append(op)
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
                share=seconds / whole,
            )
        )
    return tuple(sorted(points, key=lambda point: -point.seconds))


def _estimate_panel(estimate: Estimate | Inference, own: str) -> Panel:
    points = tuple(point for point in points_of(estimate) if point.share >= LEAST_SHARE)
    dtypes = {point.dtype for point in points if point.kind in {"matmul", "attention"}}
    return Panel(
        roof=roof_of(
            estimate.device,
            estimate.dtype if isinstance(estimate, Inference) else estimate.train.dtype,
            dtypes,
            by_use=True,
        ),
        points=points,
        rest=max(1.0 - sum(point.share for point in points), 0.0),
        caption=caption(estimate, own),
    )


# --- waterfall --------------------------------------------------------------------------------------------


def waterfall_data(estimates: Sequence[Estimate]) -> WaterfallData:
    """The way from peak to MFU of one or several estimates."""
    panels = []
    title, own = shared_words([_words(each) for each in estimates])
    for estimate, words in zip(estimates, own, strict=True):
        scale = estimate.mfu * estimate.step_time_s
        panels.append(
            Waterfall(
                device=estimate.device.id,
                name=estimate.device.name,
                caption=caption(estimate, words),
                terms=tuple(
                    Term(
                        term=step.term,
                        cause=LOSSES[step.term].bound,
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
    return WaterfallData(title=title, panels=tuple(panels))


# --- validation -------------------------------------------------------------------------------------------


def validation_data(predictions: Iterable[Prediction], by: str = "device") -> ValidationData:
    """Predicted beside measured throughput, by device or source. Skipped rows are left out."""
    from ..validation.rows import source_name
    from ..validation.runs import predicted, source_of

    if by not in {"device", "source"}:
        raise RooflineError(f"unknown grouping {by!r} (allowed: device, source)")
    runs = []
    for p in predicted(predictions):
        figures = {name: getattr(p, name) for name in ("measured", "predicted", "low", "high")}
        runs.append(Measurement(id=p.id, device=p.row["device"], source=source_name(source_of(p)), **figures))
    if not runs:
        raise RooflineError("nothing to draw: no row of the table could be predicted")
    return ValidationData(title="Published training runs", by=by, runs=tuple(runs))


# --- titles -----------------------------------------------------------------------------------------------


def caption(estimate: Estimate | Inference, own: str = "") -> str:
    """The time with its interval, MFU or tokens per second, and what of the workload is this estimate's own."""
    if isinstance(estimate, Inference):
        times: tuple[Any, ...] = (estimate.time_low_s, estimate.time_s, estimate.time_high_s)
        what = "pass"
        rate = f"{estimate.tokens_per_s:,.0f} tokens/s"
    else:
        what = "step"
        times = (estimate.step_time_low_s, estimate.step_time_s, estimate.step_time_high_s)
        rate = f"MFU {100 * estimate.mfu:.1f} %"
    low, high = format_time_range(*map(float, times)).split(" to ")
    middle = format_time(float(times[1]))
    if len({text.split()[1] for text in (low, middle, high)}) == 1:
        low, high = low.split()[0], high.split()[0]
    fit = estimate.memory.verdict
    fits = {"fits": "", "borderline": ", borderline in memory"}.get(fit, f", {fit} in memory")
    words = f", {own}" if own else ""
    return f"{what} {middle} ({low} to {high}), {rate}{fits}{words}"


def _words(estimate: Estimate | Inference) -> str:
    """The workload of one configuration."""
    if isinstance(estimate, Inference):
        tokens = f"prompts of {estimate.context:,}" if estimate.phase == "prefill" else f"{estimate.context:,} cached"
        words = [
            model_words(estimate.model),
            estimate.dtype,
            f"{estimate.phase} of {estimate.batch:,} x {tokens} tokens",
        ]
        return ", ".join([*words, *([f"tp {estimate.tp}"] if estimate.tp > 1 else [])])
    if not is_scalar(estimate.step_time_s):
        raise RooflineError("this picture shows one configuration, and the estimate holds an array of them")
    return workload(estimate.model, estimate.train)


def workload(model: ModelConfig, train: TrainConfig, *, without: str = "") -> str:
    """What is trained and how, in a line; `without` what varies: micro_batch or seq_len."""
    size = []
    if without != "micro_batch":
        size.append(f"micro batch {train.micro_batch:,}")
    if without != "seq_len":
        size.append(f"{train.sequence_length:,} tokens")
    words = [model_words(model), train.dtype, " of ".join(size)]
    if without != "micro_batch" and some(train.accumulation != 1):
        words.append(f"global batch {train.global_batch:,}")
    if train.num_devices != 1:
        words.append(layout_words(train))
    if train.recompute != "none":
        words.append(recompute_words(train))
    if train.train != "full":
        words.append(f"{ADAPTERS.get(train.train, train.train)} of rank {train.lora_rank}")
    words += [train.optimizer, f"{train.attention} attention", f"{train.stack} stack"]
    return ", ".join(words)


def shared_words(workloads: Sequence[str]) -> tuple[str, list[str]]:
    """What all workloads share, for the top of the picture, and what each has of its own.

    >>> shared_words(["gpt2, bf16, compiled stack", "gpt2, bf16, jax stack"])
    ('gpt2, bf16', ['compiled stack', 'jax stack'])
    """
    parts = [workload.split(", ") for workload in workloads]
    shared = [part for part in parts[0] if all(part in other for other in parts)]
    return ", ".join(shared), [", ".join(part for part in own if part not in shared) for own in parts]
