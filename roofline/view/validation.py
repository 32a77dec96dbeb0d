"""Our error against published measurements, as people read it and as programs do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import RooflineError
from ..units import format_bytes, format_share
from ..validation import budgets as budget
from ..validation import memory as peak
from ..validation.rows import source_name
from ..validation.runs import group_by, regime_of, source_of, summarise
from .prediction import records_of
from .table import Cell, Shown, Table

ERRORS = ("mape", "median_ape", "bias", "coverage")


def runs(predictions: Sequence[Any], worst: int) -> Shown:
    """Errors of the step time: in all, by source and by device, and the `worst` rows."""
    done = _predicted(predictions)
    groups: dict[str, Callable[[Any], str]] = {
        "by_regime": regime_of,
        "by_source": source_of,
        "by_device": lambda p: str(p.row["device"]),
        "by_stack": lambda p: str(p.stack),
        "by_dtype": lambda p: str(p.row.get("dtype") or "not stated"),
        "by_recompute": lambda p: str(p.row.get("recompute") or "not stated"),
    }
    summaries = {name: group_by(done, key) for name, key in groups.items()}
    total = summarise("all", done)
    by_source = summaries["by_source"]
    data = {
        **_figures(total, predictions, *ERRORS),
        "macro_mape": sum(s.mape for s in by_source) / len(by_source),
        **summaries,
    }
    tables = [
        _summary_table("Error of the step time", [total, *by_source]),
        _regime_table(summaries["by_regime"]),
        _summary_table("By device", summaries["by_device"]),
        *_worst_runs(done, worst),
    ]
    return Shown(data, tables, _run_notes(data, predictions), records_of(predictions))


def _predicted(predictions: Sequence[Any]) -> list[Any]:
    """The rows that could be predicted.

    Raises:
        RooflineError: There are none.
    """
    done = [p for p in predictions if not p.skipped_reason]
    if not done:
        raise RooflineError(f"no row could be predicted; the first reason: {predictions[0].skipped_reason}")
    return done


def _figures(total: Any, predictions: Sequence[Any], *names: str) -> dict[str, Any]:
    """How many rows were predicted and left out, and figures of those that were."""
    skipped = len(predictions) - total.rows
    return {"rows": total.rows, "skipped": skipped, **{name: getattr(total, name) for name in names}}


def memory(predictions: Sequence[Any], worst: int) -> Shown:
    """Errors of peak memory, whether it ran, and the `worst` rows."""
    done = _predicted(predictions)
    total = peak.summarise("all", done)
    data = {
        **_figures(total, predictions, "bytes_rows", *ERRORS, "decision_rows", "decisions_right"),
        **_grouped(done, peak.summarise),
    }
    summary = Table(
        "Peak memory, and whether it ran",
        ["", "rows", "with bytes", "MAPE", "bias", "in 10-90 % range", "ran or not", "right"],
        [
            [
                Cell(s.name, source_name(s.name)),
                s.rows,
                s.bytes_rows,
                _percent(s.mape),
                _percent(s.bias, "+"),
                _percent(s.coverage),
                s.decision_rows,
                _percent(s.decisions_right),
            ]
            for s in (total, *data["by_source"])
        ],
    )
    return Shown(data, [summary, *_worst_peaks(done, worst)], (), _peaks(predictions))


def _worst_peaks(done: Sequence[Any], count: int) -> list[Table]:
    largest = sorted((p for p in done if p.error is not None), key=lambda p: -abs(p.error or 0))[:count]
    rows = [
        [
            p.id,
            p.row.get("model", ""),
            format_bytes(p.measured_bytes or 0),
            format_bytes(p.predicted_bytes or 0),
            _percent(p.error, "+"),
        ]
        for p in largest
    ]
    return [Table("", ["worst rows", "model", "measured", "predicted", "error"], rows)] if largest else []


def _peaks(predictions: Sequence[Any]) -> Table:
    """Every row, for CSV."""
    fields = {  # column -> attribute
        "id": "id",
        "kind": "kind",
        "measured": "measured_bytes",
        "predicted": "predicted_bytes",
        "low": "low_bytes",
        "high": "high_bytes",
        **{name: name for name in ("error", "ran", "predicted_fits", "fit_probability", "skipped_reason")},
    }
    return Table("", list(fields), [[getattr(p, name) for name in fields.values()] for p in predictions])


def budgets(predictions: Sequence[Any]) -> Shown:
    """Device-hours of whole trainings beside the predicted ones."""
    done = _predicted(predictions)
    total = budget.summarise("all", done)
    others = budget.summarise("held out", budget.held_out(done))
    rows = [
        [
            p.id,
            p.measured,
            p.predicted,
            p.low,
            p.high,
            None if p.skipped_reason else p.error,
            p.skipped_reason,
            None if p.skipped_reason else p.ratio,
        ]
        for p in predictions
    ]
    keys = ["id", "measured", "predicted", "low", "high", "error", "skipped_reason", "ratio"]
    data = {
        **_figures(total, predictions, *ERRORS),
        "within_1_5x": total.within,
        "median_ratio": total.median_ratio,
        "held_out": others,
        **_grouped(done, budget.summarise),
        "results": [dict(zip(keys, row, strict=True)) for row in rows],
    }
    shown = Table(
        "Device-hours of whole trainings",
        ["", "model", "device-hours", "predicted", "low", "high", "ratio"],
        [
            [
                p.id,
                p.row.get("model", ""),
                round(p.measured),
                round(p.predicted),
                round(p.low),
                round(p.high),
                f"{p.ratio:.2f}",
            ]
            for p in done
        ],
    )
    note = (
        f"{format_share(total.within)} of {total.rows} within a factor of 1.5; median measured / predicted "
        f"{total.median_ratio:.2f}; {format_share(total.coverage)} inside low to high"
    )
    apart = (
        f"With the factor of practice of all other sources: {format_share(others.within)} within, median "
        f"{others.median_ratio:.2f}, {format_share(others.coverage)} inside."
    )
    return Shown(data, [shown], [note, apart], Table("", keys, rows))


def _percent(value: float | None, sign: str = "") -> Cell:
    return Cell(value, "-" if value is None else f"{value:{sign}.1%}".replace("%", " %"))


def _summary_table(title: str, summaries: Sequence[Any]) -> Table:
    rows = [
        [
            Cell(s.name, source_name(s.name)),
            s.rows,
            _percent(s.mape),
            _percent(s.median_ape),
            _percent(s.bias, "+"),
            _percent(s.coverage),
        ]
        for s in summaries
    ]
    return Table(title, ["", "rows", "MAPE", "median", "bias", "in 10-90 % range"], rows)


def _regime_table(summaries: Sequence[Any]) -> Table:
    """How often intervals hold what was measured, and how wide they are."""
    rows = [[s.name, s.rows, _percent(s.coverage), f"{s.width:.2f}"] for s in summaries]
    return Table("Intervals", ["", "rows", "in 10-90 % range", "high / low, median"], rows)


def _worst_runs(done: Sequence[Any], count: int) -> list[Table]:
    worst = sorted(done, key=lambda p: -abs(p.log_error))[:count]
    if not worst:
        return []
    rows = [
        [
            p.id,
            p.row.get("model", ""),
            p.row["device"],
            p.row["n_devices"].removesuffix(".0"),
            p.measured,
            p.predicted,
            _percent(p.error, "+"),
            "; ".join(p.assumed),
        ]
        for p in worst
    ]
    columns = ["worst rows", "model", "device", "devices", "measured tok/s", "predicted", "time error", "assumed"]
    return [Table("", columns, rows)]


def _run_notes(data: dict[str, Any], predictions: Sequence[Any]) -> list[str]:
    notes = [
        (
            f"MAPE over sources (macro): {format_share(data['macro_mape'])}. Errors are of the step time: "
            "measured over predicted tokens per second, minus 1. Bias: geometric mean."
        )
    ]
    reasons: dict[str, int] = {}
    for p in predictions:
        if p.skipped_reason:
            reasons[p.skipped_reason] = reasons.get(p.skipped_reason, 0) + 1
    notes += [f"skipped {count} rows: {reason}" for reason, count in sorted(reasons.items(), key=lambda r: -r[1])[:5]]
    return notes


def _groups(predictions: Sequence[Any], key: Callable[[Any], str]) -> dict[str, list[Any]]:
    """Predictions by `key`, the largest group first."""
    groups: dict[str, list[Any]] = {}
    for p in predictions:
        groups.setdefault(key(p), []).append(p)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def _grouped(done: Sequence[Any], summarise: Callable[[str, list[Any]], Any]) -> dict[str, list[Any]]:
    """The figures of each source and of each kind of hardware."""
    groups = {"by_source": _groups(done, source_of), "by_device": _groups(done, _hardware)}
    return {name: [summarise(key, rows) for key, rows in found.items()] for name, found in groups.items()}


def _hardware(p: Any) -> str:
    return str(p.row.get("hardware") or "not stated")
