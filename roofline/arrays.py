"""Arithmetic that takes Python numbers or NumPy arrays: one code path for one layout and for a million.

A scalar stays a Python number (counts stay exact integers, and NumPy is not even imported); as soon as one
argument is an array the result is a NumPy array by the usual broadcasting rules.
"""

from __future__ import annotations

import math
import sys
from contextvars import ContextVar
from functools import cache, partial, reduce
from typing import TYPE_CHECKING, Any, TypeAlias

from . import replay

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import TypeVar

    Number: TypeAlias = int | float | NDArray[np.float64]
    Floats: TypeAlias = NDArray[np.float64]
    Bools: TypeAlias = NDArray[np.bool_]
    Texts: TypeAlias = NDArray[np.str_]
    # of an answer: its numbers, truths and words, which are arrays where what was asked is an array
    N = TypeVar("N", default=float)
    B = TypeVar("B", default=bool)
    W = TypeVar("W", default=str)
else:
    from typing import TypeVar

    Number: TypeAlias = Any
    N, B, W = TypeVar("N"), TypeVar("B"), TypeVar("W")

HELD: ContextVar[Any] = ContextVar("HELD", default=None)  # the last condition that `first_where` found to hold
_SCALARS = (int, float)
_PLAIN = frozenset({int, float, bool})  # most numbers are exactly one of them
_ONE = (int, float, replay.Figure)  # a number, or one whose arithmetic is recorded


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
    masked = sys.modules.get("numpy.ma")  # whoever has such an array has imported it: 12 ms
    if (masked and isinstance(value, masked.MaskedArray)) or array.dtype.kind not in "iuf" or not array.size:
        return None
    if array.dtype.kind == "f" or array.ndim:  # also a long double, which no Python number holds
        array = array.astype(np.float64)
    return array if array.ndim else array.item()


def is_scalar(*values: Any) -> bool:
    """Whether every value is one number (or bool), no array."""
    for value in values:  # noqa: SIM110  (a generator takes twice as long)
        if type(value) not in _PLAIN and not isinstance(value, _ONE):
            return False
    return True


def _plain(*values: Any) -> bool:
    for value in values:  # noqa: SIM110  (as above)
        if type(value) not in _PLAIN and not isinstance(value, _SCALARS):
            return False
    return True


def _operation(name: str, *values: Any) -> Any:
    """NumPy's function of this name, or the one that is recorded where a value's arithmetic is."""
    for value in values:
        if type(value) is replay.Figure:
            return getattr(_Recorded, name)
    return _of_numpy(name)


@cache
def _of_numpy(name: str) -> Any:
    import numpy as np

    return getattr(np, name)


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
    largest = first
    if type(first) in _PLAIN:
        for value in others:
            if type(value) not in _PLAIN:
                break
            if value > largest:  # noqa: PLR1730  (the call would take as long as all the rest)
                largest = value
        else:
            return largest
    values = (first, *others)
    return max(values) if _plain(*values) else reduce(_operation("maximum", *values), values)


def minimum(first: Any, *others: Any) -> Any:
    """Element-wise smallest value.

    >>> minimum(1, 2.5, 2)
    1
    """
    smallest = first
    if type(first) in _PLAIN:
        for value in others:
            if type(value) not in _PLAIN:
                break
            if value < smallest:  # noqa: PLR1730  (as above)
                smallest = value
        else:
            return smallest
    values = (first, *others)
    return min(values) if _plain(*values) else reduce(_operation("minimum", *values), values)


def where(condition: Any, if_true: Any, if_false: Any) -> Any:
    """Element-wise choice; one number where both are the same.

    >>> where(2 > 1, "a", "b")
    'a'
    """
    if isinstance(condition, _SCALARS):
        return if_true if condition else if_false
    if _plain(if_true, if_false) and if_true == if_false:
        return if_true
    return _operation("where", condition, if_true, if_false)(condition, if_true, if_false)


def first_where(condition: Any, *values: Any) -> tuple[Any, ...] | None:
    """The values at the first element for which a condition holds; None where it holds nowhere.

    Who asks refuses it: `HELD` then says which elements were refused.

    >>> first_where(7 % 2 == 1, 7, 2)
    (7, 2)
    >>> first_where(8 % 2 == 1, 8, 2) is None
    True
    """
    if is_scalar(condition):
        if not condition:
            return None
        HELD.set(condition)
        return values
    if not condition.any():
        return None
    import numpy as np

    found, *columns = np.broadcast_arrays(condition, *values)
    first = np.flatnonzero(found)[0]
    HELD.set(condition)
    elements = [column.flat[first].item() for column in columns]
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


def leaves_remainder(number: Any, divisor: Any) -> Any:
    """Whether a whole number is no multiple of another, element-wise (a third of the time of NumPy's ``%``).

    >>> leaves_remainder(7, 2), leaves_remainder(8, 2)
    (True, False)
    """
    if is_scalar(number, divisor):
        return number % divisor != 0
    import numpy as np

    quotient = number / divisor
    return quotient != np.floor(quotient)


def divide(numerator: Any, denominator: Any) -> Any:
    """Element-wise quotient that stays an exact integer where it is one.

    >>> divide(8, 2), divide(7, 2)
    (4, 3.5)
    """
    if _plain(numerator, denominator):
        return replay.divide(numerator, denominator)
    return replay.apply("divide", numerator, denominator)


def exp(value: Any) -> Any:
    """Element-wise exponential."""
    return math.exp(value) if _plain(value) else _operation("exp", value)(value)


def log(value: Any) -> Any:
    """Element-wise natural logarithm; minus infinity of zero.

    >>> log(1), log(0)
    (0.0, -inf)
    """
    if _plain(value):
        return replay.log(value)
    if isinstance(value, replay.Figure):
        return replay.apply("log", value)
    import numpy as np

    with np.errstate(divide="ignore"):
        return np.log(value)


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


class _Recorded:
    """The same functions and `where`, on numbers whose arithmetic is recorded, and on plain ones among them."""

    maximum = staticmethod(partial(replay.apply, "maximum"))
    minimum = staticmethod(partial(replay.apply, "minimum"))
    ceil = staticmethod(partial(replay.apply, "ceil"))
    exp = staticmethod(partial(replay.apply, "exp"))
    log2 = staticmethod(partial(replay.apply, "log2"))
    where = staticmethod(partial(replay.apply, "where"))


def namespace(*values: Any) -> Any:
    """Where to find maximum, minimum, ceil, exp and log2 for these values: plain functions, NumPy, or recorded ones.

    >>> namespace(3, 4.0).maximum(3, 4.0)
    4.0
    """
    for value in values:
        if type(value) in _PLAIN:
            continue
        if isinstance(value, replay.Figure):
            return _Recorded
        if not isinstance(value, _SCALARS):
            import numpy as np

            return np
    return _Scalars
