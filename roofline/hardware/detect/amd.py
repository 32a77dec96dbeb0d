"""AMD GPUs through amdsmi, where that optional package is installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import msgspec

from ..device import Device
from ..sections import Capacity, Node
from .gpu import Gpu

# One driver name of two cards: compute units of a GCD tell them apart (ROCm documentation, accelerator specifications).
CARD_OF = {
    ("AMD Instinct MI250X / MI250", 110): "AMD Instinct MI250X",
    ("AMD Instinct MI250X / MI250", 104): "AMD Instinct MI250",
    ("AMD Instinct MI250X / MI250", None): "AMD Instinct MI250X",
    ("AMD Instinct MI250X/MI250", 104): "AMD Instinct MI250",
}
# Parts of a card by compute partition mode (ROCm documentation, MI300 partitioning).
_PARTS = {"DPX": 2, "TPX": 3, "QPX": 4, "CPX": 8}


def read_amd_gpus(library: Any = None) -> list[Gpu]:
    """The AMD GPUs of this machine; none where amdsmi or the driver is missing.

    Args:
        library: Something with amdsmi's functions, instead of the installed package.
    """
    try:
        library = library or import_module("amdsmi")
    except Exception:  # noqa: BLE001  (the package, or the ROCm library it loads, is missing or broken in any way)
        return []
    try:
        library.amdsmi_init()
        handles = library.amdsmi_get_processor_handles()
    except Exception:  # noqa: BLE001  (amdsmi raises its own types, which differ between its releases)
        return []
    return [_read(library, handle, index) for index, handle in enumerate(handles)]


def _read(library: Any, handle: Any, index: int) -> Gpu:
    failed: dict[str, str] = {}

    def ask(field: str, kind: type | tuple[type, ...], function: str, *keys: str) -> Any:
        try:
            answer = getattr(library, function)(handle)
            for key in keys:
                answer = answer[key]
        except Exception as error:  # noqa: BLE001  (as above: every call may fail alone)
            failed[field] = type(error).__name__
            return None
        return answer if isinstance(answer, kind) and answer not in {"", "N/A"} else None

    number = (int, float)
    vram_mb = ask("memory_bytes", number, "amdsmi_get_gpu_vram_info", "vram_size")  # MiB in every release so far
    limit = ask("power_limit_w", number, "amdsmi_get_power_cap_info", "power_cap")  # microwatts
    default = ask("power_default_w", number, "amdsmi_get_power_cap_info", "default_power_cap")
    partition = ask("partition", str, "amdsmi_get_gpu_compute_partition")
    for optional in ("partition", "compute_units"):  # not asked of every card
        failed.pop(optional, None)
    name = ask("name", str, "amdsmi_get_gpu_asic_info", "market_name")
    units = ask("compute_units", int, "amdsmi_get_gpu_asic_info", "num_compute_units")
    failed.pop("compute_units", None)
    return Gpu(
        index=index,
        name=name,
        uuid=ask("uuid", str, "amdsmi_get_gpu_device_uuid"),
        pci_bus_id=ask("pci_bus_id", str, "amdsmi_get_gpu_device_bdf"),
        memory_bytes=None if vram_mb is None else int(vram_mb) * 2**20,
        power_limit_w=limit / 1e6 if limit else None,
        power_default_w=default / 1e6 if default else None,
        compute_units=units,
        partition=partition,
        virtualization="passthrough" if name is not None and name.endswith(" VF") else None,
        failed=failed,
    )


def part_of(device: Device, gpu: Gpu) -> tuple[Device, str | None]:
    """The partition of a card that the driver lists as a GPU, and what to say; the card itself where it is whole."""
    parts = _PARTS.get(gpu.partition or "")
    if parts is None or device.units is None:
        return device, None
    units = gpu.compute_units if gpu.compute_units and gpu.compute_units < device.units else device.units // parts
    compute = units / device.units
    said = (
        f"partition mode {gpu.partition}: {units} of {device.units} {device.unit}s, 1 of {parts} parts of the bandwidth"
    )
    peaks = {
        dtype: msgspec.structs.replace(peak, tflops=peak.tflops * compute, not_derived="a part of the card's")
        for dtype, peak in device.peak.items()
    }
    bandwidth = msgspec.structs.replace(
        device.memory.bandwidth, gb_per_s=device.memory.bandwidth.gb_per_s / parts, bus_bits=None, clock_mhz=None
    )
    capacity = Capacity(mib=device.memory.capacity.mib / parts, source="this-machine")
    changed = msgspec.structs.replace(
        device,
        name=f"{device.name} ({gpu.partition} partition)",
        sources={**device.sources, "this-machine": "the driver of this machine"},
        units=units,
        peak=peaks,
        other_peaks=(),
        memory=msgspec.structs.replace(device.memory, bandwidth=bandwidth, capacity=capacity),
        node=Node(devices=device.devices_per_node * parts, source="this-machine"),
        best_matmul=None,
        power=None,
    )
    return changed, said
