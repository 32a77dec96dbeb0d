"""One change a row: what a step would take with one thing different."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .cells import seconds, share
from .table import Cell, Table

if TYPE_CHECKING:
    from ..answers.advice import Suspect


def changes_table(title: str, heading: str, found: Sequence[Suspect], most: int = 6) -> Table:
    """One change a row, with the step it would give."""
    rows = [
        [one.what, seconds(one.step_time_s), share(one.mfu), Cell(one.explains, f"{100 * one.explains:.0f} %")]
        for one in found[:most]
    ]
    return Table(title, ["If", "Step", "MFU", heading], rows)
