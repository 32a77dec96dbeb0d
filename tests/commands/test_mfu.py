"""``roofline mfu`` on the command line."""

import pytest

RUN = ("mfu", "gpt2", "-d", "a100-sxm-80gb", "--micro-batch", "8")


def test_a_step_time_and_the_rate_it_makes_are_the_same_run(answered):
    by_time = answered(*RUN, "--step-time", "200ms")
    by_rate = answered(*RUN, "--tokens-per-s", str(8 * 1024 / 0.2))
    assert by_time["step_time_s"] == 0.2
    assert by_rate["step_time_s"] == pytest.approx(0.2)
    assert by_rate["mfu"] == pytest.approx(by_time["mfu"])


def test_nothing_measured_is_one_line(refused):
    err = refused(*RUN)
    assert "nothing measured: give --step-time-s" in err


def test_more_than_the_peak_is_refused_with_likely_causes(refused):
    err = refused(*RUN, "--step-time", "1ms")
    assert "MFU" in err
