"""A measured run against what is expected: MFU by every rule, the usual mistakes, and ranked suspects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import RooflineError
from .estimate import Estimate, estimate_step
from .mfu import mfu_by_rule
from .model import ModelConfig
from .presets import load_model
from .step import build_step
from .training import TrainConfig, resolve, train_config
from .units import format_rate, format_share, format_time

if TYPE_CHECKING:
    from hardware import Device

AGREE = 0.05  # two figures of one run that differ by less are the same
EXPLAINS = 0.10  # a suspect that explains less of the gap is not one
THROTTLED = 0.7  # clocks of a device at its power or thermal limit, over those behind its peak
SLOW_NETWORK = 4.0
LARGEST_MICRO_BATCH = 64


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that may be otherwise than stated, and what the run would take then."""

    what: str
    step_time_s: float
    mfu: float
    explains: float  # share of the gap between expected and measured time; above 1: more than the gap


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of the input that cannot be right, or a usual mistake that would explain it."""

    what: str
    tokens_per_s: float | None = None  # what the run would then really do
    mfu: float | None = None


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Where a measured run stands; attributes are the JSON keys of ``roofline mfu``.

    Attributes:
        mfu: By the default rule.
        hfu: FLOPs executed over the peak, recompute included.
        mfu_causal: By the causal rule.
        mfu_6n: By 6N, all parameters, no attention.
        mfu_by_rule: All rules.
        step_time_s: Measured, or from tokens per second.
        tokens_per_s: Of all devices.
        expected_mfu: What the estimate says; `expected_mfu_low` and `expected_mfu_high` hold 80 % of runs.
        verdict: below, within or above the expected band.
        findings: Mistakes in the input, likeliest first.
        suspects: What would explain a run below the band, best explanation first.
        improvements: Changes that would make the expected step faster and still fit.
        estimate: The estimate itself.
        notes: Assumptions.
    """

    mfu: float
    hfu: float
    mfu_causal: float
    mfu_6n: float
    mfu_by_rule: dict[str, float]
    step_time_s: float
    tokens_per_s: float
    expected_mfu: float
    expected_mfu_low: float
    expected_mfu_high: float
    verdict: str
    findings: tuple[Finding, ...]
    suspects: tuple[Suspect, ...]
    improvements: tuple[Suspect, ...]
    estimate: Estimate
    notes: tuple[str, ...]


class Case(msgspec.Struct, frozen=True):
    """A model, a device and a configuration."""

    model: ModelConfig
    device: Any
    train: TrainConfig

    def estimated(self) -> Estimate:
        """Its estimate."""
        return estimate_step(build_step(self.model, self.train), self.device)


def diagnose(
    model: str | Path | ModelConfig,
    device: str | Path | Device,
    *,
    step_time_s: float | None = None,
    tokens_per_s: float | None = None,
    reported_mfu: float | None = None,
    **options: Any,
) -> Diagnosis:
    """Judge a measured run.

    Args:
        model: As for `estimate`.
        device: As for `estimate`.
        step_time_s: Measured seconds of one optimizer step.
        tokens_per_s: Measured tokens per second of all devices; checked against the step time if both are given.
        reported_mfu: The MFU the framework printed, to find out how it counts.
        **options: Fields of `TrainConfig`: how it was trained.

    Raises:
        RooflineError: Nothing was measured, or the figures are impossible (MFU above 100 %).
    """
    from hardware import load_device

    if step_time_s is None and tokens_per_s is None:
        raise RooflineError(
            "nothing measured: give --step-time-s or --tokens-per-s ('roofline estimate' says what to expect)"
        )
    model, device = load_model(model), load_device(device)
    case, notes = _case(model, device, options)
    expected = case.estimated()
    tokens = float(case.train.tokens_per_step)
    seconds = step_time_s if step_time_s is not None else tokens / float(tokens_per_s or 1)
    findings = list(_disagreement(case.train, seconds, tokens_per_s) if step_time_s is not None else ())
    rules = _rules(case, tokens / seconds)
    mfu = rules["6N+12LdS"]
    low, high = (float(expected.mfu * expected.step_time_s / t) for t in _slow_fast(expected))
    if step_time_s is None:
        findings += _counted_wrong(case.train, mfu, tokens / seconds, (low, high))
    if mfu > 1:
        raise RooflineError(_impossible(case, mfu, findings, expected))
    if reported_mfu is not None:
        findings.append(_how_counted(reported_mfu, rules, float(expected.hfu * expected.step_time_s) / seconds))
    verdict = "below" if mfu < low else "above" if mfu > high else "within"
    return Diagnosis(
        mfu=mfu, hfu=float(expected.hfu * expected.step_time_s) / seconds, mfu_causal=rules["causal"],
        mfu_6n=rules["6N"], mfu_by_rule=rules, step_time_s=seconds, tokens_per_s=tokens / seconds,
        expected_mfu=float(expected.mfu), expected_mfu_low=low, expected_mfu_high=high, verdict=verdict,
        findings=tuple(findings), suspects=suspects(case, expected, seconds), improvements=improvements(case, expected),
        estimate=expected, notes=notes,
    )  # fmt: skip


