"""Finds a device by the name a driver or a person gives it, and refuses to guess."""

from __future__ import annotations

import re

from ..errors import shown
from .catalog import all_devices, catalog_device, device_ids
from .device import Device
from .errors import HardwareError, nearest, quoted

_REMEDY = "('roofline devices' lists all; a path to a .toml works too)"
_VENDOR_PREFIX = re.compile(r"^(nvidia|amd|intel|google|aws|apple)\s+", re.IGNORECASE)
_MOST_SHOWN = 8


def tokens(word: str) -> tuple[str, ...]:
    """Whole words of a name: letters and digits, lower case.

    >>> tokens("NVIDIA GB300"), "b300" in tokens("NVIDIA GB300")
    (('nvidia', 'gb300'), False)
    """
    return tuple(re.findall(r"[a-z0-9]+", word.lower()))


def by_driver_name(name: str) -> Device | None:
    """The device whose driver reports exactly this name; case and a leading "NVIDIA" do not matter.

    Old drivers leave the prefix out ("A100-SXM4-40GB"). None where no file lists the name.
    """
    wanted = " ".join(name.split()).casefold()
    bare = _VENDOR_PREFIX.sub("", wanted)
    without_prefix = None
    for device in all_devices():
        for known in device.nvml_names:
            full = known.casefold()
            if full == wanted:
                return device
            if _VENDOR_PREFIX.sub("", full) == bare:
                without_prefix = device
    return without_prefix


def find(word: str) -> Device:
    """The device a word names: an id in any spelling of case and dashes, an alias, or a driver's exact name.

    Raises:
        HardwareError: several devices fit (they are listed), or none does (the nearest are).
    """
    wanted = tokens(word)
    for device_id in device_ids():
        if tokens(device_id) == wanted:
            return catalog_device(device_id)
    family = variants(word)
    # "A100" is what people call four boards: a bare family word asks back. A driver's full name does not.
    if len(family) < 2 or wanted[:1] == ("nvidia",):
        for device in all_devices():
            if any(tokens(alias) == wanted for alias in device.aliases):
                return device
        named = by_driver_name(word)
        if named is not None:
            return named
    raise HardwareError(_not_found(word, family))


def variants(word: str) -> list[str]:
    """Ids that hold every whole word of `word`, e.g. all boards called H100.

    >>> variants("h200")
    ['h200-nvl-141gb', 'h200-sxm-141gb']
    """
    wanted = {
        token for token in tokens(word) if token not in {"nvidia", "amd", "intel", "google", "aws", "apple", "gpu"}
    }
    if not wanted:
        return []
    return [device_id for device_id in device_ids() if wanted <= set(tokens(device_id))]


def _not_found(word: str, family: list[str]) -> str:
    if len(family) > 1:
        listed = family[:_MOST_SHOWN]
        more = f" and {len(family) - len(listed)} more" if len(family) > len(listed) else ""
        return f"ambiguous device {shown(word)}: which one, {quoted(listed)}{more}? {_REMEDY}"
    close = family or _nearest(word)
    hint = f": did you mean {quoted(close)}?" if close else ""
    return f"unknown device {shown(word)}{hint} {_REMEDY}"


def _nearest(word: str) -> list[str]:
    """Ids that look most like the word: those it starts, then those of the nearest family or name."""
    starts = [device_id for device_id in device_ids() if word and device_id.startswith(word.lower())]
    if starts:
        return starts[:_MOST_SHOWN]
    parts = (part for device_id in device_ids() for part in device_id.split("-")[:2])
    families = dict.fromkeys(part for part in parts if re.search(r"\d", part) and not part.startswith("sxm"))
    for family in nearest(word.lower(), families, 1):
        return [device_id for device_id in device_ids() if family in device_id.split("-")][:_MOST_SHOWN]
    named = {name.lower(): device.id for device in all_devices() for name in (*device.nvml_names, *device.aliases)}
    close = nearest(word.lower(), [*device_ids(), *named])
    return list(dict.fromkeys(named.get(name, name) for name in close))
