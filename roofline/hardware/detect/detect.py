"""The GPUs of this machine, matched to the catalog, with everything a user should know about them."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from ..device import Device
from ..host import HostKind
from .amd import part_of, read_amd_gpus
from .found import as_found
from .gpu import Gpu, read_gpus
from .match import match
from .mig import mig_device, named_slice
from .nvml import Library, Nvml, NvmlError
from .peers import host_kind
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
    """The GPUs of this machine.

    Attributes:
        gpus: Each with the device it was taken for.
        why_not: Why none was found, in one line; None where some were.
        notes: What was noticed, as sentences.
        driver: Version of the driver; None without one.
        host: What joins those that share no fast link, where the driver says.
    """

    gpus: tuple[Found, ...] = ()
    why_not: str | None = None
    notes: tuple[str, ...] = ()
    driver: str | None = None
    host: HostKind | None = None


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
    nvml: Nvml | None = None, environment: Mapping[str, str] | None = None, host_memory_bytes: int | None = None
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
    found = tuple(item for gpu in shown for item in _found(gpu, len(shown) - 1))
    why_not = None if found else f"{'no GPU is visible' if gpus else 'the driver lists no GPU'}; {_GOES_ON}"
    slots = [gpu.pcie_generation for gpu in shown if gpu.pcie_generation is not None]
    host = host_kind(nvml, [gpu.index for gpu in shown], min(slots, default=None))
    return Detection(gpus=found, why_not=why_not, notes=tuple(notes), driver=driver, host=host)


def _amd_or(nothing: Detection, environment: Mapping[str, str]) -> Detection:
    """What amdsmi finds and ROCm shows, else `nothing`."""
    gpus = read_amd_gpus()
    if not gpus:
        return nothing
    shown, notes = visible_amd(gpus, environment)
    why_not = None if shown else f"no GPU is visible; {_GOES_ON}"
    found = tuple(item for gpu in shown for item in _found(gpu, len(shown) - 1))
    return Detection(gpus=found, why_not=why_not, notes=tuple(notes))


def _found(gpu: Gpu, others: int) -> list[Found]:
    """A GPU as one entry, or one entry per MIG slice."""
    device, how = match(gpu)
    if gpu.mig_enabled:
        return _slices(gpu, device, how)
    said: list[str] = []
    if device is not None:
        device, part = part_of(device, gpu)
        device, said = as_found(device, gpu, others=others)
        said = [*filter(None, [part]), *said]
        if how != "exact name" and device.confidence != "derived":
            said.append(how)
        device = msgspec.structs.replace(device, caveats=(*device.caveats, *said)) if said else device
    return [Found(gpu=gpu, device=device, how=how, notes=(*said, *_notes(gpu)))]


def _slices(gpu: Gpu, device: Device | None, how: str) -> list[Found]:
    if not gpu.mig:
        why = "MIG is on and no slice is visible: create one, or pass it to the container"
        return [Found(gpu=gpu, device=None, how=how, notes=(why,))]
    entries = []
    for part in gpu.mig:
        scaled = None if device is None else mig_device(device, gpu, part)
        if scaled is None and device is not None and part.name is not None:
            scaled = named_slice(device, part.name)
        note = "MIG is on: these are the slice's figures, not the card's"
        if scaled is None:
            note = "MIG is on and the slice's size is not reported: the card's figures would be wrong for it"
        entries.append(Found(gpu=gpu, device=scaled, how=how, notes=(note,), slice_name=part.name))
    return entries


def _notes(gpu: Gpu) -> list[str]:
    """What the driver does not say, and where the memory is from."""
    notes = []
    if gpu.unified_memory:
        notes.append("unified memory, shared with the host: size taken from the system")
    by_reason: dict[str, list[str]] = {}
    for field, why in sorted(gpu.failed.items()):
        by_reason.setdefault(why, []).append(field)
    notes += [f"not reported: {', '.join(fields)} ({why})" for why, fields in by_reason.items()]
    return notes
