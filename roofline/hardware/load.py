"""The one door through which every device comes in: `load_device`."""

from __future__ import annotations

import os
import re

import msgspec

from ..errors import shown
from ..gate import gated
from .catalog import catalog_device, is_device_id
from .device import Device
from .errors import HardwareError

_MANY = r"(\d+)\s*[x×*](?:\s+|(?=\S*\d))(\S.*)"  # 8xH100, 8 x TITAN RTX; not 7900 XTX
_MANY_BEHIND = r"(.*\d.*?)\s*[x×*]\s*(\d{1,2})"  # H100x8, A100 SXM x 8; not RTX4090, MX450
_MOST = 10_000_000
_LONGEST = 200  # letters of a name


@gated()
def load_device(spec: str | os.PathLike[str] | Device) -> Device:
    """A device by id or name, by path to a ``.toml`` or a row of a table of boards, ``"local"``, ``"cpu"``, or itself.

    The name of a cloud instance or system (``p5.48xlarge``, ``DGX H100``, ``v5p-128``) is its device with the links and
    the network it has there, and says how many (`Device.num_devices`); ``8xH100 SXM`` says just how many.

    An exact name that a driver reports ("NVIDIA H100 80GB HBM3") finds its device too, and so does a word with one
    reading ("4090"), which the device's caveats then say. Nothing is guessed: an ambiguous word is an error that lists
    the variants, an unknown one shows the nearest.

    Raises:
        HardwareError: unknown or ambiguous, or a file that breaks a rule (file, key, value, rule).
    """
    if isinstance(spec, Device):
        return spec
    if not isinstance(spec, (str, os.PathLike)) or not isinstance(word := os.fspath(spec), str):
        raise HardwareError(f"a device is a catalog id, a path, 'local' or a Device, got {shown(spec)}")
    if is_device_id(word):
        return catalog_device(word)
    if word in {"local", "cpu"}:
        return _of_this_machine(word)
    if word.endswith((".toml", ".csv")) or ".csv:" in word or (os.sep in word and " / " not in word):
        return _of_a_file(word)
    return _of_a_name(word)  # a driver lists one name for two cards as "MI250X / MI250"


def _of_a_name(word: str) -> Device:
    from .detect.mig import named_slice, split_name
    from .instances import device_of, named
    from .lookup import find

    if len(word) > _LONGEST:  # patterns below take the square of its length
        raise HardwareError(f"unknown device {shown(word)}: 'roofline devices' lists all")
    many = re.fullmatch(_MANY, word.strip(), re.IGNORECASE)
    if many is not None:
        return _times(int(many[1]), load_device(many[2]), word)
    behind = re.fullmatch(_MANY_BEHIND, word.strip(), re.IGNORECASE)
    if behind is not None:
        return _times(int(behind[2]), load_device(behind[1]), word)
    instance = named(word)
    if instance is not None:
        return device_of(*instance)
    slice_of = split_name(word)
    if slice_of is None:
        return find(word)
    device = named_slice(load_device(slice_of[0]), word)
    if device is None:
        raise HardwareError(f"'{word}': no such MIG profile is known of {slice_of[0]}")
    return device


def _times(number: int, device: Device, word: str) -> Device:
    count = number * (device.num_devices or 1)
    if not 1 <= count <= _MOST:
        raise HardwareError(f"'{word}': a number of devices is 1 to {_MOST:,}")
    return msgspec.structs.replace(device, num_devices=count)


def _of_this_machine(word: str) -> Device:
    from .detect.cpu import read_cpu
    from .detect.local import cpu_device, local_device

    return local_device() if word == "local" else cpu_device(read_cpu())


def _of_a_file(path: str) -> Device:
    from .check.userfile import load_user_board, load_user_device

    return load_user_board(path) if path.endswith(".csv") or ".csv:" in path else load_user_device(path)
