"""Table cells of the figures every report shows: a text with its unit for people, the number for programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from ..units import format_bytes, format_count, format_flops, format_share, format_time
from .table import Cell


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


DURATIONS = (
    (120e-6, 1e-6, "us"),
    (120e-3, 1e-3, "ms"),
    (120.0, 1.0, "s"),
    (7200.0, 60.0, "min"),
    (2 * 86400.0, 3600.0, "h"),
    (math.inf, 86400.0, "days"),
)


def one_unit(values: Iterable[float]) -> Callable[[float], str]:
    """How to write the durations of a column: all in the unit that suits the shortest, in three digits of it.

    >>> [one_unit((90.0, 150.0))(value) for value in (90.0, 150.0)]
    ['90.0 s', '150.0 s']
    """
    shortest = min(values, default=1.0)
    _, scale, unit = next(row for row in DURATIONS if shortest < row[0])
    decimals = min(max(2 - math.floor(math.log10(shortest / scale)), 0), 3)
    return lambda value: f"{value / scale:,.{decimals}f} {unit}"
