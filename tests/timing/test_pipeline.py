from itertools import pairwise

import pytest

import roofline
from roofline.answers.measured import learnt
from roofline.answers.times import estimate_times
from roofline.config.schedules import pipeline_schedule, schedules
from roofline.counting.step import build_step
from roofline.timing.pipeline import Durations, chunk_durations, run_passes, splits_backward, timeline
from roofline.timing.ranks import price
from roofline.timing.schedule import schedule

P, M = 4, 16
CHUNKS = {"interleaved": 2, "circular": 2, "zb-v": 2}


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


@pytest.mark.parametrize("name", schedules())
def test_every_pass_runs_once_after_what_it_needs(name):
    vp = CHUNKS.get(name, 1)
    passes = passes_of(name, vp)
    kinds = {"forward", "backward"} | ({"weight gradients"} if splits_backward(pipeline_schedule(name)) else set())
    found = {(each.kind, each.micro_batch, each.chunk, each.device): each for each in passes}
    assert len(found) == len(passes) == len(kinds) * P * vp * M
    for batch in range(M):
        forward = sorted((e for e in passes if e.micro_batch == batch and e.kind == "forward"), key=lambda e: e.start)
        backward = sorted((e for e in passes if e.micro_batch == batch and e.kind == "backward"), key=lambda e: e.start)
        assert [(e.device, e.chunk) for e in backward] == [(e.device, e.chunk) for e in forward][::-1]
        assert all(one.end <= other.start + 1e-9 for one, other in pairwise([*forward, *backward]))


def most_held(passes, device, last):
    """The most micro batches of which a device still has something to do, on the first way through it."""
    held = most = 0
    for each in sorted((each for each in passes if each.device == device), key=lambda each: each.start):
        held += (each.kind == "forward") - (each.kind == last)
        most = max(most, held)
    return most


@pytest.mark.parametrize("name", schedules())
def test_a_device_does_one_thing_at_once_and_holds_what_its_schedule_says(name):
    """Where all passes take equally long each reaches what its paper allows it, and no more."""
    plan, vp = pipeline_schedule(name), CHUNKS.get(name, 1)
    last = "weight gradients" if splits_backward(plan) else "backward"
    passes = passes_of(name, vp)
    first = [each for each in passes if each.chunk == 0 or plan.placement != "v"]  # a V holds what it lets in
    for device in range(P):
        own = sorted((each for each in passes if each.device == device), key=lambda each: each.start)
        assert all(one.end <= other.start + 1e-9 for one, other in pairwise(own))
        held = plan.held(P, vp, device)
        assert most_held(first, device, last) == (M if held is None else held) * (vp if plan.divided else 1)


def test_micro_batches_from_both_ends_keep_every_device_busy():
    """Stage s has its first pass from the nearer end, and never waits from then on."""
    passes = passes_of("dualpipe")
    for device in range(P):
        own = [each for each in passes if each.device == device]
        assert min(each.start for each in own) == min(device, P - 1 - device)
        assert max(each.end for each in own) - min(each.start for each in own) == pytest.approx(M * 3.0)
    firsts = {each.micro_batch: each.device for each in sorted(passes, key=lambda each: -each.start)}
    assert firsts == {batch: (P - 1) * (batch % 2) for batch in range(M)}


def test_a_v_ends_where_it_began():
    """The last device, where the way turns round, never waits; one before it by a pass of half a stage longer each."""
    passes = passes_of("zb-v", 2)
    for device in range(P):
        own = [each for each in passes if each.device == device]
        assert {(each.device, each.chunk) for each in own} == {(device, 0), (device, 1)}
        span = max(each.end for each in own) - min(each.start for each in own)
        assert span == pytest.approx(M * 3.0 + (P - 1 - device) / 2)


def test_more_is_held_where_nobody_could_go_on():
    """A slow stage leaves both ends full of micro batches that wait for the other end: one more each is enough."""
    plan = pipeline_schedule("dualpipe")
    durations = [Durations(100.0 if stage == 1 else 1.0, 0.0, 1.0, 1.0) for stage in range(P)]
    passes = run_passes(plan, P, 1, 20, durations)
    assert len({(each.kind, each.micro_batch, each.device) for each in passes}) == len(passes) == 3 * P * 20
    assert {most_held(passes, device, "weight gradients") for device in range(P)} == {plan.held(P, 1, 0) + 1}


