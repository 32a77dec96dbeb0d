"""Ranges that catch wrong units, and say which unit it probably was."""

import math

import pytest

from roofline.hardware.measured import Measured
from roofline.hardware.ranges import MEASURED, Interval, Problem, in_range, is_same


@pytest.mark.parametrize(
    ("kind", "value", "rule"),
    [
        ("tflops", 989e12, "too large (is it in FLOP/s or GFLOP/s? give TFLOP/s)"),
        ("gb_per_s", 0.335, "too small (is it in TB/s? give GB/s)"),
        ("gb_per_s", 3.35e12, "too large (is it in bytes/s or MB/s? give GB/s)"),
        ("mhz", 1.83, "too small (is it in GHz? give MHz)"),
        ("tdp_w", 0.7, "too small (is it in kW? give W)"),
        ("memory.capacity.mib", 80, "too small (is it in GiB? give MiB)"),
        ("gbit_per_s", 4e11, "too large (is it in Mbit/s? give Gbit/s)"),
        ("year", 22, "too small (give the year in four digits)"),
        ("count", 0, "must be a positive number"),
        ("count", math.nan, "must be a positive number"),
    ],
)
def test_a_wrong_unit_is_named(kind: str, value: float, rule: str) -> None:
    (problem,) = in_range(kind, "key", value)
    assert (problem.key, problem.rule) == ("key", rule)


def test_what_is_plausible_or_missing_is_no_problem() -> None:
    assert list(in_range("tflops", "key", 989.4)) == []
    assert list(in_range("tflops", "key", None)) == []


def test_a_problem_is_key_value_and_rule() -> None:
    assert str(Problem("peak.bf16", 1979.0, "is sparse")) == "peak.bf16 = 1979: is sparse"
    assert str(Problem("name", "", "empty")) == "name = '': empty"


def test_intervals_leave_out_open_bounds_and_nan() -> None:
    share = Interval(0, 1, open_low=True)
    assert [value in share for value in (0, 1e-9, 1, 1.1, math.nan)] == [False, True, True, False, False]
    assert str(Interval(0, 2, open_high=True)) == "must be at least 0 and below 2"


def test_every_measured_number_has_a_range() -> None:
    import msgspec

    numbers = {
        field.name
        for table in msgspec.inspect.multi_type_info([Measured])
        for entry in table.fields  # type: ignore[union-attr]
        for struct in [getattr(entry.type, "value_type", entry.type)]
        for field in struct.fields
        if any(word in str(field.type) for word in ("FloatType", "IntType"))
    }
    assert numbers <= set(MEASURED)


def test_figures_that_differ_by_rounding_are_the_same() -> None:
    assert is_same(989.4, 989)
    assert not is_same(989.4, 1979)
