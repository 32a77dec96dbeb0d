"""Errors a user can cause and mend: one clear line each (what, got, allowed or nearest, remedy)."""

from __future__ import annotations

from collections.abc import Iterable


class RooflineError(ValueError):
    """What a user can mend: the command line prints the message on one line and exits with status 2."""


def nearest(word: str, allowed: Iterable[str], count: int = 3) -> list[str]:
    """The allowed words that look most like `word`.

    >>> nearest("gpt2xl", ["gpt2", "gpt2-xl", "llama-2-7b"])
    ['gpt2-xl', 'gpt2']
    """
    import difflib

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