@pytest.mark.parametrize(
    ("options", "others"),
    [
        ({}, set()),
        ({"recompute": "full"}, {"recompute"}),
        ({"num_devices": 4, "sharding": "fsdp", "global_batch": 32}, {"data parallel"}),  # and copies, once a step
        ({"offload": "optimizer"}, set()),
        ({"offload": "activations"}, set()),  # of which every pass waits for some
    ],
)
@pytest.mark.parametrize("ratio", [None, 1.25])  # of measured to expected, where the step was timed
def test_the_passes_of_one_device_add_up_to_the_estimate(options, others, ratio):
    run = roofline.settle("gpt2-xl", "h100-sxm-80gb", **{"micro_batch": 2, "global_batch": 8, **options})
    step = build_step(run.model, run.train)
    expected = estimate_times(step, run.device).expected
    device = run.device if ratio is None else learnt(run, ratio * expected)
    shown = timeline(step, device)
    assert shown.seconds == pytest.approx(expected * (ratio or 1))
    assert shown.micro_batches == shown.of == 4
    assert {each.kind for each in shown.passes} == {"forward", "backward", "update", *others}
    copies = [op.count for op in step.ops if op.part == "step" and op.kind == "elementwise"]
    assert (max(copies, default=0) > 1) is ("sharding" in options)


def test_copies_that_passes_wait_for_are_in_the_passes():
    """Whatever the slowest stage holds: copies exposed in every pass are none of the update's."""
    options = {"num_devices": 5, "pp": 5, "micro_batch": 8, "global_batch": 64, "offload": "activations"}
    run = roofline.settle("gpt2", "h100-sxm-80gb", stack="megatron", pp_layout="3,3,2,2,2", **options)
    step = build_step(run.model, run.train)
    times = schedule(step, run.device, price(step, run.device))
    assert times.offload > times.optimizer
    update = next(each for each in timeline(step, run.device).passes if each.kind == "update")
    assert update.end - update.start == pytest.approx(times.optimizer)


def test_a_pipeline_ends_when_the_estimate_says():
    layout = {"num_devices": 32, "tp": 4, "pp": 8, "global_batch": 32, "micro_batch": 1}
    found = roofline.estimate("llama-3-8b", "h100-sxm-80gb", **layout)
    shown = timeline(build_step(found.model, found.train), found.device)
    # stages that wait for each other: the estimate adds transfers, which the picture leaves out
    without = float(found.step_time_s - found.schedule.pipeline_transfer)
    assert shown.seconds == pytest.approx(without, rel=0.05)


@pytest.mark.parametrize(
    ("pp", "micro_batches", "most", "shown"),
    [
        (4, 1024, 40, 20),  # two passes each
        (1, 8, 5, 2),
        (1, 8, 1, 1),  # one at the least
        (2, 8, 1, 2),  # and whole rounds of as many as there are stages
        (2, 8, 7, 2),
        (2, 3, 4, 2),
        (4, 3, 4, 3),  # or all
        (2, 3, 6, 3),  # all that there are is no part of a step
    ],
)
def test_of_many_micro_batches_some_are_shown(pp, micro_batches, most, shown):
    run = roofline.settle("gpt2", "h100-sxm-80gb", num_devices=pp, pp=pp, micro_batch=1, global_batch=micro_batches)
    found = timeline(build_step(run.model, run.train), run.device, most=most)
    assert (found.micro_batches, found.of) == (shown, micro_batches)
    assert {each.micro_batch for each in found.passes} - {-1} == set(range(shown))


@pytest.mark.parametrize("recompute", ["full", "full:4"])
@pytest.mark.parametrize("apart", [False, True])
def test_each_kind_of_pass_takes_what_its_ops_take(apart, recompute):
    """Of long kernels, for which no device waits: every layer on one of two stages, as often as its ops run."""
    step = roofline.settle(
        "llama-3-8b", "h100-sxm-80gb", num_devices=2, pp=2, micro_batch=2, global_batch=8, recompute=recompute
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


def test_rounds_keep_their_order_where_a_stage_is_late():
    # the first device has micro batches 2 and 3 at hand while the second, five times as slow, has 0 and 1
    slow = [Durations(forward, 0.0, 1.0, 0.0) for forward in (1.0, 5.0, 1.0, 1.0)]
    passes = run_passes(pipeline_schedule("interleaved"), 2, 2, 4, slow)
    forward = [(each.micro_batch, each.chunk) for each in passes if each.device == 0 and each.kind == "forward"]
    assert forward == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (3, 0), (2, 1), (3, 1)]
