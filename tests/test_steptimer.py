"""StepTimer: medians, warm-up, pauses, MFU and time to finish, from a clock that the test sets."""

from __future__ import annotations

import math

import pytest

from roofline.counting.mfu import model_flops_per_token
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.steptimer import StepTimer


class Clock:
    """A clock that says what it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(timer: StepTimer, clock: Clock, times: list[float]) -> None:
    timer.step()
    for seconds in times:
        clock.now += seconds
        timer.step()


def test_mfu_is_flops_over_time_and_peak():
    clock = Clock()
    timer = StepTimer("gpt2", "h100-sxm-80gb", global_batch=32, seq_len=512, num_devices=4, warmup=0, clock=clock)
    run(timer, clock, [0.5, 0.5])
    # 32 * 512 = 16384 tokens in 0.5 s
    flops = model_flops_per_token(load_model("gpt2"), 512) * 16384
    assert timer.mfu == pytest.approx(flops / (0.5 * 4 * load_device("h100-sxm-80gb").peak_flops_per_s("bf16")))
    assert timer.tokens_per_s == 32768


def test_warm_up_does_not_count():
    clock = Clock()
    timer = StepTimer("gpt2", "h100-sxm-80gb", tokens_per_step=1000, warmup=3, clock=clock)
    run(timer, clock, [30.0, 9.0, 2.0, 2.0])
    assert timer.step_time_s == 2.0
    assert timer.steps == 4


def test_pause_leaves_evaluation_out():
    clock = Clock()
    timer = StepTimer("gpt2", "h100-sxm-80gb", tokens_per_step=1000, warmup=0, clock=clock)
    run(timer, clock, [1.0])
    timer.pause()
    clock.now += 100
    run(timer, clock, [1.0])
    assert timer.step_time_s == 1.0
    assert timer.steps == 2


def test_one_line_every_n_steps_with_the_time_left():
    clock, lines = Clock(), []
    timer = StepTimer(
        "gpt2",
        "h100-sxm-80gb",
        tokens_per_step=100,
        total_steps=10,
        every=2,
        warmup=0,
        write=lines.append,
        clock=clock,
    )
    run(timer, clock, [60.0] * 4)
    assert len(lines) == 2
    assert lines[1].startswith("step 4/10 | 60 s | ")
    assert timer.remaining_s == 360
    assert lines[1].endswith("6 min left") or lines[1].endswith("360 s left")


def test_nothing_measured_is_nan():
    timer = StepTimer("gpt2", "h100-sxm-80gb", tokens_per_step=100)
    assert math.isnan(timer.step_time_s)
    assert math.isnan(timer.mfu)


def test_impossible_mfu_is_said():
    clock = Clock()
    timer = StepTimer("gpt2", "h100-sxm-80gb", tokens_per_step=10**9, warmup=0, clock=clock)
    run(timer, clock, [0.1])
    assert "impossible" in timer.line()


@pytest.mark.parametrize("options", [{}, {"tokens_per_step": 10, "global_batch": 1}, {"global_batch": 0}])
def test_tokens_of_a_step_must_be_stated_once(options):
    with pytest.raises(RooflineError):
        StepTimer("gpt2", "h100-sxm-80gb", **options)


def test_a_line_before_any_step_says_so():
    timer = StepTimer("gpt2", "rtx-4090", global_batch=8, total_steps=10, warmup=3)
    assert timer.line() == "step 0/10 | no step timed yet (the first 3 do not count)"


@pytest.mark.parametrize("options", [{"warmup": -1}, {"every": 0}, {"total_steps": 0}, {"window": 0}])
def test_numbers_out_of_range(options):
    (name,) = options
    with pytest.raises(RooflineError, match=f"{name} must be at least"):
        StepTimer("gpt2", "rtx-4090", global_batch=8, **options)
