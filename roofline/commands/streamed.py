"""The cases of a comparison as rows on disk, by the million: none is held, and what was stopped goes on."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..answers.comparison import Sweep
from ..answers.estimate import estimate
from ..errors import RooflineError
from ..search.parts import Parts
from ..search.pieces import in_order
from ..view.estimate import record
from ..view.table import of_records, render_csv

if TYPE_CHECKING:
    from concurrent.futures import Executor

PIECE = 2**11  # cases of a part: seconds of work
MOST = 100_000_000  # cases: a day on several cores


class Done(msgspec.Struct):
    """What became of cases: how many could be, how many could not, and why not the first of those."""

    written: int = 0
    refused: int = 0
    reason: str = ""

    def merge(self, later: Done) -> None:
        """Take in what became of cases that come later."""
        self.written, self.refused = self.written + later.written, self.refused + later.refused
        self.reason = self.reason or later.reason


def write_cases(
    sweep: Sweep, path: Path, executor: Executor | None = None, progress: Callable[[int, int], None] | None = None
) -> Done:
    """Write a row for each case that can be, in the columns of a comparison as CSV.

    Args:
        sweep: The cases.
        path: The file, a ``.csv``; its parts lie in a folder beside it until it is whole.
        executor: Where parts are worked out; None: here.
        progress: Told of cases that are done, and of how many there are.

    Raises:
        RooflineError: There are too many, no case can be, or the file cannot be written.
    """
    if path.suffix != ".csv":
        raise RooflineError(f"{path}: millions of cases are written as .csv")
    if len(sweep) > MOST:
        raise RooflineError(f"these options make {len(sweep):,} cases: give at most {MOST:,}")
    asked = pickle.dumps(sweep)
    parts, work, done = _parts(path, sweep), partial(_of_piece, asked, path), Done()
    number = -(-len(sweep) // PIECE)
    for each in map(work, range(number)) if executor is None else in_order(executor, work, number):
        done.merge(each)
        if progress is not None:
            progress(done.written + done.refused, len(sweep))
    if not done.written:
        shutil.rmtree(parts.folder)
        raise RooflineError(done.reason)
    parts.finish(number, _join)
    return done


@lru_cache(maxsize=2)
def _asked(asked: bytes, path: Path) -> tuple[Sweep, Parts]:
    sweep: Sweep = pickle.loads(asked)  # noqa: S301  (of our own making, from the process that asks)
    return sweep, _parts(path, sweep)


def _parts(path: Path, sweep: Sweep) -> Parts:
    return Parts(path, msgspec.json.encode(msgspec.to_builtins(sweep, str_keys=True)), "sweep")


def _of_piece(asked: bytes, path: Path, number: int) -> Done:
    """What became of the cases of one part, which is on disk afterwards: found there, or worked out."""
    sweep, parts = _asked(asked, path)
    note = parts.of(number, ".json")
    if note.exists():
        return msgspec.json.decode(note.read_bytes(), type=Done)
    done, rows = Done(), []
    for place in range(number * PIECE, min((number + 1) * PIECE, len(sweep))):
        case = sweep[place]
        try:
            rows.append(record(estimate(case.model, case.device, **case.options)))
        except RooflineError as error:
            done.merge(Done(refused=1, reason=str(error)))
        else:
            done.written += 1
    with parts.writing(parts.of(number, ".csv")) as to:
        if rows:
            to.write_text(render_csv(of_records(rows)), encoding="utf-8")
    with parts.writing(note) as to:  # last: a part with it is there
        to.write_bytes(msgspec.json.encode(done))
    return done


def _join(parts: list[Path], to: Path) -> None:
    """Put parts together under one header."""
    with to.open("wb") as file:
        for part in parts:
            with part.open("rb") as rows:
                header = rows.readline()
                if part == parts[0]:
                    file.write(header)
                shutil.copyfileobj(rows, file)
