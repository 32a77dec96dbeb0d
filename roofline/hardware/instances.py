"""Cloud instances and systems: a name stands for a device, how many, their links and their network. No prices."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import msgspec

from .catalog import catalog_device, complete
from .database import facts, from_row, read_csv
from .device import Device
from .errors import HardwareError
from .sections import Citation, Link, LinkKey, Node
from .words import tokens

_PREFIXES = ("standard", "ml")  # Azure's, and Amazon SageMaker's, which people leave out or put in


class Instance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One row of ``instances.csv``.

    Attributes:
        name: As the provider writes it; ends in ``-N`` where a number says the size (``v5p-N``).
        aliases: Other spellings, separated by ``|``.
        device: Id of the device.
        devices: How many the name stands for.
        devices_per_n: The same per N of the name: a TPU v5p slice counts two cores per chip.
        node_devices: Devices of one host, where that differs from `devices`.
        link: What joins the devices of a domain; empty where they have PCIe alone, or are alone.
        link_gb_per_s: GB/s one way per device; empty where it is the device's own.
        link_devices: Devices of one domain.
        network_gbit_per_s: Network per device, one way; empty where nobody states it.
        network: Its kind.
        sources: ``document: place``, separated by ``|``; ``recalled: ...`` was not opened.
    """

    name: str
    provider: str
    device: str
    confidence: Literal["high", "medium", "low"]
    sources: str
    aliases: str = ""
    devices: int | None = None
    devices_per_n: float | None = None
    node_devices: int | None = None
    link: str | None = None
    link_gb_per_s: float | None = None
    link_devices: int | None = None
    network_gbit_per_s: float | None = None
    network: str | None = None
    note: str | None = None

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every name it goes by."""
        return (self.name, *(alias.strip() for alias in self.aliases.split("|") if alias.strip()))

    @property
    def source(self) -> str | Citation:
        """The first document it was taken from, with the place."""
        key, _, place = self.sources.split("|")[0].strip().partition(": ")
        return self.sources if key == "recalled" else Citation(document=key, place=place)


@lru_cache(maxsize=1)
def instances() -> tuple[Instance, ...]:
    """The instances and systems of the catalog, in the order of the table."""
    return tuple(instance(row) for row in read_csv(facts() / "instances.csv"))


def instance(row: dict[str, str], place: str = "instances.csv") -> Instance:
    """An instance from the cells of its row.

    Raises:
        HardwareError: an unknown or missing column, or a cell of the wrong type (file, row, column).
    """
    return from_row(row, Instance, place)


def named(word: str) -> tuple[Instance, int] | None:
    """The instance a word names, and how many devices that is; None where no instance is called that.

    Raises:
        HardwareError: a size that the instance does not come in.
    """
    wanted = _spelt(word)
    for one in instances():
        for name in one.spellings:
            if one.devices is not None and _spelt(name) == wanted:
                return one, one.devices
            if one.devices_per_n is not None and name.endswith("-N"):
                match = re.fullmatch(re.escape(_spelt(name[:-2])) + r"(\d{1,9})", wanted)
                # "v5p-8", not "v5p8": a number of its own
                if match and tokens(word)[-1] == match[1]:
                    return one, _count(one, int(match[1]), word)
    return None


def _spelt(word: str) -> str:
    words = tokens(word)
    return "".join(words[1:] if words[:1] and words[0] in _PREFIXES else words)


def _count(one: Instance, number: int, word: str) -> int:
    assert one.devices_per_n is not None
    chips = number * one.devices_per_n
    if chips < 1 or chips != int(chips):
        raise HardwareError(f"{word}: {one.name} counts {1 / one.devices_per_n:g} per chip: give a multiple of that")
    return int(chips)


def like(word: str) -> list[str]:
    """Names of the instances of a family that a word begins, e.g. ``p5``."""
    wanted = _spelt(word)
    return [one.name for one in instances() if wanted and _spelt(one.name).startswith(wanted)]


def device_of(one: Instance, count: int) -> Device:
    """The device of an instance, with the links, network and number of devices that it has there.

    Raises:
        HardwareError: no such device.
    """
    device = catalog_device(one.device)
    size = min(one.node_devices or count, count)
    node = Node(
        devices=size,
        source="instance",
        network_gbit_per_s=one.network_gbit_per_s,
        network_source=None if one.network_gbit_per_s is None else "instance",
    )
    caveats = device.caveats
    if one.confidence == "low":
        caveats = (*caveats, f"{one.name}: its name and its network were not looked up at {one.provider}")
    if one.note:
        caveats = (*caveats, f"{one.name}: {one.note}")
    there = msgspec.structs.replace(
        device,
        sources={**device.sources, "instance": one.source},
        caveats=caveats,
        links=_links(one, device, count),
        node=node,
        num_devices=count,
    )
    return complete(there)  # what joins the devices of a node may be the host now


def _links(one: Instance, device: Device, count: int) -> dict[LinkKey, Link]:
    """The device's links as they are there: a single device has none to others, a domain may be larger or smaller."""
    links = dict(device.links)
    if one.link is None:
        links.pop("scale_up", None)
        return links
    own = device.links.get("scale_up")
    rate = one.link_gb_per_s or (own.gb_per_s if own else None)
    if rate is not None:
        size = one.link_devices or count
        links["scale_up"] = Link(name=one.link, gb_per_s=rate, devices=size, source="instance")
    return links
