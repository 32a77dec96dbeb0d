"""Which GPUs a process may use: CUDA_VISIBLE_DEVICES, by UUID, MIG UUID or number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .gpu import Gpu


def visible(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[list[Gpu], list[str]]:
    """The GPUs that CUDA would show, in its order, and what to know about it.

    NVML lists every GPU in PCI order whatever the environment says. CUDA numbers them fastest first unless
    CUDA_DEVICE_ORDER=PCI_BUS_ID, and stops at the first entry it does not know (CUDA C++ programming guide,
    environment variables).
    """
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return list(gpus), []
    notes = [f"CUDA_VISIBLE_DEVICES={wanted} is honoured"]
    shown: list[Gpu] = []
    by_number = False
    for entry in (part.strip() for part in wanted.split(",")):
        gpu = _one(gpus, entry)
        if gpu is None:
            if entry not in {"", "-1", "NoDevFiles"}:
                notes.append(f"no GPU '{entry}': CUDA ignores it and what follows")
            break
        by_number = by_number or entry.isdigit()
        if gpu not in shown:
            shown.append(gpu)
    in_pci_order = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if by_number and not in_pci_order and len({gpu.name for gpu in gpus}) > 1:
        notes.append(
            "the GPUs differ and CUDA numbers them fastest first, not in PCI order as here: "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID or name them by UUID"
        )
    if not shown:
        notes.append("CUDA shows no GPU to this process")
    return shown, notes


def _one(gpus: Sequence[Gpu], entry: str) -> Gpu | None:
    if entry.isdigit():
        return gpus[int(entry)] if int(entry) < len(gpus) else None
    if entry.startswith("GPU-"):  # a prefix that fits one GPU is enough
        fits = [gpu for gpu in gpus if gpu.uuid is not None and gpu.uuid.startswith(entry)]
        return fits[0] if len(fits) == 1 else None
    if entry.startswith("MIG-"):
        for gpu in gpus:
            slices = [part for part in gpu.mig if part.uuid is not None and part.uuid.startswith(entry)]
            if slices:
                return _only(gpu, slices[0].uuid)
    return None


def _only(gpu: Gpu, uuid: str | None) -> Gpu:
    """`gpu` with one MIG slice."""
    from msgspec.structs import replace

    return replace(gpu, mig=tuple(part for part in gpu.mig if part.uuid == uuid))
