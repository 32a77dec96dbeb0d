"""One published run beside our prediction of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..validation.runs import Prediction

KEYS = ("id", "measured", "predicted", "low", "high", "error", "skipped_reason", "stack", "assumed")


def data(result: Prediction) -> dict[str, Any]:
    """The JSON object: the columns of ``roofline validate --format csv``."""
    error = None if result.skipped_reason else result.error
    return {name: error if name == "error" else getattr(result, name) for name in KEYS}


def records_of(predictions: Sequence[Prediction]) -> Table:
    """Predictions, a row each; what was assumed is one text."""
    rows = [{**data(each), "assumed": "; ".join(each.assumed)} for each in predictions]
    return Table("", KEYS, [list(row.values()) for row in rows])


def records(result: Prediction) -> Table:
    """The prediction as one row."""
    return records_of([result])


def tables(result: Prediction) -> list[Table]:
    """The prediction, a figure a line; tokens per second and device."""
    return [Table(result.id, ["", ""], [[name, value] for name, value in data(result).items()], align="ll")]


def notes(_result: Prediction) -> list[str]:
    """What the figures are."""
    return ["Tokens per second and device; the error is of the step time."]
