"""The device of a trace: by the name its driver gives, else by what else is known, else asked for; never guessed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .events import Trace

if TYPE_CHECKING:
    from ..hardware import Device

_MEMORY_TOLERANCE = 0.05  # CUDA's figure and the driver's differ by less
_VIRTUAL = re.compile(r"\s+(VF|vGPU.*)$")


def properties(trace: Trace, index: int) -> dict[str, Any]:
    """What the file says of the device with this index; of the first where it lists no such index."""
    listed = trace.metadata.get("deviceProperties")
    known = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return next((each for each in known if each.get("id") == index), known[0] if known else {})


def device_of(trace: Trace, index: int) -> tuple[Device | None, str, str]:
    """The catalog's device, the name in the trace, and a note where the name alone did not settle it."""
    from ..hardware.catalog import all_devices
    from ..hardware.driver_names import by_driver_name

    found = properties(trace, index)
    name = str(found.get("name") or "")
    if not name:
        return None, "", "the trace names no device: give --device for expected times"
    device = by_driver_name(name)
    if device is not None:
        return device, name, ""
    part = _slice_of(name, found)
    if part is not None:
        return part, name, f"{name!r} is a slice of {part.id}: {part.caveats[-1].removeprefix('MIG slice: ')}"
    bare = _VIRTUAL.sub("", name)
    device = by_driver_name(bare)
    if device is not None:
        return device, name, f"{name!r} is taken for {device.id} (a virtual function of it)"
    units, memory = found.get("numSms"), found.get("totalGlobalMem")
    near = [
        each.id
        for each in all_devices()
        if each.units == units
        and isinstance(memory, int | float)
        and abs(memory / each.memory_bytes - 1) < _MEMORY_TOLERANCE
    ]
    hint = f": by its size it may be {' or '.join(near)}" if near else ""
    return None, name, f"{name!r} is not in the catalog{hint}; give --device for expected times"


def _slice_of(name: str, found: dict[str, Any]) -> Device | None:
    """The slice of a card that a name with "MIG" is, by the size CUDA lists, else by its profile; else None."""
    from ..hardware.detect.gpu import Gpu, MigSlice
    from ..hardware.detect.mig import mig_device, named_slice, split_name
    from ..hardware.driver_names import by_driver_name

    parts = split_name(name)
    card = by_driver_name(parts[0]) if parts is not None else None
    if card is None:
        return None
    units, memory = found.get("numSms"), found.get("totalGlobalMem")
    if isinstance(units, int) and isinstance(memory, int):
        return mig_device(card, Gpu(index=0), MigSlice(name=name, multiprocessors=units, memory_mib=memory >> 20))
    return named_slice(card, name)
