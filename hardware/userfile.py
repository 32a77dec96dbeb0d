"""Reads a user's own device file: every mistake is one line with file, key, value and rule."""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec

from . import device as schema
from .catalog import read_toml
from .device import Device
from .errors import HardwareError, nearest
from .rules import problems

_PLACE = re.compile(r"(?P<what>.*?) - at `\$\.?(?P<place>.*)`$")
_FIELD = re.compile(r"`(?P<field>[^`]+)`$")


_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "": schema.Device,
    "clock": schema.Clock,
    "peak": schema.Peak,
    "other_peaks": schema.OtherPeak,
    "memory": schema.Memory,
    "memory.capacity": schema.Capacity,
    "memory.bandwidth": schema.Bandwidth,
    "caches": schema.Cache,
    "links": schema.Link,
    "node": schema.Node,
    "power": schema.Power,
    "best_matmul": schema.BestMatmul,
    "wrong": schema.Wrong,
    "settled": schema.Settled,
}


def _allowed(place: str) -> tuple[str, ...]:
    """Keys allowed at a path; an index or a key of a mapping does not matter."""
    place = re.sub(r"\[\d+\]", "", place)
    section = _SECTIONS.get(place) or _SECTIONS.get(place.split(".")[0], schema.Device)
    return section.__struct_encode_fields__


def _fill_in(place: str, tables: dict[str, Any]) -> str:
    """Replace the "[...]" that msgspec writes for a key of a mapping by the key that fails."""
    section, found, rest = place.partition("[...]")
    entries = tables.get(section)
    if not found or not isinstance(entries, dict):
        return place.replace("[...]", "")
    for key, entry in entries.items():
        try:
            msgspec.convert({**tables, section: {key: entry}}, Device)
        except msgspec.ValidationError:
            return f"{section}.{key}{rest}"
    return f"{section}{rest}"


def _value_at(tables: Any, place: str) -> Any:
    """The value that a path like ``memory.bandwidth.gb_per_s`` or ``caches[0].mib`` points at."""
    for part in re.findall(r"[^.\[\]]+", place):
        if isinstance(tables, dict):
            tables = tables.get(part)
        elif isinstance(tables, list) and part.isdigit() and int(part) < len(tables):
            tables = tables[int(part)]
        else:
            return None
    return tables


def explain(error: msgspec.ValidationError, tables: dict[str, Any]) -> str:
    """A validation error as key, value and rule."""
    match = _PLACE.match(str(error))
    what, place = (match["what"], match["place"]) if match else (str(error), "")
    place = _fill_in(place, tables)
    field = _FIELD.search(what)
    if field and "unknown field" in what:
        key = f"{place}.{field['field']}".lstrip(".")
        close = nearest(field["field"], _allowed(place), 1)
        hint = f", did you mean '{close[0]}'?" if close else ""
        return f"{key}: unknown key{hint} (allowed: {', '.join(_allowed(place))})"
    if field and "missing required field" in what:
        key = f"{place}.{field['field']}".lstrip(".")
        rule = "every figure names its source" if field["field"] in {"source", "sources"} else "required"
        return f"{key}: missing ({rule})"
    value = _value_at(tables, place)
    return f"{place or 'file'} = {value!r}: {what[0].lower()}{what[1:]}"


def load_user_device(path: str) -> Device:
    """The device a user's file describes.

    Raises:
        HardwareError: no such file, not TOML, a wrong or missing key, unit, figure or source.
    """
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        raise HardwareError(f"cannot read device file '{path}': it is a folder; name the .toml in it")
    if not path.endswith(".toml"):
        raise HardwareError(f"cannot read device file '{path}': a device file ends in .toml")
    tables = read_toml(path)
    try:
        device = msgspec.convert(tables, Device)
    except msgspec.ValidationError as error:
        raise HardwareError(f"{path}: {explain(error, tables)}") from error
    for problem in problems(device):
        raise HardwareError(f"{path}: {problem}")
    if device.measured_tables:
        try:
            _ = device.measured
        except HardwareError as error:
            raise HardwareError(f"{path}: {error}") from error
    return device
