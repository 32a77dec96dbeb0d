"""Errors a user can cause and mend: one clear line each (what, got, allowed or nearest, remedy)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")
_LONGEST = 3000  # letters of a message


class RooflineError(ValueError):
    """What a user can mend, on one line: the command line prints it and exits with status 2."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message if len(message.splitlines()) < 2 else one_line(message))


class NotDescribedError(RooflineError):
    """A model whose config is a model's, and whose type nobody described: it can still be built and traced."""


def printable(text: str) -> str:
    r"""`text` with what a terminal would obey instead of showing it (escapes, marks of direction) written out.

    >>> printable("gpt\x1b[2J")
    'gpt\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\t\n" else repr(letter)[1:-1] for letter in text)


def one_line(message: str) -> str:
    r"""A message as one line of bearable length: what was given may be of any length and have any character.

    >>> one_line("unknown model 'a\n  b'")
    "unknown model 'a b'"
    >>> len(one_line("x" * 10_000))
    203
    """
    text = printable(" ".join(message.split()))
    text = re.sub(r"\S{300,}", lambda match: f"{match[0][:140]}...{match[0][-60:]}", text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 600]} ... {text[-500:]}"


def nearest(word: str, allowed: Iterable[str], count: int = 3) -> list[str]:
    """The allowed words that look most like `word`.

    >>> nearest("gpt2xl", ["gpt2", "gpt2-xl", "llama-2-7b"])
    ['gpt2-xl', 'gpt2']
    >>> nearest("nvidai", ["AMD", "NVIDIA"])
    ['NVIDIA']
    """
    import difflib

    words = {each.lower(): each for each in allowed}
    return [words[each] for each in difflib.get_close_matches(word.lower(), list(words), n=count, cutoff=0.5)]


def shown(value: object, most: int = 60) -> str:
    """A value in an error: on one line, and not longer than a line can bear.

    >>> shown("eight"), shown([1, 2]), shown(object)
    ("'eight'", '[1, 2]', "<class 'object'>")
    """
    if hasattr(value, "dtype") or hasattr(value, "columns"):
        kind = getattr(value, "dtype", "columns")
        return f"{type(value).__module__.partition('.')[0]} {type(value).__name__} of {kind}"
    try:
        text = repr(value) if isinstance(value, str) else " ".join(repr(value).split())
    except Exception:  # noqa: BLE001  (whatever a foreign object does, or a number of too many digits)
        text = f"{type(value).__name__} that cannot be shown"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def unknown(what: str, got: object, allowed: Iterable[str], remedy: str = "") -> RooflineError:
    """The error for a word outside a closed list, with the nearest allowed words.

    >>> str(unknown("optimizer", "adamv", ["adamw", "sgd"]))
    "unknown optimizer 'adamv': did you mean 'adamw'? (allowed: adamw, sgd)"
    """
    allowed = list(allowed)
    close = nearest(got, allowed) if isinstance(got, str) else []
    hint = f": did you mean {', '.join(map(repr, close))}?" if close else ""
    rest = remedy or f"allowed: {', '.join(allowed)}"
    return RooflineError(f"unknown {what} {shown(got)}{hint} ({rest})")


def look_up(what: str, name: str, table: Mapping[str, T]) -> T:
    """One of a table by name.

    Raises:
        RooflineError: There is none of that name.

    >>> look_up("size", "small", {"small": 1})
    1
    """
    if name not in table:
        raise unknown(what, name, table)
    return table[name]
