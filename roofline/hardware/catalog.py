"""The devices of the catalog: a file of ``devices/`` or a row of ``boards.csv``, each completed by its architecture."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from ..gate import gated
from ..reading import read_packaged
from .architecture import Architecture
from .database import default_measured, facts, ids, load_architecture, read_head
from .device import Device, Figures
from .host import WITH_P2P, WITHOUT_P2P, Host, HostKind
from .measured import Measured, Origin, merge


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a device is called: the keys of its file before the first table."""

    id: str
    name: str
    vendor: str
    kind: str
    architecture: str
    confidence: str = "high"
    nvml_names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    rare: bool = False


@lru_cache(maxsize=1)
def _files() -> frozenset[str]:
    return frozenset(ids("devices"))


@gated()
@lru_cache(maxsize=1)
def device_ids() -> tuple[str, ...]:
    """Ids of the catalog, sorted."""
    from . import boards

    return tuple(sorted({*_files(), *boards.rows()}))


def is_device_id(word: str) -> bool:
    """Whether a word is exactly an id of the catalog; the boards are read only where no file has the name."""
    if word in _files():
        return True
    from . import boards

    return word in boards.rows()


@lru_cache(maxsize=512)
def catalog_device(device_id: str) -> Device:
    """The device of the catalog with exactly this id; reads its file (or the boards) and its architecture's alone."""
    return complete(_figures(device_id))


def _figures(device_id: str) -> Figures:
    if device_id in _files():
        return read_packaged(facts() / "devices" / f"{device_id}.toml", Figures)
    from . import boards

    return boards.figures(boards.board(boards.rows()[device_id]))


def all_devices() -> tuple[Device, ...]:
    """Every device of the catalog (reads all files, a quarter of a second)."""
    return tuple(catalog_device(device_id) for device_id in device_ids())


@lru_cache(maxsize=1)
def heads() -> dict[str, Head]:
    """What every device of the catalog is called, by id; reads no more than that (thirty milliseconds)."""
    from . import boards

    found = {name: msgspec.convert(read_head(facts() / "devices" / f"{name}.toml"), Head) for name in _files()}
    for row in boards.rows().values():
        board = boards.board(row)
        found[board.id] = Head(
            id=board.id,
            name=board.name,
            vendor=board.name.split()[0],
            kind=boards.device_kind(board),
            architecture=board.architecture,
            confidence=board.confidence,
            nvml_names=board.names,
            rare=board.rare is not None,
        )
    return dict(sorted(found.items()))


def of_architecture(key: str) -> tuple[Device, ...]:
    """The devices of the catalog that one architecture file describes."""
    return tuple(catalog_device(head.id) for head in heads().values() if head.architecture == key)


def complete(figures: Figures) -> Device:
    """The device that figures describe, with what its architecture adds.

    Raises:
        HardwareError: no such architecture, or a broken table of measured efficiencies.
    """
    stated = {name: getattr(figures, name) for name in Figures.__struct_fields__}
    family = load_architecture(figures.architecture)
    return Device(
        **stated,
        family=family,
        measured=_measured(figures),
        between=_host(figures, family),
        num_devices=figures.num_devices if isinstance(figures, Device) else None,
    )


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
    if not figures.measured_tables:
        return _measured_of_family(figures.architecture)
    return merge([*_family_layers(figures.architecture), ("device", figures.measured_tables)])


@lru_cache(maxsize=64)
def _measured_of_family(key: str) -> Measured:
    return merge(_family_layers(key))


def _family_layers(key: str | None) -> list[tuple[Origin, dict[str, Any]]]:
    """Tables of the defaults, of an architecture's parents and of itself, the most general first."""
    layers: list[tuple[Origin, dict[str, Any]]] = []
    while key is not None:
        architecture = load_architecture(key)
        layers.append(("architecture", architecture.measured))
        key = architecture.parent
    layers.append(("default", default_measured()))
    return layers[::-1]
