import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import units
from roofline.errors import RooflineError


@pytest.mark.parametrize(
    ("read", "typed", "value"),
    [
        (units.count, "300B", 300_000_000_000),
        (units.count, "2T", 2 * 10**12),
        (units.count, "2e12", 2 * 10**12),
        (units.count, "2,000B", 2 * 10**12),
        (units.count, "1_000", 1000),
        (units.count, "1.3b", 1_300_000_000),
        (units.count, 7_000_000_000, 7_000_000_000),
        (units.count, 2e12, 2 * 10**12),
        (units.count, "123456789012345678901", 123456789012345678901),  # exact beyond a double
        (units.duration_s, "7d", 7 * 86400),
        (units.duration_s, "36h", 36 * 3600),
        (units.duration_s, "1w2d", 9 * 86400),
        (units.duration_s, "4.5 days", 388800),
        (units.duration_s, 60, 60),
        (units.byte_count, "80GiB", 80 * 2**30),
        (units.byte_count, "80GB", 80 * 10**9),
        (units.byte_count, "1.5 KiB", 1536),
        (units.price, "2.5/h", 2.5),
        (units.price, "$2.49/GPU-hour", 2.49),
        (units.power, "0.7kW", 700),
        (units.share, "50%", 0.5),
        (units.step_time_s, "340ms", 0.34),
        (units.sequence_length, "64k", 65536),
    ],
)
def test_reads_what_people_type(read, typed, value):
    assert read(typed) == value
    assert isinstance(read(typed), type(value))


@pytest.mark.parametrize(
    "typed", ["nan", "inf", "-inf", "1e3x", "-1", "0", "", "  ", "True", True, math.nan, math.inf, "1,00", "1e999", "٣"]
)
@pytest.mark.parametrize(
    "read",
    [units.count, units.positive_int, units.positive, units.byte_count, units.duration_s, units.price, units.power],
)
def test_rejects_what_means_nothing(read, typed):
    with pytest.raises(RooflineError) as caught:
        read(typed)
    assert str(typed) in str(caught.value)
    assert "above 0" in str(caught.value) or "at least 1" in str(caught.value)


@pytest.mark.parametrize(
    ("read", "typed", "hint"),
    [
        (units.byte_count, "80G", "80G' is ambiguous: write GB (powers of 1000) or GiB (powers of 1024)"),
        (units.duration_s, "7", "has no unit"),
        (units.duration_s, "7 moons", "unknown unit 'moons'"),
        (units.count, "2.5", "not a whole number"),
        (units.price, "2.5/d", "not per hour"),
        (units.share, "150%", "at most 1"),
        (units.positive_int, "8B", "unknown unit 'B'"),
    ],
)
def test_says_what_is_wrong(read, typed, hint):
    with pytest.raises(RooflineError, match=None) as caught:
        read(typed)
    assert hint in str(caught.value)


@given(st.integers(1, 10**30))
def test_count_is_exact(value):
    assert units.count(str(value)) == units.count(f"{value:,}") == value


@given(st.integers(1, 10**9), st.sampled_from(["k", "M", "B", "T"]))
def test_suffix_is_a_power_of_a_thousand(value, suffix):
    assert units.count(f"{value}{suffix}") == value * 1000 ** ("kMBT".index(suffix) + 1)


@given(st.integers(1, 10**16))
def test_count_round_trip(value):
    assert units.count(units.format_count(value)) == pytest.approx(value, rel=5.01e-3)


@given(st.integers(1, 10**15))
def test_bytes_round_trip(value):
    assert units.byte_count(units.format_bytes(value)) == pytest.approx(value, rel=5.01e-3)


@given(st.floats(1e-5, 1e9))
def test_time_round_trip(value):
    assert units.step_time_s(units.format_time(value)) == pytest.approx(value, rel=5.01e-3)


@given(st.floats(min_value=1e-3, max_value=1e29))
def test_positive_reads_every_float(value):
    assert units.positive(value) == units.positive(repr(value)) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.format_time(0.9996), "1 s"),
        (units.format_time(0.000_999_9), "1 ms"),
        (units.format_time(0), "0 us"),
        (units.format_time(119.6), "120 s"),
        (units.format_time(30 * 86400), "30.0 days"),
        (units.format_count(999_999), "1M"),
        (units.format_bytes(2**30 - 1), "1.00 GiB"),
        (units.format_bytes(0), "0 B"),
        (units.format_bytes(2e12), "1,862.65 GiB"),
        (units.format_flops(10_545_134_573_568), "10.55 TFLOPs"),
        (units.format_rate(989.5e12), "989.50 TFLOP/s"),
        (units.format_si(3.35e12, "B/s"), "3.35 TB/s"),
        (units.format_share(0.1234), "12.3 %"),
    ],
)
def test_formats(text, expected):
    assert text == expected
