"""``roofline calibrate``: measures this machine and writes a device file that ``--device local`` finds."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .. import units
from ..errors import RooflineError

if TYPE_CHECKING:
    from ..hardware.calibrate.measure import Progress

EXAMPLES = ("roofline calibrate", "roofline calibrate --engine numpy --seconds 10 --output my.toml")

ENGINES = ("auto", "numpy", "torch", "torch-gpu")
NOISY_STATUS = 1  # measured, and not put where it would be trusted


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the device file to write (default: the user's config folder, where --device local finds it)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="numpy, torch (CPU) or torch-gpu (CUDA, ROCm, XPU or MPS); auto takes the best that is there (default)",
    )
    parser.add_argument("--force", action="store_true", help="write a noisy result where --device local reads it, too")
    parser.add_argument("--seconds", metavar="S", type=units.positive, default=30.0, help="seconds of measuring (30)")
    parser.add_argument("--threads", metavar="N", type=units.positive_int, help="CPU threads (default all cores)")
    parser.add_argument("--rounds", metavar="N", type=units.positive_int, default=3, help="repeats of all (3)")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="table (default) or json")


def run(args: argparse.Namespace) -> int:
    """Measure, print measured against datasheet, write the file."""
    from ..hardware.calibrate.calibrate import calibrate
    from ..hardware.calibrate.writer import to_toml, write_device
    from ..hardware.detect.bench import THREAD_VARIABLES
    from ..hardware.detect.local import calibrated_file
    from ..validation.calibration import hold
    from ..view.calibration import measured
    from ..view.files import check_writable
    from ..view.table import render_json, render_text
    from .output import terminal_width, write_text

    if args.threads is not None:  # before NumPy is imported, which reads them once
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(args.threads)))
    path = calibrated_file() if args.output is None else args.output
    if not path.endswith(".toml"):
        raise RooflineError(f"--output {path}: a device file ends in .toml")
    if args.output is not None:  # the default's folder is made
        check_writable(Path(path))
    try:
        with _progress() as progress:
            calibration = calibrate(
                args.engine, budget_s=args.seconds, rounds=args.rounds, threads=args.threads, progress=progress
            )
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: nothing is written\n")
        return 130
    held = None if calibration.step is None else hold(calibration.device, calibration.step)
    device = calibration.device if held is None else held.device
    doubts = [*calibration.noisy, *([held.words] if held is not None and held.far else [])]
    written = args.output is not None or args.force or not doubts
    if written:
        write_device(path, to_toml(device, heading="Written by 'roofline calibrate': measured here."))
    shown = measured(
        calibration, held, path, named="local" if args.output is None else path, doubts=[] if written else doubts
    )
    text = (
        render_json(shown.data) if args.format == "json" else render_text(shown.tables, shown.notes, terminal_width())
    )
    write_text(text)
    return 0 if written else NOISY_STATUS


@contextmanager
def _progress() -> Iterator[Progress]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _what, _share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, share: bar.update(task, completed=share, description=what)
