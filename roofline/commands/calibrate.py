"""``roofline calibrate``: measures this machine and writes a device file that ``--device local`` finds."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import units
from ..errors import RooflineError

if TYPE_CHECKING:
    from ..hardware.calibrate.calibrate import Calibration, Progress

SUMMARY = "measure this machine and write a device file"
EXAMPLES = ("roofline calibrate", "roofline calibrate --engine numpy --seconds 10 --output my.toml")

ENGINES = ("auto", "numpy", "torch", "torch-cuda")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="the device file to write (default: the user's config folder, where --device local finds it)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="numpy, torch (CPU) or torch-cuda; auto takes the best that is installed (default)",
    )
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
    from ..view.table import check_writable

    if args.threads is not None:  # before NumPy is imported, which reads them once
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(args.threads)))
    path = args.output or calibrated_file()
    if not path.endswith(".toml"):
        raise RooflineError(f"--output {path}: a device file ends in .toml")
    if args.output is not None:  # the default's folder is made
        check_writable(Path(path))
    try:
        with _progress() as progress:
            calibration = calibrate(
                args.engine,
                budget_s=args.seconds,
                rounds=args.rounds,
                threads=args.threads,
                progress=progress,
            )
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: nothing is written\n")
        return 130
    write_device(path, to_toml(calibration.device, heading="Written by 'roofline calibrate': measured here."))
    _print(args, calibration, path)
    return 0


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


def _print(args: argparse.Namespace, calibration: Calibration, path: str) -> None:
    from ..view.table import Table, render_json, render_text, terminal_width, write_text
    from .devices import as_json

    device = calibration.device
    if args.format == "json":
        data: dict[str, Any] = {
            "device": as_json(device),
            "measured": device.measured_tables,
            "samples": calibration.samples,
            "median_spread": calibration.median_spread,
            "notes": list(calibration.notes),
            "file": path,
        }
        write_text(render_json(data))
        return
    rows = [
        [
            s.name,
            s.dtype,
            f"{1e6 * s.seconds:,.1f} us",
            _rate(s),
            _share(s, device),
            f"{100 * s.spread:.0f} %",
        ]
        for s in calibration.samples
    ]
    fits = Table("Fitted constants", ["kernel", "constants"], list(_constants(device)), align="ll")
    peaks = ", ".join(f"{dtype} {1e-9 * peak:,.0f}" for dtype, peak in device.peaks.items())
    caches = ", ".join(f"{c.level} {c.gb_per_s:g}" for c in device.caches if c.gb_per_s)
    notes = [
        f"{device.name}: peak {peaks} GFLOP/s; memory {device.memory.bandwidth.gb_per_s:g} GB/s"
        + (f" (caches: {caches})" if caches else ""),
        f"{device.sources['calibration']}.",
        *(f"Note: {note}." for note in calibration.notes),
        f"Written: {path}. Use it with --device {'local' if args.output is None else path}.",
    ]
    kernels = Table(
        "Measured",
        ["kernel", "dtype", "time", "rate", "of peak or bandwidth", "spread"],
        rows,
        align="llrrrr",
    )
    write_text(render_text([kernels, fits], notes, terminal_width()))


def _rate(sample: Any) -> str:
    if sample.flops:
        return f"{sample.flops / sample.seconds / 1e9:,.1f} GFLOP/s"
    return f"{sample.bytes / sample.seconds / 1e9:,.1f} GB/s" if sample.bytes else "-"


def _share(sample: Any, device: Any) -> str:
    if sample.flops and sample.dtype in device.peaks:
        return f"{100 * sample.flops / sample.seconds / device.peaks[sample.dtype]:.0f} %"
    if sample.bytes and not sample.flops:
        share = sample.bytes / sample.seconds / device.memory_bandwidth_bytes_per_s
        return f"{100 * share:.0f} %" + (", from cache" if _cached(sample, device, share) else "")
    return "-"


def _cached(sample: Any, device: Any, share: float) -> bool:
    """Whether the caches served a kernel: its operands fit, or its later passes find them there."""
    from ..hardware.calibrate.calibrate import from_cache

    return from_cache(sample, device) or (share > 1 and sample.group != "stream" and device.kind == "cpu")


def _constants(device: Any) -> Iterator[list[str]]:
    for name, table in device.measured_tables.items():
        nested = {name: table} if "source" in table else {f"{name}.{key}": entry for key, entry in table.items()}
        for label, entry in nested.items():
            yield [label, ", ".join(f"{key} {value:g}" for key, value in entry.items() if key != "source")]
