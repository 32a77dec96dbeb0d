"""The GPUs of this machine, matched to the catalog, with everything a user should know about them."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from ..device import Device
from ..errors import HardwareError
from .gpu import Gpu, read_gpus
from .match import MEMORY_TOLERANCE, as_found, match, mig_device
from .nvml import Library, Nvml, NvmlError
from .visible import visible, visible_amd

_GOES_ON = "estimates work without it: pass --device"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU (or MIG slice) this process may use, the device it is, and how that was decided."""

    gpu: Gpu
    device: Device | None
    how: str
    notes: tuple[str, ...] = ()
    slice_name: str | None = None


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """The GPUs of this machine; `why_not` is one line where there is none."""

    gpus: tuple[Found, ...] = ()
    why_not: str | None = None
    notes: tuple[str, ...] = ()
    driver: str | None = None


def system_memory_bytes(path: str = "/proc/meminfo") -> int | None:
    """Total memory of the host, where the system says."""
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.startswith("MemTotal:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def detect_gpus(
    nvml: Nvml | None = None,
    environment: Mapping[str, str] | None = None,
    host_memory_bytes: int | None = None,
) -> Detection:
    """The NVIDIA GPUs of this machine (AMD's where amdsmi is installed); never raises.

    Args:
        nvml: A recording instead of the library of this machine.
        environment: Instead of the process's environment (CUDA_VISIBLE_DEVICES, and AMD's variables).
        host_memory_bytes: The host's memory, for GPUs that share it.
    """
    environment = os.environ if environment is None else environment
    memory = host_memory_bytes or system_memory_bytes()
    recorded = nvml is not None
    nvml = nvml or Library()
    try:
        gpus = read_gpus(nvml, system_memory_bytes=memory)
    except NvmlError as error:
        why = f"{error.sentence}; {_GOES_ON}"
        return Detection(why_not=why) if recorded else _amd_or(Detection(why_not=why), environment)
    try:
        driver = nvml.call("nvmlSystemGetDriverVersion")
    except NvmlError:
        driver = None
    shown, notes = visible(gpus, environment)
    found = tuple(item for gpu in shown for item in _found(gpu))
    kinds = sorted({item.gpu.name for item in found if item.gpu.name is not None})
    if len(kinds) > 1:
        notes.append(f"the GPUs differ ({', '.join(kinds)}): the slowest sets the pace of a common run")
    why_not = None if found else f"{'no GPU is visible' if gpus else 'the driver lists no GPU'}; {_GOES_ON}"
    return Detection(gpus=found, why_not=why_not, notes=tuple(notes), driver=driver)


def _amd_or(nothing: Detection, environment: Mapping[str, str]) -> Detection:
    """What amdsmi finds and ROCm shows, else `nothing`."""
    from .amd import read_amd_gpus

    gpus = read_amd_gpus()
    if not gpus:
        return nothing
    shown, notes = visible_amd(gpus, environment)
    why_not = None if shown else f"no GPU is visible; {_GOES_ON}"
    found = tuple(item for gpu in shown for item in _found(gpu))
    return Detection(gpus=found, why_not=why_not, notes=tuple(notes))


def _found(gpu: Gpu) -> list[Found]:
    """A GPU as one entry, or one entry per MIG slice."""
    device, how = match(gpu)
    if gpu.mig_enabled:
        return _slices(gpu, device, how)
    if device is not None and device.confidence != "derived":
        device = as_found(device, gpu)
    return [Found(gpu=gpu, device=device, how=how, notes=tuple(_notes(gpu, device)))]


def _slices(gpu: Gpu, device: Device | None, how: str) -> list[Found]:
    if not gpu.mig:
        why = "MIG is on and no slice is visible: create one, or pass it to the container"
        return [Found(gpu=gpu, device=None, how=how, notes=(why,))]
    entries = []
    for part in gpu.mig:
        scaled = None if device is None else mig_device(device, gpu, part)
        note = "MIG is on: these are the slice's figures, not the card's"
        if scaled is None:
            note = "MIG is on and the slice's size is not reported: the card's figures would be wrong for it"
        entries.append(Found(gpu=gpu, device=scaled, how=how, notes=(note,), slice_name=part.name))
    return entries


def _notes(gpu: Gpu, device: Device | None) -> list[str]:
    notes = []
    if gpu.unified_memory:
        notes.append("unified memory, shared with the host: size taken from the system")
    if gpu.power_limit_w and gpu.power_default_w and gpu.power_limit_w < 0.98 * gpu.power_default_w:
        notes.append(
            f"power limit {gpu.power_limit_w:g} W is below the default {gpu.power_default_w:g} W: "
            "the peak will not be reached"
        )
    if device is not None:
        from ..lookup import by_driver_name

        listed = by_driver_name(gpu.name or "")
        if listed is not None and gpu.memory_bytes is not None and not gpu.unified_memory:
            ratio = gpu.memory_bytes / listed.memory_bytes
            if abs(ratio - 1) > MEMORY_TOLERANCE:
                notes.append(
                    f"the driver reports {gpu.memory_bytes / 2**30:.1f} GiB, the catalog "
                    f"{listed.memory_bytes / 2**30:.1f} GiB: the driver's is used (vGPU, ECC, other board)"
                )
        link = device.links.get("scale_up")
        if link is not None and gpu.nvlink_gb_per_s is not None and gpu.nvlink_gb_per_s < 0.98 * link.gb_per_s:
            notes.append(f"{gpu.nvlinks} NVLinks are active: {gpu.nvlink_gb_per_s:g} of {link.gb_per_s:g} GB/s one way")
    by_reason: dict[str, list[str]] = {}
    for field, why in sorted(gpu.failed.items()):
        by_reason.setdefault(why, []).append(field)
    notes += [f"not reported: {', '.join(fields)} ({why})" for why, fields in by_reason.items()]
    return notes


def first_gpu(detection: Detection) -> Device | None:
    """The device of the first GPU, None where there is no GPU.

    Raises:
        HardwareError: there is a GPU and its figures are not known, or the GPUs differ.
    """
    if not detection.gpus:
        return None
    kinds = {item.gpu.name: item for item in detection.gpus}
    if len(kinds) > 1:
        known = [(item.gpu.name, item.device.id if item.device else "unknown") for item in kinds.values()]
        names = ", ".join(f"{name} ({device_id})" for name, device_id in known)
        raise HardwareError(
            f"--device local: the GPUs of this machine differ: {names}; name one by its id, "
            "or choose with CUDA_VISIBLE_DEVICES"
        )
    first = detection.gpus[0]
    if first.device is None:
        raise HardwareError(f"--device local: {first.how}{'; ' + first.notes[0] if first.notes else ''}")
    return first.device
