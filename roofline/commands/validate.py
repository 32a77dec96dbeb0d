"""``roofline validate``: our error against published measurements, summarised and per row."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import RooflineError
from .output import add_format_arguments, emit
from .progress import Progress

if TYPE_CHECKING:
    from ..view.table import Shown

CHUNK = 25  # rows between two looks at the clock
EXAMPLES = (
    "roofline validate",
    "roofline validate runs --data my_runs.csv --format csv --output errors.csv",
    "roofline validate memory --worst 10",
    "roofline validate constants",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "what",
        nargs="?",
        choices=("runs", "memory", "budgets", "constants"),
        default="runs",
        help="step times of runs (default), peak memory, device-hours of whole trainings; or the constants behind all",
    )
    parser.add_argument(
        "--data",
        metavar="CSV",
        help="rows in the columns of the packaged table; default: that table; 'measured': our own runs",
    )
    parser.add_argument(
        "--tier", choices=("A", "B", "all"), default="all", help="A: rows whose source states everything"
    )
    parser.add_argument("--worst", type=int, default=5, metavar="N", help="show the N worst rows (default 5)")
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Predict every row and print the errors."""
    if args.worst < 0:
        raise RooflineError(f"--worst {args.worst}: give a number of rows, 0 or more")
    emit(args, *{"runs": _runs, "memory": _memory, "budgets": _budgets, "constants": _constants}[args.what](args))
    return 0


def _select(args: argparse.Namespace, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    chosen = [row for row in rows if args.tier == "all" or row.get("tier") == args.tier]
    if not chosen:
        raise RooflineError(f"no rows of tier {args.tier}: use --tier all")
    return chosen


def _runs(args: argparse.Namespace) -> Shown:
    from ..validation.rows import read_rows
    from ..validation.runs import data_file, predict_runs
    from ..view.validation import runs

    rows, predictions = _select(args, read_rows(data_file("runs", args.data))), []
    with Progress("rows") as progress:
        for done in range(0, len(rows), CHUNK):
            predictions += predict_runs(rows[done : done + CHUNK])
            progress(done, len(rows))
    return runs(predictions, args.worst)


def _memory(args: argparse.Namespace) -> Shown:
    from ..validation.memory import predict_memory
    from ..validation.rows import read_table
    from ..validation.runs import data_file
    from ..view.validation import memory

    return memory(predict_memory(_select(args, read_table(data_file("memory", args.data)))), args.worst)


def _budgets(args: argparse.Namespace) -> Shown:
    from ..validation.budgets import COLUMNS, predict_budgets
    from ..validation.rows import read_table
    from ..validation.runs import data_file
    from ..view.validation import budgets

    return budgets(predict_budgets(_select(args, read_table(data_file("budgets", args.data), COLUMNS))))


def _constants(args: argparse.Namespace) -> Shown:
    from ..view.constants import shown

    if args.data or args.tier != "all":
        raise RooflineError("the constants are no rows of runs: leave --data and --tier out")
    return shown()
