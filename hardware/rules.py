"""What every device file must obey: ranges that catch wrong units, sources that resolve, no sparse figures.

The catalog's tests and a user's own file go through the same rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import msgspec

from .catalog import all_devices, architecture_ids, load_architecture
from .device import Device, Peak
from .errors import nearest

SAME = 0.006  # relative difference below which two printed figures are the same figure
ASSUMED = ("assumes ", "measured ", "given ", "derived ")


class Problem(msgspec.Struct, frozen=True):
    """A rule that a file breaks: which key, which value, which rule."""

    key: str
    value: object
    rule: str

    def __str__(self) -> str:
        """Key, value and rule on one line."""
        return f"{self.key} = {self.value!r}: {self.rule}"


# Range of a plausible figure and what a figure outside it usually is.
_RANGES: dict[str, tuple[float, float, str, str]] = {
    "tflops": (
        0.001,
        1e5,
        "a dense peak in TFLOP/s is at least 0.001",
        "is it in FLOP/s or GFLOP/s? give TFLOP/s",
    ),
    "memory.capacity.mib": (128, 2**24, "is it in GiB? give MiB", "is it in bytes or KiB? give MiB"),
    "gb_per_s": (1, 1e6, "is it in TB/s? give GB/s", "is it in bytes/s or MB/s? give GB/s"),
    "mhz": (50, 10_000, "is it in GHz? give MHz", "is it in Hz or kHz? give MHz"),
    "tdp_w": (1, 20_000, "is it in kW? give W", "is it in mW? give W"),
    "gbit_per_s": (0.1, 10_000, "is it in Tbit/s? give Gbit/s", "is it in Mbit/s? give Gbit/s"),
    "mib": (0.01, 2**20, "give MiB", "is it in bytes or KiB? give MiB"),
    "count": (1, 10**7, "at least 1", "too many"),
}


def in_range(kind: str, key: str, value: float | None) -> Iterator[Problem]:
    """A problem if `value` is no plausible figure of its kind."""
    if value is None:
        return
    low, high, too_small, too_large = _RANGES[kind]
    if not math.isfinite(value) or value <= 0:
        yield Problem(key, value, "must be a positive number")
    elif value < low:
        yield Problem(key, value, f"too small ({too_small})")
    elif value > high:
        yield Problem(key, value, f"too large ({too_large})")


def problems(device: Device) -> Iterator[Problem]:
    """Every rule that a device breaks."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+_-]*", device.id):
        yield Problem("id", device.id, "lower-case letters, digits, dots and dashes")
    if device.architecture not in architecture_ids():
        close = nearest(device.architecture, architecture_ids()) or list(architecture_ids())
        yield Problem("architecture", device.architecture, f"unknown; one of {', '.join(close)}")
        return
    if not device.peak and device.confidence != "low":
        yield Problem(
            "peak", {}, "at least one dtype, e.g. bf16 = { tflops = 312, engine = ..., source = ... }"
        )
    yield from _figure_problems(device)
    yield from _source_problems(device)
    yield from _sparse_problems(device)


def _figure_problems(device: Device) -> Iterator[Problem]:
    for dtype, peak in device.peak.items():
        yield from in_range("tflops", f"peak.{dtype}.tflops", peak.tflops)
    for other in device.other_peaks:
        yield from in_range("tflops", f"other_peaks.{other.dtype}.tflops", other.tflops)
    yield from in_range("memory.capacity.mib", "memory.capacity.mib", device.memory.capacity.mib)
    yield from in_range("gb_per_s", "memory.bandwidth.gb_per_s", device.memory.bandwidth.gb_per_s)
    for cache in device.caches:
        yield from in_range("mib", f"caches.{cache.level}.mib", cache.mib)
        yield from in_range("gb_per_s", f"caches.{cache.level}.gb_per_s", cache.gb_per_s)
    for name, link in device.links.items():
        yield from in_range("gb_per_s", f"links.{name}.gb_per_s", link.gb_per_s)
        yield from in_range("count", f"links.{name}.devices", link.devices)
    yield from in_range("count", "units", device.units)
    if device.clock is not None:
        for key in ("base_mhz", "boost_mhz", "allcore_mhz", "tensor_mhz", "vector_mhz", "nvml_max_mhz"):
            yield from in_range("mhz", f"clock.{key}", getattr(device.clock, key))
    if device.node is not None:
        yield from in_range("count", "node.devices", device.node.devices)
        yield from in_range("gbit_per_s", "node.network_gbit_per_s", device.node.network_gbit_per_s)
    yield from in_range("tdp_w", "power.tdp_w", device.tdp_w)


def named_sources(device: Device) -> Iterator[tuple[str, str]]:
    """Every (key, source) a device file names."""
    for dtype, peak in device.peak.items():
        yield f"peak.{dtype}", peak.source
    for other in device.other_peaks:
        yield f"other_peaks.{other.dtype}", other.source
    yield "memory.capacity", device.memory.capacity.source
    yield "memory.bandwidth", device.memory.bandwidth.source
    for cache in device.caches:
        yield f"caches.{cache.level}", cache.source
    for name, link in device.links.items():
        yield f"links.{name}", link.source
    for key, section in (("clock", device.clock), ("node", device.node), ("power", device.power)):
        if section is not None:
            yield key, section.source
    if device.best_matmul is not None:
        yield "best_matmul", device.best_matmul.source


def _source_problems(device: Device) -> Iterator[Problem]:
    for key, source in named_sources(device):
        if source not in device.sources and not source.startswith(ASSUMED):
            have = ", ".join(device.sources) or "none"
            yield Problem(
                f"{key}.source", source, f"no such key in [sources] (there: {have}), nor 'assumes ...'"
            )
    for key, text in device.sources.items():
        if len(text.strip()) < 4:
            yield Problem(f"sources.{key}", text, "name a document, a repository or a measurement")


def derived_tflops(device: Device, dtype: str, peak: Peak) -> float | None:
    """Units x FLOPs per cycle x clock in TFLOP/s, where the files say all three."""
    if device.variant is None or device.units is None or device.clock is None:
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


def is_same(figure: float, other: float) -> bool:
    """Whether two printed figures are the same but for rounding."""
    return abs(figure / other - 1) < SAME


def _sparse_problems(device: Device) -> Iterator[Problem]:
    sparsity = load_architecture(device.architecture).sparsity
    if sparsity is None:
        return
    for dtype, peak in device.peak.items():
        dense = derived_tflops(device, dtype, peak)
        if dense is None:
            dense = _dense_of_relative(device, dtype, peak.tflops, sparsity)
        if dense is not None and abs(peak.tflops / (sparsity * dense) - 1) < 0.02:
            yield Problem(
                f"peak.{dtype}.tflops",
                peak.tflops,
                f"is the {sparsity:g}x sparse figure; the dense one is {dense:g}",
            )


def _dense_of_relative(device: Device, dtype: str, tflops: float, sparsity: float) -> float | None:
    """The dense peak of a catalog device of this architecture whose sparse figure `tflops` is, if any."""
    relatives = [
        other.peak[dtype].tflops
        for other in all_devices()
        if other.architecture == device.architecture and dtype in other.peak and other.id != device.id
    ]
    if any(is_same(tflops, dense) for dense in relatives):
        return None
    return next((dense for dense in relatives if is_same(tflops, sparsity * dense)), None)
