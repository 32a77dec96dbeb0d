"""A bar on stderr while something lasts: only on a terminal, only after a second, and gone when it is done."""

from __future__ import annotations

import sys
import time
from typing import Any, Self

SLOW_S = 1.0  # a bar appears after this long


class Progress:
    """Call it with how many of how many are done."""

    def __init__(self, what: str) -> None:
        self.what, self.start = what, time.perf_counter()
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """How many of how many are done."""
        if self.bar is None and sys.stderr.isatty() and time.perf_counter() - self.start > SLOW_S:
            from rich.console import Console
            from rich.progress import Progress as Bar

            self.bar = Bar(console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task(self.what, total=total)
            self.bar.start()
        if self.bar is not None:
            self.bar.update(self.task, completed=done)
