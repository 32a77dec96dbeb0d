"""From the name that a driver lists to the device: boards that share one are told apart by what else it reports."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from . import boards
from .catalog import catalog_device, complete, heads
from .database import load_architecture
from .device import Device

_VENDOR_PREFIX = re.compile(r"^(nvidia|amd|intel|google|aws|apple|huawei)\s+", re.IGNORECASE)
_MEMORY_TOLERANCE = 0.06  # a driver lists up to 6 % less than what is sold (ECC, firmware)


def by_driver_name(
    name: str,
    *,
    pci_id: str | None = None,
    cuda_cores: int | None = None,
    memory_bytes: int | None = None,
    power_limit_w: float | None = None,
) -> Device | None:
    """The device whose driver reports exactly this name; case and a leading "NVIDIA" do not matter.

    Where boards share a name, the PCI id (four hexadecimal digits), then the cores, then the memory tell them apart;
    the power limit places a laptop between its power classes. None where no file lists the name, or several remain.
    """
    found = [catalog_device(key) for key in sharing(name)]
    for reported, agrees in _reported(pci_id, cuda_cores, memory_bytes):
        if reported is not None:
            found = [device for device in found if agrees(device, reported)] or found
    found = [device for device in found if not device.rare] or found
    if len(found) == 1:
        return found[0]
    families = {boards.laptop_family(device.id) for device in found}
    return _of_class(families.pop(), power_limit_w) if len(families) == 1 else None


def plain_name(name: str) -> str:
    """A card's name without what says that it is a virtual function, or that it is an OAM module of known form.

    >>> plain_name("AMD Instinct MI300X VF")
    'AMD Instinct MI300X'
    """
    words = " ".join(name.split())
    return words.removesuffix(" VF").removesuffix(" HF") if words.startswith(("AMD ", "Instinct ")) else words


def sharing(name: str) -> tuple[str, ...]:
    """Ids of the devices whose driver reports exactly this name (old drivers leave "NVIDIA" out)."""
    wanted = plain_name(name).casefold()
    full, without_prefix = _ids_by_name()
    return tuple(full.get(wanted) or without_prefix.get(_VENDOR_PREFIX.sub("", wanted)) or ())


@lru_cache(maxsize=1)
def _ids_by_name() -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    full: dict[str, list[str]] = {}
    bare: dict[str, list[str]] = {}
    for key, head in heads().items():
        for name in {known.casefold() for known in head.nvml_names}:
            full.setdefault(name, []).append(key)
            bare.setdefault(_VENDOR_PREFIX.sub("", name), []).append(key)
    return full, bare


def _reported(
    pci_id: str | None, cuda_cores: int | None, memory_bytes: int | None
) -> tuple[tuple[Any, Callable[[Device, Any], bool]], ...]:
    """What a driver reports beside the name, the surest first, and whether a device agrees with it."""
    return ((pci_id, _has_pci_id), (cuda_cores, _has_cores), (memory_bytes, _has_memory))


def _has_pci_id(device: Device, pci_id: str) -> bool:
    return pci_id.upper() in boards.rows().get(device.id, {}).get("pci_ids", "").split()


def _has_cores(device: Device, cuda_cores: int) -> bool:
    rates = load_architecture(device.architecture).flops_per_cycle.get(device.variant or "")
    return bool(rates and rates.lanes and device.units) and device.units * rates.lanes == cuda_cores  # type: ignore[union-attr,operator]


def _has_memory(device: Device, memory_bytes: int) -> bool:
    return abs(memory_bytes / device.memory_bytes - 1) < _MEMORY_TOLERANCE


def _of_class(family: str, power_limit_w: float | None) -> Device:
    """A laptop's chip at its power limit; at its highest class where the limit is not known or above it."""
    if power_limit_w is not None:
        low, high = boards.power_classes(family)
        if power_limit_w < high:
            return complete(boards.figures(boards.at_power(family, max(power_limit_w, low))))
    return catalog_device(family)
