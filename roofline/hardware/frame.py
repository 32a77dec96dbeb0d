"""The catalog of devices as rows: chosen by vendor and kind, as a pandas frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import unknown
from ..gate import TEXT, gated
from .catalog import all_devices
from .device import Device
from .sections import DTYPES

if TYPE_CHECKING:
    import pandas as pd


def chosen(vendor: str | None = None, kind: str | None = None) -> list[Device]:
    """Devices of the catalog, of a vendor or kind where one is given.

    Raises:
        RooflineError: No device has this vendor or kind.
    """
    found = list(all_devices())
    for what, wanted in (("vendor", vendor), ("kind", kind)):
        if wanted is None:
            continue
        names = sorted({str(getattr(device, what)) for device in all_devices()})
        if wanted.lower() not in {name.lower() for name in names}:
            raise unknown(what, wanted, names)
        found = [device for device in found if getattr(device, what).lower() == wanted.lower()]
    return found


@gated(vendor=TEXT, kind=TEXT)
def devices(vendor: str | None = None, kind: str | None = None) -> pd.DataFrame:
    """The catalog as a pandas frame, a row a device, indexed by id.

    Columns: name, vendor, kind, architecture, confidence; ``bf16_flops_per_s`` and its like for every dtype (dense; NaN
    where there is no engine); ``memory_bytes``, ``memory_bandwidth_bytes_per_s``, ``scale_up_bytes_per_s`` (one way of
    one device; NaN where nothing joins devices), ``devices_per_node``, ``tdp_w``, ``release_year``.

    Args:
        vendor: NVIDIA, AMD, Google, ...
        kind: gpu, tpu, cpu, ...

    Raises:
        RooflineError: No device has this vendor or kind.
    """
    import pandas as pd

    return pd.DataFrame([_row(device) for device in chosen(vendor, kind)]).set_index("id")


def _row(device: Device) -> dict[str, Any]:
    link = device.links.get("scale_up") or device.links.get("pcie")
    return {
        "id": device.id,
        "name": device.name,
        "vendor": device.vendor,
        "kind": device.kind,
        "architecture": device.architecture,
        "confidence": device.confidence,
        **{f"{dtype}_flops_per_s": device.peaks.get(dtype) for dtype in DTYPES},
        "memory_bytes": device.memory_bytes,
        "memory_bandwidth_bytes_per_s": device.memory_bandwidth_bytes_per_s,
        "scale_up_bytes_per_s": None if link is None else link.bytes_per_s,
        "devices_per_node": device.devices_per_node,
        "tdp_w": device.tdp_w,
        "release_year": device.release_year,
    }
