"""What became of every key of a run's files, as tables: what was not understood first."""

from __future__ import annotations

from typing import Any

from ..readers.result import RunFile
from .table import Table


def explained(run: RunFile) -> list[Table]:
    """Tables of the keys not understood, read, assumed and ignored."""
    report = run.report
    title = f"{', '.join(report.files)}: {run.title}"
    tables = [Table(title, ["", ""], _summary(run), align="ll")]
    if report.not_understood:
        tables.append(Table("Not understood", ["key"], [[key] for key in report.not_understood]))
    read = [[key.key, _text(key.value), key.option] for key in report.read]
    tables.append(Table("Read", ["key", "value", "option"], read, align="lll"))
    if report.assumed:
        tables.append(Table("Assumed", ["default"], [[line] for line in report.assumed]))
    if report.ignored:
        tables.append(Table("Without bearing on time or memory", ["key"], [[key] for key in report.ignored]))
    return tables


def explained_records(run: RunFile) -> Table:
    """One row per key: what became of it."""
    report = run.report
    rows: list[list[Any]] = [["not understood", key, "", ""] for key in report.not_understood]
    rows += [["read", key.key, _text(key.value), key.option] for key in report.read]
    rows += [["assumed", line, "", ""] for line in report.assumed]
    rows += [["ignored", key, "", ""] for key in report.ignored]
    return Table("", ["fate", "key", "value", "option"], rows)


def _summary(run: RunFile) -> list[list[Any]]:
    report = run.report
    model = "not named" if run.model is None else run.model.name
    options = ", ".join(f"{name} {_text(value)}" for name, value in run.options.items())
    keys = (
        f"{len(report.read)} read, {len(report.assumed)} assumed, {len(report.ignored)} without bearing, "
        f"{len(report.not_understood)} not understood"
    )
    return [["Model", model], ["Options", options], ["Keys", keys]]


def _text(value: Any) -> str:
    text = (
        value
        if isinstance(value, str)
        else ", ".join(map(str, value))
        if isinstance(value, (list, tuple))
        else str(value)
    )
    return text if len(text) <= 80 else f"{text[:77]}..."
