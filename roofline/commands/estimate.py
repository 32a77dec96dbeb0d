"""``roofline estimate``: step time, MFU and memory of a training run, and what limits it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..config.values import Word
from ..errors import RooflineError
from . import measured, options
from .output import DOES_NOT_FIT, add_format_arguments, show
from .training import add_training_arguments

if TYPE_CHECKING:
    from ..hardware import Device

EXAMPLES = (
    "roofline estimate gpt2-xl -d h100-sxm-80gb --micro-batch 8",
    "roofline estimate llama-3-70b -d h100-sxm-80gb --num-devices 64 --tp 8 --pp 4 --global-batch 256",
    "roofline estimate llama-3-8b -d h100-sxm-80gb --phase decode --micro-batch 32 --seq-len 4096",
    "roofline estimate path/to/model.py:build -d a100-sxm-80gb",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser)
    options.add_device_arguments(parser)
    add_training_arguments(parser)
    measured.add_arguments(parser)
    parser.add_argument(
        "--phase",
        metavar="PHASE",
        type=Word("phase", ("train", "prefill", "decode")),
        default="train",
        help="train (default); or inference: prefill of --micro-batch prompts of --seq-len tokens, or decode, "
        "one token of each sequence with --seq-len tokens cached",
    )
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the estimate; 3 where it does not fit in memory."""
    device, given, seen = options.device(args), options.train_options(args), measured.given(args)
    if args.phase != "train":
        if seen:
            raise RooflineError(f"--measured is the time of a training step: leave it out with --phase {args.phase}")
        return run_inference(args, device, given)
    from ..answers.estimate import estimate

    result = estimate(options.model(args), device, **given, **seen)
    show(args, result)
    return DOES_NOT_FIT if result.memory.verdict == "does not fit" else 0


def run_inference(args: argparse.Namespace, device: Device, given: dict[str, Any]) -> int:
    """Print one pass of inference; 3 where it does not fit in memory."""
    from ..answers.inference import infer

    result = infer(options.model(args), device, args.phase, **given)
    show(args, result)
    return DOES_NOT_FIT if result.memory.verdict == "does not fit" else 0
