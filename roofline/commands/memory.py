"""``roofline memory``: bytes per device, does it fit, the largest micro batch, and the cheapest fixes."""

from __future__ import annotations

import argparse

from ..errors import RooflineError
from . import options
from .output import DOES_NOT_FIT, add_format_arguments, show
from .training import add_training_arguments

EXAMPLES = (
    "roofline memory gpt2-xl -d a100-sxm-40gb --micro-batch 4",
    "roofline memory llama-2-13b -d a100-sxm-80gb --num-devices 4 --sharding fsdp --recompute full",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser)
    options.add_device_arguments(parser)
    add_training_arguments(parser)
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print memory by part; 3 where it does not fit."""
    from ..answers.capacity import memory

    if args.device is None and (args.peak_tflops or args.bandwidth or args.memory or args.link_bandwidth):
        raise RooflineError("a figure of a device without --device: name the device ('roofline devices' lists all)")
    device = None if args.device is None else options.device(args)
    result = memory(options.model(args), device, **options.train_options(args))
    show(args, result)
    return DOES_NOT_FIT if device is not None and result.verdict == "does not fit" else 0
