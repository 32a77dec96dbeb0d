"""What was seen on the user's own cluster: one timed step, beside what was expected of it."""

from __future__ import annotations

from typing import Any

import msgspec


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A step that was timed.

    Attributes:
        model: What was trained.
        train: How, complete.
        words: Its layout, batch and software, in words.
        seconds: What a step took.
        expected_s: What was expected of it.
    """

    model: Any
    train: Any
    words: str
    seconds: float
    expected_s: float

    @property
    def ratio(self) -> float:
        """Measured over expected."""
        return self.seconds / self.expected_s
