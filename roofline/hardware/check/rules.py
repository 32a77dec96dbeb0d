"""What every device file must obey: ranges that catch wrong units, sources that resolve, no sparse figures.

The catalog's tests and a user's own file go through the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..catalog import of_architecture
from ..database import architecture_ids, load_architecture
from ..device import Device, Figures
from ..errors import nearest
from ..measured import range_problems
from ..ranges import Problem, in_range, is_same
from ..sections import Peak
from ..sources import missing, text_of_source
from .consistency import agreement_problems, derived_tflops

ASSUMED = ("assumes ", "measured ", "given ", "derived ")


def problems(device: Device) -> Iterator[Problem]:
    """Every rule that a device breaks."""
    yield from figure_problems(device)
    yield from range_problems(device.measured, cpu=device.kind == "cpu")


def figure_problems(device: Figures) -> Iterator[Problem]:
    """Every rule that the figures of one file break."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+_-]*", device.id):
        yield Problem("id", device.id, "lower-case letters, digits, dots and dashes")
    if device.architecture not in architecture_ids():
        close = nearest(device.architecture, architecture_ids(), count=1)
        words = f", did you mean {close[0]!r}?" if close else f"; one of {', '.join(architecture_ids())}"
        yield Problem("architecture", device.architecture, f"unknown{words}")
        return
    if not device.peak and device.confidence != "low":
        yield Problem("peak", {}, "at least one dtype, e.g. bf16 = { tflops = 312, engine = ..., source = ... }")
    yield from _text_problems(device)
    yield from _figure_problems(device)
    yield from _source_problems(device)
    yield from _sparse_problems(device)
    yield from agreement_problems(device)


def _text_problems(device: Figures) -> Iterator[Problem]:
    """Words that a driver or a table prints on one line, and codes of a known form."""
    for key in ("name", "vendor", "unit", "form_factor"):
        text = getattr(device, key)
        if text is not None and (not text.strip() or not text.isprintable()):
            yield Problem(key, text, "must be text on one line")
    for key in ("nvml_names", "aliases"):
        for text in getattr(device, key):
            if not text.strip() or not text.isprintable():
                yield Problem(key, text, "must be text on one line")
    variants = load_architecture(device.architecture).flops_per_cycle
    if device.variant is not None and variants and device.variant not in variants:
        allowed = ", ".join(variants)
        yield Problem("variant", device.variant, f"{device.architecture} has no such variant (allowed: {allowed})")
    capability = device.compute_capability
    if capability is not None and not re.fullmatch(r"\d{1,2}\.\d", capability):
        yield Problem("compute_capability", capability, 'must be "major.minor", e.g. "9.0"')
    for key, peak in named_peaks(device):
        for word in ("engine", "accumulate"):
            if not getattr(peak, word).strip():
                yield Problem(f"{key}.{word}", getattr(peak, word), "must not be empty")


def named_peaks(device: Figures) -> Iterator[tuple[str, Peak]]:
    """Every (key, peak) of a device: those training uses, then the others."""
    for dtype, peak in device.peak.items():
        yield f"peak.{dtype}", peak
    for other in device.other_peaks:
        yield f"other_peaks.{other.dtype}", other


