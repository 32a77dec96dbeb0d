"""The memory of a device's host, where tensors live that do not fit the device, and the link to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from .catalog import catalog_device
from .errors import HardwareError

if TYPE_CHECKING:
    from .device import Device
    from .sections import Link

# What copies reach of a link's one-way rate: H100 51 and 52 of 63 GB/s, H200 52, MI300X 55, A100 26.3 of 31.5 (PCIe;
# github:Azure/AI-benchmarking-guide; H200 55 of 63: github:stas00/ml-engineering network/README.md); GB200 201 of 450
# over C2C (the same guide).
LINK_SHARE = {"pcie": 0.84, "c2c": 0.45}
# The CPUs beside: a DGX A100 has two EPYC 7742 for its eight GPUs (assumed of every server); a superchip its own Grace.
SERVER, SOCKETS = "epyc-7742", 2
SUPERCHIP = "grace"


class HostMemory(msgspec.Struct, frozen=True):
    """What an update on the host moves.

    Attributes:
        gb_per_s: Rate of one host, as streams reach it.
        words: What it was taken from.
    """

    gb_per_s: float
    words: str


def host_link(device: Device) -> tuple[Link, float]:
    """The link to the host, and the share of its rate that copies reach.

    Raises:
        HardwareError: None is published.
    """
    for key in ("c2c", "pcie"):
        link = device.links.get(key)
        if link is not None:
            return link, LINK_SHARE[key]
    raise HardwareError(f"{device.id} has no published link to its host")


def host_memory(device: Device) -> HostMemory:
    """The rate of one host's memory: of the CPUs that stand beside such a device."""
    own = device.links.get("c2c")  # devices that share one CPU
    cpu = catalog_device(SERVER if own is None else SUPERCHIP)
    count = SOCKETS if own is None else max(device.devices_per_node // own.devices, 1)
    rate = count * cpu.memory_bandwidth_bytes_per_s * cpu.measured.memory_bound["optimizer"].bandwidth
    return HostMemory(rate / 1e9, cpu.name if count == 1 else f"{count} x {cpu.name}")
