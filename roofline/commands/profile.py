"""``roofline profile``: a profiler's trace beside what we expect, op by op."""

from __future__ import annotations

import argparse

from .. import units
from .output import add_format_arguments, emit

SUMMARY = "a profiler's trace: measured kernels beside expected ones, biggest gaps first"
EXAMPLES = (
    "roofline profile trace.json.gz",
    "roofline profile traces/ --device h100-sxm-80gb --format json --output profile.json",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "traces",
        metavar="TRACE",
        nargs="+",
        help="a trace of torch.profiler (.json or .json.gz), one for each of several ranks, or a folder of them",
    )
    parser.add_argument("-d", "--device", metavar="DEVICE", help="the device, where the trace's own name is not enough")
    parser.add_argument("--top", metavar="N", type=units.positive_int, default=15, help="ops shown (15)")
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the profile."""
    from ..profiling.profile import profile
    from ..view import profile as view

    result = profile(args.traces, args.device)
    notes = view.notes(result)
    data = {**result.to_dict(), "notes": notes}
    emit(args, data, view.tables(result, args.top), notes, view.records(result))
    return 0
