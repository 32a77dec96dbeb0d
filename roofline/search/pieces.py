"""Runs a search piece by piece, here or on an executor, and puts together what each kept, in their order."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, TypeVar

from ..errors import RooflineError, shown
from .best import Best
from .question import Bundles, Question
from .sift import sift

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from .record import Record

T = TypeVar("T")
AHEAD = 64  # pieces handed to an executor before the first of them is back


def run(
    bundles: Bundles, progress: Callable[[int, int], None], executor: Executor | None, record: str | Path | None
) -> tuple[Best, bool]:
    """What was best of all pieces, and whether an interrupt (Ctrl-C) ended the search early.

    Args:
        bundles: Those of the question.
        progress: Told of layouts decided, and of how many there are.
        executor: Where the pieces are searched; None: here.
        record: The file that gets every layout that surely fits.

    Raises:
        RooflineError: The search would take hours, or `record` cannot be written.
    """
    question = bundles.question
    total = question.size()
    best = Best(question.leaders, front=question.front)
    rows = None if record is None else _record(record, question)
    try:
        progress(0, total)
        for found in (
            _here(bundles, best, progress, total, rows) if executor is None else _there(bundles, executor, rows)
        ):
            if found is not best:
                best.merge(found)
            progress(best.evaluated, total)
        if rows is not None:
            rows.finish(len(bundles.pieces))
    except KeyboardInterrupt:
        return best, True
    return best, False


def _here(
    bundles: Bundles, best: Best, progress: Callable[[int, int], None], total: int, rows: Record | None
) -> Iterator[Best]:
    """Each piece in turn, in this process."""
    for number, piece in enumerate(bundles.pieces):
        if rows is None:
            sift(bundles, number, piece, best, decided=lambda done: progress(done, total))
            yield best
        else:
            yield _recorded(bundles, number, rows)


def _there(bundles: Bundles, executor: Executor, rows: Record | None) -> Iterator[Best]:
    """Each piece on the executor."""
    asked, path = pickle.dumps(bundles.question), None if rows is None else rows.path.absolute()
    return in_order(executor, partial(_of_piece, asked, path), len(bundles.pieces))


def check_executor(executor: object) -> None:
    """Refuse what runs nothing.

    Raises:
        RooflineError: It has no method submit.
    """
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise RooflineError(
            f"executor must have a method submit, as those of concurrent.futures, got {shown(executor)}"
        )


def in_order(executor: Executor, work: Callable[[int], T], number: int) -> Iterator[T]:
    """What `work` makes of each number below `number` on an executor, a few at a time, in their order.

    Raises:
        RooflineError: A process ended.
    """
    from concurrent.futures import BrokenExecutor  # whoever brings an executor has it imported

    waiting: deque[Future[T]] = deque()
    try:
        for each in range(number):
            waiting.append(executor.submit(work, each))
            if len(waiting) >= AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenExecutor as error:
        raise RooflineError(
            f"the work lost a process ({error}): it was ended from outside, as where memory runs out, or cannot "
            "start; take fewer jobs, and call it below `if __name__ == '__main__':` in a script"
        ) from error
    finally:
        for future in waiting:
            future.cancel()


def _record(path: str | Path, question: Question) -> Record:
    from .record import Record  # few searches need it

    return Record(path, question)


def _of_piece(asked: bytes, path: Path | None, number: int) -> Best:
    """What is best of one piece: what a process elsewhere runs."""
    bundles, rows = _asked(asked, path)
    if rows is not None:
        return _recorded(bundles, number, rows)
    best = Best(bundles.question.leaders, front=bundles.question.front)
    sift(bundles, number, bundles.pieces[number], best)
    return best


@lru_cache(maxsize=2)
def _asked(asked: bytes, path: Path | None) -> tuple[Bundles, Record | None]:
    question: Question = pickle.loads(asked)  # noqa: S301  (of our own making, from the process that asks)
    return Bundles(question, kept=2), None if path is None else _record(path, question)


def _recorded(bundles: Bundles, number: int, rows: Record) -> Best:
    """What is best of one piece, whose rows are on disk afterwards: found there, or searched."""
    best = Best(bundles.question.leaders, front=bundles.question.front)
    if rows.restore(number, best):
        return best
    piece = bundles.pieces[number]
    with rows.writing(number, piece, best) as take:
        sift(bundles, number, piece, best, take=take)
    return best
