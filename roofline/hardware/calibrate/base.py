"""The device that is calibrated, before its constants: peaks and bandwidths of this CPU or accelerator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..catalog import complete
from ..detect.bench import cache_bytes_per_s
from ..detect.cpu import Cpu
from ..detect.detect import detect_gpus
from ..detect.gpu import Gpu
from ..detect.local import architecture_of
from ..detect.machine import machine_device
from ..detect.match import match, rates_of
from ..device import Device, Figures
from ..errors import HardwareError
from ..sections import Bandwidth, Capacity, Dtype, Memory, Node, Peak, Power
from .measure import Sample

UNKNOWN = 1e9  # bytes/s, until the rounds have measured it
_BETTER = 1.05  # times the fp32 rate from which a CPU's bf16 products run on an engine of their own
_VENDORS = {"cuda": "NVIDIA", "xpu": "Intel", "mps": "Apple"}
_ARCHITECTURES = {"xpu": "xe-hpc", "mps": "apple-gpu"}
_UNITS = ("multi_processor_count", "max_compute_units", "gpu_subslice_count")  # as PyTorch's backends call them


def cpu_dtypes(cpu: Cpu) -> tuple[str, ...]:
    """What this CPU multiplies on an engine: without bf16 instructions PyTorch emulates them, many times slower."""
    has_bf16 = {"amx_bf16", "avx512_bf16", "bf16"} & set(cpu.vector)
    return ("fp32", "bf16") if has_bf16 else ("fp32",)


def gpu_dtypes(torch: Any, kind: str) -> tuple[str, ...]:
    """What an accelerator multiplies on its matrix engines: fp16 where an NVIDIA GPU has no bf16."""
    if kind == "cuda" and getattr(torch.version, "hip", None) is None and torch.cuda.get_device_capability(0)[0] < 8:
        return ("fp32", "fp16")
    return ("fp32", "bf16")


def gpu_base(torch: Any, kind: str) -> Device:
    """The accelerator that PyTorch runs on: of the catalog, derived, or built of what PyTorch reports.

    The last has no peak and no bandwidth until the rounds have measured them.
    """
    device = _detected(str(torch.cuda.get_device_name())) if kind == "cuda" else None
    return complete(_reported(torch, kind)) if device is None else _at_its_limit(device)


def _detected(name: str) -> Device | None:
    """The device of that name on this machine, with the others that there are of it; else of the catalog."""
    detection = detect_gpus()
    ours = tuple(found for found in detection.gpus if found.gpu.name == name)
    try:
        device = machine_device(msgspec.structs.replace(detection, gpus=ours))
    except HardwareError:
        device = None
    return device or match(Gpu(index=0, name=name))[0]


def _at_its_limit(device: Device) -> Device:
    """`device` with the power limit in force as its own: what is measured under it holds it already."""
    power = device.power
    if power is None or power.limit_w is None:
        return device
    return msgspec.structs.replace(device, power=Power(tdp_w=power.limit_w, source="this-machine"))


def _reported(torch: Any, kind: str) -> Figures:
    """What PyTorch says of an accelerator that the catalog does not have."""
    name, memory, units, capability = _properties(torch, kind)
    found = rates_of(Gpu(index=0, name=name, compute_capability=capability))
    is_amd = kind == "cuda" and getattr(torch.version, "hip", None) is not None
    return Figures(
        id="local",
        name=name,
        vendor="AMD" if is_amd else _VENDORS[kind],
        kind="gpu",
        architecture=found[0] if found else _ARCHITECTURES.get(kind, "gpu"),
        confidence="measured",
        compute_capability=capability,
        units=units,
        unit="unit" if units else None,
        sources={"driver": "what PyTorch reports"},
        caveats=("peak and bandwidth are the best that was measured: MFU is relative to them",),
        peak={},
        memory=Memory(
            type="as PyTorch reports",
            unified=kind == "mps",
            capacity=Capacity(mib=memory / 2**20, source="driver"),
            bandwidth=Bandwidth(gb_per_s=UNKNOWN / 1e9, source="assumes nothing yet"),
        ),
        node=Node(devices=1, source="driver"),
    )


def _properties(torch: Any, kind: str) -> tuple[str, float, int | None, str | None]:
    """Name, memory in bytes, units and compute capability of the first accelerator."""
    if kind == "mps":
        import platform

        return f"Apple GPU of {platform.machine()}", float(torch.mps.recommended_max_memory()), None, None
    found = getattr(torch, kind).get_device_properties(0)
    counts = (getattr(found, word, None) for word in _UNITS)
    units = next((count for count in counts if isinstance(count, int) and count > 0), None)
    major, minor = getattr(found, "major", None), getattr(found, "minor", None)
    nvidia = kind == "cuda" and getattr(torch.version, "hip", None) is None
    capability = f"{major}.{minor}" if nvidia and isinstance(major, int) and isinstance(minor, int) else None
    return str(found.name), float(found.total_memory), units, capability


def with_measured_peaks(device: Device, samples: Sequence[Sample]) -> Device:
    """`device` with the best matrix product of every dtype as its peak, where it has none."""
    if device.peak:
        return device
    best: dict[str, float] = {}
    for s in samples:
        if s.group == "gemm":
            best[s.dtype] = max(best.get(s.dtype, 0.0), s.flops / s.seconds)
    peaks: dict[Any, Peak] = {
        dtype: Peak(
            tflops=float(f"{rate / 1e12:.5g}"),
            engine="as measured",
            source="calibration",
            not_derived="best measured matrix product",
        )
        for dtype, rate in best.items()
    }
    return msgspec.structs.replace(device, peak=peaks)


def with_bandwidth(device: Device, samples: Sequence[Sample]) -> Device:
    """Memory bandwidth: the best rate of any kernel whose operands are far beyond the caches, once each."""
    streams = [s for s in samples if s.group == "stream"]
    if not streams:
        raise HardwareError("calibrate: the time asked for did not hold one stream over memory: --seconds gives more")
    best = max(s.bytes / s.seconds for s in streams)
    note = ", ".join(f"{s.name}, spread {100 * s.spread:.0f} %" for s in streams)
    bandwidth = msgspec.structs.replace(
        device.memory.bandwidth,
        gb_per_s=round(best / 1e9, 2),
        source="calibration",
        not_derived=f"best stream measured in the rounds ({note})",
    )
    return msgspec.structs.replace(device, memory=msgspec.structs.replace(device.memory, bandwidth=bandwidth))


def with_cache_bandwidth(device: Device, cpu: Cpu) -> Device:
    """Rates of working sets that fill half of each level, all cores in use together.

    A core's own level is measured on one core and multiplied: cores do not disturb one another there. What
    is not faster than the next level outwards was not measured well (a busy machine) and is left out.
    """
    cores = cpu.available_cores
    rates: dict[str, float] = {}
    for level in cpu.caches:
        sharing = max(cpu.physical_cores / level.count, 1.0)
        threads = 1 if sharing == 1 else cores
        each = level.kib_each * 1024 / 2
        rate = cache_bytes_per_s(int(each if threads == 1 else each / min(sharing, cores)), threads)
        rates[f"L{level.level}"] = rate * cores / threads
    outer, kept = device.memory_bandwidth_bytes_per_s, {}
    for name in reversed(rates):
        if rates[name] > outer:
            outer = kept[name] = rates[name]
    caches = tuple(
        msgspec.structs.replace(cache, gb_per_s=round(kept[cache.level] / 1e9, 1), source="calibration")
        if cache.level in kept
        else cache
        for cache in device.caches
    )
    return msgspec.structs.replace(device, caches=caches)


def with_bf16(device: Device, cpu: Cpu, samples: Sequence[Sample]) -> Device:
    """A CPU's bf16 peak where its products ran faster than those of fp32: fp32's times the architecture's ratio.

    Where they ran and were not faster there is no such engine, whatever the instruction set says.
    """
    if not any(s.dtype == "bf16" and s.group == "gemm" for s in samples):
        return device
    best = {
        dtype: max((s.flops / s.seconds for s in samples if s.group == "gemm" and s.dtype == dtype), default=0.0)
        for dtype in ("fp32", "bf16")
    }
    if best["bf16"] <= _BETTER * best["fp32"]:
        return msgspec.structs.replace(device, peak={d: peak for d, peak in device.peak.items() if d != "bf16"})
    if "bf16" in device.peak:
        return device
    known = architecture_of(cpu)
    ratio = known[3].bf16 / known[3].fp32 if known and known[3].bf16 and known[3].fp32 else 1.0
    peak = Peak(
        tflops=round(device.peak["fp32"].tflops * ratio, 5),
        engine="vector dot product",
        source="calibration",
        not_derived="fp32 peak measured on this machine x the architecture's ratio of rates",
    )
    return msgspec.structs.replace(device, peak={**device.peak, "bf16": peak})


def raised(device: Device, samples: Sequence[Sample]) -> Device:
    """A peak that the middle round of a product exceeds is not the peak of this machine: raise it to the best of them.

    The middle one: the clock of one round alone may have gone wrong.
    """
    peaks: dict[Dtype, Peak] = dict(device.peak)
    for dtype, peak in device.peak.items():
        best = max((s.flops / s.typical for s in samples if s.group == "gemm" and s.dtype == dtype), default=0.0)
        if best > peak.tflops * 1e12 and device.kind == "cpu":
            peaks[dtype] = msgspec.structs.replace(
                peak, tflops=round(best / 1e12, 5), source="calibration", not_derived="best measured matrix product"
            )
    return msgspec.structs.replace(device, peak=peaks)
