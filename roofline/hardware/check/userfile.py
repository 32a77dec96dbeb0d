"""Reads a user's own device file: every mistake is one line with file, key, value and rule."""

from __future__ import annotations

import os

import msgspec

from ...reading import read_toml
from ..catalog import complete
from ..device import Device, Figures
from ..errors import HardwareError, RooflineError
from ..measured import range_problems
from ..schema import mistake
from .rules import figure_problems


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
    try:
        tables = read_toml(path, "device file")
    except RooflineError as error:
        raise HardwareError(str(error)) from None
    try:
        figures = msgspec.convert(tables, Figures)
    except msgspec.ValidationError as error:
        raise HardwareError(f"{path}: {mistake(tables, Figures) or error}") from error
    try:
        return _checked(figures)
    except HardwareError as error:
        raise HardwareError(f"{path}: {error}") from error


def _checked(figures: Figures) -> Device:
    for problem in figure_problems(figures):
        raise HardwareError(str(problem))
    device = complete(figures)
    for problem in range_problems(device.measured, cpu=device.kind == "cpu"):
        raise HardwareError(str(problem))
    return device
