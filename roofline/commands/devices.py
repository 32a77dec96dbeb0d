"""``roofline devices``: the catalog, or one device with the source of each figure."""

from __future__ import annotations

import argparse

from ..errors import RooflineError, unknown
from .output import add_format_arguments, emit

EXAMPLES = (
    "roofline devices",
    "roofline devices h100-sxm-80gb",
    "roofline devices p5.48xlarge",
    "roofline devices --vendor AMD --format json",
    "roofline devices --instances --vendor Azure",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "device",
        nargs="?",
        metavar="DEVICE",
        help="whatever -d takes: an id, a name as you type it, an instance, a .toml, 'local' or 'cpu'",
    )
    parser.add_argument(
        "--vendor", metavar="NAME", help="only this vendor's or cloud's (NVIDIA, AMD, Google, AWS, ...)"
    )
    parser.add_argument("--kind", metavar="KIND", help="only this kind of device (gpu, tpu, cpu, ...)")
    parser.add_argument("--instances", action="store_true", help="cloud instances and systems instead of devices")
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the catalog of devices or of instances, or one device."""
    if args.instances:
        return _instances(args)
    from ..hardware import load_device
    from ..hardware.frame import chosen
    from ..view import devices as view

    if args.device is not None:
        emit(args, *view.one(load_device(args.device)))
    else:
        emit(args, *view.catalog(chosen(args.vendor, args.kind)))
    return 0


def _instances(args: argparse.Namespace) -> int:
    from ..hardware.instances import instances
    from ..view import instances as view

    if args.device is not None:
        raise RooflineError(f"--instances lists all: leave it out to see '{args.device}', or leave that out")
    wanted = (args.vendor or "").lower()
    shown = [one for one in instances() if not wanted or one.provider.lower() == wanted]
    if not shown:
        raise unknown("provider", args.vendor, sorted({one.provider for one in instances()}))
    emit(args, *view.catalog(shown))
    return 0
