"""A user's own figures over a device's, checked against the figures known to be wrong."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from .check.consistency import is_same
from .device import DTYPES, SAME_ENGINE, Device, Dtype, Link, Node, Peak, Power
from .errors import HardwareError
from .ranges import in_range

_SOURCE = "given by the user"
# Times below the catalog's figure from which a unit a thousand times too large is likelier than a what-if.
_FAR_BELOW = 10
_FAR_BELOW_MEMORY = 100  # an eighth of a card is a MIG slice, less of it a cap on what a process may take


def wrong_peak(device: Device, dtype: str, tflops: float) -> str | None:
    """Why `tflops` is not the dense peak of `dtype`: the sparse figure or another one known to be wrong.

    >>> from roofline.hardware import load_device
    >>> wrong_peak(load_device("h100-pcie-80gb"), "bf16", 1513)
    '2:4-sparse figure'
    """
    for known in device.wrong:
        if known.figure == dtype and is_same(tflops, known.value):
            return known.why
    sparsity = device.family.sparsity
    peak = device.peak.get(dtype)  # type: ignore[call-overload]
    if sparsity is not None and peak is not None and is_same(tflops, sparsity * peak.tflops):
        return "2:4-sparse figure" if sparsity == 2 else f"{sparsity:g}x sparse figure"
    return None


def _check(kind: str, option: str, value: float) -> None:
    for problem in in_range(kind, option, value):
        raise HardwareError(str(problem))


def _not_far_below(option: str, value: float, known: float, unit: str, typed: str, factor: float) -> None:
    if value * factor < known:
        raise HardwareError(
            f"{option}{value:g}: more than {factor:g} times below the catalog's {known:g} {unit}: "
            f"is it in {typed}? give {unit}"
        )


def _with_peak(device: Device, word: str, tflops: float) -> Device:
    dtype = SAME_ENGINE.get(word, word)
    if dtype not in DTYPES:
        raise HardwareError(f"--peak-tflops {word}: unknown dtype (allowed: {', '.join((*DTYPES, *SAME_ENGINE))})")
    _check("tflops", f"--peak-tflops {dtype}", tflops)
    known = device.peak.get(dtype)
    why = wrong_peak(device, dtype, tflops)
    if known is not None and why is not None and tflops > known.tflops:
        raise HardwareError(
            f"--peak-tflops {dtype}={tflops:g} on {device.id}: not its dense peak: {why}; "
            f"dense is {known.tflops:g} TFLOP/s: give that, or leave the option out"
        )
    if known is not None:
        option = f"--peak-tflops {dtype}="
        _not_far_below(option, tflops, known.tflops, "TFLOP/s", "PFLOP/s", _FAR_BELOW)
    was = f"the catalog has {known.tflops:g}" if known is not None else "the catalog has none"
    caveat = f"{dtype} peak {tflops:g} TFLOP/s is yours ({was}{'; others print it: ' + why if why else ''})"
    peak = Peak(tflops=tflops, engine=known.engine if known else "as given", source=_SOURCE, not_derived=_SOURCE)
    peaks: dict[Dtype, Peak] = {**device.peak, dtype: peak}
    return msgspec.structs.replace(device, peak=peaks, caveats=(*device.caveats, caveat))


def _with_memory(device: Device, bandwidth_gb_per_s: float | None, memory_gib: float | None) -> Device:
    memory, caveats = device.memory, list(device.caveats)
    if bandwidth_gb_per_s is not None:
        _check("gb_per_s", "--bandwidth", bandwidth_gb_per_s)
        known = memory.bandwidth.gb_per_s
        _not_far_below("--bandwidth ", bandwidth_gb_per_s, known, "GB/s", "TB/s", _FAR_BELOW)
        caveats.append(
            f"memory bandwidth {bandwidth_gb_per_s:g} GB/s is yours (the catalog has {memory.bandwidth.gb_per_s:g})"
        )
        bandwidth = msgspec.structs.replace(
            memory.bandwidth, gb_per_s=bandwidth_gb_per_s, source=_SOURCE, not_derived=_SOURCE
        )
        memory = msgspec.structs.replace(memory, bandwidth=bandwidth)
    if memory_gib is not None:
        _check("memory.capacity.mib", "--memory", memory_gib * 1024)
        known = memory.capacity.mib / 1024
        _not_far_below("--memory ", memory_gib, known, "GiB", "TiB", _FAR_BELOW_MEMORY)
        caveats.append(f"memory {memory_gib:g} GiB is yours (the catalog has {memory.capacity.mib / 1024:.1f} GiB)")
        capacity = msgspec.structs.replace(memory.capacity, mib=memory_gib * 1024, source=_SOURCE)
        memory = msgspec.structs.replace(memory, capacity=capacity)
    return msgspec.structs.replace(device, memory=memory, caveats=tuple(caveats))


def override(
    device: Device,
    *,
    peak_tflops: Mapping[str, float] | None = None,
    bandwidth_gb_per_s: float | None = None,
    memory_gib: float | None = None,
    link_gb_per_s: float | None = None,
    network_gbit_per_s: float | None = None,
    devices_per_node: int | None = None,
    tdp_w: float | None = None,
) -> Device:
    """The same device with the user's own figures.

    Raises:
        HardwareError: a figure out of range, or one known to be sparse or otherwise wrong.
    """
    for dtype, tflops in (peak_tflops or {}).items():
        device = _with_peak(device, dtype, tflops)
    device = _with_memory(device, bandwidth_gb_per_s, memory_gib)
    if link_gb_per_s is not None:
        _check("gb_per_s", "--link-bandwidth", link_gb_per_s)
        size = device.links["scale_up"].devices if "scale_up" in device.links else device.devices_per_node
        link = Link(name="as given", gb_per_s=link_gb_per_s, devices=size, source=_SOURCE)
        device = msgspec.structs.replace(device, links={**device.links, "scale_up": link})
    if network_gbit_per_s is not None or devices_per_node is not None:
        node = device.node or Node(devices=1, source=_SOURCE)
        if network_gbit_per_s is not None:
            _check("gbit_per_s", "--network-bandwidth", network_gbit_per_s)
            node = msgspec.structs.replace(node, network_gbit_per_s=network_gbit_per_s, network_source=_SOURCE)
        if devices_per_node is not None:
            _check("count", "--devices-per-node", devices_per_node)
            node = msgspec.structs.replace(node, devices=devices_per_node, source=_SOURCE)
        device = msgspec.structs.replace(device, node=node)
    if tdp_w is not None:
        _check("tdp_w", "--power", tdp_w)
        device = msgspec.structs.replace(device, power=Power(tdp_w=tdp_w, source=_SOURCE))
    return device
