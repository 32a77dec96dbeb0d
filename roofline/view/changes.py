"""One change a row: what a step would take with one thing different."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .cells import seconds, share
from .table import Cell, Table

if TYPE_CHECKING:
    from ..answers.advice import Suspect
    from ..config.settle import Run


def changes_table(title: str, heading: str, found: Sequence[Suspect], most: int = 6) -> Table:
    """One change a row, with the step it would give."""
    rows = [
        [one.what, seconds(one.step_time_s), share(one.mfu), Cell(one.explains, f"{100 * one.explains:.0f} %")]
        for one in found[:most]
    ]
    return Table(title, ["If", "Step", "MFU", heading], rows)


def with_kept(title: str, run: Run | None) -> str:
    """A heading of changes of a run, with what they keep of it that nobody said."""
    kept: list[str] = []
    if run is not None:
        said = run.options.keys() - ({"micro_batch"} if run.chosen else set())
        unsaid = [name for name in ("micro_batch", "global_batch", "stack") if name not in said]
        kept = [f"--{name.replace('_', '-')} {getattr(run.train, name)}" for name in unsaid]
    return title + (f" (all else as here: {' '.join(kept)})" if kept else "")


def faster_title(what: str, run: Run | None) -> str:
    """The heading of changes that make `what` faster."""
    return with_kept(f"What would make {what} faster, and fits", run)
