"""What this machine has, as people read it and as programs do."""

from __future__ import annotations

from typing import Any

from .devices import data as device_data
from .table import Cell, Shown, Table


def machine(detection: Any, cpu: Any, replay: str | None = None) -> Shown:
    """The GPUs and the CPU; `replay` names the file that the GPUs were recorded in."""
    data = {
        "gpus": [_gpu_json(found) for found in detection.gpus],
        "why_not": detection.why_not,
        "driver": detection.driver,
        "cpu": cpu,
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
        clock = "-" if gpu.max_sm_mhz is None else f"{gpu.max_sm_mhz} MHz"
        power = "-" if gpu.power_limit_w is None else f"{gpu.power_limit_w:g} W"
        link = gpu.nvlink_gb_per_s
        derived = " (derived)" if device is not None and device.confidence == "derived" else ""
        rows.append(
            [
                gpu.index,
                found.slice_name or gpu.name or "?",
                "unknown" if device is None else device.id + derived,
                Cell(memory, "-" if memory is None else f"{memory / 2**30:.1f} GiB"),
                clock,
                power,
                "-" if link is None else f"{link:g} GB/s",
            ]
        )
    columns = ["GPU", "name", "device", "memory", "max clock", "power limit", "NVLink"]
    return Table("GPUs", columns, rows)


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
