"""Values of a run file: words as numbers and flags, and variables that nothing in the file sets."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_INTEGER = re.compile(r"[-+]?\d[\d_]*")
_FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d+)([eE][-+]?\d+)?")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "none": None, "~": None}
LONGEST_NUMBER = 40  # digits: more is no size of anything


class Unresolved(msgspec.Struct, frozen=True):
    """A value that depends on a variable the file does not set.

    Attributes:
        text: The value as written, such as ``${GBS}``.
        name: The variable, such as ``GBS``.
    """

    text: str
    name: str

    def told(self, flag: str) -> str:
        """What it is and what helps, to stand after "... is"; an empty `flag` where no option stands for it."""
        if self.name.startswith(("$(", "=")):  # a command, or Python
            remedy = f"give {flag}" if flag else "write the value into the file"
            return f"{self.name.removeprefix('=')}, which is not run to see what it gives: {remedy}"
        remedy = f"give {flag}, or the file" if flag else "give the file"
        return f"{self.text}, and nothing sets {self.name}: {remedy} that sets it with --with"


def scalar(text: str) -> Any:
    """A word as the number, flag or text it is.

    >>> [scalar(word) for word in ("4096", "5e6", "1_000", "True", "None", "bf16", "4k")]
    [4096, 5000000.0, 1000, True, None, 'bf16', '4k']
    """
    text = text.strip()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if len(text) <= LONGEST_NUMBER:
        if _INTEGER.fullmatch(text):
            return int(text.replace("_", ""))
        if _FLOAT.fullmatch(text):
            return float(text.replace("_", ""))
    return text


def normal_key(key: str) -> str:
    """A key as the rules spell it: without leading dashes, with underscores.

    >>> normal_key("--tensor-model-parallel-size")
    'tensor_model_parallel_size'
    """
    return key.lstrip("-").replace("-", "_")
