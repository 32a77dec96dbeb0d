"""``roofline count``: parameters, FLOPs and bytes of a model, op by op; no device needed."""

from __future__ import annotations

import argparse

from . import options
from .output import add_format_arguments, show
from .training import add_training_arguments

EXAMPLES = (
    "roofline count llama-3-8b --micro-batch 2 --seq-len 4k",
    "roofline count gpt2-xl --style accounting --format csv",
)
STYLES = ("ops", "accounting")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser)
    parser.add_argument(
        "--style",
        choices=STYLES,
        default="ops",
        help="ops (default): every kernel; accounting: the textbook table of forward FLOPs by part",
    )
    add_training_arguments(parser)
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the counts."""
    from ..answers.counts import count

    result = count(options.model(args), **options.train_options(args))
    if args.style == "accounting":
        from ..counting.textbook import accounting_table

        train = result.train
        show(args, accounting_table(result.model, int(train.sequence_length), int(train.micro_batch)))
    else:
        show(args, result)
    return 0
