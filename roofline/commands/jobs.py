"""Work of minutes to hours: every answer in a file, by several processes."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import units
from ..errors import RooflineError

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path


KINDS = ".csv, or .parquet with pyarrow"


def add_all_arguments(group: Any, what: str) -> None:
    """Add ``--jobs`` and ``--all``: every `what` is written to a file."""
    group.add_argument(
        "--jobs", metavar="N", type=units.positive_int, default=1, help="processes that work (default 1)"
    )
    group.add_argument(
        "--all",
        action="store_true",
        help=f"write every {what} to --output ({KINDS}); what was stopped goes on where it stood",
    )


def output_of_all(args: argparse.Namespace, what: str) -> Path:
    """The file that ``--all`` writes.

    Raises:
        RooflineError: None is named, in another format, or it cannot be written.
    """
    from pathlib import Path

    from ..view.files import check_writable

    if args.output in {None, "-"}:
        raise RooflineError(f"--all writes millions of {what}: name a file with --output ({KINDS})")
    if args.format is not None:
        raise RooflineError(f"--all writes what --output ends in ({KINDS}): leave out --format")
    check_writable(Path(args.output))
    return Path(args.output)


@contextmanager
def processes(count: int) -> Iterator[Executor | None]:
    """An executor of as many processes; None for one."""
    if count == 1:
        yield None
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin) as executor:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # in those that start now, up to `_begin`
        executor.submit(int)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield executor


def _begin() -> None:
    """What a process of a search does first: from here on Ctrl-C reaches it, and it ends where its parent has."""
    from multiprocessing import parent_process
    from threading import Thread

    def end() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
            os._exit(1)

    Thread(target=end, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
