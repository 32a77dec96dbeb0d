"""``roofline detect``: the GPUs and the CPU of this machine, matched to the catalog, or why not."""

from __future__ import annotations

import argparse

from .output import add_format_arguments, show

EXAMPLES = ("roofline detect", "roofline detect --format json")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--replay", metavar="FILE", help="replay a machine recorded by scripts/detect_hardware.py")
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print what this machine has; a missing driver is an answer, not an error."""
    from ..hardware.detect.answer import detect

    show(args, detect(args.replay))
    return 0
