"""Runs a sweep part by part, here or on an executor, into one file; what was stopped goes on where it stood."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..answers.comparison import Sweep, combinations
from ..errors import RooflineError
from ..gate import OF_TWO, PATH, gated
from ..search.files import check_suffix, join
from ..search.parts import Parts
from ..search.pieces import check_executor, in_order
from ..view.files import check_writable
from .rows import COLUMNS, Rows, rows_of
from .write import WRITERS

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from typing import Unpack

    import pandas as pd

    from ..answers.asked import Described, Named
    from ..config.typed import Choices

PIECE, SLOW = 2**14, 2**8  # cases of a part, together or one by one: seconds of work, and 110 MiB
MOST = 1_000_000_000  # cases: half a terabyte
NOTE = ".json"  # of a part: what became of its cases, and its size


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a sweep.

    Attributes:
        path: The file: a row for each case that can be, in the order of the combinations.
        written: How many could be.
        refused: How many could not.
        reason: Why not the first of those; empty where all could be.
    """

    path: str
    written: int
    refused: int = 0
    reason: str = ""

    def to_frame(self) -> pd.DataFrame:
        """The file as a pandas frame, all of it in memory."""
        import pandas as pd

        read = pd.read_parquet if self.path.endswith(".parquet") else pd.read_csv
        frame: pd.DataFrame = read(self.path)
        return frame


class Done(msgspec.Struct):
    """What became of cases: how many could be, how many not and why not the first of those; bytes of their rows."""

    written: int = 0
    refused: int = 0
    reason: str = ""
    size: int = 0

    def merge(self, later: Done) -> None:
        """Take in what became of cases that come later."""
        self.written, self.refused = self.written + later.written, self.refused + later.refused
        self.reason, self.size = self.reason or later.reason, self.size + later.size


@gated(record=PATH, progress=OF_TWO)
def sweep(
    models: Described | Sequence[Described],
    devices: Named | Sequence[Named],
    *,
    record: str | Path,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[Choices],
) -> Swept:
    """Estimate every combination of models, devices and options into a file: up to a billion, in bounded memory.

    Args:
        models: As for `compare`.
        devices: As for `compare`.
        record: A ``.csv`` or ``.parquet`` (with pyarrow) that gets a row for each case, in the columns of
            ``compare --format csv``; a sweep that was stopped goes on where it stood. The file is the same whatever
            the executor and the order in which it works.
        executor: Where parts are worked out: any executor of `concurrent.futures`, or of what speaks its language
            (Dask's `Client.get_executor()`, loky, MPI) whose processes see the folder of the file. None: here.
        progress: Called after each part with cases done, and how many there are.
        **options: As for `compare`.

    Raises:
        RooflineError: No combination is possible, there are too many, or the file cannot be written.
    """
    check_executor(executor)
    return write_cases(combinations(models, devices, options), Path(record), executor, progress)


def write_cases(
    cases: Sweep, path: Path, executor: Executor | None = None, progress: Callable[[int, int], None] | None = None
) -> Swept:
    """The same of a `Sweep`; see `sweep`."""
    check_suffix(path, "cases")
    check_writable(path)
    if not len(cases):
        raise RooflineError("nothing to sweep over: name a model and a device")
    if len(cases) > MOST:
        raise RooflineError(f"these options make {len(cases):,} cases: give at most {MOST:,}")
    size = PIECE if "micro_batch" in cases.options else SLOW
    asked, number = pickle.dumps((cases, size)), -(-len(cases) // size)
    parts, work, total = _read(asked, path).parts, partial(_of_part, asked, path.absolute()), Done()
    for each in map(work, range(number)) if executor is None else in_order(executor, work, number):
        total.merge(each)
        if progress is not None:
            progress(total.written + total.refused, len(cases))
    if not total.written:
        shutil.rmtree(parts.folder)
        raise RooflineError(total.reason)
    parts.finish(number, lambda each: None if (note := _noted(parts, each)) is None else note.size, _joined)
    return Swept(path=str(path), written=total.written, refused=total.refused, reason=total.reason)


def _joined(parts: list[Path], to: Path) -> None:
    join(parts, to, list(COLUMNS))


class _Work(NamedTuple):
    """What all parts share: the cases, how many make a part, and where parts are."""

    cases: Sweep
    size: int
    parts: Parts


def _read(asked: bytes, path: Path) -> _Work:
    cases, size = pickle.loads(asked)  # noqa: S301  (of our own making, from the process that asks)
    told = repr([size, msgspec.to_builtins(cases, str_keys=True)])  # no JSON: a name may hold no text
    return _Work(cases, size, Parts(path, told.encode(errors="backslashreplace"), "sweep"))


_known = lru_cache(maxsize=2)(_read)  # of a process that works out many parts


def _of_part(asked: bytes, path: Path, number: int) -> Done:
    """What became of the cases of one part, which is on disk afterwards: found there, or worked out."""
    cases, size, parts = _known(asked, path)
    if (known := _noted(parts, number)) is not None and parts.whole(number, known.size):
        return known
    return _kept(parts, number, rows_of(list(cases.between(number * size, (number + 1) * size))))


def _kept(parts: Parts, number: int, rows: Rows) -> Done:
    """Write the rows of a part, and then its note: a part with one is there."""
    with parts.writing(parts.of(number, parts.path.suffix)) as to:
        if rows.written:
            WRITERS[to.suffix](rows.columns, to)
    done = Done(rows.written, rows.refused, rows.reason, parts.size(number))
    with parts.writing(parts.of(number, NOTE)) as to:
        to.write_bytes(msgspec.json.encode(done))
    return done


def _noted(parts: Parts, number: int) -> Done | None:
    """What became of the cases of a part that is on disk; None of one that is not.

    Raises:
        RooflineError: Its note is damaged.
    """
    note = parts.of(number, NOTE)
    try:
        return msgspec.json.decode(note.read_bytes(), type=Done)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.MsgspecError) as error:  # which is no ValueError before msgspec 0.21
        raise RooflineError(f"{note} is damaged ({error}): remove it, and its part is worked out again") from error
