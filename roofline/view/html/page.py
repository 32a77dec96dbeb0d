"""An answer as a fragment of HTML: the pieces its view gives, or its tables and notes."""

from __future__ import annotations

from typing import Any

from .pieces import assumptions, fragment, table


def html(view: Any, result: Any) -> str:
    """What a notebook shows of `result`; `view` is its module in `roofline.view`."""
    pieces = getattr(view, "pieces", None)
    shown = [table(each) for each in view.tables(result)] if pieces is None else pieces(result)
    return fragment(*shown, assumptions(view.notes(result)))
