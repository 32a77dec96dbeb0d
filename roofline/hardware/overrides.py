"""A user's own figures over a device's, checked against the figures known to be wrong."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..arrays import number
from ..errors import unknown
from ..gate import FIGURES, NUMBER, TEXT, gated, instance
from .catalog import complete, hosts
from .device import SAME_ENGINE, Device
from .errors import HardwareError
from .host import HOST_KINDS
from .ranges import in_range, is_same
from .sections import DTYPES, Dtype, Link, LinkKey, Node, Peak

TOPOLOGIES = ("bridge", *HOST_KINDS)
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
    if known is not None and tflops == known.tflops:
        return device
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


def _with_bandwidth(device: Device, gb_per_s: float) -> Device:
    _check("gb_per_s", "--bandwidth", gb_per_s)
    known = device.memory.bandwidth
    if gb_per_s == known.gb_per_s:
        return device
    _not_far_below("--bandwidth ", gb_per_s, known.gb_per_s, "GB/s", "TB/s", _FAR_BELOW)
    bandwidth = msgspec.structs.replace(known, gb_per_s=gb_per_s, source=_SOURCE, not_derived=_SOURCE)
    memory = msgspec.structs.replace(device.memory, bandwidth=bandwidth)
    caveat = f"memory bandwidth {gb_per_s:g} GB/s is yours (the catalog has {known.gb_per_s:g})"
    return msgspec.structs.replace(device, memory=memory, caveats=(*device.caveats, caveat))


def _with_memory(device: Device, gib: float) -> Device:
    _check("gib", "--memory", gib)
    known = device.memory.capacity
    if gib * 1024 == known.mib:
        return device
    _not_far_below("--memory ", gib, known.mib / 1024, "GiB", "TiB", _FAR_BELOW_MEMORY)
    capacity = msgspec.structs.replace(known, mib=gib * 1024, source=_SOURCE)
    memory = msgspec.structs.replace(device.memory, capacity=capacity)
    caveat = f"memory {gib:g} GiB is yours (the catalog has {known.mib / 1024:.1f} GiB)"
    return msgspec.structs.replace(device, memory=memory, caveats=(*device.caveats, caveat))


def _with_link(device: Device, gb_per_s: float) -> Device:
    """`device` with another rate of the link that joins its node: NVLink, xGMI or ICI, else PCIe.

    What the link joins and how much of it collectives reach stay the link's own. Where none is published, it joins the
    usual node.
    """
    _check("gb_per_s", "--link-bandwidth", gb_per_s)
    key: LinkKey = "scale_up" if "scale_up" in device.links or "pcie" not in device.links else "pcie"
    known = device.links.get(key)
    if known is None:
        link = Link(name="as given", gb_per_s=gb_per_s, devices=device.devices_per_node, source=_SOURCE)
        was = "the catalog has none"
    elif known.gb_per_s == gb_per_s:
        return device
    else:
        link = msgspec.structs.replace(known, gb_per_s=gb_per_s, source=_SOURCE)
        was = f"the catalog has {known.gb_per_s:g}"
    caveat = f"{link.name} link {gb_per_s:g} GB/s one way is yours ({was})"
    links: dict[LinkKey, Link] = {**device.links, key: link}
    return msgspec.structs.replace(device, links=links, caveats=(*device.caveats, caveat))


def _with_node(device: Device, network_gbit_per_s: float | None, devices_per_node: int | None) -> Device:
    known = device.node or Node(devices=1, source=_SOURCE)
    node = known
    if network_gbit_per_s is not None:
        _check("gbit_per_s", "--network-bandwidth", network_gbit_per_s)
        if network_gbit_per_s != known.network_gbit_per_s:
            node = msgspec.structs.replace(node, network_gbit_per_s=network_gbit_per_s, network_source=_SOURCE)
    if devices_per_node is not None:
        _check("count", "--devices-per-node", devices_per_node)
        if devices_per_node != known.devices:
            node = msgspec.structs.replace(node, devices=devices_per_node, source=_SOURCE)
    return device if node is known else msgspec.structs.replace(device, node=node)


def _with_power_limit(device: Device, watts: float) -> Device:
    """`device` with the power limit that is set on it; above its default, the default holds."""
    _check("tdp_w", "--power-limit", watts)
    power = device.power
    if power is None:
        raise HardwareError(
            f"--power-limit: {device.id} has no published default to compare with: leave it out, "
            "or give [power] tdp_w in a .toml"
        )
    if watts == device.tdp_w:
        return device
    if watts > power.tdp_w:
        raise HardwareError(
            f"--power-limit {watts:g}: above the {power.tdp_w:g} W of {device.id}: no card is faster for it in the "
            "figures; leave it out, or give [power] tdp_w of your board in a .toml"
        )
    _not_far_below("--power-limit ", watts, power.tdp_w, "W", "kW", _FAR_BELOW)
    limited = msgspec.structs.replace(power, limit_w=watts)
    caveat = f"power limit {watts:g} W is yours (the default is {power.tdp_w:g})"
    return msgspec.structs.replace(device, power=limited, caveats=(*device.caveats, caveat))


def _with_topology(device: Device, words: str) -> Device:
    """`device` in a host of another kind: what joins cards that share no fast link, and whether a bridge joins groups.

    A kind of host alone puts devices that a fast link joins (NVLink switched off) on PCIe.
    """
    given = tuple(dict.fromkeys(word.strip().lower() for word in words.split("+")))
    for word in given:
        if word not in TOPOLOGIES:
            raise unknown("topology", word, TOPOLOGIES)
    kinds = [kind for kind in HOST_KINDS if kind in given]
    if len(kinds) > 1:
        raise HardwareError(f"--topology {words}: {' and '.join(kinds)} are two kinds of one host: give one")
    if "pcie" not in device.links:
        raise HardwareError(
            f"--topology {words}: {device.id} has no PCIe link in the catalog: it is for cards that have"
        )
    links = dict(device.links)
    if "bridge" in given:
        links.setdefault("scale_up", _bridge(device))
    elif not device.needs_host:
        links.pop("scale_up")
    changed = msgspec.structs.replace(device, links=links)
    if kinds:
        return msgspec.structs.replace(changed, host=kinds[0], between=hosts()[kinds[0]])
    return complete(changed)  # the bridge may join fewer than the node


def _bridge(device: Device) -> Link:
    try:
        return device.links["bridge"]
    except KeyError:
        raise HardwareError(f"--topology bridge: no bridge fits {device.id} in the catalog: leave it out") from None


@gated(
    device=instance("a Device (roofline.load_device makes one)", Device),
    peak_tflops=FIGURES,
    bandwidth_gb_per_s=NUMBER,
    memory_gib=NUMBER,
    link_gb_per_s=NUMBER,
    network_gbit_per_s=NUMBER,
    devices_per_node=NUMBER,
    topology=TEXT,
    power_limit_w=NUMBER,
)
def override(
    device: Device,
    *,
    peak_tflops: Mapping[str, float] | None = None,
    bandwidth_gb_per_s: float | None = None,
    memory_gib: float | None = None,
    link_gb_per_s: float | None = None,
    network_gbit_per_s: float | None = None,
    devices_per_node: int | None = None,
    topology: str | None = None,
    power_limit_w: float | None = None,
) -> Device:
    """The same device with the user's own figures; its own figure again changes nothing.

    Raises:
        HardwareError: a figure out of range, or one known to be sparse or otherwise wrong.
    """
    given = (bandwidth_gb_per_s, memory_gib, link_gb_per_s, network_gbit_per_s, devices_per_node, power_limit_w)
    bandwidth, memory, link, network, per_node, power = map(number, given)  # NumPy's narrow ones would overflow below
    for dtype, tflops in (peak_tflops or {}).items():
        device = _with_peak(device, dtype, number(tflops))
    if bandwidth is not None:
        device = _with_bandwidth(device, bandwidth)
    if memory is not None:
        device = _with_memory(device, memory)
    if link is not None:
        device = _with_link(device, link)
    if network is not None or per_node is not None:
        device = _with_node(device, network, per_node)
    if topology is not None:
        device = _with_topology(device, topology)
    return device if power is None else _with_power_limit(device, power)
