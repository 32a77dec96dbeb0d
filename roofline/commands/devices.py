"""``roofline devices``: the catalog, or one device with the source of each figure."""

from __future__ import annotations

import argparse

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
    parser.add_argument("--kind", metavar="KIND", help="only this kind of device (gpu, tpu, cpu, ...)")
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the catalog or one device."""
    from ..hardware import load_device
    from ..hardware.frame import chosen
    from ..view import devices as view

    if args.device is not None:
        emit(args, *view.one(load_device(args.device)))
    else:
        emit(args, *view.catalog(chosen(args.vendor, args.kind)))
    return 0
