"""Cloud instances and systems as people read them: device, how many, links and network. No prices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..hardware.instances import Instance
from ..hardware.sources import text_of_source
from .table import Cell, Shown, Table

_COLUMNS = ("instance", "provider", "devices", "", "GB/s", "domain", "Gbit/s")
_KEYS = ("name", "provider", "devices", "device", "link_gb_per_s", "link_devices", "network_gbit_per_s")


def catalog(instances: Sequence[Instance]) -> Shown:
    """Instances, a row each."""
    rows = [
        [
            Cell(one.name, one.name.removeprefix("Standard_") + ("*" if one.confidence == "low" else "")),
            one.provider,
            Cell(one.devices, _count(one)),
            one.device,
            _cell(one.link_gb_per_s),
            _cell(one.link_devices),
            _cell(one.network_gbit_per_s),
        ]
        for one in instances
    ]
    providers = ", ".join(f"{n} {name}" for name, n in Counter(one.provider for one in instances).most_common())
    low = sum(one.confidence == "low" for one in instances)
    notes = [
        f"{len(instances)} instances and systems ({providers}). Rates of link and network: one way, per device.",
        "A link of '-' is the device's own, or PCIe. Azure's 'Standard_' may be left out.",
        "'-d NAME' means its devices, unless --num-devices says otherwise; 'roofline devices NAME' shows them.",
    ]
    if low:
        notes.append(f"{low} names (marked *) are as others write them, not looked up at the provider.")
    table = Table("", list(_COLUMNS), rows, keys=_KEYS, align="llrlrrr")
    return Shown({"instances": [_data(one) for one in instances]}, [table], notes)


def _count(one: Instance) -> str:
    if one.devices is not None:
        return f"{one.devices}"
    return "N" if one.devices_per_n == 1 else f"{one.devices_per_n:g} N"


def _cell(figure: float | None) -> Cell:
    return Cell(figure, "-" if figure is None else f"{figure:,.4g}")


def _data(one: Instance) -> dict[str, Any]:
    network = one.network_gbit_per_s
    return {
        "name": one.name,
        "aliases": list(one.spellings[1:]),
        "provider": one.provider,
        "device": one.device,
        "devices": one.devices,
        "devices_per_n": one.devices_per_n,
        "devices_per_node": one.node_devices or one.devices,
        "link": one.link,
        "link_bytes_per_s": None if one.link_gb_per_s is None else one.link_gb_per_s * 1e9,
        "link_devices": one.link_devices,
        "network": one.network,
        "network_bytes_per_s": None if network is None else network * 1e9 / 8,
        "confidence": one.confidence,
        "source": text_of_source(one.source),
        "note": one.note,
    }
