"""``roofline mfu`` on the command line."""

import json

import pytest

RUN = ("mfu", "gpt2", "-d", "a100-sxm-80gb", "--micro-batch", "8")


def test_a_step_time_and_the_rate_it_makes_are_the_same_run(run):
    by_time = json.loads(run(*RUN, "--step-time", "200ms", "--format", "json").out)
    by_rate = json.loads(run(*RUN, "--tokens-per-s", str(8 * 1024 / 0.2), "--format", "json").out)
    assert by_time["step_time_s"] == 0.2
    assert by_rate["step_time_s"] == pytest.approx(0.2)
    assert by_rate["mfu"] == pytest.approx(by_time["mfu"])


def test_nothing_measured_is_one_line(run):
    status, out, err = run(*RUN)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "nothing measured: give --step-time-s" in err


def test_more_than_the_peak_is_refused_with_likely_causes(run):
    status, _, err = run(*RUN, "--step-time", "1ms")
    assert status == 2
    assert "MFU" in err
