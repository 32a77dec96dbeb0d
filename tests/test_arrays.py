"""Arithmetic on numbers and arrays: the same figures, element by element."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.arrays import ceil_div, divide, exp, first_where, is_scalar, maximum, minimum, namespace, p_norm, where

numbers = st.floats(min_value=1e-9, max_value=1e15)
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5)
powers = st.floats(min_value=1, max_value=16)


def columns(values):
    return (np.array(column) for column in zip(*values, strict=True))


@given(pairs)
def test_arrays_give_what_numbers_give(values):
    first, second = columns(values)
    for function in (maximum, minimum, divide, lambda a, b: where(a > b, a, b), lambda a, b: exp(-a / b)):
        together = function(first, second)
        assert together == pytest.approx([function(a, b) for a, b in values], rel=1e-14)


@given(pairs, powers)
def test_p_norm_of_arrays(values, p):
    together = p_norm(*columns(values), p)
    assert together == pytest.approx([p_norm(a, b, p) for a, b in values], rel=1e-12)


@given(numbers, numbers, powers)
def test_p_norm_lies_between_the_larger_and_the_sum(first, second, p):
    larger, total = max(first, second), first + second
    assert larger <= p_norm(first, second, p) <= total * (1 + 1e-12)
    assert p_norm(first, second, p) == p_norm(second, first, p)


@given(st.integers(0, 10**30), st.integers(1, 10**15))
def test_whole_numbers_stay_exact(numerator, denominator):
    assert ceil_div(numerator, denominator) == (numerator + denominator - 1) // denominator
    assert divide(numerator * denominator, denominator) == numerator


def test_p_norm_neither_overflows_nor_divides_by_zero():
    assert p_norm(1e300, 1e300, 4.0) == pytest.approx(1e300 * 2**0.25)
    assert p_norm(1e-300, 0.0, 4.0) == pytest.approx(1e-300)
    assert list(p_norm(np.array([0.0, 3.0]), np.array([0.0, 4.0]), 2.0)) == [0.0, 5.0]


def test_several_values_and_broadcasting():
    assert maximum(1, np.array([0, 2]), 1.5).tolist() == [1.5, 2.0]
    assert minimum(np.array([[3], [1]]), np.array([2, 4])).tolist() == [[2, 3], [1, 1]]
    assert where(np.array([True, False]), 1, 2).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("value", "scalar"), [(1, True), (1.5, True), (True, True), (np.float64(1), True), (np.array(1), False)]
)
def test_what_counts_as_a_number(value, scalar):
    assert is_scalar(value) is scalar
    assert (namespace(value) is np) is not scalar


def test_first_where_finds_the_first_element():
    devices, degree = np.array([8.0, 12.0, 7.0]), np.array([4, 8, 8])
    assert first_where(devices % degree != 0, devices, degree, "word") == (12, 8, "word")
    assert first_where(devices % 1 != 0, devices) is None
    assert first_where(np.array([[False], [True]]), np.array([1.5, 2.5])) == (1.5,)


def test_namespace_without_arrays_is_plain():
    plain = namespace(1, 2.0)
    assert (plain.ceil(1.2), plain.log2(8), plain.maximum(1, 2), plain.minimum(1, 2)) == (2, 3.0, 2, 1)
    assert plain.exp(1) == math.e
