"""``roofline compare``: models, devices and settings side by side, and why they differ; sweeps as a table."""

from __future__ import annotations

import argparse
import copy
from typing import TYPE_CHECKING, Any

from .. import units
from ..errors import RooflineError
from . import measured, options
from .jobs import add_all_arguments, output_of_all, processes
from .output import add_format_arguments, show, write_text
from .parser import command_parser
from .progress import Progress
from .training import add_training_arguments

if TYPE_CHECKING:
    from ..answers.comparison import Case

EXAMPLES = (
    "roofline compare llama-3-8b -d a100-sxm-80gb -d h100-sxm-80gb --micro-batch 2 --recompute full",
    "roofline compare gpt2-xl -d h100-sxm-80gb --micro-batch 1,2,4,8,16 --attention unfused,flash2",
    'roofline compare --case "llama-3-8b -d a100-sxm-80gb" --case "llama-3-8b -d h100-sxm-80gb --dtype fp8"',
)
PICTURES = (
    "as a picture: 'roofline plot MODEL -d DEVICE --kind batch' draws MFU and memory against the micro batch,\n"
    "and 'roofline plot MODEL -d A -d B' puts the rooflines of devices side by side"
)
LONGEST_LABEL = 40


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = f"{parser.epilog}\n\n{PICTURES}"
    options.add_model_arguments(parser, nargs="*")
    parser.add_argument(
        "--case",
        dest="cases",
        metavar='"OPTIONS"',
        action="append",
        default=[],
        help="one case, written as its own [MODEL] and options over those outside (repeatable)",
    )
    add_all_arguments(parser, "case")
    options.add_device_arguments(parser, repeatable=True)
    add_training_arguments(parser, sweeps=True)
    measured.add_arguments(parser)
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the cases side by side (up to four), or as one row each; with ``--all`` write them."""
    from ..answers.comparison import run_cases

    if args.all:
        return _write_all(args)
    if args.jobs > 1:
        raise RooflineError("--jobs is for --all: a table on the screen takes one process")
    show(args, run_cases(_all_cases(args), **measured.given(args)))
    return 0


def _write_all(args: argparse.Namespace) -> int:
    """Write every case to a file.

    Raises:
        RooflineError: The cases are no combinations of options alone, or the file cannot be written.
    """
    from ..answers.comparison import Sweep
    from ..sweeps.sweep import write_cases

    path = output_of_all(args, "cases")
    one, *others = _split(args)
    if args.cases or others or measured.given(args):
        raise RooflineError("--all takes combinations of options: leave out --case, --measured and further run files")
    sweep = Sweep(tuple(_models(one)), tuple(options.devices(args)), options.train_options(one))
    with Progress("cases") as progress, processes(args.jobs) as executor:
        done = write_cases(sweep, path, executor, progress)
    refused = f"; {done.refused:,} cannot be, the first: {done.reason}" if done.refused else ""
    write_text(f"{path} holds {units.format_number(done.written, 'case')}{refused}\n")
    return 0


def _all_cases(args: argparse.Namespace) -> list[Case]:
    """The cases of the options themselves, or of each ``--case``."""
    from ..answers.comparison import labelled

    if not args.cases:
        return _cases_of(args)
    chosen: list[Case] = []
    for number, text in enumerate(args.cases, start=1):
        label = text if len(text) < LONGEST_LABEL else f"case {number}"
        chosen += (labelled(case, label) for case in _cases_of(_parse_case(args, text)))
    return chosen


def _cases_of(args: argparse.Namespace) -> list[Case]:
    from ..answers.comparison import cases

    devices, found = options.devices(args), []
    for one in _split(args):
        found += cases(_models(one), devices, options.train_options(one))
    return found


def _split(args: argparse.Namespace) -> list[argparse.Namespace]:
    """The command line as it is; or once for each run file, with the options that the file states."""
    from . import runfile

    names = args.model or [None]
    if not args.with_files and not any(name and runfile.is_run(name) for name in names):
        return [args]
    parts = []
    for name in names:
        part = copy.copy(args)
        part.model = name
        runfile.settle_run_file(part, "compare")
        part.model = [part.model]
        parts.append(part)
    if len(parts) == 1:
        args.config, args.config_notes = parts[0].config, parts[0].config_notes
        args.config_details = parts[0].config_details
    return parts


def _models(args: argparse.Namespace) -> list[Any]:
    if not args.model:
        raise RooflineError("missing MODEL: name one or more ('roofline models' lists all)")
    return [options.one_model(name, args.overrides, real=args.real) for name in args.model]


def _parse_case(args: argparse.Namespace, text: str) -> argparse.Namespace:
    """The options of one ``--case`` over those outside."""
    import shlex

    parser, _ = command_parser("compare")
    if not isinstance(text, str):  # what argparse makes of a lone "--"
        raise RooflineError("--case: a value is missing (see 'roofline compare --help')")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise RooflineError(f"--case {text!r}: {error}") from None
    parser.check_options(words)
    outer = copy.copy(args)
    outer.device, outer.cases = None, []
    inner = parser.parse_args(words, namespace=outer)
    if inner.cases:
        raise RooflineError("--case cannot hold another --case")
    for name in ("format", "output", "jobs", "all"):
        if getattr(inner, name) != getattr(args, name):
            raise RooflineError(f"--{name} stands outside of --case: it is of all cases")
    if measured.given(inner) != measured.given(args):
        raise RooflineError("--measured stands outside of --case: it is a step of the first case, or of --measured-at")
    inner.model = inner.model or args.model
    inner.device = inner.device or args.device
    return inner
