"""Figures of a measured run that cannot be right, and the usual mistakes that would explain them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from ..config.run import DTYPES, TrainConfig
from ..config.settle import Run
from ..errors import RooflineError
from ..footprint.spreads import SURE
from ..units import format_bytes, format_rate, format_share
from .estimate import Estimate
from .reported import Mistake, Printed, explain_alone, explain_printed, mistakes

if TYPE_CHECKING:
    from ..hardware import Device

AGREE = 0.05  # two figures of one run that differ by less are the same
MISTAKEN = 4.0  # times the peak: faster cards are not taken for this one
NEAR = 0.2  # how far beyond the expected band an MFU is still plausible


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of the input that cannot be right, or a usual mistake that would explain it.

    Attributes:
        what: In words.
        tokens_per_s: Tokens per second that the run would then really do; None where it does not say.
        mfu: The MFU of these, 0 to 1.
    """

    what: str
    tokens_per_s: float | None = None
    mfu: float | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured or printed: seconds of a step, tokens per second, TFLOP/s of one device, an MFU."""

    step_s: float | None
    rate: float | None
    tflops: float | None
    printed: Printed | None

    @property
    def only_printed(self) -> bool:
        """Whether a printed MFU is all there is."""
        return self.step_s is None and self.rate is None and self.tflops is None

    def seconds(self, expected: Estimate) -> float:
        """Seconds of one step."""
        if self.step_s is not None:
            return self.step_s
        rate = self.rate
        if rate is None:
            rate = _share(self.tflops, self.printed, expected) * float(expected.tokens_per_s / expected.mfu)
        return float(expected.train.tokens_per_step) / rate


def findings_of(
    run: Run, expected: Estimate, measured: Measured, seconds: float, mfu: float, band: tuple[float, float]
) -> tuple[Finding, ...]:
    """Mistakes in what was given, the likeliest first.

    Raises:
        RooflineError: The MFU is above 100 %; the likely causes are named.
    """
    train, rate, printed = run.train, float(run.train.tokens_per_step) / seconds, measured.printed
    if measured.step_s is None:
        found = list(_counted_wrong(train, mfu, rate, band))
    else:
        found = [*_disagreement(train, seconds, measured.rate), *_of_one_pass(train, mfu, rate, band)]
    possible = mistakes(expected.model, expected.device, expected.train, float(expected.hfu / expected.mfu))
    if printed is not None and measured.only_printed:
        causes = explain_alone(printed, band, possible)
        found = [Finding(what=f"{_said(printed)} {cause.what}", mfu=cause.mfu) for cause in causes]
    if mfu > 1 and not (measured.only_printed and found):
        raise RooflineError(_impossible(run, measured, mfu, found, band))
    if printed is not None and not measured.only_printed:
        found += _how_counted(printed, mfu, possible)
    return (*found, *_too_large(run, expected))


def _too_large(run: Run, expected: Estimate) -> Iterator[Finding]:
    """What was said of a run that ran, and would not have fitted like that."""
    if float(expected.memory.fit_probability) < 1 - SURE:
        needed, there = (format_bytes(float(each)) for each in (expected.memory.needed_bytes, run.device.memory_bytes))
        yield Finding(
            what=f"as described the run needs {needed} of {there} a device, and could not have run: say how it was "
            "split, recomputed or sharded (--sharding, --tp, --pp, --recompute, --micro-batch)"
        )


def _factors(train: TrainConfig) -> list[tuple[float, str]]:
    """Factors by which tokens per second are commonly off, and what was then counted; equal ones only once."""
    steps, devices, ranks = int(train.accumulation), int(train.num_devices), int(train.data_parallel)
    accumulates, several, replicated = steps > 1, devices > 1, 1 < ranks < devices
    pads = train.packing in {"padded", "unpadded"}
    found = [
        (accumulates, steps, "one micro batch a step: gradient accumulation is left out"),
        (several, devices, "one device: the world size is left out"),
        (replicated, ranks, "one data-parallel rank"),
        (
            accumulates and replicated,
            steps * ranks,
            "one micro batch of one rank: accumulation and data parallelism are left out",
        ),
        (
            accumulates and several,
            steps * devices,
            "one micro batch of one device: accumulation and world size are left out",
        ),
        (several, 1 / devices, "the devices twice: the world size is already in it"),
        (replicated, 1 / ranks, "every rank's tokens twice: data parallelism is already in it"),
        (accumulates, 1 / steps, "accumulation twice"),
        (pads, train.sample_length / train.sequence_length, "padding as tokens"),
        (True, train.sequence_length, "sequences, not tokens"),
    ]
    by_factor: dict[float, list[str]] = {}
    for possible, factor, words in found:
        if possible and factor != 1:
            by_factor.setdefault(float(factor), []).append(words)
    return [(factor, ", or ".join(words)) for factor, words in by_factor.items()]


def _disagreement(train: TrainConfig, step_time_s: float, tokens_per_s: float | None) -> Iterator[Finding]:
    """Tokens per second that the step time contradicts, and the factor between them."""
    real = float(train.tokens_per_step) / step_time_s
    if tokens_per_s is None or abs(tokens_per_s / real - 1) < AGREE:
        return
    ratio = real / tokens_per_s
    named = [words for factor, words in _factors(train) if abs(ratio / factor - 1) < AGREE]
    why = f": it counts {', or '.join(named)}" if named else ": check --global-batch and --seq-len"
    yield Finding(
        what=f"{tokens_per_s:,.0f} tokens/s and the step time disagree by {ratio:.4g}x{why}. By the "
        "step time it is "
        f"{real:,.0f} tokens/s ({train.tokens_per_step:,} / {step_time_s:g} s), which is used here",
        tokens_per_s=real,
    )


def _counted_wrong(train: TrainConfig, mfu: float, tokens_per_s: float, band: tuple[float, float]) -> Iterator[Finding]:
    """Usual mistakes that would bring an MFU outside the band into it."""
    if _plausible(mfu, band):
        return
    for factor, words in _factors(train):
        if _plausible(mfu * factor, band):
            yield Finding(
                what=f"if {tokens_per_s:,.0f} tokens/s counts {words}, the run does "
                f"{tokens_per_s * factor:,.0f} tokens/s: "
                f"MFU {format_share(mfu * factor)}",
                tokens_per_s=tokens_per_s * factor,
                mfu=mfu * factor,
            )


def _plausible(mfu: float, band: tuple[float, float]) -> bool:
    """Whether a run may well have this MFU: in the expected band, or close to it."""
    return band[0] * (1 - NEAR) <= mfu <= min(band[1] * (1 + NEAR), 1)


def _of_one_pass(train: TrainConfig, mfu: float, tokens_per_s: float, band: tuple[float, float]) -> Iterator[Finding]:
    """The time of one micro batch given as that of a step, where that brings the MFU into the band.

    Of an impossible MFU it is enough that the run is then no wonder: slower than expected, as many are.
    """
    steps = int(train.accumulation)
    slow = (band[0] / 4, band[1]) if mfu > 1 else band
    if steps > 1 and not _plausible(mfu, band) and _plausible(mfu / steps, slow):
        yield Finding(
            what=f"the step time is of one micro batch: x {steps:,} gives {format_share(mfu / steps)}",
            tokens_per_s=tokens_per_s / steps,
            mfu=mfu / steps,
        )


def _impossible(run: Run, measured: Measured, mfu: float, findings: list[Finding], band: tuple[float, float]) -> str:
    """MFU above 100 %: the likely causes, those that would explain it first."""
    train, device = run.train, run.device
    causes = [finding.what for finding in findings]
    causes += _other_denominators(run, mfu, band)
    if measured.step_s is not None:
        causes.append(f"a batch or sequence smaller than stated ({train.tokens_per_step:,} tokens a step)")
    elif not causes:
        causes.append("a smaller model, more devices, or another rate than stated")
    words = "Likely cause" if len(causes) == 1 else "Likely causes in order"
    return (
        f"MFU {format_share(mfu)} is impossible: the peak is "
        f"{format_rate(device.peak_flops_per_s(train.dtype))} dense "
        f"x {train.num_devices:,}. {words}: {'; '.join(causes)}"
    )


def _other_denominators(run: Run, mfu: float, band: tuple[float, float]) -> Iterator[str]:
    """Another card, the sparse peak, more devices, another dtype: where that would make the run plausible."""
    train, device = run.train, run.device
    peaks = device.peaks
    faster = {card: peak / peaks[train.dtype] for card, peak in _peaks(device, train.dtype).items()}
    cards = {card: mfu / ratio for card, ratio in faster.items() if ratio <= MISTAKEN}
    likely = [card for card, value in cards.items() if _plausible(value, band)]
    if likely:
        middle = math.sqrt(band[0] * band[1])
        card = min(likely, key=lambda name: (abs(math.log(cards[name] / middle)), name))
        yield f"another card than {device.id} (on {card} it is {format_share(cards[card])})"
    if _plausible(mfu / 2, band):
        yield f"figures worked out from the 2:4-sparse peak (half of them give {format_share(mfu / 2)})"
    if train.num_devices == 1:
        number = next((2**n for n in range(1, 4) if _plausible(mfu / 2**n, band)), None)
        if number is not None and number <= max(device.devices_per_node, 1):
            share = format_share(mfu / number)
            yield f"more than one device (--num-devices {number} would give {share})"
    for dtype in DTYPES:
        share = mfu * peaks[train.dtype] / peaks.get(dtype, math.inf)
        if _plausible(share, band) and peaks[dtype] > peaks[train.dtype]:
            yield f"another dtype than {train.dtype} (of the {dtype} peak it is {format_share(share)})"


def _peaks(device: Device, dtype: str) -> dict[str, float]:
    """The peak of every other device of the vendor and kind in a dtype, by id."""
    from ..hardware import all_devices

    alike = (device.vendor, device.kind)
    others = (other for other in all_devices() if (other.vendor, other.kind) == alike)
    return {other.id: other.peaks[dtype] for other in others if dtype in other.peaks and other.id != device.id}


def _share(achieved: float | None, printed: Printed | None, expected: Estimate) -> float:
    """The MFU that TFLOP/s of one device, or a printed figure, amounts to."""
    if achieved is not None:
        return achieved * 1e12 / expected.device.peak_flops_per_s(expected.train.dtype)
    return printed.value if printed is not None else 0.0


def _said(printed: Printed) -> str:
    return f"the reported MFU of {printed.words}"


def _how_counted(printed: Printed, mfu: float, possible: Sequence[Mistake]) -> list[Finding]:
    """How a framework may have come to the MFU it printed, the likeliest first."""
    causes = explain_printed(printed, mfu, possible)
    if causes:
        return [Finding(what=f"{_said(printed)} {cause.what}", mfu=cause.mfu) for cause in causes]
    off = printed.value / mfu
    return [
        Finding(
            what=f"{_said(printed)} is {off:.3g} times what the run does, which no usual rule, peak or count explains, "
            "nor two of them: check the batch, the sequence and the number of devices"
        )
    ]
