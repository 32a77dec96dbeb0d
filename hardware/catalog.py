"""Reads the device files: one file for one device, strictly, and nothing else."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from .architecture import Architecture
from .device import Device
from .errors import HardwareError, nearest, quoted

if TYPE_CHECKING:
    from .measured import Measured, Origin

# Plain files beside this module: in a wheel, a checkout and an editable install alike. `importlib.resources`
# would cost as much as reading ten devices.
_HERE = os.path.dirname(__file__)
_DEVICES = os.path.join(_HERE, "devices")
_ARCHITECTURES = os.path.join(_HERE, "architectures")


def _ids(folder: str) -> tuple[str, ...]:
    return tuple(sorted(name[:-5] for name in os.listdir(folder) if name.endswith(".toml")))


@lru_cache(maxsize=1)
def device_ids() -> tuple[str, ...]:
    """Ids of the catalog, sorted."""
    return _ids(_DEVICES)


@lru_cache(maxsize=1)
def architecture_ids() -> tuple[str, ...]:
    """Keys of the architecture files, sorted; without ``default``, the fallback of all."""
    return tuple(name for name in _ids(_ARCHITECTURES) if name != "default")


def read_toml(path: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        HardwareError: the file cannot be read or is not TOML (with line and column).
    """
    import tomllib

    try:
        with open(path, encoding="utf-8-sig") as file:  # some editors put a byte order mark before the text
            return tomllib.loads(file.read())
    except OSError as error:
        raise HardwareError(f"cannot read device file '{path}': {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HardwareError(f"{path}: not valid TOML: {error}") from error


@lru_cache(maxsize=256)
def catalog_device(device_id: str) -> Device:
    """The device of the catalog with exactly this id; reads its file alone."""
    return msgspec.convert(read_toml(os.path.join(_DEVICES, f"{device_id}.toml")), Device)


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
    return msgspec.convert(read_toml(os.path.join(_ARCHITECTURES, f"{key}.toml")), Architecture)


def load_device(spec: str | os.PathLike[str] | Device) -> Device:
    """A device by id, by path to a ``.toml``, ``"local"``, or itself.

    An exact name that a driver reports ("NVIDIA H100 80GB HBM3") finds its device too. Nothing is guessed: an
    ambiguous word is an error that lists the variants, an unknown one shows the nearest.

    Raises:
        HardwareError: unknown or ambiguous, or a file that breaks a rule (file, key, value, rule).
    """
    if isinstance(spec, Device):
        return spec
    word = os.fspath(spec)
    if word in device_ids():
        return catalog_device(word)
    if word == "local":
        from .local import local_device

        return local_device()
    if word.endswith(".toml") or os.sep in word:
        from .userfile import load_user_device

        return load_user_device(word)
    from .lookup import find

    return find(word)


def measured_of(device: Device) -> Measured:
    """Measured efficiencies of a device: its own over its architecture's (and parent's) over the defaults."""
    from .measured import merge

    layers: list[tuple[Origin, dict[str, Any]]] = [("device", device.measured_tables)]
    key: str | None = device.architecture
    while key is not None:
        architecture = load_architecture(key)
        layers.append(("architecture", architecture.measured))
        key = architecture.parent
    default = read_toml(os.path.join(_ARCHITECTURES, "default.toml"))
    layers.append(("default", default["measured"]))
    return merge(reversed(layers))
