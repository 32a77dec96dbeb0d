"""What the driver of this machine changes on a device: memory, power limit, NVLinks, PCIe slot, a vGPU's share."""

from __future__ import annotations

import msgspec

from ..device import Device
from ..sections import Link, LinkKey, Power
from .gpu import Gpu

MEMORY_TOLERANCE = 0.03  # NVML, CUDA and marketing disagree by less
_SAME = 0.98  # of a figure, from which what the driver reports is that figure
_SOURCE = "this-machine"


def as_found(device: Device, gpu: Gpu, *, others: int = 0) -> tuple[Device, list[str]]:
    """`device` as this machine has it, and what to say about that in every answer.

    Args:
        device: What the GPU is: of the catalog, or derived.
        gpu: What its driver reports.
        others: Other GPUs of the machine: links that are down matter where there are some.
    """
    said: list[str] = []
    device = _memory(device, gpu, said)
    device = _power(device, gpu, said)
    device = _links(device, gpu, others, said)
    if gpu.virtualization == "vgpu":
        said.append("a vGPU: other guests share the card, and its rates are upper bounds")
    if device.sources.get(_SOURCE) is None and said:
        device = msgspec.structs.replace(device, sources={**device.sources, _SOURCE: "the driver of this machine"})
    return device, said


def _memory(device: Device, gpu: Gpu, said: list[str]) -> Device:
    """The memory that the driver lists."""
    if gpu.memory_bytes is None or gpu.unified_memory:
        return device
    known = device.memory.capacity
    mib = gpu.memory_bytes / 2**20
    if abs(mib / known.mib - 1) > MEMORY_TOLERANCE:
        said.append(
            f"the driver reports {mib / 1024:.1f} GiB, the catalog {known.mib / 1024:.1f} GiB: the driver's is used "
            "(vGPU, ECC, other board)"
        )
    capacity = msgspec.structs.replace(known, mib=mib, source=_SOURCE)
    sources = {**device.sources, _SOURCE: "the driver of this machine"}
    memory = msgspec.structs.replace(device.memory, capacity=capacity)
    return msgspec.structs.replace(device, memory=memory, sources=sources)


def _power(device: Device, gpu: Gpu, said: list[str]) -> Device:
    """The power limit in force, where it is below the device's default."""
    if gpu.power_limit_w is None:
        return device
    known = device.power or Power(tdp_w=gpu.power_default_w or gpu.power_limit_w, source=_SOURCE)
    if gpu.power_limit_w >= _SAME * known.tdp_w:
        return device
    said.append(
        f"power limit {gpu.power_limit_w:g} W is below the default {known.tdp_w:g} W: matrix kernels run slower"
    )
    return msgspec.structs.replace(device, power=msgspec.structs.replace(known, limit_w=gpu.power_limit_w))


def _links(device: Device, gpu: Gpu, others: int, said: list[str]) -> Device:
    """The NVLinks that are up, and the generation and lanes of the slot."""
    links = dict(device.links)
    key: LinkKey = "scale_up" if "scale_up" in links else "bridge"
    fast, total = links.get(key), gpu.nvlinks + gpu.nvlinks_down
    if fast is not None and gpu.nvlinks:
        links["scale_up"] = _up(fast, gpu, total, said)
    elif fast is not None and key == "scale_up" and total and others:
        del links["scale_up"]
        said.append(f"none of {total} NVLinks is up: the GPUs talk over PCIe")
    slot, pcie = links.get("pcie"), gpu.pcie_gb_per_s
    if slot is not None and pcie is not None and pcie < _SAME * slot.gb_per_s:
        name = f"PCIe {gpu.pcie_generation}.0 x{gpu.pcie_width}"
        links["pcie"] = msgspec.structs.replace(slot, name=name, gb_per_s=pcie, source=_SOURCE)
        said.append(f"its slot gives {name}, {pcie:g} of {slot.gb_per_s:g} GB/s one way")
    return device if links == device.links else msgspec.structs.replace(device, links=links)


def _up(fast: Link, gpu: Gpu, total: int, said: list[str]) -> Link:
    """A link at the rate of those that are up; `fast` where all are, or nothing says how many there should be."""
    rate = gpu.nvlink_gb_per_s
    if gpu.nvlinks_down:
        rate = fast.gb_per_s * gpu.nvlinks / total
    if rate is None or rate >= _SAME * fast.gb_per_s or (fast.devices == 2 and not gpu.nvlinks_down):
        return fast  # a bridge of GA102 runs its links at 14 GB/s, which the version does not tell
    said.append(f"{gpu.nvlinks} NVLinks are up: {rate:g} of {fast.gb_per_s:g} GB/s one way")
    return msgspec.structs.replace(fast, gb_per_s=rate, source=_SOURCE)
