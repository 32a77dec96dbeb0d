"""What this machine has, as people read it and as programs do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..hardware import Device
from .devices import data as device_data
from .html.pieces import answer, table
from .table import Cell, Table

if TYPE_CHECKING:
    from ..hardware.detect.answer import Machine
    from ..hardware.detect.cpu import Cpu


def data(result: Machine) -> dict[str, Any]:
    """The JSON object."""
    return {
        "gpus": [_gpu_json(found) for found in result.gpus],
        "why_not": result.why_not,
        "driver": result.driver,
        "cpu": result.cpu,
        "local": None if result.local is None else device_data(result.local),
        "next": _following(result),
        "replayed": result.replayed is not None,  # the GPUs; the CPU is always this machine's
    }


def tables(result: Machine) -> list[Table]:
    """The GPUs, the CPU, and the device that they are to an estimate."""
    found = [_gpu_table(result.gpus)] if result.gpus else []
    found.append(_cpu_table(result.cpu, "CPU" if result.replayed is None else "CPU of this machine"))
    return found if result.local is None else [*found, _local_table(result.local)]


def pieces(result: Machine) -> list[str]:
    """What there is in a few words, and the tables."""
    names = [found.slice_name or found.gpu.name or "unknown GPU" for found in result.gpus]
    counts = [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]
    first = answer("This machine", ", ".join(counts) or result.cpu.model_name or "unknown CPU")
    return [first, *map(table, tables(result))]


def records(result: Machine) -> Table:
    """The GPUs, one a row; where there is none, the CPU."""
    return tables(result)[0]


def notes(result: Machine) -> list[str]:
    """Why there is no GPU, what is to be known of what there is, what to type next."""
    found = [f"No GPU: {result.why_not}."] if result.why_not else []
    found += result.notes
    for each in result.gpus:
        found += [f"GPU {each.gpu.index}: {note}." for note in each.notes]
        if each.how != "exact name":
            found.append(f"GPU {each.gpu.index}: {each.how}.")
    if result.replayed is not None:
        found.append(f"GPUs are those of {result.replayed}; a recording holds no CPU: the CPU is this machine's.")
    found += _cpu_notes(result.cpu)
    if result.local is not None:
        caveats = [caveat for caveat in result.local.caveats if not any(caveat in note for note in found)]
        found += [f"{caveat.rstrip('.')}." for caveat in caveats]
    if result.no_local is not None:
        found.append(f"{result.no_local}.")
    return list(dict.fromkeys([*found, f"Next: {_following(result)}"]))  # MIG slices of one GPU share their notes


def _following(result: Machine) -> str:
    return next_command(result.local, calibrated=result.local is not None and "calibration" in result.local.sources)


def _cpu_notes(cpu: Cpu) -> list[str]:
    found = [f"CPU: {note}." for note in cpu.notes]
    if "avx512_bf16" in cpu.vector or "amx_bf16" in cpu.vector:
        found.append(
            "CPU: it has bf16 instructions; where no clock is reported '--device local' measures its peaks with NumPy, "
            "which multiplies fp32 and fp64 only, so that it has no bf16 figure ('roofline calibrate' with PyTorch "
            "measures one)."
        )
    return found


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
