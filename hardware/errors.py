"""Errors a user can cause and mend: one clear line each (what, got, allowed or nearest, remedy)."""

from __future__ import annotations

from collections.abc import Iterable


class RooflineError(ValueError):
    """What a user can mend: the command line prints the message on one line and exits with status 2."""


class HardwareError(RooflineError):
    """A device that is not known, or a figure that is missing or cannot be."""


def nearest(word: str, allowed: Iterable[str], count: int = 3) -> list[str]:
    """The allowed words that look most like `word`.

    >>> nearest("h100-sxm-81gb", ["h100-sxm-80gb", "t4"])
    ['h100-sxm-80gb']
    """
    import difflib

    return difflib.get_close_matches(word, list(allowed), n=count, cutoff=0.5)


def quoted(words: Iterable[str]) -> str:
    """Words in quotes, joined by commas.

    >>> quoted(["a", "b"])
    "'a', 'b'"
    """
    return ", ".join(f"'{word}'" for word in words)
