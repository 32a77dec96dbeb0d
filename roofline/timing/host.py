"""Seconds of what crosses between device and host, and of an update that runs there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..arrays import Number, minimum
from ..config.run import TrainConfig
from ..counting.op import Op

if TYPE_CHECKING:
    from ..hardware import Device

ON_HOST = frozenset({"transfer", "host", "nvme"})  # kinds of ops that no kernel of the device runs


def host_time(op: Op, train: TrainConfig, device: Device) -> tuple[Number, Number]:
    """Ideal and expected seconds of one run.

    Each device has its own link; the ranks of a node share the host's memory and drives.

    Raises:
        RooflineError: No link to the host is published (as `HardwareError`).
    """
    from ..hardware.host_memory import host_link, host_memory

    if op.kind == "transfer":
        link, share = host_link(device)
        ideal = op.bytes_sent / link.bytes_per_s
        return ideal, ideal / share
    node = device.devices_per_node if train.devices_per_node is None else train.devices_per_node
    moved = op.bytes * minimum(train.num_devices, node)
    rate = train.nvme_gb_per_s if op.kind == "nvme" else train.host_gb_per_s
    if rate is None:
        rate = host_memory(device).gb_per_s
    seconds: Number = moved / (rate * 1e9)
    return seconds, seconds