def _slow_fast(expected: Estimate) -> tuple[float, float]:
    return float(expected.step_time_high_s), float(expected.step_time_low_s)


def _case(model: ModelConfig, device: Device, options: dict[str, Any]) -> tuple[Case, tuple[str, ...]]:
    """The configuration; where no micro batch is given, the fastest one that fits."""
    case = Case(model, device, resolve(train_config(options), model))
    if options.get("micro_batch") is not None:
        return case, ()
    best, rate, size = case, 0.0, 1
    batch = options.get("global_batch")
    while size <= LARGEST_MICRO_BATCH:
        if batch is None or batch % (size * int(case.train.data_parallel)) == 0:
            tried = Case(model, device, resolve(train_config({**options, "micro_batch": size}), model))
            result = tried.estimated()
            if not result.fits:
                break
            if result.tokens_per_s > rate:
                best, rate = tried, float(result.tokens_per_s)
        size *= 2
    return best, (f"no micro batch given: expects the fastest that fits, {best.train.micro_batch} (--micro-batch)",)


def _rules(case: Case, tokens_per_s: float) -> dict[str, float]:
    train = case.train
    peak = case.device.peak_flops_per_s(train.dtype)
    by_rule = mfu_by_rule(case.model, train.sequence_length, tokens_per_s, train.num_devices, peak)
    return {rule: float(value) for rule, value in by_rule.items()}


# --- mistakes in the input -------------------------------------------------------------------------------


def _factors(train: TrainConfig) -> list[tuple[float, str]]:
    """Factors by which tokens per second are commonly off, and what was then counted."""
    steps, devices, ranks = int(train.accumulation), int(train.num_devices), int(train.data_parallel)
    found = [
        (steps, "one micro batch a step: gradient accumulation is left out"),
        (devices, "one device: the world size is left out"),
        (ranks, "one data-parallel rank"),
        (steps * ranks, "one micro batch of one rank: accumulation and data parallelism are left out"),
        (steps * devices, "one micro batch of one device: accumulation and world size are left out"),
        (1 / devices, "the devices twice: the world size is already in it"),
        (1 / ranks, "every rank's tokens twice: data parallelism is already in it"),
        (1 / steps, "accumulation twice"),
        (train.sequence_length, "sequences, not tokens"),
    ]
    return [(float(factor), words) for factor, words in found if factor != 1]


def _disagreement(train: TrainConfig, step_time_s: float, tokens_per_s: float | None) -> Iterator[Finding]:
    """Tokens per second that the step time contradicts, and the factor between them."""
    real = float(train.tokens_per_step) / step_time_s
    if tokens_per_s is None or abs(tokens_per_s / real - 1) < AGREE:
        return
    ratio = real / tokens_per_s
    named = [words for factor, words in _factors(train) if abs(ratio / factor - 1) < AGREE]
    why = f": it counts {', or '.join(named)}" if named else ": check --global-batch and --seq-len"
    yield Finding(
        what=f"{tokens_per_s:,.0f} tokens/s and the step time disagree by {ratio:.4g}x{why}. By the step time it is "
        f"{real:,.0f} tokens/s ({train.tokens_per_step:,} / {step_time_s:g} s), which is used here",
        tokens_per_s=real,
    )  # fmt: skip


def _counted_wrong(
    train: TrainConfig, mfu: float, tokens_per_s: float, band: tuple[float, float]
) -> Iterator[Finding]:
    """Usual mistakes that would bring an MFU outside the band into it."""
    low, high = band[0] * 0.8, band[1] * 1.2
    if low <= mfu <= high:
        return
    for factor, words in _factors(train):
        if low <= mfu * factor <= high:
            yield Finding(
                what=f"if {tokens_per_s:,.0f} tokens/s counts {words}, the run does {tokens_per_s * factor:,.0f} tokens/s: "
                f"MFU {format_share(mfu * factor)}",
                tokens_per_s=tokens_per_s * factor, mfu=mfu * factor,
            )  # fmt: skip


