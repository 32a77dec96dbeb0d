"""Errors a user can cause and mend: one clear line each (what, got, allowed or nearest, remedy)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")
_LONGEST = 3000  # letters of a message
_LEAST = 6  # letters that show anything of a value


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
    """A value in an error: on one line, not longer than a line can bear, and with its quote and brackets closed.

    >>> shown("eight"), shown([1, 2]), shown(object)
    ("'eight'", '[1, 2]', "<class 'object'>")
    >>> shown("x" * 99, 12), shown([100, 200, 300, 400], 18)
    ("'xxxxxxx'...", '[100, 200, ...]')
    """
    if hasattr(value, "dtype") or hasattr(value, "columns"):
        kind = getattr(value, "dtype", "columns")
        return f"{type(value).__module__.partition('.')[0]} {type(value).__name__} of {kind}"
    try:
        text = repr(value) if isinstance(value, str) else re.sub(r" at 0x\w+", "", " ".join(repr(value).split()))
        return text if len(text) <= most else _cut(value, text, most)
    except Exception:  # noqa: BLE001  (whatever a foreign object does, or a number of too many digits)
        return f"{type(value).__name__} that cannot be shown"


def _cut(value: object, text: str, most: int) -> str:
    """`text`, which shows `value`, in at most `most` letters; at least a few are left of a value inside another."""
    if isinstance(value, str):
        kept = value[: max(1, most - len("''..."))]
        while len(repr(kept)) > most - len("...") and len(kept) > 1:  # escapes are longer than their letters
            kept = kept[:-1]
        return f"{kept!r}..."
    if not isinstance(value, (list, tuple, dict)) or text[0] not in "[({":
        return f"{text[: most - 3]}..."
    opening, closing = text[0], text[-1]
    entries = ""
    for number, item in enumerate(value.items() if isinstance(value, dict) else value, start=1):
        key = f"{shown(item[0], most // 2)}: " if isinstance(value, dict) else ""
        rest = ", " if number < len(value) else ""
        room = most - len(opening + entries + key + rest + "..." + closing)
        entry = shown(item[1] if key else item, room) if room >= _LEAST else ""
        if not entry or len(entry) > room:
            return f"{opening}{entries}...{closing}"
        entries += f"{key}{entry}{rest}"
    return f"{opening}{entries}{closing}"


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
