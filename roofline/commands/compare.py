"""``roofline compare``: models, devices and settings side by side, and why they differ; sweeps as a table."""

from __future__ import annotations

import argparse
import copy
from typing import TYPE_CHECKING, Any

from ..answers.estimate import estimate_record
from ..config.words import layout_words
from ..errors import RooflineError
from ..timing.terms import TERM_WORDS
from ..units import format_time
from ..view import cells
from ..view.table import Cell, Table, add_format_arguments, emit
from . import options

if TYPE_CHECKING:
    from ..answers.comparison import Case, Skipped
    from ..answers.estimate import Estimate

SUMMARY = "models, devices and settings side by side"
EXAMPLES = (
    "roofline compare llama-3-8b -d a100-sxm-80gb -d h100-sxm-80gb --micro-batch 2 --recompute full",
    "roofline compare gpt2-xl -d h100-sxm-80gb --micro-batch 1,2,4,8,16 --attention unfused,flash2",
    'roofline compare --case "llama-3-8b -d a100-sxm-80gb" --case "llama-3-8b -d h100-sxm-80gb --dtype fp8"',
)
PICTURES = (
    "as a picture: 'roofline plot MODEL -d DEVICE --kind batch' draws MFU and memory against the micro batch,\n"
    "and 'roofline plot MODEL -d A -d B' puts the rooflines of devices side by side"
)
SIDE_BY_SIDE = 4
LONGEST_LABEL = 40
NOTABLE = 0.02  # terms that change a token's cost by less are not shown

