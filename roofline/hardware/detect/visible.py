"""Which GPUs a process may use: CUDA_VISIBLE_DEVICES and AMD's variables, by UUID, MIG UUID or number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...reading import whole_number
from .gpu import Gpu, MigSlice


def visible(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[list[Gpu], list[str]]:
    """The GPUs that CUDA would show, in its order, and what to know about it.

    NVML lists every GPU in PCI order whatever the environment says. CUDA numbers them fastest first unless
    CUDA_DEVICE_ORDER=PCI_BUS_ID, and stops at the first entry it does not know (CUDA C++ programming guide,
    environment variables).
    """
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return list(gpus), _one_slice(gpus)
    notes = [f"CUDA_VISIBLE_DEVICES={wanted} is honoured"]
    shown: list[Gpu] = []
    by_number = False
    for entry in (part.strip() for part in wanted.split(",")):
        gpu = _one(gpus, entry)
        if gpu is None:
            if entry not in {"", "-1", "NoDevFiles"}:
                notes.append(f"no GPU '{entry}': CUDA ignores it and what follows")
            break
        by_number = by_number or whole_number(entry) is not None
        if gpu not in shown:
            shown.append(gpu)
        if entry.startswith("MIG-"):
            if not wanted.endswith(entry):
                notes.append(f"CUDA gives a process one MIG slice: {entry}, and ignores what follows")
            break
    in_pci_order = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if by_number and not in_pci_order and len({gpu.name for gpu in gpus}) > 1:
        notes.append(
            "the GPUs differ and CUDA numbers them fastest first, not in PCI order as here: "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID or name them by UUID"
        )
    if not shown:
        notes.append("CUDA shows no GPU to this process")
    return shown, notes + _one_slice(shown)


def _one_slice(gpus: Sequence[Gpu]) -> list[str]:
    """What to know where several MIG slices are listed (NVIDIA MIG user guide, CUDA visibility)."""
    if sum(len(gpu.mig) for gpu in gpus) < 2:
        return []
    return ["CUDA gives a process one MIG slice: name it in CUDA_VISIBLE_DEVICES by its MIG UUID"]


def visible_amd(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[list[Gpu], list[str]]:
    """The GPUs that ROCm would show: ROCR_VISIBLE_DEVICES first, then HIP's variable counts among those."""
    shown, notes = list(gpus), []
    hip = "HIP_VISIBLE_DEVICES" if "HIP_VISIBLE_DEVICES" in environment else "CUDA_VISIBLE_DEVICES"
    for variable in ("ROCR_VISIBLE_DEVICES", hip):
        wanted = environment.get(variable)
        if wanted is None:
            continue
        notes.append(f"{variable}={wanted} is honoured")
        chosen: list[Gpu] = []
        for entry in (part.strip() for part in wanted.split(",")):
            gpu = _one(shown, entry)
            if gpu is None:
                break
            if gpu not in chosen:
                chosen.append(gpu)
        shown = chosen
    return shown, notes


def _one(gpus: Sequence[Gpu], entry: str) -> Gpu | None:
    place = whole_number(entry)
    if place is not None:
        return gpus[place] if place < len(gpus) else None
    if entry.startswith("GPU-"):  # a prefix that fits one GPU is enough
        fits = [gpu for gpu in gpus if gpu.uuid is not None and gpu.uuid.startswith(entry)]
        return fits[0] if len(fits) == 1 else None
    if entry.startswith("MIG-"):
        for gpu in gpus:
            slices = [part for part in gpu.mig if _is_slice(gpu, part, entry)]
            if slices:
                return _only(gpu, slices[0])
    return None


def _is_slice(gpu: Gpu, part: MigSlice, entry: str) -> bool:
    """By the slice's UUID, or as drivers before 470 wrote it: MIG-GPU-uuid/GPU instance/compute instance."""
    if entry.startswith("MIG-GPU-"):
        return entry == f"MIG-{gpu.uuid}/{part.gpu_instance}/{part.compute_instance}"
    return part.uuid is not None and part.uuid.startswith(entry)


def _only(gpu: Gpu, part: MigSlice) -> Gpu:
    """`gpu` with one MIG slice."""
    from msgspec.structs import replace

    return replace(gpu, mig=(part,))
