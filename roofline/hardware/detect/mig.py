"""MIG slices as devices: compute by multiprocessors, bandwidth and caches by memory slices."""

from __future__ import annotations

import re

import msgspec

from ..device import Device
from ..sections import Capacity, Node
from .gpu import Gpu, MigSlice

_MEMORY_SLICES = 8  # of a GPU that can be partitioned
# Multiprocessors by compute slices (NVIDIA MIG user guide, tables of GPU instance profiles; nvidia-smi mig -lgip).
_MULTIPROCESSORS = {
    "ampere": {1: 14, 2: 28, 3: 42, 4: 56, 7: 98},
    "hopper": {1: 16, 2: 32, 3: 60, 4: 64, 7: 132},
}
_PROFILE = re.compile(
    r"^(?P<card>.+?)\s+MIG\s+(?:\d+c\.)?(?P<compute>\d)g\.(?P<memory>\d{1,9})gb(?:\+.*)?$", re.IGNORECASE
)


def split_name(name: str) -> tuple[str, int, int] | None:
    """The card, compute slices and gigabytes in the name of a slice.

    >>> split_name("NVIDIA A100-SXM4-40GB MIG 3g.20gb")
    ('NVIDIA A100-SXM4-40GB', 3, 20)
    """
    found = _PROFILE.match(" ".join(name.split()))
    return None if found is None else (found["card"], int(found["compute"]), int(found["memory"]))


def named_slice(device: Device, name: str) -> Device | None:
    """The slice of `device` that `name` says, None where its architecture has no such profile."""
    parts = split_name(name)
    multiprocessors = _MULTIPROCESSORS.get(device.architecture, {}).get(parts[1]) if parts else None
    if parts is None or multiprocessors is None or device.units is None:
        return None
    whole = device.memory.capacity.mib
    # "3g.20gb" names decimal gigabytes of the whole card's, rounded: 3 compute slices and 4 of 8 memory slices of 40 GB
    eighths = min(max(round(parts[2] / (whole / 1024) * _MEMORY_SLICES), 1), _MEMORY_SLICES)
    part = MigSlice(name=name, multiprocessors=min(multiprocessors, device.units), memory_mib=int(whole * eighths / 8))
    return mig_device(device, Gpu(index=0), part)


def mig_device(device: Device, gpu: Gpu, part: MigSlice) -> Device | None:
    """One MIG slice as a device; None where its size is not reported, or is none of a part of the card."""
    if device.units is None or part.multiprocessors is None or part.memory_mib is None:
        return None
    total_mib = device.memory.capacity.mib if gpu.memory_bytes is None else gpu.memory_bytes / 2**20
    if not (0 < part.multiprocessors <= device.units and 0 < part.memory_mib <= total_mib):
        return None
    compute = part.multiprocessors / device.units
    # A slice lists a little less than its share (4864 MiB of 5120): round to whole memory slices.
    eighths = min(max(round(part.memory_mib / total_mib * _MEMORY_SLICES), 1), _MEMORY_SLICES)
    share = eighths / _MEMORY_SLICES
    source = "this-machine"
    note = f"MIG slice: {part.multiprocessors} of {device.units} {device.unit}s, {eighths} of 8 memory slices"
    peaks = {
        dtype: msgspec.structs.replace(peak, tflops=peak.tflops * compute, not_derived="a share of the card's")
        for dtype, peak in device.peak.items()
    }
    bandwidth = msgspec.structs.replace(
        device.memory.bandwidth,
        gb_per_s=device.memory.bandwidth.gb_per_s * share,
        bus_bits=None,
        clock_mhz=None,
    )
    capacity = Capacity(mib=part.memory_mib, source=source)
    return msgspec.structs.replace(
        device,
        name=part.name or f"{device.name} (MIG slice)",
        sources={**device.sources, source: "NVML on this machine"},
        caveats=(*device.caveats, note),
        units=part.multiprocessors,
        peak=peaks,
        other_peaks=(),
        memory=msgspec.structs.replace(device.memory, bandwidth=bandwidth, capacity=capacity),
        caches=tuple(
            msgspec.structs.replace(
                cache,
                mib=cache.mib * (compute if cache.kib_per_unit else share),
                gb_per_s=None if cache.gb_per_s is None else cache.gb_per_s * share,
            )
            for cache in device.caches
        ),
        links={key: link for key, link in device.links.items() if key == "pcie"},  # a slice has no NVLink
        node=Node(devices=1, source=source),
        best_matmul=None,
        power=None,
    )
