"""Errors a user can cause and mend: one clear line each (what, got, allowed or nearest, remedy)."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import RooflineError, nearest

__all__ = ["HardwareError", "RooflineError", "nearest", "quoted"]


class HardwareError(RooflineError):
    """A device that is not known, or a figure that is missing or cannot be."""


def quoted(words: Iterable[str]) -> str:
    """Words in quotes, joined by commas.

    >>> quoted(["a", "b"])
    "'a', 'b'"
    """
    return ", ".join(f"'{word}'" for word in words)
