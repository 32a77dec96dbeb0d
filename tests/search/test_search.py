"""Layout search: the array result is the scalar estimate, constraints hold, the best is kept."""

import re
from concurrent.futures import Executor

import pytest

import roofline
from roofline.answers.estimate import estimate
from roofline.config.schedules import schedules
from roofline.errors import RooflineError
from roofline.search.answer import layouts

from .small import DENSE, DEVICE


def test_layouts_are_sorted_consistent_and_fit():
    result = layouts(DENSE, DEVICE, num_devices=16, global_batch=64, stack="megatron", top=40)
    times = [layout.step_time_s for layout in result.layouts]
    assert times == sorted(times)
    assert result.evaluated >= result.fitting >= 40
    for layout in result.layouts:
        assert layout.tp * layout.pp * layout.cp * layout.dp == 16
        assert layout.micro_batch * layout.dp * layout.accumulation == 64
        assert 16 % layout.tp == 0
        assert layout.vp == 1 or layout.accumulation % layout.pp == 0
        assert layout.fits
        assert layout.step_time_low_s < layout.step_time_s < layout.step_time_high_s


def test_given_degrees_restrict():
    result = layouts(DENSE, DEVICE, num_devices=16, global_batch=64, tp=(2, 4), pp=2, recompute="full")
    assert {layout.tp for layout in result.layouts} <= {2, 4}
    assert {layout.pp for layout in result.layouts} == {2}
    assert {layout.recompute for layout in result.layouts} == {"full"}


@pytest.mark.parametrize("schedule", schedules())
def test_a_schedule_that_is_asked_for_has_the_stages_it_needs(schedule):
    plan, shape = schedules()[schedule], {"num_devices": 16, "global_batch": 64, "pp": (2, 3, 4)}
    result = layouts(DENSE, DEVICE, **shape, schedule=schedule, stack="megatron", top=30)
    assert result.layouts
    for layout in result.layouts:
        assert layout.train.schedule == schedule
        assert layout.vp == (plan.chunks or 1) or plan.divided
        degrees = {
            name: getattr(layout, name) for name in ("tp", "pp", "vp", "cp", "micro_batch", "recompute", "sharding")
        }
        alone = estimate(
            DENSE,
            DEVICE,
            num_devices=16,
            global_batch=64,
            schedule=schedule,
            stack="megatron",
            sequence_parallel=layout.sequence_parallel,
            **degrees,
        )
        assert alone.step_time_s == pytest.approx(layout.step_time_s, rel=1e-9)


def test_interrupt_keeps_the_best_so_far():
    calls = 0

    def stop(_done: int, _all: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    result = layouts(DENSE, DEVICE, num_devices=8, global_batch=32, progress=stop)
    assert result.interrupted
    assert result.layouts


def test_an_interrupt_before_anything_is_found_is_one():
    class Stopped(Executor):
        def submit(self, *_args, **_options):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        layouts(DENSE, DEVICE, num_devices=8, global_batch=32, executor=Stopped())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_devices": 2, "global_batch": 7, "micro_batch": 2}, "global_batch 7"),
        ({"num_devices": 8, "tp": 3}, "no tp of (3)"),
        ({"num_devices": 8, "ep": 4}, "needs a mixture of experts"),
        ({"num_devices": 0}, "give a whole number of at least 1"),
        ({"num_devices": 8, "objective": "speed"}, "unknown objective 'speed'"),
        ({"num_devices": 8, "pp": 48}, "no pp of (48)"),
        ({"num_devices": 8, "tq": 4}, "did you mean"),
    ],
)
def test_contradictions_are_named(options, words):
    with pytest.raises(RooflineError, match=re.escape(words)):
        layouts(DENSE, DEVICE, **options)


@pytest.mark.parametrize(
    ("options", "batches", "micro_batches"),
    [
        ({"num_devices": 2, "global_batch": 7, "micro_batch": 2}, (4, 8), (1, 7)),
        ({"num_devices": 8, "global_batch": 12, "micro_batch": 5, "tp": 1, "pp": 2}, (40,), (1, 2, 3)),
    ],
)
def test_a_batch_that_does_not_divide_names_those_that_do(options, batches, micro_batches):
    with pytest.raises(RooflineError) as problem:
        layouts(DENSE, DEVICE, **options)
    assert f"use global_batch {' or '.join(map(str, batches))}, or micro_batch" in str(problem.value)
    for batch in batches:
        assert layouts(DENSE, DEVICE, **{**options, "global_batch": batch}).evaluated
    for micro in micro_batches:
        assert layouts(DENSE, DEVICE, **{**options, "micro_batch": micro}).evaluated


def test_a_layout_is_estimated_as_estimate_does():
    result = layouts(DENSE, DEVICE, num_devices=16, global_batch=64, top=20)
    names = (
        "num_devices",
        "tp",
        "pp",
        "vp",
        "cp",
        "ep",
        "micro_batch",
        "sharding",
        "recompute",
        "sequence_parallel",
        "stack",
    )
    stacks = set()
    for layout in [*result.layouts, *result.front, *result.by_software]:
        alone = estimate(DENSE, DEVICE, global_batch=64, **{name: getattr(layout, name) for name in names})
        assert layout.step_time_s == pytest.approx(alone.step_time_s, rel=1e-9)
        assert layout.memory_bytes == pytest.approx(alone.memory.needed_bytes, rel=1e-9)
        stacks.add(layout.stack)
    assert stacks >= {"compiled", "nemo"}
    assert layouts(DENSE, DEVICE, num_devices=1, global_batch=8).layouts[0].stack == "compiled"
    assert layouts(DENSE, "tpu-v5p", num_devices=4, global_batch=8).layouts[0].stack == "jax"


def test_experts_are_spread_over_the_ranks():
    found = layouts("qwen3-30b-a3b", "h100-sxm-80gb", num_devices=64, recompute="none", micro_batch=(1, 2))
    assert found.layouts[0].ep > 1
    assert found.simplest is not None
    assert found.simplest.pp <= found.layouts[0].pp


def test_a_result_prints_in_a_few_lines():
    result = layouts(DENSE, DEVICE, num_devices=8, global_batch=64)
    assert "best <8 devices: dp 8" in repr(result)
    assert len(repr(result)) < 400
    assert {"tp", "stack", "step_time_s"} <= set(result.to_frame().columns)


@pytest.mark.parametrize("ask", ["layouts", "ladder"])
def test_one_software_profile_at_a_time(ask):
    more = {"flops": "1e20"} if ask == "ladder" else {"model": DENSE}
    with pytest.raises(RooflineError, match="stack: .* are several, and a search takes one"):
        getattr(roofline, ask)(device=DEVICE, num_devices=8, stack=["nemo", "fsdp"], **more)