Results = list[tuple["Case", "Estimate"]]


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
    options.add_device_arguments(parser, repeatable=True)
    options.add_training_arguments(parser, sweeps=True)
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the cases side by side (up to four), or as one row each."""
    from ..answers.comparison import run_cases

    results, skipped = run_cases(_all_cases(args))
    tidy = tidy_table(results)
    if args.format == "csv":
        tables = [records_table(results)]
    elif 2 <= len(results) <= SIDE_BY_SIDE:
        tables = [side_by_side(results), causes_table(results)]
    else:
        tables = [tidy]
    notes = _reasons(results) if 2 <= len(results) <= SIDE_BY_SIDE else []
    emit(args, _json(results, skipped), tables, notes + _notes(results, skipped))
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

    return cases(_models(args), options.devices(args), options.train_options(args))


def _models(args: argparse.Namespace) -> list[Any]:
    if not args.model:
        raise RooflineError("missing MODEL: name one or more ('roofline models' lists all)")
    return [options.one_model(name, args.overrides) for name in args.model]


def _parse_case(args: argparse.Namespace, text: str) -> argparse.Namespace:
    """The options of one ``--case`` over those outside."""
    import shlex

    from ..cli import command_parser

    parser, _ = command_parser("compare")
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
    inner.model = inner.model or args.model
    inner.device = inner.device or args.device
    return inner


# --- tables ----------------------------------------------------------------------------------------------


def side_by_side(results: Results) -> Table:
    """A column per case: what was asked and what comes out."""
    first = results[0][1]

    def row(name: str, of: Any) -> list[Any]:
        return [name, *(of(result) for _, result in results)]

    def speed(result: Estimate) -> str:
        return f"{result.tokens_per_s_per_device / first.tokens_per_s_per_device:.2f}x"

    rows = [
        row("model", lambda r: r.model.name),
        row("device", lambda r: r.device.id),
        row("layout", lambda r: layout_words(r.train)),
        row("dtype", lambda r: r.train.dtype),
        row("micro x steps", lambda r: f"{r.train.micro_batch} x {r.train.accumulation}"),
        row("sequence", lambda r: r.train.sequence_length),
        row("step time", lambda r: cells.seconds(r.step_time_s)),
        row("10-90 % range", _range),
        row("tokens/s", lambda r: f"{r.tokens_per_s:,.0f}"),
        row("per device", lambda r: f"{r.tokens_per_s_per_device:,.0f}"),
        row("against A", speed),
        row("MFU", lambda r: cells.share(r.mfu)),
        row("HFU", lambda r: cells.share(r.hfu)),
        row("memory", lambda r: cells.size(r.memory.total_bytes)),
        row("fits", lambda r: "yes" if r.fits else f"no, {cells.size(r.memory.capacity_bytes).text} there"),
        row("bound", lambda r: r.bound),
    ]
    return Table("", ["", *_letters(results)], rows, align="l" + "r" * len(results))


def _range(result: Estimate) -> str:
    """The 10th and 90th percentile of the step time."""
    return f"{cells.seconds(result.step_time_low_s).text} to {cells.seconds(result.step_time_high_s).text}"


def _letters(results: Results) -> list[str]:
    return [chr(ord("A") + index) for index in range(len(results))]


def causes_table(results: Results) -> Table:
    """Device-time per million tokens by cause, and what changes from the first case to each other."""
    from ..answers.comparison import device_time_per_token

    costs = [device_time_per_token(result) for _, result in results]
    rows = []
    for term in costs[0]:
        if max(cost[term] for cost in costs) < NOTABLE / 10 * max(sum(cost.values()) for cost in costs):
            continue
        row: list[Any] = [TERM_WORDS[term]]
        row += [cells.seconds(1e6 * cost[term]) for cost in costs]
        row += [_change(1e6 * (cost[term] - costs[0][term])) for cost in costs[1:]]
        rows.append(row)
    totals = [1e6 * sum(cost.values()) for cost in costs]
    rows.append(["total", *map(cells.seconds, totals), *(_change(total - totals[0]) for total in totals[1:])])
    letters = _letters(results)
    columns = ["device-time per million tokens", *letters, *(f"{letter} - A" for letter in letters[1:])]
    return Table("", columns, rows, align="l" + "r" * (len(columns) - 1))


def _change(seconds: float) -> Cell:
    sign = "-" if seconds < 0 else "+"
    return Cell(seconds, f"{sign}{format_time(abs(seconds))}" if abs(seconds) > 1e-9 else "0")


def _reasons(results: Results) -> list[str]:
    """One sentence per case: how it differs from the first, and which causes make the difference."""
    from ..answers.comparison import difference

    first = results[0][1]
    sentences = []
    for letter, (_, result) in zip(_letters(results)[1:], results[1:], strict=True):
        changes = difference(first, result)
        total = sum(changes.values())
        ratio = float(result.tokens_per_s_per_device / first.tokens_per_s_per_device)
        if abs(ratio - 1) < NOTABLE:
            sentences.append(f"{letter} is as fast as A per device ({ratio - 1:+.1%}).")
            continue
        causes = [
            f"{TERM_WORDS[term]} {change / total:.0%}"
            for term, change in list(changes.items())[:3]
            if abs(change) > NOTABLE * abs(total)
        ]
        word = "faster" if ratio > 1 else "slower"
        factor = ratio if ratio > 1 else 1 / ratio
        sentences.append(f"{letter} is {factor:.2f}x {word} than A per device: of the difference {', '.join(causes)}.")
    return sentences


def tidy_table(results: Results) -> Table:
    """A row per case: what varies, then the figures."""
    names = list(dict.fromkeys(name for case, _ in results for name in case.varied))
    rows = [
        [
            *(case.varied.get(name) for name in names),
            cells.seconds(result.step_time_s),
            _range(result),
            f"{result.tokens_per_s:,.0f}",
            cells.share(result.mfu),
            cells.size(result.memory.total_bytes),
            result.fits,
            result.bound,
        ]
        for case, result in results
    ]
    columns = [
        *(name.replace("_", " ") for name in names),
        "step time",
        "10-90 % range",
        "tokens/s",
        "MFU",
        "memory",
    ]
    align = "".join("r" if isinstance(cell, int) else "l" for cell in rows[0][: len(names)]) + "rrrrrll"
    return Table("", [*columns, "fits", "bound"], rows, align=align)


def records_table(results: Results) -> Table:
    """A row per case with every figure, in base units."""
    records = [estimate_record(result) for _, result in results]
    return Table("", list(records[0]), [list(record.values()) for record in records])


def _json(results: Results, skipped: list[Skipped]) -> dict[str, Any]:
    from ..answers.comparison import device_time_per_token, difference

    first = results[0][1]
    records = [
        {
            "varied": case.varied,
            **estimate_record(result),
            "device_time_per_token_s": device_time_per_token(result),
            "difference_to_first_s": difference(first, result),
        }
        for case, result in results
    ]
    return {"cases": records, "skipped": skipped}


def _notes(results: Results, skipped: list[Skipped]) -> list[str]:
    models = {result.model.name: result.model for _, result in results}
    notes = [f"Note: {note}." for model in models.values() for note in model.assumptions]
    if len(results) > SIDE_BY_SIDE and any(result.fits for _, result in results):
        best = max((item for item in results if item[1].fits), key=lambda item: item[1].tokens_per_s_per_device)
        words = ", ".join(f"{name} {value}" for name, value in best[0].varied.items())
        notes.append(f"Fastest per device that fits: {words}.")
    for item in skipped:
        words = ", ".join(f"{name} {value}" for name, value in item.varied.items())
        notes.append(f"Left out: {words}: {item.reason}.")
    return notes
