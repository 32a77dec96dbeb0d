"""Cases side by side, as people read them: a column or a row each, and why their speeds differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..answers.comparison import device_time_per_token, difference
from ..answers.machine import caveats_of
from ..config.words import layout_words
from ..timing.terms import words_of
from ..units import format_time, format_time_like, format_time_range
from . import cells
from .estimate import record
from .html.pieces import answer, table
from .table import Cell, Table, of_records
from .words import sentence, unit_words

if TYPE_CHECKING:
    from ..answers.comparison import Case, Comparison, Skipped
    from ..answers.estimate import Estimate

NOTABLE = 0.02  # terms that change a token's cost by less are not shown
SIDE_BY_SIDE = 4
Results = list[tuple["Case", "Estimate"]]


def tables(result: Comparison) -> list[Table]:
    """Up to four cases side by side, with the causes; more as one row each."""
    results = _pairs(result)
    if 2 <= len(results) <= SIDE_BY_SIDE:
        return [side_by_side(results), causes_table(results)]
    return [tidy_table(results)]


def pieces(result: Comparison) -> list[str]:
    """The fastest case that fits, and the tables."""
    fitting = [(case, estimate) for case, estimate in _pairs(result) if estimate.fits]
    title = f"{len(result.cases)} cases, {len(result.skipped)} left out"
    if not fitting:
        return [answer(title, "None fits", good=False), *map(table, tables(result))]
    case, best = max(fitting, key=lambda pair: pair[1].tokens_per_s_per_device)
    named = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in case.varied.items()) or best.model.name
    detail = f"fastest per device that fits: {best.tokens_per_s_per_device:,.0f} {unit_words(best.model)}/s"
    return [answer(title, named, detail), *map(table, tables(result))]


def notes(result: Comparison) -> list[str]:
    """Why the speeds differ, what was assumed, what is fastest, what was left out."""
    results = _pairs(result)
    reasons = _reasons(results) if 2 <= len(results) <= SIDE_BY_SIDE else []
    devices = {each.device.id: each.device for _, each in results}
    caveats = [f"Note: {device.id}: {caveat}." for device in devices.values() for caveat in caveats_of(device)]
    return reasons + _left_out(results, result.skipped) + caveats


def _pairs(result: Comparison) -> Results:
    return list(zip(result.cases, result.estimates, strict=True))


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
        row("memory", lambda r: cells.size(r.memory.needed_bytes)),
        row("fits", lambda r: _fits(r).replace("no", f"no, {cells.size(r.memory.capacity_bytes).text} there")),
        row("bound", lambda r: r.bound),
    ]
    return Table("", ["", *_letters(results)], rows, align="l" + "r" * len(results))


def _range(result: Estimate) -> str:
    """The 10th and 90th percentile of the step time."""
    return format_time_range(result.step_time_low_s, result.step_time_s, result.step_time_high_s)


def _fits(result: Estimate) -> str:
    """Whether it fits, as every answer says it."""
    verdict = str(result.memory.verdict)
    return {"fits": "yes", "does not fit": "no"}.get(verdict, verdict)


def _letters(results: Results) -> list[str]:
    return [chr(ord("A") + index) for index in range(len(results))]


def causes_table(results: Results) -> Table:
    """Device-time per million tokens by cause, and what changes from the first case to each other."""
    costs = [device_time_per_token(result) for _, result in results]
    rows = []
    for term in costs[0]:
        if max(cost[term] for cost in costs) < NOTABLE / 10 * max(sum(cost.values()) for cost in costs):
            continue
        rows.append([words_of(term), *_beside([1e6 * cost[term] for cost in costs])])
    rows.append(["total", *_beside([1e6 * sum(cost.values()) for cost in costs])])
    letters = _letters(results)
    columns = ["device-time per million tokens", *letters, *(f"{letter} - A" for letter in letters[1:])]
    return Table("", columns, rows, align="l" + "r" * (len(columns) - 1))


def _beside(times: Sequence[float]) -> list[Cell]:
    """A time of each case, and the change from the first to each other, in the unit of the longest."""
    longest = max(times)
    found = [Cell(seconds, format_time_like(seconds, longest)) for seconds in times]
    return found + [_change(seconds - times[0], longest) for seconds in times[1:]]


def _change(seconds: float, like: float | None = None) -> Cell:
    if abs(seconds) <= 1e-9:
        return Cell(seconds, "0")
    size = abs(seconds)
    return Cell(seconds, f"{'-' if seconds < 0 else '+'}{format_time_like(size, size if like is None else like)}")


def _reasons(results: Results) -> list[str]:
    """One sentence per case: how it differs from the first, and which causes make the difference."""
    first = results[0][1]
    before = sum(device_time_per_token(first).values())
    sentences = []
    for letter, (_, result) in zip(_letters(results)[1:], results[1:], strict=True):
        changes = difference(first, result)
        total = sum(changes.values())
        ratio = float(result.tokens_per_s_per_device / first.tokens_per_s_per_device)
        if abs(ratio - 1) < NOTABLE:
            sentences.append(f"{letter} is as fast as A per device ({ratio - 1:+.1%}).")
            continue
        causes = [
            f"{words_of(term)} {_change(1e6 * change).text}"
            for term, change in list(changes.items())[:3]
            if abs(change) > NOTABLE * before
        ]
        word = "faster" if ratio > 1 else "slower"
        factor = ratio if ratio > 1 else 1 / ratio
        per = f"a million tokens take {format_time(abs(1e6 * total))} {'less' if total < 0 else 'more'} device-time"
        sentences.append(f"{letter} is {factor:.2f}x {word} than A per device: {per} ({', '.join(causes)}).")
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
            cells.size(result.memory.needed_bytes),
            _fits(result),
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


def records(result: Comparison) -> Table:
    """A row per case with every figure, in base units."""
    rows = [record(estimate) for estimate in result.estimates]
    return of_records(rows)


def data(result: Comparison) -> dict[str, Any]:
    """The JSON object."""
    first = result.estimates[0]
    cases = [
        {
            "varied": case.varied,
            **record(estimate),
            "device_time_per_token_s": device_time_per_token(estimate),
            "difference_to_first_s": difference(first, estimate),
        }
        for case, estimate in _pairs(result)
    ]
    return {"cases": cases, "skipped": result.skipped}


def _left_out(results: Results, skipped: Sequence[Skipped]) -> list[str]:
    models = {result.model.name: result.model for _, result in results}
    found = [sentence(note) for model in models.values() for note in model.assumptions]
    if len(results) > SIDE_BY_SIDE and any(result.fits for _, result in results):
        best = max((item for item in results if item[1].fits), key=lambda item: item[1].tokens_per_s_per_device)
        words = ", ".join(f"{name} {value}" for name, value in best[0].varied.items())
        found.append(f"Fastest per device that fits: {words}.")
    for item in skipped:
        words = ", ".join(f"{name} {value}" for name, value in item.varied.items())
        found.append(f"Left out: {words}: {item.reason}.")
    return found
