"""``roofline mfu``: the MFU of a run you measured, whether that is good, and what costs most."""

from __future__ import annotations

import argparse

from .. import units
from . import options
from .output import add_format_arguments, emit

SUMMARY = "the MFU of a run you measured, whether that is good, and what costs most"
EXAMPLES = (
    "roofline mfu gpt2-xl -d a100-sxm-80gb --step-time 13.78 --micro-batch 4 --global-batch 256",
    "roofline mfu llama-2-7b -d h100-sxm-80gb --num-devices 8 --sharding fsdp --tokens-per-s 60k",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser)
    options.add_device_arguments(parser)
    run_ = parser.add_argument_group("what was measured (step time, tokens per second, or both)")
    run_.add_argument(
        "--step-time-s",
        "--step-time",
        metavar="T",
        type=units.step_time_s,
        help="time of one optimizer step, accumulation included: 13.78, or 340ms",
    )
    run_.add_argument(
        "--tokens-per-s",
        metavar="N",
        type=units.positive,
        help="tokens per second of all devices together: 24000, or 24k",
    )
    run_.add_argument(
        "--reported-mfu",
        metavar="X",
        type=units.share,
        help="the MFU the framework printed, such as 25%%: how is it counted?",
    )
    options.add_training_arguments(parser)
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the diagnosis."""
    from ..answers.diagnosis import diagnose
    from ..view import mfu as view

    result = diagnose(
        options.model(args),
        options.device(args),
        step_time_s=args.step_time_s,
        tokens_per_s=args.tokens_per_s,
        reported_mfu=args.reported_mfu,
        **options.train_options(args, one_layout=True),
    )
    emit(args, view.data(result), view.tables(result), view.notes(result), view.records(result))
    return 0
