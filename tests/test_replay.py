"""A recording says what its function says, for the numbers that decide alike, and None for others."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.arrays import ceil_div, divide, exp, first_where, is_scalar, log, maximum, minimum, namespace, some, where
from roofline.replay import NotReplayable, Replays, record


class Held(msgspec.Struct):
    value: object


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
            (0 - a, a - 0, a - 1, 0 + a, a + 0, 1 + a),
            (1 * a, a * 1, 0 * a, 1 / a, 1 - a, a // 1),
        ],
        table={"constant": math.inf, "sum": (a + b, None, True), "same": [1, 2], "inner": [{"a": Held(a)}, "b"]},
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


@pytest.mark.parametrize(
    "function", [int, float, str, repr, "{}".format, np.sqrt, np.sum, list, {}.get, lambda a: np.clip(a, 1, 9)]
)
def test_what_cannot_be_recorded_is_refused(function):
    with pytest.raises((NotReplayable, TypeError)):
        record(function, 3)


def test_numbers_and_choices_of_numpy_take_part():
    replayed = record(lambda a: np.float64(2.0) * a + np.float64(1.0), 3)
    assert replayed(5) == (11.0,)
    replayed = record(lambda a: np.where(a > 4, a, 4), 3)
    assert (replayed(5), replayed(2)) == ((5,), (4,))


def test_quotients_and_logarithms_by_hand():
    replayed = record(lambda a, b: (divide(a, b), divide(7, 2), log(a)), 8, 2)
    assert repr(replayed(8, 2)[0][:2]) == "(4, 3.5)"  # an exact integer where it is one
    assert replayed(9, 2) == ((4.5, 3.5, math.log(9)),)
    assert replayed(0, 2) == ((0, 3.5, -math.inf),)


def test_the_code_does_no_more_than_it_must():
    shared = ([1, 2], {"a": 3})
    replayed = record(lambda a: (a * 7, 1 * (0 + a * 1 - 0) / 1 * 2.5, shared)[1:], 3)
    code = replayed.__code__
    assert replayed(5) == ((12.5, shared),)
    assert replayed(5)[0][1] is shared
    assert (code.co_nlocals, len(code.co_names)) == (2, 1)  # the argument and the product, and what is shared
    assert 7 not in code.co_consts


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


def counted(function):
    """The function, and the numbers it is called with; one whose arithmetic is recorded stands as None."""
    calls = []

    def called(a):
        calls.append(a if is_scalar(a) and isinstance(a, int) else None)
        return function(a)

    return called, calls


def test_functions_are_called_first_then_replayed_and_forgotten():
    replays, (double, calls) = Replays(), counted(lambda a: 2 * a)
    for number in range(1, 100):
        assert replays.call("double", (), double, (number,)) == 2 * number
    assert calls == [*range(1, 16), None]  # and recorded then
    for more, again in ((63, []), (64, [7])):  # 64 functions are kept
        for other in range(more):
            replays.call(other, (), lambda a: a, (1,))
        assert replays.call("double", (), double, (7,)) == 14
        assert calls[16:] == again


def test_a_function_of_many_decisions_or_none_that_holds_is_called_each_time():
    def bound(a):
        return next((size for size in (10, 20, 30, 40, 50, 60) if a < size), 0)

    word, words = counted(bound)
    text, texts = counted(str)
    replays = Replays()
    for number in range(100):
        assert replays.call("word", (), word, (number,)) == bound(number)
        assert replays.call("text", (), text, (number,)) == str(number)
    # recordings of [10, 20) to [40, 50), each at its first number
    assert words == [*range(15), *[None] * 4, *range(50, 100)]
    assert texts == [*range(15), None, *range(15, 100)]
