"""Reads the device files: one file for one device, strictly, and nothing else."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .architecture import Architecture
from .device import Device
from .errors import HardwareError, nearest, quoted

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from .measured import Measured, Origin


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


def read_toml(path: str | Traversable) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        HardwareError: the file cannot be read or is not TOML (with line and column).
    """
    import tomllib

    try:
        if not isinstance(path, str | Path):  # in a zip
            return tomllib.loads(path.read_text(encoding="utf-8"))
        with open(path, encoding="utf-8-sig") as file:  # some editors put a byte order mark before the text
            return tomllib.loads(file.read())
    except OSError as error:
        raise HardwareError(f"cannot read device file '{path}': {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HardwareError(f"{path}: not valid TOML: {error}") from error


@lru_cache(maxsize=256)
def catalog_device(device_id: str) -> Device:
    """The device of the catalog with exactly this id; reads its file alone."""
    return msgspec.convert(read_toml(facts() / "devices" / f"{device_id}.toml"), Device)


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
    return msgspec.convert(read_toml(facts() / "architectures" / f"{key}.toml"), Architecture)


def measured_of(device: Device) -> Measured:
    """Measured efficiencies of a device: its own over its architecture's (and parent's) over the defaults."""
    from .measured import merge

    layers: list[tuple[Origin, dict[str, Any]]] = [("device", device.measured_tables)]
    key: str | None = device.architecture
    while key is not None:
        architecture = load_architecture(key)
        layers.append(("architecture", architecture.measured))
        key = architecture.parent
    default = read_toml(facts() / "architectures" / "default.toml")
    layers.append(("default", default["measured"]))
    return merge(reversed(layers))
