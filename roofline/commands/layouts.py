"""``roofline layouts``: the best parallel layouts for a number of devices."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from .. import units
from ..config.values import Word
from ..errors import RooflineError
from . import measured, options
from .jobs import add_all_arguments, output_of_all, processes
from .output import DOES_NOT_FIT, add_format_arguments, show, write_text
from .progress import Progress
from .training import add_training_arguments

if TYPE_CHECKING:
    from ..search.layout import SearchResult

EXAMPLES = (
    "roofline layouts llama-2-70b -d a100-sxm-80gb --num-devices 64 --global-batch 512 --stack megatron",
    "roofline layouts llama-2-7b -d h100-sxm-80gb --num-devices 8,16,32 --global-batch 256 --objective cost",
)
INTERRUPTED = 130
OBJECTIVES = ("time", "cost", "energy", "memory")
ONE_VALUE = ("global_batch", "seq_len", "devices_per_node", "dp_shard", "optimizer", "stack")
LONG_SEARCH = 5_000_000  # layouts: about five seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser)
    options.add_device_arguments(parser)
    search = parser.add_argument_group(
        "search", "a degree, micro batch or word that is given restricts the search to it (lists: 1,2,4)"
    )
    search.add_argument(
        "--objective",
        choices=OBJECTIVES,
        default="time",
        help="what is best: time of a step (default), cost (device-seconds), energy or memory",
    )
    search.add_argument("--top", metavar="N", type=units.positive_int, default=10, help="layouts shown (default 10)")
    search.add_argument(
        "--across-nodes", action="store_true", help="let tensor parallelism leave the domain of fast links"
    )
    search.add_argument(
        "--emit",
        metavar="FRAMEWORK",
        type=emitted,
        help="print the best layout in a framework's own keys instead: megatron, torchtitan, deepspeed or axolotl",
    )
    search.add_argument("--price", metavar="P", type=units.price, help="per device-hour: adds the cost of tokens")
    add_all_arguments(search, "layout that surely fits")
    search.add_argument("--full", action="store_true", help="show the trade of time against memory as well")
    add_training_arguments(parser, sweeps=True, searches=True)
    measured.add_arguments(parser)
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the best layouts; 3 where none fits, 130 after an interrupt."""
    from ..search.answer import layouts

    given = options.train_options(args)
    if args.emit is not None:
        from ..readers.emit import search_options

        _check_emit(args)
        given = {**search_options(args.emit), **given}
    for name in ONE_VALUE:
        if isinstance(given.get(name), tuple):
            raise RooflineError(f"--{name.replace('_', '-')} takes one value here: run 'layouts' once for each")
    record = output_of_all(args, "layouts") if args.all else None
    with Progress("layouts") as progress, processes(args.jobs) as executor:

        def told(done: int, total: int) -> None:
            if done == 0 and total > LONG_SEARCH:
                seconds = units.format_time(total / 1e6)
                sys.stderr.write(f"roofline: {total:,} layouts take about {seconds}; Ctrl-C shows the best so far\n")
            progress(done, total)

        result = layouts(
            options.model(args),
            options.device(args),
            objective=args.objective,
            price=args.price,
            top=args.top,
            across_nodes=args.across_nodes,
            front=args.full or args.format == "json",
            progress=told,
            executor=executor,
            record=record,
            **measured.given(args),
            **given,
        )
    if record is not None:
        if result.interrupted:
            raise KeyboardInterrupt
        write_text(f"{result.fitting:,} layouts that fit, of {result.evaluated:,}, are in {record}\n")
        return 0 if result.layouts else DOES_NOT_FIT
    if args.emit is not None and result.layouts:
        write_layout(args, result)
        return 0
    if args.all or args.emit is not None:
        args.output = None  # not for what is said instead: that nothing fits, or the best so far
    show(args, result, tables="full_tables" if args.full else "tables")
    rate = result.evaluated / max(result.seconds, 1e-9)
    if args.output is None and sys.stderr.isatty():
        sys.stderr.write(f"{units.format_time(result.seconds)}, {rate:,.0f} layouts a second\n")
    if result.interrupted:
        return INTERRUPTED
    return 0 if result.layouts else DOES_NOT_FIT


def _check_emit(args: argparse.Namespace) -> None:
    """Refuse, before a search of minutes, what ``--emit`` cannot write, and where."""
    from pathlib import Path

    from ..view.files import check_writable

    for name in ("format", "all", "full"):
        if getattr(args, name):
            raise RooflineError(f"--emit prints one layout in {args.emit}'s own keys: leave out --{name}")
    if args.output not in {None, "-"}:
        check_writable(Path(args.output))


def emitted(text: str) -> str:
    """Read the name of a framework whose keys a layout can be printed in."""
    from ..readers.emit import emit_names

    return Word("framework", emit_names())(text)


def write_layout(args: argparse.Namespace, result: SearchResult) -> None:
    """Print the best layout that a framework can run, in its own keys; on stderr which one it is, if not the best."""
    from pathlib import Path

    from ..readers.emit import emit_layout
    from ..view.files import write_atomically

    trains = [layout.train for layout in result.layouts]
    text, place = emit_layout(args.emit, trains, result.device.devices_per_node)
    if args.output in {None, "-"}:
        write_text(text)
    else:
        write_atomically(Path(args.output), text.encode())
    if place:
        sys.stderr.write(f"roofline: number {place + 1} of the best: {args.emit} has no keys for those before it\n")
