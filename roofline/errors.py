"""Errors a user can cause and mend: one clear line each (what, got, allowed or nearest, remedy)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

try:  # the base of `hardware`'s errors: catching it catches both
    from hardware.errors import RooflineError
except ImportError:  # another package hides ours: `packages` says so

    class RooflineError(ValueError):  # type: ignore[no-redef]
        """What a user can mend: the command line prints the message on one line and exits with status 2."""


__all__ = ["RooflineError", "nearest", "unknown"]


def nearest(word: str, allowed: Iterable[str], count: int = 3) -> list[str]:
    """The allowed words that look most like `word`.

    >>> nearest("gpt2xl", ["gpt2", "gpt2-xl", "llama-2-7b"])
    ['gpt2-xl', 'gpt2']
    """
    return difflib.get_close_matches(word, list(allowed), n=count, cutoff=0.5)


def unknown(what: str, got: str, allowed: Iterable[str], remedy: str = "") -> RooflineError:
    """The error for a word outside a closed list, with the nearest allowed words.

    >>> str(unknown("optimizer", "adamv", ["adamw", "sgd"]))
    "unknown optimizer 'adamv': did you mean 'adamw'? (allowed: adamw, sgd)"
    """
    allowed = list(allowed)
    close = nearest(got, allowed)
    hint = f": did you mean {', '.join(map(repr, close))}?" if close else ""
    rest = remedy or f"allowed: {', '.join(allowed)}"
    return RooflineError(f"unknown {what} {got!r}{hint} ({rest})")
