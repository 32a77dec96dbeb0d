"""Arithmetic that takes Python numbers or NumPy arrays: one code path for one layout and for a million.

A scalar stays a Python number (counts stay exact integers, and NumPy is not even imported); as soon as one
argument is an array the result is a NumPy array by the usual broadcasting rules.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Number: TypeAlias = int | float | NDArray[np.float64]
else:
    Number: TypeAlias = Any

_SCALARS = (int, float)


def number(value: Any) -> Any:
    """A number as the formulas take it: a Python number, or an array of float64; None where it is neither.

    NumPy scalars and arrays of no dimension are Python numbers. Integers of any width and floats of any precision are
    float64 in an array: what a count multiplies to would wrap in int64. Truth values, complex numbers, text, objects,
    masked and empty arrays and what has missing columns are no numbers.

    >>> number(3), number(True), number("3")
    (3, None, None)
    """
    if type(value) in _SCALARS:
        return value
    if isinstance(value, (bool, complex, str)) or hasattr(value, "columns"):
        return None
    if isinstance(value, _SCALARS) and not hasattr(value, "dtype"):  # an enumeration's member
        return int(value) if isinstance(value, int) else float(value)
    listed = isinstance(value, (list, tuple, range))
    if (listed and any(isinstance(each, bool) for each in value)) or not (listed or hasattr(value, "__array__")):
        return None
    return _array(value)


def _array(value: Any) -> Any:
    """The numbers of something like an array as float64; None where some of it is none."""
    import numpy as np

    kind = getattr(value, "dtype", None)
    try:
        if getattr(kind, "na_value", None) is not None:  # a nullable column of pandas
            value = value.to_numpy(dtype=float, na_value=math.nan) if getattr(kind, "kind", "O") in "iuf" else None
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors on another device
        return None
    if isinstance(value, np.ma.MaskedArray) or array.dtype.kind not in "iuf" or not array.size:
        return None
    return array.astype(np.float64) if array.ndim else array.item()


def is_scalar(*values: Any) -> bool:
    """Whether every value is a plain Python number (or bool)."""
    return all(isinstance(value, _SCALARS) for value in values)


def size(*values: Any) -> int:
    """How many elements values broadcast to: 1 where all are numbers.

    >>> size(1, 2.0)
    1
    """
    number: int = max(getattr(value, "size", 1) for value in values)
    return number


def maximum(first: Any, *others: Any) -> Any:
    """Element-wise largest value.

    >>> maximum(1, 2.5, 2)
    2.5
    """
    if is_scalar(first, *others):
        return max((first, *others))
    import numpy as np

    for other in others:
        first = np.maximum(first, other)
    return first


def minimum(first: Any, *others: Any) -> Any:
    """Element-wise smallest value.

    >>> minimum(1, 2.5, 2)
    1
    """
    if is_scalar(first, *others):
        return min((first, *others))
    import numpy as np

    for other in others:
        first = np.minimum(first, other)
    return first


def where(condition: Any, if_true: Any, if_false: Any) -> Any:
    """Element-wise choice; one number where both are the same.

    >>> where(2 > 1, "a", "b")
    'a'
    """
    if isinstance(condition, _SCALARS):
        return if_true if condition else if_false
    if is_scalar(if_true, if_false) and if_true == if_false:
        return if_true
    import numpy as np

    return np.where(condition, if_true, if_false)


def first_where(condition: Any, *values: Any) -> tuple[Any, ...] | None:
    """The values at the first element for which a condition holds; None where it holds nowhere.

    >>> first_where(7 % 2 == 1, 7, 2)
    (7, 2)
    >>> first_where(8 % 2 == 1, 8, 2) is None
    True
    """
    if is_scalar(condition):
        return values if condition else None
    import numpy as np

    found, *columns = np.broadcast_arrays(condition, *values)
    places = np.flatnonzero(found)
    if not places.size:
        return None
    elements = [column.flat[places[0]].item() for column in columns]
    return tuple(int(each) if isinstance(each, float) and each.is_integer() else each for each in elements)


def some(condition: Any) -> bool:
    """Whether a condition holds anywhere.

    >>> some(2 > 1), some(False)
    (True, False)
    """
    return bool(condition) if isinstance(condition, _SCALARS) else bool(condition.any())


def ceil_div(numerator: Any, denominator: Any) -> Any:
    """Element-wise quotient rounded up.

    >>> ceil_div(7, 2), ceil_div(8, 2)
    (4, 4)
    """
    return -(-numerator // denominator)


def divide(numerator: Any, denominator: Any) -> Any:
    """Element-wise quotient that stays an exact integer where it is one.

    >>> divide(8, 2), divide(7, 2)
    (4, 3.5)
    """
    if isinstance(numerator, int) and isinstance(denominator, int) and numerator % denominator == 0:
        return numerator // denominator
    return numerator / denominator


def exp(value: Any) -> Any:
    """Element-wise exponential."""
    if is_scalar(value):
        return math.exp(value)
    import numpy as np

    return np.exp(value)


def p_norm(first: Any, second: Any, p: float) -> Any:
    """``(first^p + second^p)^(1/p)``: the smooth maximum of compute and memory time.

    The larger term is factored out, so neither overflow nor underflow can occur, and the result is never
    below the larger of the two.

    >>> p_norm(3.0, 4.0, 2.0)
    5.0
    >>> p_norm(0.0, 0.0, 2.0)
    0.0
    """
    large = maximum(first, second)
    small = minimum(first, second)
    ratio = small / maximum(large, 1e-300)
    return large * (1.0 + ratio**p) ** (1.0 / p)


class _Scalars:
    """The few functions the timing formulas use, on plain numbers: the same names as NumPy's, ten times faster."""

    maximum = staticmethod(max)
    minimum = staticmethod(min)
    ceil = staticmethod(math.ceil)
    exp = staticmethod(math.exp)
    log2 = staticmethod(math.log2)


def namespace(*values: Any) -> Any:
    """Where to find maximum, minimum, ceil, exp and log2 for these values: plain functions, or NumPy.

    >>> namespace(3, 4.0).maximum(3, 4.0)
    4.0
    """
    for value in values:
        if not isinstance(value, _SCALARS):
            import numpy as np

            return np
    return _Scalars
