"""AMD GPUs through amdsmi, where that optional package is installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .gpu import Gpu


def read_amd_gpus(library: Any = None) -> list[Gpu]:
    """The AMD GPUs of this machine; none where amdsmi or the driver is missing.

    Args:
        library: Something with amdsmi's functions, instead of the installed package.
    """
    try:
        library = library or import_module("amdsmi")
    except (ImportError, OSError, KeyError):  # the package, or the ROCm library it loads, is missing
        return []
    try:
        library.amdsmi_init()
        handles = library.amdsmi_get_processor_handles()
    except Exception:  # noqa: BLE001  (amdsmi raises its own types, which differ between its releases)
        return []
    return [_read(library, handle, index) for index, handle in enumerate(handles)]


def _read(library: Any, handle: Any, index: int) -> Gpu:
    failed: dict[str, str] = {}

    def ask(field: str, function: str, *keys: str) -> Any:
        try:
            answer = getattr(library, function)(handle)
            for key in keys:
                answer = answer[key]
        except Exception as error:  # noqa: BLE001  (as above: every call may fail alone)
            failed[field] = type(error).__name__
            return None
        return None if answer in {"", "N/A"} else answer

    vram_mb = ask("memory_bytes", "amdsmi_get_gpu_vram_info", "vram_size")  # MiB in every release so far
    limit = ask("power_limit_w", "amdsmi_get_power_cap_info", "power_cap")  # microwatts
    default = ask("power_default_w", "amdsmi_get_power_cap_info", "default_power_cap")
    return Gpu(
        index=index,
        name=ask("name", "amdsmi_get_gpu_asic_info", "market_name"),
        uuid=ask("uuid", "amdsmi_get_gpu_device_uuid"),
        pci_bus_id=ask("pci_bus_id", "amdsmi_get_gpu_device_bdf"),
        memory_bytes=None if vram_mb is None else int(vram_mb) * 2**20,
        power_limit_w=None if limit is None else limit / 1e6,
        power_default_w=None if default is None else default / 1e6,
        failed=failed,
    )