def _impossible(case: Case, mfu: float, findings: list[Finding], expected: Estimate) -> str:
    """MFU above 100 %: the likely causes, those that would explain it first."""
    train, device = case.train, case.device
    causes = [finding.what for finding in findings]
    if train.num_devices == 1 and 1 < mfu / float(expected.mfu):
        causes.append(f"more than one device (--num-devices {max(2, round(mfu / float(expected.mfu)))} would give "
                      f"{format_share(mfu / max(2, round(mfu / float(expected.mfu))))})")  # fmt: skip
    causes.append(f"another card than {device.id}")
    causes.append(f"another dtype than {train.dtype}, a batch or sequence that is smaller than stated")
    return (
        f"MFU {format_share(mfu)} is impossible: the peak is {format_rate(device.peak_flops_per_s(train.dtype))} dense "
        f"x {train.num_devices:,}. Likely causes in order: {'; '.join(causes)}"
    )


def _how_counted(reported: float, rules: dict[str, float], hfu: float) -> Finding:
    """How a framework may have come to the MFU it printed."""
    ways = [(f"the rule {rule}", value) for rule, value in rules.items()] + [("HFU: recompute counted", hfu)]
    ways += [(f"{name} over the sparse peak", value / 2) for name, value in ways]
    name, value = min(ways, key=lambda way: abs(math.log(way[1] / reported)))
    said = f"the reported MFU of {format_share(reported)}"
    if abs(value / reported - 1) < AGREE:
        return Finding(what=f"{said} is {name} ({format_share(value)})")
    return Finding(
        what=f"{said} follows no usual rule (nearest: {name}, {format_share(value)}): it may divide by another "
        "card's peak, or count other tokens"
    )


# --- suspects --------------------------------------------------------------------------------------------


def suspects(case: Case, expected: Estimate, measured_s: float) -> tuple[Suspect, ...]:
    """What would explain a run slower than expected, one thing changed at a time; the best explanation first."""
    gap = measured_s - float(expected.step_time_s)
    if measured_s <= float(expected.step_time_high_s):
        return ()
    found = []
    for what, other in _slower(case):
        tried = _suspect(what, other, expected, gap)
        if tried is not None and tried.explains >= EXPLAINS:
            found.append(tried)
    # the best explanation comes closest to the measured time
    return tuple(sorted(found, key=lambda suspect: abs(math.log(suspect.step_time_s / measured_s))))


def improvements(case: Case, expected: Estimate) -> tuple[Suspect, ...]:
    """Changes that would make the expected step at least 2 % faster and fit in memory, the largest gain first."""
    found = []
    for what, other in _faster(case):
        tried = _suspect(what, other, expected, None)
        if tried is not None and tried.step_time_s < 0.98 * float(expected.step_time_s):
            found.append(tried)
    return tuple(sorted(found, key=lambda suspect: suspect.step_time_s))


def _suspect(what: str, other: Case, expected: Estimate, gap: float | None) -> Suspect | None:
    """The estimate of a changed case; None where the device cannot run it, or an improvement does not fit."""
    try:
        result = other.estimated()
    except ValueError:  # RooflineError and HardwareError: no such engine, no such figure
        return None
    if gap is None and not result.fits:
        return None
    seconds = float(result.step_time_s)
    useful = float(expected.mfu * expected.step_time_s)
    change = seconds - float(expected.step_time_s)
    return Suspect(
        what=what,
        step_time_s=seconds,
        mfu=useful / seconds,
        explains=change / gap if gap else -change / float(expected.step_time_s),
    )


