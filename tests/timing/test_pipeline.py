from itertools import pairwise

import pytest

import roofline
from roofline.config.schedules import pipeline_schedule
from roofline.counting.step import build_step
from roofline.timing.pipeline import Durations, chunk_durations, run_passes, splits_backward, timeline
from roofline.timing.ranks import price
from roofline.timing.schedule import schedule

P, M = 4, 16


def passes_of(name, vp=1, forward=1.0, data=1.0, weight=1.0):
    """The passes of a pipeline of P stages and M micro batches whose chunks all take equally long."""
    plan = pipeline_schedule(name)
    apart = splits_backward(plan)
    backward, later = (data, weight) if apart else (data + weight, 0.0)
    each = Durations(forward / vp, 0.0, backward / vp, later / vp)
    return run_passes(plan, P, vp, M, [each] * (P * vp))


# the bubble of the papers, of the first device: (p-1)(F+B), divided by v, and (p-1)(F+B-W)
@pytest.mark.parametrize(
    ("name", "vp", "bubble"),
    [
        ("gpipe", 1, 9.0),
        ("1f1b", 1, 9.0),
        ("interleaved", 2, 4.5),
        ("interleaved", 4, 2.25),
        ("circular", 2, 4.5),
        ("zb-h1", 1, 3.0),
    ],
)
def test_devices_wait_as_long_as_the_schedule_says(name, vp, bubble):
    passes = passes_of(name, vp)
    assert max(each.end for each in passes) == pytest.approx(M * 3.0 + bubble)


def test_zero_bubble_leaves_no_gap_on_any_device():
    passes = passes_of("zb-h2")
    for device in range(P):  # each begins later than the one before it, and then never waits
        own = [each for each in passes if each.device == device]
        span = max(each.end for each in own) - min(each.start for each in own)
        assert span == pytest.approx(M * 3.0)


@pytest.mark.parametrize(
    "name", ["gpipe", "1f1b", "interleaved", "circular", "zb-h1", "zb-h2", "zb-2p", "zb-v", "dualpipe"]
)
def test_every_pass_runs_once_after_what_it_needs(name):
    vp = {"interleaved": 2, "circular": 2, "zb-v": 2}.get(name, 1)
    passes = passes_of(name, vp)
    kinds = {"forward", "backward"} | ({"weight gradients"} if splits_backward(pipeline_schedule(name)) else set())
    found = {(each.kind, each.micro_batch, each.chunk, each.device): each for each in passes}
    assert len(found) == len(passes) == len(kinds) * P * vp * M
    for batch in range(M):
        forward = sorted((e for e in passes if e.micro_batch == batch and e.kind == "forward"), key=lambda e: e.start)
        backward = sorted((e for e in passes if e.micro_batch == batch and e.kind == "backward"), key=lambda e: e.start)
        assert [(e.device, e.chunk) for e in backward] == [(e.device, e.chunk) for e in forward][::-1]
        assert all(one.end <= other.start + 1e-9 for one, other in pairwise([*forward, *backward]))


@pytest.mark.parametrize("name", ["1f1b", "zb-h1", "gpipe", "dualpipe"])
def test_no_device_does_two_things_at_once_or_holds_more_than_it_may(name):
    plan = pipeline_schedule(name)
    last = "weight gradients" if splits_backward(plan) else "backward"
    for device in range(P):
        own = sorted((each for each in passes_of(name) if each.device == device), key=lambda each: each.start)
        assert all(one.end <= other.start + 1e-9 for one, other in pairwise(own))
        held = most = 0
        for each in own:
            held += (each.kind == "forward") - (each.kind == last)
            most = max(most, held)
        assert most <= (plan.held(P, 1, device) or M)


@pytest.mark.parametrize("recompute", ["none", "full"])
def test_the_passes_of_one_device_add_up_to_the_estimate(recompute):
    found = roofline.estimate("gpt2-xl", "h100-sxm-80gb", micro_batch=2, global_batch=8, recompute=recompute)
    shown = timeline(build_step(found.model, found.train), found.device)
    assert shown.seconds == pytest.approx(float(found.step_time_s))
    assert shown.micro_batches == shown.of == 4
    assert ("recompute" in {each.kind for each in shown.passes}) == (recompute == "full")


def test_a_pipeline_ends_when_the_estimate_says():
    layout = {"num_devices": 32, "tp": 4, "pp": 8, "global_batch": 32, "micro_batch": 1}
    found = roofline.estimate("llama-3-8b", "h100-sxm-80gb", **layout)
    shown = timeline(build_step(found.model, found.train), found.device)
    # stages that wait for each other: the estimate adds transfers, which the picture leaves out
    without = float(found.step_time_s - found.schedule.pipeline_transfer)
    assert shown.seconds == pytest.approx(without, rel=0.05)


def test_of_many_micro_batches_some_are_shown():
    layout = {"num_devices": 8, "pp": 4, "global_batch": 2048, "micro_batch": 1}
    found = roofline.estimate("gpt2", "h100-sxm-80gb", **layout)
    shown = timeline(build_step(found.model, found.train), found.device, most=40)
    assert (shown.micro_batches, shown.of) == (20, 1024)


@pytest.mark.parametrize("apart", [False, True])
def test_each_kind_of_pass_takes_what_its_ops_take(apart):
    """Of long kernels, for which no device waits: every layer on one of two stages, as often as its ops run."""
    step = roofline.settle(
        "llama-3-8b", "h100-sxm-80gb", num_devices=2, pp=2, micro_batch=2, global_batch=8, recompute="full"
    )
    step = build_step(step.model, step.train)
    device = roofline.load_device("h100-sxm-80gb")
    priced = price(step, device)
    expected = dict.fromkeys(Durations._fields, 0.0)
    for item in priced:
        if item.op.part != "step" and item.op.kind != "collective":
            weight = apart and item.op.gradient == "weight"
            expected["weight" if weight else item.op.phase] += item.expected * item.op.count
    found = chunk_durations(step, device, priced, apart=apart)
    assert len(found) == 2
    for kind, seconds in expected.items():
        assert sum(getattr(each, kind) for each in found) == pytest.approx(seconds, rel=0.01)
    assert (expected["weight"] > 0) is apart


@pytest.mark.parametrize(("name", "shown"), [("1f1b", 20), ("zb-h1", 12)])
def test_a_step_ends_with_gradients_and_the_update(name, shown):
    """Of 40 passes two make a micro batch, or three: 20 of them, or 13, which are six whole rounds of two stages."""
    run = roofline.settle(
        "gpt2", "h100-sxm-80gb", num_devices=4, pp=2, micro_batch=1, global_batch=128, stack="megatron", schedule=name
    )
    step = build_step(run.model, run.train)
    found = timeline(step, run.device, most=40)
    assert (found.micro_batches, found.of) == (shown, 64)
    times = schedule(step, run.device, price(step, run.device))
    for device in range(2):
        *passes, reduces, update = [each for each in found.passes if each.device == device]
        assert {each.micro_batch for each in passes} == set(range(shown))
        assert [(each.kind, each.micro_batch, each.chunk) for each in (reduces, update)] == [
            ("data parallel", -1, 0),
            ("update", -1, 0),
        ]
        assert max(each.end for each in found.passes if each.micro_batch >= 0) == reduces.start
        assert reduces.end == update.start == pytest.approx(reduces.start + times.data_parallel)
        assert update.end - update.start == pytest.approx(times.optimizer)
