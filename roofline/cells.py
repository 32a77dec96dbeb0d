"""Table cells of the figures every report shows: a text with its unit for people, the number for programs."""

from __future__ import annotations

from typing import Any

from .output import Cell
from .units import format_bytes, format_count, format_flops, format_share, format_time


def share(value: Any) -> Cell:
    """A share of a whole: percent for people, the fraction for programs."""
    return Cell(value, format_share(value))


def seconds(value: Any) -> Cell:
    """A duration: in a fitting unit for people, in seconds for programs."""
    return Cell(value, format_time(value))


def size(value: Any) -> Cell:
    """Bytes: in GiB for people."""
    return Cell(value, format_bytes(value))


def flops(value: Any) -> Cell:
    """Floating-point operations."""
    return Cell(value, format_flops(value))


def amount(value: Any) -> Cell:
    """A count in three digits for people."""
    return Cell(value, format_count(value))


def points(value: Any) -> Cell:
    """A signed change in percent."""
    return Cell(value, f"{100 * value:+.1f} %")


def intensity(value: Any) -> Cell:
    """FLOP per byte; none for communication."""
    if value is None:
        return Cell(None, "-")
    return Cell(value, f"{value:,.0f}" if value >= 10 else f"{value:.2g}")