def _figure_problems(device: Figures) -> Iterator[Problem]:
    for key, peak in named_peaks(device):
        yield from in_range("tflops", f"{key}.tflops", peak.tflops)
        yield from in_range("mhz", f"{key}.clock_mhz", peak.clock_mhz)
    if device.best_matmul is not None:
        for dtype, tflops in device.best_matmul.tflops.items():
            yield from in_range("tflops", f"best_matmul.tflops.{dtype}", tflops)
    bandwidth = device.memory.bandwidth
    yield from in_range("bus_bits", "memory.bandwidth.bus_bits", bandwidth.bus_bits)
    yield from in_range("mhz", "memory.bandwidth.clock_mhz", bandwidth.clock_mhz)
    yield from in_range("count", "memory.bandwidth.channels", bandwidth.channels)
    yield from in_range("mt_per_s", "memory.bandwidth.mt_per_s", bandwidth.mt_per_s)
    yield from in_range("memory.capacity.mib", "memory.capacity.mib", device.memory.capacity.mib)
    yield from in_range("gb_per_s", "memory.bandwidth.gb_per_s", device.memory.bandwidth.gb_per_s)
    for cache in device.caches:
        yield from in_range("mib", f"caches.{cache.level}.mib", cache.mib)
        yield from in_range("gb_per_s", f"caches.{cache.level}.gb_per_s", cache.gb_per_s)
        yield from in_range("kib", f"caches.{cache.level}.kib_per_unit", cache.kib_per_unit)
    for name, link in device.links.items():
        yield from in_range("gb_per_s", f"links.{name}.gb_per_s", link.gb_per_s)
        yield from in_range("count", f"links.{name}.devices", link.devices)
    yield from in_range("count", "units", device.units)
    yield from in_range("year", "release_year", device.release_year)
    if device.clock is not None:
        for key in ("base_mhz", "boost_mhz", "allcore_mhz", "tensor_mhz", "vector_mhz", "nvml_max_mhz"):
            yield from in_range("mhz", f"clock.{key}", getattr(device.clock, key))
    if device.node is not None:
        yield from in_range("count", "node.devices", device.node.devices)
        yield from in_range("gbit_per_s", "node.network_gbit_per_s", device.node.network_gbit_per_s)
    yield from in_range("tdp_w", "power.tdp_w", device.tdp_w)


def named_sources(device: Figures) -> Iterator[tuple[str, str]]:
    """Every (key, source) a device file names."""
    for key, peak in named_peaks(device):
        yield key, peak.source
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


def _source_problems(device: Figures) -> Iterator[Problem]:
    for key, source in named_sources(device):
        if source not in device.sources and not source.startswith(ASSUMED):
            have = ", ".join(device.sources) or "none"
            yield Problem(f"{key}.source", source, f"no such key in [sources] (there: {have}), nor 'assumes ...'")
    for key, text in device.sources.items():
        if isinstance(text, str) and len(text.strip()) < 4:
            yield Problem(f"sources.{key}", text, "name a document, a repository or a measurement")
    if device.confidence == "high":
        yield from _unfollowable(device)


def _unfollowable(device: Figures) -> Iterator[Problem]:
    """Figures of a device of high confidence that a reader cannot look up."""
    for key in dict.fromkeys(source for _, source in named_sources(device)):
        source = device.sources.get(key, key)
        if isinstance(source, str) and source.startswith(ASSUMED):
            continue
        if lacks := missing(source):
            rule = (
                f"confidence high names document, place, revision or date, url and the day it was seen: "
                f"{', '.join(lacks)} missing; add that, or say confidence medium"
            )
            yield Problem(f"sources.{key}", text_of_source(source), rule)


def _sparse_problems(device: Figures) -> Iterator[Problem]:
    sparsity = load_architecture(device.architecture).sparsity
    if sparsity is None:
        return
    for dtype, peak in device.peak.items():
        dense = derived_tflops(device, dtype, peak)
        if dense is None:
            dense = _dense_of_relative(device, dtype, peak.tflops, sparsity)
        if dense is not None and abs(peak.tflops / (sparsity * dense) - 1) < 0.02:
            yield Problem(
                f"peak.{dtype}.tflops", peak.tflops, f"is the {sparsity:g}x sparse figure; the dense one is {dense:g}"
            )


def _dense_of_relative(device: Figures, dtype: str, tflops: float, sparsity: float) -> float | None:
    """The dense peak of a catalog device of this architecture whose sparse figure `tflops` is, if any."""
    relatives = [
        other.peak[dtype].tflops
        for other in of_architecture(device.architecture)
        if dtype in other.peak and other.id != device.id
    ]
    if any(is_same(tflops, dense) for dense in relatives):
        return None
    return next((dense for dense in relatives if is_same(tflops, sparsity * dense)), None)
