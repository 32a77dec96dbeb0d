"""``roofline profile``: a profiler's trace beside what we expect, op by op."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .. import units
from .output import add_format_arguments, emit

if TYPE_CHECKING:
    from ..profiling.rank import Rank
    from ..profiling.result import Profile

SUMMARY = "a profiler's trace: measured kernels beside expected ones, biggest gaps first"
EXAMPLES = (
    "roofline profile trace.json.gz",
    "roofline profile traces/ --device h100-sxm-80gb --format json --output profile.json",
    "roofline profile trace.json.gz --roofline measured.png --timeline step.svg",
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
    pictures = parser.add_argument_group("pictures (.png, .svg or .pdf)")
    pictures.add_argument("--roofline", metavar="FILE", help="measured ops on the device's roofline")
    pictures.add_argument("--timeline", metavar="FILE", help="one step over time, a lane per stream and rank")
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the profile."""
    from ..profiling.profile import assemble, read_ranks
    from ..view import profile as view

    for path in filter(None, (args.roofline, args.timeline)):
        from ..plot import check_output

        check_output(path)
    ranks = read_ranks(args.traces, args.device)
    result = assemble(ranks)
    notes = [*view.notes(result), *_pictures(args, ranks, result)]
    data = {**result.to_dict(), "notes": notes}
    emit(args, data, view.tables(result, args.top), notes, view.records(result))
    return 0


def _pictures(args: argparse.Namespace, ranks: list[Rank], result: Profile) -> list[str]:
    """Draw what is asked for; returns a sentence on each."""
    if args.roofline is None and args.timeline is None:
        return []
    from .. import plot

    notes = []
    if args.roofline is not None:
        plot.save(plot.draw(plot.measured_data(result)), args.roofline)
        notes.append(f"Measured ops on the roofline: {args.roofline}.")
    if args.timeline is not None:
        plot.save(plot.draw(plot.timeline_data(ranks, result)), args.timeline)
        notes.append(f"One step over time: {args.timeline}.")
    return notes
