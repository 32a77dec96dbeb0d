"""Columns of many rows, or the one number that all share: what pricing by the million looks up in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arrays import is_scalar

SPARSE = 16  # of so many numbers one that occurs: to sort those is less than to go through all


def as_column(value: Any) -> Any:
    """Figures of rows beside a second axis: [rows, 1]."""
    return value if is_scalar(value) else value[:, None]


def taken(table: Any, index: Any) -> Any:
    """Figures at places of a table."""
    return table if is_scalar(table) else table.take(index)


def degree(figures: Any) -> Any:
    """A column of degrees, or 1 where all are; whole numbers, which divide five times as fast as floats."""
    return 1 if (figures == 1).all() else figures


def alike_rows(columns: Sequence[Any], rows: int) -> tuple[Any, Any]:
    """The first of rows that are alike in all of these columns, by rising figures; and the place there of each row.

    >>> import numpy as np
    >>> firsts, places = alike_rows([np.array([2, 1, 2, 1]), np.array([8, 4, 8, 9])], 4)
    >>> firsts.tolist(), places.tolist()
    ([1, 3, 0], [2, 0, 2, 1])
    """
    import numpy as np

    code = np.zeros(rows, dtype=int)
    for each in columns:
        values, place = distinct(each)
        code = code * len(values) + place
    _, firsts, places = np.unique(code, return_index=True, return_inverse=True)
    return firsts, places


def distinct(numbers: Any) -> tuple[Any, Any]:
    """Which numbers from 0 up occur, rising, and for each of `numbers` its place among them.

    >>> import numpy as np
    >>> [each.tolist() for most in (5, 10**6) for each in distinct(np.array([most, 2, most]))]
    [[2, 5], [1, 0, 1], [2, 1000000], [1, 0, 1]]
    """
    import numpy as np

    if numbers.max() > SPARSE * len(numbers):
        found, places = np.unique(numbers, return_inverse=True)
        return found, places
    used = np.bincount(numbers) > 0
    return used.nonzero()[0], (np.cumsum(used) - 1).take(numbers)
