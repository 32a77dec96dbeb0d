"""What this machine has, as people read it and as programs do."""

from __future__ import annotations

from typing import Any

from ..hardware import Device
from .devices import data as device_data
from .table import Cell, Shown, Table


def machine(detection: Any, cpu: Any, local: Device | None, why_not: str | None, replay: str | None = None) -> Shown:
    """The GPUs, the CPU, and what ``--device local`` makes of them, or why nothing.

    `replay` names the file that the GPUs were recorded in.
    """
    following = next_command(local, calibrated=local is not None and "calibration" in local.sources)
    data = {
        "gpus": [_gpu_json(found) for found in detection.gpus],
        "why_not": detection.why_not,
        "driver": detection.driver,
        "cpu": cpu,
        "local": None if local is None else device_data(local),
        "next": following,
        "replayed": replay is not None,  # the GPUs; the CPU is always this machine's
    }
    notes = list(detection.notes)
    if detection.why_not:
        notes.insert(0, f"No GPU: {detection.why_not}.")
    for found in detection.gpus:
        notes += [f"GPU {found.gpu.index}: {note}." for note in found.notes]
        if found.how != "exact name":
            notes.append(f"GPU {found.gpu.index}: {found.how}.")
    if replay is not None:
        notes.append(f"GPUs are those of {replay}; a recording holds no CPU: the CPU is this machine's.")
    notes += [f"CPU: {note}." for note in cpu.notes]
    if "avx512_bf16" in cpu.vector or "amx_bf16" in cpu.vector:
        notes.append(
            "CPU: it has bf16 instructions; where no clock is reported '--device local' measures its peaks with NumPy, "
            "which multiplies fp32 and fp64 only, so that it has no bf16 figure ('roofline calibrate' with PyTorch "
            "measures one)."
        )
    tables = ([_gpu_table(detection.gpus)] if detection.gpus else []) + [
        _cpu_table(cpu, "CPU" if replay is None else "CPU of this machine")
    ]
    if local is not None:
        tables.append(_local_table(local))
        notes += [f"{caveat.rstrip('.')}." for caveat in local.caveats if not any(caveat in note for note in notes)]
    if why_not is not None:
        notes.append(f"{why_not}.")
    notes.append(f"Next: {following}")
    return Shown(data, tables, list(dict.fromkeys(notes)))  # MIG slices of one GPU share their notes


def _gpu_json(found: Any) -> dict[str, Any]:
    gpu = found.gpu
    return {
        "index": gpu.index,
        "name": gpu.name,
        "uuid": gpu.uuid,
        "pci_bus_id": gpu.pci_bus_id,
        "device": None if found.device is None else found.device.id,
        "how": found.how,
        "mig_slice": found.slice_name,
        "notes": list(found.notes),
        "figures": None if found.device is None else device_data(found.device),
        "reported": gpu,
    }


def _gpu_table(gpus: Any) -> Table:
    rows = []
    for found in gpus:
        gpu, device = found.gpu, found.device
        memory = gpu.memory_bytes if device is None or found.slice_name is None else device.memory_bytes
        peak, rate = (
            ("-", "-") if device is None else (peak_of(device), f"{device.memory.bandwidth.gb_per_s:,.0f} GB/s")
        )
        power = "-" if gpu.power_limit_w is None else f"{gpu.power_limit_w:g} W"
        link = gpu.nvlink_gb_per_s
        derived = " (derived)" if device is not None and device.confidence == "derived" else ""
        rows.append(
            [
                gpu.index,
                found.slice_name or gpu.name or "?",
                "unknown" if device is None else device.id + derived,
                Cell(memory, "-" if memory is None else f"{memory / 2**30:.1f} GiB"),
                peak,
                rate,
                power,
                "-" if link is None else f"{link:g} GB/s",
            ]
        )
    columns = ["GPU", "name", "device", "memory", "peak", "bandwidth", "power limit", "NVLink"]
    return Table("GPUs", columns, rows)


def peak_of(device: Device) -> str:
    """The dense peak of the dtype that is trained in, in words."""
    for dtype in ("bf16", "fp16", "fp32"):
        if dtype in device.peaks:
            return f"{dtype} {device.peaks[dtype] / 1e12:.4g} TFLOP/s"
    return "-"


def next_command(local: Device | None, *, calibrated: bool) -> str:
    """What to type next on this machine."""
    estimate = "roofline estimate gpt2 --device local"
    if local is None or (local.kind == "cpu" and not calibrated):
        return f"roofline calibrate (measures this machine in half a minute), then {estimate}"
    return estimate


def _local_table(device: Device) -> Table:
    peaks = ", ".join(f"{dtype} {peak / 1e12:.4g}" for dtype, peak in device.peaks.items())
    rows = [
        ["device", device.name],
        ["peak", f"{peaks} TFLOP/s dense" if peaks else "-"],
        ["memory", f"{device.memory_bytes / 2**30:.1f} GiB at {device.memory.bandwidth.gb_per_s:,.4g} GB/s"],
    ]
    return Table("--device local", ["", ""], rows, align="ll")


def _cpu_table(cpu: Any, title: str) -> Table:
    caches = ", ".join(f"L{c.level} {c.count} x {c.kib_each:g} KiB" for c in cpu.caches) or "-"
    gib = "-" if cpu.memory_bytes is None else f"{cpu.memory_bytes / 2**30:.1f} GiB"
    clock = cpu.base_mhz or cpu.max_mhz
    quota = "" if cpu.cgroup_cpus is None else f", quota {cpu.cgroup_cpus:g}"
    rows = [
        ["model", cpu.model_name or "not reported"],
        ["microarchitecture", cpu.microarchitecture or "unknown"],
        ["cores for this process", f"{cpu.available_cores} of {cpu.physical_cores} physical{quota}"],
        ["threads", f"{cpu.available_cpus} of {cpu.logical_cpus} logical, {cpu.threads_per_core} per core"],
        ["sockets, NUMA nodes", f"{cpu.sockets}, {cpu.numa_nodes}"],
        ["clock", "not reported" if clock is None else f"{clock:g} MHz"],
        ["vector units", ", ".join(cpu.vector) or "-"],
        ["data caches", caches],
        ["memory", gib],
    ]
    return Table(title, ["", ""], rows, align="ll")
