"""``roofline profile``: a profiler's trace beside what we expect, op by op."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import units
from ..errors import RooflineError
from ..view.files import check_apart, check_writable
from . import measures, options
from .output import add_format_arguments, emit
from .training import add_training_arguments

if TYPE_CHECKING:
    from ..profiling.beside import Beside
    from ..profiling.rank import Rank
    from ..profiling.result import Profile

EXAMPLES = (
    "roofline profile trace.json.gz",
    "roofline profile traces/ --device h100-sxm-80gb --format json --output profile.json",
    "roofline profile trace.json.gz --roofline measured.png --timeline step.svg",
    "roofline profile trace.json.gz --model gpt2 --recompute full",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "traces",
        metavar="TRACE",
        nargs="+",
        help="a trace of torch.profiler (.json or .json.gz) or of nsys (.sqlite, by nsys export), "
        "one for each of several ranks, or a folder of them",
    )
    parser.add_argument("--top", metavar="N", type=units.positive_int, default=15, help="ops shown (15)")
    pictures = parser.add_argument_group("pictures (.png, .svg or .pdf)")
    pictures.add_argument("--roofline", metavar="FILE", help="measured ops on the device's roofline")
    pictures.add_argument("--timeline", metavar="FILE", help="one step over time, a lane per stream and rank")
    measures.add_arguments(pictures.add_argument)
    parser.add_argument(
        "--write-device",
        metavar="FILE",
        help="write a device file (.toml) whose [measured] tables are fitted to the trace's kernels, for --device FILE",
    )
    model = parser.add_argument_group("beside an estimate")
    model.add_argument(
        "--model",
        "--config",
        dest="model",
        metavar="MODEL",
        help="the model or the run file, to set the trace beside its estimate op by op; micro batch, length, dtype and "
        "devices are the trace's where no option says otherwise",
    )
    options.add_model_options(model)
    options.add_device_arguments(parser)
    add_training_arguments(parser)
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the profile."""
    from ..profiling.profile import assemble, read_ranks
    from ..view import profile as view
    from ..view.words import sentences

    _check_outputs(args)
    ranks = read_ranks(args.traces, None if args.device is None else options.device(args))
    result = assemble(ranks)
    notes = [*view.notes(result), *_pictures(args, ranks, result), *_device_file(args, result)]
    data: dict[str, Any] = result.to_dict()
    tables = view.tables(result, args.top)
    if args.model is not None:
        found, assumed = _beside(args, result)
        data["beside"] = found
        tables[2:2] = view.beside_tables(found, args.top)
        notes += [*sentences(found.notes), assumed]
    emit(args, {**data, "notes": notes}, tables, notes, view.records(result))
    return 0


def _beside(args: argparse.Namespace, result: Profile) -> tuple[Beside, str]:
    """The trace beside the estimate of the model, and what of the configuration is the trace's."""
    from ..answers.estimate import estimate
    from ..profiling.beside import beside, options_from

    if result.device is None:
        raise RooflineError(f"an estimate needs a device, and {result.device_name!r} is not known: give --device")
    given = options.train_options(args)
    seen = {name: value for name, value in options_from(result).items() if name not in given}
    found = beside(result, estimate(options.model(args), result.device, **seen, **given))
    words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in seen.items())
    return (
        found,
        f"Taken from the trace: {words}." if words else "Nothing of the configuration is taken from the trace.",
    )


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuse files that cannot be written before the work."""
    for path in filter(None, (args.roofline, args.timeline)):
        from ..plot import check_output
        from ..plot.style import page

        check_output(path)
        page(args.width, args.font_size)
    if args.roofline and args.timeline:
        check_apart(args.roofline, args.timeline)
    if args.write_device is not None:
        if not args.write_device.endswith(".toml"):
            raise RooflineError(f"--write-device {args.write_device}: a device file ends in .toml")
        check_writable(Path(args.write_device))


def _device_file(args: argparse.Namespace, result: Profile) -> list[str]:
    """Write the device file that is asked for; returns a sentence on each of its tables."""
    if args.write_device is None:
        return []
    from ..hardware.calibrate.writer import to_toml, write_device
    from ..profiling.fitted import fitted_device
    from ..view.words import sentences

    device, words = fitted_device(result)
    heading = "Written by 'roofline profile': constants fitted to the kernels of a trace."
    write_device(args.write_device, to_toml(device, heading=heading))
    return [*sentences(words), f"Written: {args.write_device}. Use it with --device."]


def _pictures(args: argparse.Namespace, ranks: list[Rank], result: Profile) -> list[str]:
    """Draw what is asked for; returns a sentence on each."""
    if args.roofline is None and args.timeline is None:
        return []
    from .. import plot

    notes, size = [], {"width": args.width, "font_size": args.font_size}
    if args.roofline is not None:
        plot.save(plot.draw(plot.measured_data(result), **size), args.roofline)
        notes.append(f"Measured ops on the roofline: {args.roofline}.")
    if args.timeline is not None:
        plot.save(plot.draw(plot.timeline_data(ranks, result), **size), args.timeline)
        notes.append(f"One step over time: {args.timeline}.")
    return notes
