"""Whether the figures of one device agree with one another and with its relatives.

A figure with `not_derived` says itself why it stands apart, and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ..catalog import of_architecture
from ..database import load_architecture
from ..device import Figures
from ..ranges import Problem, is_same
from ..sections import Dtype, OtherPeak, Peak, accumulates_in

DERIVED_TOLERANCE = 0.02  # of a peak against units x FLOPs per cycle x clock
BUS_TOLERANCE = 0.03  # of a bandwidth against its bus or channels
FP8_TOLERANCE = 0.03
# Beyond the catalog's devices of the same architecture: a small board, and the next one.
_SMALLER, _LARGER = 10, 2


def agreement_problems(device: Figures) -> Iterator[Problem]:
    """Every disagreement between figures of `device`."""
    for dtype, peak in device.peak.items():
        yield from _peak_problems(device, dtype, peak)
    for other in device.other_peaks:
        yield from _derived_problems(device, other.dtype, other, f"other_peaks.{other.dtype}")
    yield from _order_problems(device)
    yield from _wrong_problems(device)
    yield from _bandwidth_problems(device)
    for cache in device.caches:
        if cache.kib_per_unit and device.units:
            whole = device.units * cache.kib_per_unit / 1024
            if not _within(cache.mib, whole, 0.001):
                rule = f"{device.units} units x {cache.kib_per_unit:g} KiB is {whole:g} MiB"
                yield Problem(f"caches.{cache.level}.mib", cache.mib, rule)
    if device.confidence == "low" and not device.caveats:
        yield Problem("caveats", (), "a device of low confidence says why")


def _within(figure: float, other: float, tolerance: float) -> bool:
    return abs(figure / other - 1) <= tolerance


def _peak_problems(device: Figures, dtype: Dtype, peak: Peak) -> Iterator[Problem]:
    key = f"peak.{dtype}"
    wanted = accumulates_in(dtype)
    if peak.accumulate != wanted:
        rule = f"training accumulates in {wanted}: a peak that does not belongs in [[other_peaks]]"
        yield Problem(f"{key}.accumulate", peak.accumulate, rule)
    yield from _derived_problems(device, dtype, peak, key)
    if peak.not_derived is None and derived_tflops(device, dtype, peak) is None:
        yield from _relative_problems(device, dtype, peak)


def _derived_problems(device: Figures, dtype: Dtype, peak: Peak | OtherPeak, key: str) -> Iterator[Problem]:
    derived = derived_tflops(device, dtype, peak)
    if peak.not_derived is not None:
        if len(peak.not_derived.strip()) <= 10:
            yield Problem(f"{key}.not_derived", peak.not_derived, "give a reason that a reader understands")
    elif derived is not None and not _within(peak.tflops, derived, DERIVED_TOLERANCE):
        rule = f"units x FLOPs per cycle x clock is {derived:.4g}: correct one of them, or say why in not_derived"
        yield Problem(f"{key}.tflops", peak.tflops, rule)


def _relative_problems(device: Figures, dtype: Dtype, peak: Peak) -> Iterator[Problem]:
    """A peak far from those of every catalog device of the architecture, as a wrong unit is."""
    known = [
        other.peak[dtype].tflops
        for other in of_architecture(device.architecture)
        if dtype in other.peak and other.id != device.id
    ]
    if known and not min(known) / _SMALLER <= peak.tflops <= _LARGER * max(known):
        rule = (
            f"{device.architecture} devices of the catalog have {min(known):g} to {max(known):g}: "
            "give dense TFLOP/s, or say in not_derived why it differs"
        )
        yield Problem(f"peak.{dtype}.tflops", peak.tflops, rule)


def _order_problems(device: Figures) -> Iterator[Problem]:
    """Wider dtypes are not faster; fp8 runs at twice the bf16 rate unless the architecture file says else."""
    peaks = {dtype: peak for dtype, peak in device.peak.items() if peak.not_derived is None}
    order: list[Dtype] = [dtype for dtype in ("fp32", "tf32", "bf16") if dtype in peaks]
    for wide, narrow in pairwise(order):
        if peaks[wide].tflops > peaks[narrow].tflops:
            rule = f"above {narrow} ({peaks[narrow].tflops:g}): a wider dtype is not faster"
            yield Problem(f"peak.{wide}.tflops", peaks[wide].tflops, rule)
    if "fp8" in peaks and "bf16" in peaks:
        ratio = _fp8_over_bf16(device)
        if not _within(peaks["fp8"].tflops, ratio * peaks["bf16"].tflops, FP8_TOLERANCE):
            rule = f"not {ratio:g} x bf16 ({peaks['bf16'].tflops:g}): correct it, or say why in not_derived"
            yield Problem("peak.fp8.tflops", peaks["fp8"].tflops, rule)


def _fp8_over_bf16(device: Figures) -> float:
    rates = load_architecture(device.architecture).flops_per_cycle.get(device.variant or "")
    return rates.fp8 / rates.bf16 if rates and rates.fp8 and rates.bf16 else 2.0


def _wrong_problems(device: Figures) -> Iterator[Problem]:
    for wrong in device.wrong:
        for dtype, peak in device.peak.items():
            if wrong.figure == dtype and is_same(peak.tflops, wrong.value):
                yield Problem(f"peak.{dtype}.tflops", peak.tflops, f"the file itself calls it wrong: {wrong.why}")
        figure = device.memory.bandwidth.gb_per_s
        if wrong.figure == "memory_bandwidth" and _within(figure, wrong.value, 0.003):
            yield Problem("memory.bandwidth.gb_per_s", figure, f"the file itself calls it wrong: {wrong.why}")


def _bandwidth_problems(device: Figures) -> Iterator[Problem]:
    bandwidth = device.memory.bandwidth
    if bandwidth.not_derived is not None:
        return
    derived = []
    if bandwidth.bus_bits and bandwidth.clock_mhz:  # NVML's clock is half the data rate
        derived.append(("bus x clock", 2 * bandwidth.clock_mhz * bandwidth.bus_bits / 8 / 1e3))
    if bandwidth.channels and bandwidth.mt_per_s:  # 8 bytes per channel and transfer
        derived.append(("channels x rate", bandwidth.channels * bandwidth.mt_per_s * 8 / 1e3))
    for what, gb_per_s in derived:
        if not _within(bandwidth.gb_per_s, gb_per_s, BUS_TOLERANCE):
            rule = f"{what} is {gb_per_s:.4g}: correct one of them, or say why in not_derived"
            yield Problem("memory.bandwidth.gb_per_s", bandwidth.gb_per_s, rule)


def derived_tflops(device: Figures, dtype: str, peak: Peak) -> float | None:
    """Units x FLOPs per cycle x clock in TFLOP/s, where the files say all three."""
    if device.variant is None or not device.units or device.clock is None:
        return None
    rates = load_architecture(device.architecture).flops_per_cycle.get(device.variant)
    if rates is None:
        return None
    name = dtype
    if peak.accumulate == "fp16" and peak.engine == "tensor core":
        name = f"{dtype}_accumulate_fp16"
    elif peak.engine.startswith("vector") and getattr(rates, f"{dtype}_vector", None) is not None:
        name = f"{dtype}_vector"
    rate = getattr(rates, name, None)
    clock = device.clock
    of_engine = clock.vector_mhz if peak.engine.startswith("vector") else clock.tensor_mhz
    mhz = peak.clock_mhz or of_engine or clock.vector_mhz or clock.base_mhz
    if rate is None or mhz is None:
        return None
    return float(device.units * rate * mhz * 1e6 / 1e12)
