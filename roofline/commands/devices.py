"""``roofline devices``: the catalog, or one device with the source of each figure."""

from __future__ import annotations

import argparse

from ..errors import unknown
from .output import add_format_arguments, emit

SUMMARY = "the catalog of devices; or one, each figure with its source"
EXAMPLES = (
    "roofline devices",
    "roofline devices h100-sxm-80gb",
    "roofline devices --vendor AMD --format json",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("device", nargs="?", metavar="DEVICE", help="an id, a driver's name, a .toml or 'local'")
    parser.add_argument("--vendor", metavar="NAME", help="only this vendor's devices (NVIDIA, AMD, Google, ...)")
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the catalog or one device."""
    from ..hardware import all_devices, load_device
    from ..view import devices as view

    if args.device is not None:
        emit(args, *view.one(load_device(args.device)))
        return 0
    wanted = (args.vendor or "").lower()
    devices = [device for device in all_devices() if not wanted or device.vendor.lower() == wanted]
    if not devices:
        raise unknown("vendor", args.vendor, sorted({device.vendor for device in all_devices()}))
    emit(args, *view.catalog(devices))
    return 0
