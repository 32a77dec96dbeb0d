"""StepTimer: medians, warm-up, pauses, MFU and time to finish, from a clock that the test sets."""

import math

import pytest

from roofline.counting.mfu import model_flops_per_token
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.steptimer import StepTimer, styles


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
        "gpt2", "h100-sxm-80gb", tokens_per_step=100, total_steps=10, every=2, warmup=0, write=lines.append, clock=clock
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


def timed(seconds: float, **options) -> StepTimer:
    """A timer of an estimated run on 4 devices whose steps take as long as said."""
    import roofline

    expected = roofline.estimate("gpt2", "h100-sxm-80gb", num_devices=4, micro_batch=8, seq_len=512)
    clock = Clock()
    timer = StepTimer.of(expected, warmup=0, clock=clock, **options)
    run(timer, clock, [seconds, seconds])
    return timer


# 4 x 8 x 512 = 16,384 tokens in half a second: 32,768 tokens/s, 8,192 of each device
@pytest.mark.parametrize(
    ("style", "tokens", "mfu", "scale"),
    [
        ("torchtitan", "throughput(tps)", "mfu(%)", 100),
        ("lightning", "device/items_per_sec", "device/mfu", 1),
        ("composer", "throughput/device/tokens_per_sec", "throughput/device/mfu", 1),
        ("maxtext", "perf/per_device_tokens_per_sec", "roofline/mfu", 1),
        ("megatron", None, "roofline/mfu", 1),
    ],
)
def test_each_framework_has_its_own_keys(style, tokens, mfu, scale):
    timer = timed(0.5, total_steps=12)
    found = timer.metrics(style)
    assert found[mfu] == pytest.approx(scale * timer.mfu)
    assert tokens is None or found[tokens] == 8192
    assert found["roofline/remaining_s"] == 5.0  # 10 steps
    assert found["roofline/expected_mfu_low"] < found["roofline/expected_mfu_high"]


def test_tflops_are_of_one_device():
    timer = timed(0.5)
    flops = model_flops_per_token(load_model("gpt2"), 512) * 8192 / 1e12  # in a second, of one device
    assert timer.metrics("megatron")["throughput"] == pytest.approx(flops)
    assert timer.metrics("megatron")["iteration-time"] == 0.5
    assert timer.metrics("torchtitan")["tflops"] == pytest.approx(flops)
    assert timer.metrics("maxtext")["perf/per_device_tflops"] == pytest.approx(flops / 2)  # of one step


def test_what_was_expected_is_told():
    timer = timed(0.02)
    low, high = timer.expected_mfu
    assert low < timer.expected.mfu < high
    assert timer.verdict() == f"expected {100 * low:.0f}-{100 * high:.0f} %, yours {100 * timer.mfu:.0f} %"
    assert timer.verdict() in timer.line()
    assert timed(float(timer.expected.step_time_s)).mfu == pytest.approx(timer.expected.mfu)


def test_a_low_mfu_has_a_digit_more():
    timer = timed(20.0)
    low, high = timer.expected_mfu
    assert timer.mfu < 0.1
    assert timer.verdict() == f"expected {100 * low:.1f}-{100 * high:.1f} %, yours {100 * timer.mfu:.1f} %"


def test_nothing_is_logged_before_a_step_counts():
    timer = StepTimer("gpt2", "h100-sxm-80gb", tokens_per_step=1000)
    assert timer.metrics("torchtitan") == {}
    assert timer.verdict() == ""


def test_an_unknown_style_names_the_nearest():
    with pytest.raises(RooflineError, match="did you mean 'megatron'"):
        StepTimer("gpt2", "h100-sxm-80gb", tokens_per_step=1000).metrics("megatrom")


def test_an_estimate_of_several_runs_is_refused():
    import roofline

    with pytest.raises(RooflineError, match="times one run"):
        StepTimer.of(roofline.estimate("gpt2", "h100-sxm-80gb", micro_batch=[1, 2]))


def test_styles_hold_figures_that_exist_and_say_where_they_are_from():
    figures = timed(0.5)._figures()
    for style in styles().values():
        assert style.source
        assert set(style.keys.values()) <= set(figures)
