"""All GPUs of a machine as the one device that a common run sees: the slowest of them, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..catalog import complete
from ..device import Device
from ..errors import HardwareError
from ..sections import Link, LinkKey, Node
from .detect import Detection, Found

_SOURCE = "this-machine"


def machine_device(detection: Detection) -> Device | None:
    """The device that a run over this machine's GPUs is estimated with; None where there is no GPU.

    Raises:
        HardwareError: there is a GPU and its figures are not known.
    """
    if not detection.gpus:
        return None
    for found in detection.gpus:
        if found.device is None:
            others = " (others are: choose with CUDA_VISIBLE_DEVICES)" if len(detection.gpus) > 1 else ""
            notes = f"; {found.notes[0]}" if found.notes and found.gpu.mig_enabled else ""
            raise HardwareError(f"--device local: {found.how}{notes}{others}")
    gpus = detection.gpus
    if any(found.slice_name is not None for found in gpus):
        return _one_slice(gpus)
    devices = [found.device for found in gpus if found.device is not None]
    device = _slowest(devices)
    return device if len(devices) == 1 else _together(device, devices, detection)


def _one_slice(gpus: Sequence[Found]) -> Device | None:
    """The first MIG slice: CUDA gives a process one."""
    first = gpus[0].device
    if first is None or len(gpus) == 1:
        return first
    note = f"CUDA gives a process one MIG slice, and {len(gpus)} are visible: the first here"
    return msgspec.structs.replace(first, caveats=(*first.caveats, note))


def _pace(device: Device) -> tuple[float, float]:
    """What decides which of several devices the others wait for: the rate of 16-bit matrix products, then bandwidth."""
    peak = next((device.peaks[d] for d in ("bf16", "fp16", "fp32") if d in device.peaks), 0.0)
    return peak, device.memory_bandwidth_bytes_per_s


def _slowest(devices: Sequence[Device]) -> Device:
    """The slowest device, with the smallest memory, the slowest links and the lowest power limit of all."""
    slowest = min(devices, key=_pace)
    names = list(dict.fromkeys(device.name for device in devices))
    changes: dict[str, object] = {}
    smallest = min(devices, key=lambda device: device.memory_bytes).memory.capacity
    if smallest.mib < slowest.memory.capacity.mib:
        changes["memory"] = msgspec.structs.replace(slowest.memory, capacity=smallest)
    common: dict[LinkKey, Link] = {}
    for key in slowest.links:
        rates = [device.links[key] for device in devices if key in device.links]
        if len(rates) == len(devices):
            common[key] = min(rates, key=lambda link: link.gb_per_s)
    if common != slowest.links:
        changes["links"] = common
    if len(names) > 1:
        note = f"the GPUs differ ({', '.join(names)}): the slowest, {slowest.name}, sets the pace of a common run"
        changes["caveats"] = (*slowest.caveats, note)
    else:
        said = dict.fromkeys(caveat for device in devices for caveat in device.caveats)
        changes["caveats"] = tuple(said)
        limits = [device.power.limit_w for device in devices if device.power and device.power.limit_w]
        if limits and slowest.power is not None:
            changes["power"] = msgspec.structs.replace(slowest.power, limit_w=min(limits))
    changes["sources"] = {source: text for device in devices for source, text in device.sources.items()}
    return msgspec.structs.replace(slowest, **changes)


def _together(device: Device, devices: Sequence[Device], detection: Detection) -> Device:
    """`device` in a node of as many as there are, joined as the driver says."""
    count = len(devices)
    known = device.node or Node(devices=count, source=_SOURCE)
    node = msgspec.structs.replace(known, devices=count, source=_SOURCE)
    links = dict(device.links)
    fast = links.get("scale_up")
    if fast is not None and fast.devices > count:
        links["scale_up"] = msgspec.structs.replace(fast, devices=count)
    note = f"this machine has {count} GPUs, and all of them are meant: --num-devices 1 is one"
    changed = msgspec.structs.replace(
        device,
        node=node,
        links=links,
        host=detection.host or device.host,
        sources={**device.sources, _SOURCE: "the driver of this machine"},
        caveats=(*device.caveats, note),
    )
    return msgspec.structs.replace(complete(changed), num_devices=count)
