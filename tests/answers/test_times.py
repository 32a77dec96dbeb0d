"""The step time alone, as searches and validation need it."""

import pytest

from roofline.answers.estimate import estimate_step
from roofline.answers.times import estimate_times, ideal_step_time
from roofline.config.settle import train_config
from roofline.counting.step import build_step
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.timing.ranks import price

H100 = load_device("h100-sxm-80gb")


def test_ideal_is_the_slowest_group_not_the_sum() -> None:
    options = {"num_devices": 16, "tp": 8, "network_gbit_per_s": 0.001}
    step = build_step(load_model("llama-3.2-1b"), train_config(options))
    priced = price(step, H100)
    reduced = sum(item.ideal * item.op.count for item in priced if item.op.group == "dp")
    assert ideal_step_time(step, priced) == pytest.approx(reduced)  # this network is slower than all else


def test_times_alone_are_those_of_the_whole_estimate() -> None:
    step = build_step(load_model("llama-3-8b"), train_config({"num_devices": 16, "tp": 4}))
    times, result = estimate_times(step, H100), estimate_step(step, H100)
    assert (times.expected, times.low, times.high) == (
        result.step_time_s,
        result.step_time_low_s,
        result.step_time_high_s,
    )
