"""One timed step moves others of its software by a part of what it missed by, the more the nearer they are."""

import math

import msgspec
import numpy as np
import pytest

from roofline.answers.measured import learnt
from roofline.answers.times import estimate_times
from roofline.config.settle import settle
from roofline.counting.step import build_step
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.timing.interval import Z80, interval, spread, variances
from roofline.timing.seen import REPEATS, SHARED, pull
from roofline.timing.terms import TERMS

H100 = load_device("h100-sxm-80gb")
OPTIONS = {"micro_batch": 2, "num_devices": 8, "stack": "megatron"}


def run_of(**options):
    return settle(load_model("llama-3-8b"), H100, {**OPTIONS, **options})


def times_of(device=H100, **options):
    run = run_of(**options)
    return estimate_times(build_step(run.model, run.train), device)


@pytest.fixture(scope="module")
def slower():
    """An H100 of a cluster where the step took 1.2 times what is expected."""
    return learnt(run_of(), 1.2 * times_of().expected)


def test_the_configuration_that_was_timed_takes_what_it_took(slower):
    told, alone = times_of(slower), times_of()
    assert told.expected == pytest.approx(1.2 * alone.expected)
    assert math.log(told.high / told.expected) == pytest.approx(Z80 * REPEATS)
    assert sum(getattr(told.schedule, term) for term in TERMS) == pytest.approx(told.expected)


@pytest.mark.parametrize("stated", [{}, {"network_gbit_per_s": 200}])
def test_what_was_seen_makes_no_network_surer(stated):
    """Neither of the very step that was timed, nor of one that half of its network would make that step."""
    options = {"num_devices": 16, **stated}
    device = learnt(run_of(**options), 1.2 * times_of(**options).expected)
    run = run_of(num_devices=16)
    step = build_step(run.model, run.train)
    found, alone = (variances(step, each, estimate_times(step, each).schedule)["network"] for each in (device, H100))
    assert found == pytest.approx(alone)
    assert alone > 0


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"micro_batch": 4}, SHARED["layout"]),
        ({"recompute": "full"}, SHARED["layout"]),
        ({"tp": 2}, SHARED["model"]),
        ({"num_devices": 16}, SHARED["model"]),
        ({"seq_len": 4096}, SHARED["model"]),
        ({"dtype": "fp8"}, SHARED["model"]),
    ],
)
def test_another_is_moved_by_the_shared_part(slower, options, part):
    told, alone = times_of(slower, **options), times_of(**options)
    assert told.expected == pytest.approx(1.2**part * alone.expected)
    # of the variance, what the part does not explain is left, and the noise of what was seen
    variance = (math.log(alone.high / alone.expected) / Z80) ** 2
    left = (1 - part**2) * variance + (part * REPEATS) ** 2
    assert math.log(told.high / told.expected) == pytest.approx(Z80 * math.sqrt(left))


def test_another_model_is_moved_least(slower):
    run = settle(load_model("llama-3-70b"), H100, {**OPTIONS, "tp": 8})
    step = build_step(run.model, run.train)
    told, alone = estimate_times(step, slower), estimate_times(step, H100)
    assert told.expected == pytest.approx(1.2 ** SHARED["software"] * alone.expected)
    assert SHARED["software"] < SHARED["model"] < SHARED["layout"] < 1


def test_other_software_is_not_moved(slower):
    for stack in ("fsdp", "deepspeed"):
        assert times_of(slower, stack=stack).expected == times_of(stack=stack).expected


def test_an_array_holds_the_timed_one_and_others(slower):
    told = (
        times_of(slower, micro_batch=np.array([1, 2, 4])).expected / times_of(micro_batch=np.array([1, 2, 4])).expected
    )
    assert told == pytest.approx([1.2 ** SHARED["layout"], 1.2, 1.2 ** SHARED["layout"]])


def test_what_was_as_expected_moves_nothing_but_the_interval():
    device = learnt(run_of(), times_of().expected)
    told, alone = times_of(device, tp=4), times_of(tp=4)
    assert told.expected == alone.expected
    assert alone.low < told.low < told.high < alone.high


def test_spread_and_interval_agree(slower):
    run = run_of(tp=2)
    step = build_step(run.model, run.train)
    times = estimate_times(step, slower)
    _, high = interval(step, slower, times.schedule, floor=0.0)
    assert math.log(high / times.expected) == pytest.approx(Z80 * spread(step, slower, times.schedule))
    assert msgspec.structs.replace(slower, seen=None) == H100


def test_nothing_seen_pulls_nothing():
    run = run_of()
    assert pull(build_step(run.model, run.train), H100) == 1
