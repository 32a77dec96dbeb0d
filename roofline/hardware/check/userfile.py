"""Reads a user's own device file: every mistake is one line with file, key, value and rule."""

from __future__ import annotations

import os

import msgspec

from ..catalog import read_toml
from ..device import Device
from ..errors import HardwareError
from ..schema import mistake
from .rules import problems


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
        raise HardwareError(f"{path}: {mistake(tables, Device) or error}") from error
    try:
        _check(device)
    except HardwareError as error:
        raise HardwareError(f"{path}: {error}") from error
    return device


def _check(device: Device) -> None:
    for problem in problems(device):
        raise HardwareError(str(problem))
    _ = device.measured  # raises where a table is broken
