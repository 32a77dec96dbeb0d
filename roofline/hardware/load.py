"""The one door through which every device comes in: `load_device`."""

from __future__ import annotations

import os

from ..errors import shown
from .catalog import catalog_device, device_ids
from .device import Device
from .errors import HardwareError


def load_device(spec: str | os.PathLike[str] | Device) -> Device:
    """A device by id, by path to a ``.toml``, ``"local"``, or itself.

    An exact name that a driver reports ("NVIDIA H100 80GB HBM3") finds its device too. Nothing is guessed: an
    ambiguous word is an error that lists the variants, an unknown one shows the nearest.

    Raises:
        HardwareError: unknown or ambiguous, or a file that breaks a rule (file, key, value, rule).
    """
    if isinstance(spec, Device):
        return spec
    if not isinstance(spec, (str, os.PathLike)) or not isinstance(word := os.fspath(spec), str):
        raise HardwareError(f"a device is a catalog id, a path, 'local' or a Device, got {shown(spec)}")
    if word in device_ids():
        return catalog_device(word)
    if word == "local":
        from .detect.local import local_device

        return local_device()
    if word.endswith(".toml") or os.sep in word:
        from .check.userfile import load_user_device

        return load_user_device(word)
    from .lookup import find

    return find(word)
