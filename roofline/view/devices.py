"""Devices as people read them: the catalog, or one with the source of each figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ..hardware import Device
from ..hardware.catalog import hosts
from ..hardware.sections import DTYPES
from ..hardware.sources import text_of_source
from ..units import format_number
from .table import Cell, Shown, Table

_SHOWN = ("fp32", "tf32", "fp16", "bf16", "fp8", "fp4")


def catalog(devices: Sequence[Device]) -> Shown:
    """Devices, a row each."""
    vendors = ", ".join(f"{n} {v}" for v, n in Counter(device.vendor for device in devices).most_common())
    low = sum(device.confidence == "low" for device in devices)
    shown = format_number(len(devices), "device") + (f" ({vendors})" if devices else "")
    notes = [
        f"{shown}. Peaks: dense TFLOP/s with fp32 accumulate; '-' is no engine.",
        "'roofline devices ID' shows each figure with its source, and what others wrongly print.",
    ]
    if low:
        notes.append(f"{low} are of low confidence (marked *): an estimate says so.")
    return Shown({"devices": [data(device) for device in devices]}, [_catalog(devices)], notes)


def one(device: Device) -> Shown:
    """A device with the source of each figure."""
    return Shown(data(device, full=True), list(_tables(device)), _notes(device))


def data(device: Device, *, full: bool = False) -> dict[str, Any]:
    """A device in base units; with `full`, also every source, wrong figure and settled disagreement."""
    found: dict[str, Any] = {
        "id": device.id,
        "name": device.name,
        "vendor": device.vendor,
        "kind": device.kind,
        "architecture": device.architecture,
        "confidence": device.confidence,
        "nvml_names": list(device.nvml_names),
        "peak_flops_per_s": device.peaks,
        "memory_bytes": device.memory_bytes,
        "memory_bandwidth_bytes_per_s": device.memory_bandwidth_bytes_per_s,
        "links": {
            key: {"name": link.name, "bytes_per_s": link.bytes_per_s, "devices": link.devices}
            for key, link in device.links.items()
        },
        "devices_per_node": device.devices_per_node,
        "network_bytes_per_s": _network(device),
        "tdp_w": device.tdp_w,
        **({} if device.num_devices is None else {"num_devices": device.num_devices}),
        "caveats": list(device.caveats),
    }
    if full:
        found |= {
            "units": device.units,
            "clock_hz": device.clock_hz,
            "caches": [
                {"level": c.level, "bytes": c.bytes, "bandwidth_bytes_per_s": c.bandwidth_bytes_per_s}
                for c in device.caches
            ],
            "figures": [
                {"figure": name, "value": value, "source": _source(device, source)}
                for name, value, source in _figures(device)
            ],
            "wrong": list(device.wrong),
            "settled": list(device.settled),
            "checked_against": list(device.checked_against),
        }
    return found


def _network(device: Device) -> float | None:
    gbit = None if device.node is None else device.node.network_gbit_per_s
    return None if gbit is None else gbit * 1e9 / 8


def _catalog(devices: Sequence[Device]) -> Table:
    rows = []
    for device in devices:
        gib = device.memory_bytes / 2**30
        bandwidth = device.memory_bandwidth_bytes_per_s
        mark = "*" if device.confidence == "low" else ""
        rows.append(
            [
                Cell(device.id, device.id + mark),
                *(_peak_cell(device, dtype) for dtype in _SHOWN),
                Cell(device.memory_bytes, f"{gib:.1f}"),
                Cell(bandwidth, f"{bandwidth / 1e9:,.0f}"),
                Cell(device.tdp_w, "-" if device.tdp_w is None else f"{device.tdp_w:g}"),
            ]
        )
    columns = ["device", *_SHOWN, "GiB", "GB/s", "W"]
    keys = ("id", *(f"{d}_flops_per_s" for d in _SHOWN), "memory_bytes", "memory_bandwidth_bytes_per_s", "tdp_w")
    return Table("", columns, rows, keys=keys, align="l" + "r" * (len(columns) - 1), spare=("W", "fp32", "tf32", "fp4"))


def _peak_cell(device: Device, dtype: str) -> Cell:
    peak = device.peaks.get(dtype)
    if peak is None:
        return Cell(None, "-")
    tflops = peak / 1e12
    return Cell(peak, f"{tflops:,.0f}" if tflops >= 1000 else f"{tflops:.4g}")


def _source(device: Device, source: str) -> str:
    return text_of_source(device.sources.get(source, source))


def sources(device: Device) -> Iterator[tuple[str, str, str]]:
    """(figure, value with unit, where it can be looked up) of everything the file says."""
    for name, value, source in _figures(device):
        yield name, value, _source(device, source)


def _figures(device: Device) -> Iterator[tuple[str, str, str]]:
    """(figure, value with unit, source key) of everything the file says."""
    for dtype in DTYPES:
        if dtype in device.peak:
            peak = device.peak[dtype]
            text = f"{peak.tflops:g} TFLOP/s ({peak.engine}, {peak.accumulate} accumulate)"
            yield f"{dtype} peak", text, peak.source
    for other in device.other_peaks:
        text = f"{other.tflops:g} TFLOP/s ({other.engine}, {other.accumulate} accumulate)"
        yield f"{other.dtype}, also", text, other.source
    if device.units:
        yield "units", f"{device.units} {device.unit or 'units'}", ""
    if device.clock_hz and device.clock is not None:
        yield "clock behind the peak", f"{device.clock_hz / 1e6:g} MHz", device.clock.source
    memory = device.memory
    shared = ", shared with the host" if memory.unified else ""
    capacity = f"{memory.capacity.mib / 1024:.1f} GiB {memory.type}{shared}"
    yield "memory", capacity, memory.capacity.source
    yield "memory bandwidth", f"{memory.bandwidth.gb_per_s:g} GB/s", memory.bandwidth.source
    for cache in device.caches:
        speed = "" if cache.gb_per_s is None else f", {cache.gb_per_s:g} GB/s"
        yield f"cache {cache.level}", f"{cache.mib:g} MiB{speed}", cache.source
    for key, link in device.links.items():
        reach = f", {link.devices:,} devices" if link.devices > 1 else ""
        label = {"scale_up": "link", "pcie": "PCIe", "bridge": "bridge (--topology bridge)", "c2c": "CPU link"}[key]
        yield label, f"{link.name}: {link.gb_per_s:g} GB/s one way{reach}", link.source
    if device.between is not None:
        reached = device.between.reaches(device.links["pcie"].gb_per_s)
        kind = next((kind for kind, host in hosts().items() if host == device.between), "as given")
        assumed = "" if device.host else "assumes "
        yield "cards of a node", f"{assumed}{kind}: {reached}", device.between.source
    if device.node is not None:
        net = device.node.network_gbit_per_s
        text = format_number(device.node.devices, "device") + ("" if net is None else f", {net:g} Gbit/s each")
        yield "usual node", text, device.node.source
    if device.power is not None:
        yield "power", f"{device.power.tdp_w:g} W", device.power.source
    if device.best_matmul is not None:
        text = ", ".join(f"{dtype} {tflops:g}" for dtype, tflops in device.best_matmul.tflops.items())
        yield "best measured matmul", f"{text} TFLOP/s", device.best_matmul.source


def _tables(device: Device) -> Iterator[Table]:
    rows = [[name, value, source] for name, value, source in _figures(device)]
    yield Table(f"{device.name} ({device.id})", ["figure", "value", "source"], rows, align="lll")
    yield Table("Sources", ["key", "source"], [[k, text_of_source(v)] for k, v in device.sources.items()], align="ll")
    if device.wrong:
        rows = [[w.figure, f"{w.value:g} {w.unit}", w.why] for w in device.wrong]
        yield Table("What others wrongly print", ["figure", "value", "why it is wrong"], rows, align="lll")
    if device.settled:
        rows = [[item.figure, item.note] for item in device.settled]
        yield Table("Disagreements settled", ["figure", "how"], rows, align="ll")


def _notes(device: Device) -> list[str]:
    names = ", ".join(device.nvml_names) or "none known"
    notes = [f"Confidence: {device.confidence}. Names that its driver lists: {names}."]
    if device.num_devices is not None:
        notes.append(f"The name stands for {device.num_devices:,} devices: '-d' means as many without --num-devices.")
    notes += [f"Note: {caveat}." for caveat in (*device.caveats, *device.family.caveats)]
    if device.checked_against:
        notes.append(f"Checked against: {'; '.join(device.checked_against)}.")
    return notes
