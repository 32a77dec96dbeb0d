"""Words of a name as people and drivers spell it."""

from __future__ import annotations

import re


def tokens(word: str) -> tuple[str, ...]:
    """Whole words of a name: letters and digits, lower case.

    >>> tokens("NVIDIA GB300"), "b300" in tokens("NVIDIA GB300")
    (('nvidia', 'gb300'), False)
    """
    return tuple(re.findall(r"[a-z0-9]+", word.lower().replace("+", "plus")))
