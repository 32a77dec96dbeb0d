"""Reads the device files: one file for one device, strictly, and nothing else."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..reading import read_packaged
from .architecture import Architecture
from .device import Device, Figures
from .errors import HardwareError, nearest, quoted
from .host import WITH_P2P, WITHOUT_P2P, Host, HostKind
from .measured import Measured, Origin, merge

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


@lru_cache(maxsize=1)
def facts() -> Traversable:
    """The folder of facts (devices, architectures, measurements): ``facts`` in a wheel, ``hardware`` in a checkout."""
    here = Path(__file__).parent
    for folder in (here / "facts", here.parent.parent / "hardware"):
        devices = folder / "devices"
        if devices.is_dir():  # plain files: importlib.resources costs as much as reading ten devices
            return folder
    from importlib.resources import files

    return files("roofline.hardware") / "facts"


def _ids(folder: str) -> tuple[str, ...]:
    names = (entry.name for entry in (facts() / folder).iterdir())
    return tuple(sorted(name[:-5] for name in names if name.endswith(".toml")))


@lru_cache(maxsize=1)
def device_ids() -> tuple[str, ...]:
    """Ids of the catalog, sorted."""
    return _ids("devices")


@lru_cache(maxsize=1)
def architecture_ids() -> tuple[str, ...]:
    """Keys of the architecture files, sorted; without ``default``, the fallback of all."""
    return tuple(name for name in _ids("architectures") if name != "default")


@lru_cache(maxsize=256)
def catalog_device(device_id: str) -> Device:
    """The device of the catalog with exactly this id; reads its file and its architecture's alone."""
    return complete(read_packaged(facts() / "devices" / f"{device_id}.toml", Figures))


def all_devices() -> tuple[Device, ...]:
    """Every device of the catalog (reads all files, a tenth of a second)."""
    return tuple(catalog_device(device_id) for device_id in device_ids())


@lru_cache(maxsize=64)
def load_architecture(key: str) -> Architecture:
    """The architecture file `key`.

    Raises:
        HardwareError: no such architecture.
    """
    if key not in architecture_ids():
        close = nearest(key, architecture_ids())
        raise HardwareError(
            f"unknown architecture '{key}'{': did you mean ' + quoted(close) + '?' if close else ''} "
            f"(allowed: {', '.join(architecture_ids())})"
        )
    return read_packaged(facts() / "architectures" / f"{key}.toml", Architecture)


def complete(figures: Figures) -> Device:
    """The device that figures describe, with what its architecture adds.

    Raises:
        HardwareError: no such architecture, or a broken table of measured efficiencies.
    """
    stated = {name: getattr(figures, name) for name in Figures.__struct_fields__}
    family = load_architecture(figures.architecture)
    return Device(**stated, family=family, measured=_measured(figures), between=_host(figures, family))


@lru_cache(maxsize=1)
def hosts() -> dict[HostKind, Host]:
    """The kinds of hosts, by their word."""
    return read_packaged(facts() / "hosts.toml", dict[HostKind, Host])


def _host(figures: Figures, family: Architecture) -> Host | None:
    """The host that is stated, else the kind assumed of such boards; None where a fast link joins the node."""
    if not isinstance(figures.host, Host | None):
        return hosts()[figures.host]
    if figures.host is not None or not figures.needs_host:
        return figures.host
    rates = family.flops_per_cycle.get(figures.variant or "")
    return hosts()[WITH_P2P if rates is None or rates.p2p else WITHOUT_P2P]


def _measured(figures: Figures) -> Measured:
    layers: list[tuple[Origin, dict[str, Any]]] = [("device", figures.measured_tables)]
    key: str | None = figures.architecture
    while key is not None:
        architecture = load_architecture(key)
        layers.append(("architecture", architecture.measured))
        key = architecture.parent
    layers.append(("default", _defaults()))
    return merge(reversed(layers))


@lru_cache(maxsize=1)
def _defaults() -> dict[str, Any]:
    return read_packaged(facts() / "architectures" / "default.toml", dict[str, Any])["measured"]
