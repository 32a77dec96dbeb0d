"""A recording says what its function says, for the numbers that decide alike, and None for others."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.arrays import ceil_div, divide, exp, first_where, is_scalar, log, maximum, minimum, namespace, some, where
from roofline.replay import NotReplayable, Replays, record


class Pair(msgspec.Struct):
    name: str
    values: list[object]
    table: dict[str, object]


def formulas(a, b):
    """Every operation that the formulas use."""
    xp = namespace(a, 1.0)
    return Pair(
        name="pair",
        values=[
            a + b - 3,
            2 * a / (b + 1),
            a // b + a % b - -b,
            (a / 7) ** 2,
            maximum(a, b, 5),
            minimum(a, b, 5),
            maximum(2, 3),
            where(a > b, "more", "less"),
            where((a > b) & (b >= 1) | (a == 3), a, 0),
            divide(a, b),
            divide(6, 3),
            ceil_div(a, b),
            exp(-a / 100),
            log(b / a),
            xp.ceil(a / b),
            xp.log2(b + 1),
            xp.maximum(3, 4),
            abs(a - b),
        ],
        table={"constant": math.inf, "sum": (a + b, None, True), "same": [1, 2]},
    )


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**6))
def test_what_is_replayed_is_what_is_calculated(a, b, c, d):
    replayed = record(formulas, a, b)
    found = replayed(c, d)[0]
    assert found == formulas(c, d)
    assert [type(each) for each in found.values] == [type(each) for each in formulas(c, d).values]


def test_a_decision_holds_for_the_numbers_that_decide_alike():
    calls = []

    def area(a, b):
        calls.append(a)
        if some(a > b):
            return a * b
        return first_where(a % 2 == 0, a, b) or 0

    assert is_scalar(3)
    wide = record(area, 3, 2)
    assert calls and wide(9, 8) == (72,)
    assert wide(2, 3) is None
    odd = record(area, 3, 5)
    assert odd(5, 7) == (0,)
    assert odd(4, 7) is None


@pytest.mark.parametrize("function", [int, float, "{}".format, np.sqrt, np.sum, list, {}.get])
def test_what_cannot_be_recorded_is_refused(function):
    with pytest.raises((NotReplayable, TypeError)):
        record(function, 3)


def test_numbers_of_numpy_take_part():
    replayed = record(lambda a: np.float64(2.0) * a + np.float64(1.0), 3)
    assert replayed(5) == (11.0,)


def test_a_name_is_used_again_once_nothing_reads_it():
    def recurrence(a, b):
        for _ in range(50):
            a, b = b, a + 2 * b
        return a, b

    replayed = record(recurrence, 3, 5)
    assert replayed(7, 2) == (recurrence(7, 2),)
    assert replayed.__code__.co_nlocals <= 8  # the two arguments, the two of the result, and three on the way


def test_a_negative_constant_keeps_its_sign():
    ((zero, eight, six),) = record(lambda a: ((-0.0) ** a, (-2) ** a, a - -3), 2)(3)
    assert math.copysign(1, zero) == -1
    assert (eight, six) == (-8, 6)
    ((zero, *_),) = record(lambda a: ((-0.0) ** a, a), 3)(2)
    assert math.copysign(1, zero) == 1


def test_functions_are_called_first_then_replayed_and_forgotten():
    replays, calls = Replays(), []

    def double(a):
        calls.append(a)
        return 2 * a

    for number in range(1, 100):
        assert replays.call("double", (), double, (number,)) == 2 * number
    assert len(calls) < 20
    for other in range(100):
        replays.call(other, (), double, (1,))
    before = len(calls)
    assert replays.call("double", (), double, (7,)) == 14
    assert len(calls) == before + 1


def test_a_function_of_many_decisions_or_none_that_holds_is_called_each_time():
    replays = Replays()

    def word(a):
        for size in (10, 20, 30, 40, 50, 60):
            if a < size:
                return size
        return 0

    def text(a):
        return f"{a}"

    for number in range(100):
        assert replays.call("word", (), word, (number,)) == word(number)
        assert replays.call("text", (), text, (number,)) == str(number)