def _slower(case: Case) -> Iterator[tuple[str, Case]]:
    """Things that are often otherwise than stated, each with the changed case."""
    train, device = case.train, case.device

    def changed(**fields: Any) -> Case:
        return Case(case.model, device, msgspec.structs.replace(train, **fields))

    if train.recompute != "full":
        yield "full recompute is on", changed(recompute="full")
    if train.attention != "unfused":
        yield "attention is not fused (no FlashAttention)", changed(attention="unfused")
    if train.stack != "eager":
        yield "kernels run one by one, nothing is compiled or fused (eager)", changed(stack="eager")
    if train.dtype != "fp32":
        yield "matmuls run in fp32 (no mixed precision)", changed(dtype="fp32")
    if train.dtype not in {"tf32", "fp32"}:
        yield "matmuls run in tf32", changed(dtype="tf32")
    if train.dtype in {"fp8", "fp4"}:
        yield "matmuls run in bf16", changed(dtype="bf16")
    if train.micro_batch > 1:
        yield "the micro batch is 1", changed(micro_batch=1)
    if train.num_devices > 1:
        yield f"the network runs at 1/{SLOW_NETWORK:g} of its speed", changed(network_gbit_per_s=_slow_network(case))
        if "scale_up" in device.links and "pcie" in device.links:
            slow = device.with_overrides(link_gb_per_s=device.links["pcie"].bytes_per_s / 1e9)
            yield "devices of a node talk over PCIe (peer-to-peer over fast links is off)", Case(case.model, slow, train)
    peaks = {dtype: peak * THROTTLED / 1e12 for dtype, peak in device.peaks.items()}
    yield f"the device is throttled to {THROTTLED:.0%} of its clock", Case(
        case.model, device.with_overrides(peak_tflops=peaks), train
    )
    for sibling in _siblings(device, train.dtype):
        yield f"the card is {sibling.id}", Case(case.model, sibling, train)


def _slow_network(case: Case) -> float | None:
    from .pricing import network_bytes_per_s

    stated = network_bytes_per_s(case.train)
    try:
        rate = case.device.network_bytes_per_s if stated is None else stated
    except ValueError:
        return None
    return float(rate) * 8e-9 / SLOW_NETWORK


def _siblings(device: Device, dtype: str) -> Iterator[Device]:
    """Slower cards of the same family: those whose ids start alike (a100-..., rtx-4090-...)."""
    from hardware import device_ids, load_device

    family = _family(device.id)
    for name in device_ids():
        if name != device.id and _family(name) == family:
            other = load_device(name)
            if other.peaks.get(dtype, math.inf) < 0.95 * device.peaks.get(dtype, 0):
                yield other


def _family(device_id: str) -> tuple[str, ...]:
    """The card in an id; a first word without a digit is a brand.

    >>> _family("h100-sxm-80gb"), _family("rtx-4090")
    (('h100',), ('rtx', '4090'))
    """
    words = device_id.split("-")
    return tuple(words[: 1 if any(letter.isdigit() for letter in words[0]) else 2])


def _faster(case: Case) -> Iterator[tuple[str, Case]]:
    """Things worth trying, each with the changed case."""
    train = case.train

    def changed(**fields: Any) -> Case:
        return Case(case.model, case.device, msgspec.structs.replace(train, **fields))

    if train.recompute != "none":
        yield "no recompute", changed(recompute="none")
    if train.recompute == "full":
        yield "selective recompute", changed(recompute="selective")
    if train.attention in {"unfused", "flash1"}:
        yield "FlashAttention-2", changed(attention="flash2")
    if train.attention == "flash2" and case.device.architecture == "hopper":
        yield "FlashAttention-3", changed(attention="flash3")
    if train.stack == "eager":
        yield "torch.compile", changed(stack="compiled")
    if train.dtype in {"fp32", "tf32"} and "bf16" in case.device.peaks:
        yield "bf16 mixed precision", changed(dtype="bf16")
    for factor in (2, 4, 8):
        if isinstance(train.accumulation, int) and train.accumulation % factor == 0:
            size = train.micro_batch * factor
            yield f"micro batch {size}, fewer accumulation steps", changed(micro_batch=size)
    if train.tp > 1 and not train.sequence_parallel:
        yield "sequence parallelism", changed(sequence_parallel=True)
    if train.sharding == "none" and train.dp and train.dp > 1:
        yield "optimizer sharded over data parallelism (zero1)", changed(sharding="zero1")


def verdict_words(result: Diagnosis) -> str:
    """The verdict as a sentence."""
    band = f"{format_share(result.expected_mfu_low)} to {format_share(result.expected_mfu_high)}"
    step = format_time(float(result.estimate.step_time_s))
    match result.verdict:
        case "below":
            slower = result.step_time_s / float(result.estimate.step_time_s)
            return f"below the expected {band}: {slower:.2f} times the expected step of {step}"
        case "above":
            if result.step_time_s < float(result.estimate.ideal_step_time_s):
                return f"above the expected {band}, and faster than the roofline allows: check batch, sequence and recompute"
            return f"above the expected {band}: better than four of five such runs, or less work than stated"
    return f"within the expected {band}: as good as such runs are"
