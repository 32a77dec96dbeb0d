"""Facts about devices, each with its source, and the little code that reads, detects and calibrates them.

>>> from roofline.hardware import load_device
>>> load_device("h100-sxm-80gb").peak_flops_per_s("bf16") / 1e12
989.4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .catalog import all_devices as all_devices
from .catalog import device_ids as device_ids
from .database import architecture_ids as architecture_ids
from .database import load_architecture as load_architecture
from .device import Device as Device
from .errors import HardwareError as HardwareError
from .load import load_device as load_device
from .sections import Cache as Cache
from .sections import Link as Link

if TYPE_CHECKING:
    from .overrides import override as override

__all__ = [
    "Cache",
    "Device",
    "HardwareError",
    "Link",
    "all_devices",
    "architecture_ids",
    "device_ids",
    "load_architecture",
    "load_device",
    "override",
]


def __getattr__(name: str) -> object:
    """Import `override` on first use: few answers rest on it."""
    if name != "override":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .overrides import override

    return override
