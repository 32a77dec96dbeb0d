"""The tables of ``operators.toml``: what a trace leaves out of an operator, and what a kernel's name says."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from ..reading import packaged, read_packaged


class Words(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file as it is; lists of words as text."""

    views: str
    pointwise: str
    reductions: str
    arguments: dict[str, str]
    by_length: dict[str, tuple[str, str]]
    same: dict[str, str]
    fused: dict[str, tuple[int, int]]
    kernels: dict[str, str]


@lru_cache(maxsize=1)
def words() -> Words:
    """The tables."""
    return read_packaged(packaged(__name__) / "operators.toml", Words)


@lru_cache(maxsize=1)
def views() -> frozenset[str]:
    """Operators that launch nothing, as a trace names them."""
    names = words().views.split()
    return frozenset([*(f"aten::{name}" for name in names), "detach", "detach_"])


@lru_cache(maxsize=8)
def listed(table: str) -> frozenset[str]:
    """The words of a list: pointwise or reductions."""
    found: Any = getattr(words(), table)
    return frozenset(found.split())
