"""Layout search: the array result is the scalar estimate, constraints hold, the best is kept."""

from __future__ import annotations

import itertools
import re

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.answers.estimate import estimate, estimate_step
from roofline.config.settle import resolve, train_config
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model, model_from_flat
from roofline.search.answer import layouts
from roofline.search.grid import Bundle
from roofline.search.layout import mean_draw
from roofline.search.ranking import Front, Leaders
from roofline.search.remedy import remedy, shortage
from roofline.search.space import Choices, default_global_batch, divisors, space_of

DEVICE = load_device("a100-sxm-80gb")
DENSE = model_from_flat(
    {
        "name": "dense",
        "n_layers": 24,
        "d_model": 2048,
        "n_heads": 16,
        "n_kv_heads": 8,
        "d_ff": 5504,
        "gated_mlp": True,
        "vocab_size": 32000,
        "max_seq_len": 4096,
    }
)
TIED = model_from_flat(
    {
        "name": "tied",
        "n_layers": 12,
        "d_model": 768,
        "n_heads": 12,
        "d_ff": 3072,
        "vocab_size": 50257,
        "learned_positions": 1024,
        "max_seq_len": 1024,
        "tied_embeddings": True,
        "biases": True,
        "rotary": False,
    }
)
EXPERTS = model_from_flat(
    {
        "name": "experts",
        "n_layers": 8,
        "d_model": 1024,
        "n_heads": 16,
        "d_ff": 4096,
        "gated_mlp": True,
        "n_experts": 8,
        "experts_per_token": 2,
        "vocab_size": 32000,
        "max_seq_len": 2048,
    }
)


def all_layouts(model, num_devices, global_batch, variants, sharding, **options):
    """Every layout of the bundle with its array result and its configuration."""
    base = resolve(train_config({**options, "num_devices": 1, "global_batch": 1}), model)
    base = msgspec.structs.replace(base, global_batch=global_batch)
    space = space_of(model, base, Choices(), 8, num_devices)
    trains = [msgspec.structs.replace(base, **words) for words in variants]
    bundle = Bundle(model, DEVICE, space, trains)
    rows, micro = np.nonzero(space.consistent)
    for variant, train in enumerate(trains):
        memory = bundle.memory(sharding, np.arange(len(space.columns["tp"])))[variant, rows, micro]
        times = bundle.schedule(sharding, np.full(len(rows), variant), rows, micro)
        for i, (row, m) in enumerate(zip(rows, micro, strict=True)):
            degrees = {name: int(column[row]) for name, column in space.columns.items()}
            one = msgspec.structs.replace(train, **degrees, sharding=sharding, micro_batch=int(space.micro_batches[m]))
            yield one, times.total[i], mean_draw(times)[i], memory[i]


@pytest.mark.parametrize(
    ("model", "stack"), [(DENSE, "megatron"), (TIED, "compiled"), (EXPERTS, "eager"), (DENSE, "fsdp")]
)
@pytest.mark.parametrize("sharding", ["none", "zero1", "fsdp"])
def test_array_result_equals_the_scalar_estimate(model, stack, sharding):
    words = [{"recompute": r, "sequence_parallel": s} for r in ("none", "selective", "full") for s in (False, True)]
    if model is EXPERTS:
        words = [{"recompute": r, "sequence_parallel": True} for r in ("none", "full")]
    if (stack, sharding) == ("megatron", "zero1"):  # passes told apart, weights held once
        words = [{**each, "schedule": "zb-h1"} for each in words]
    found = list(all_layouts(model, (4, 16), 48, words, sharding, stack=stack))
    found = [case for case in found if case[0].schedule is None or case[0].vp == 1]
    assert len(found) > 100
    for train, seconds, draw, memory in found[:: max(1, len(found) // 60)]:
        alone = estimate_step(build_step(model, train), DEVICE)
        assert seconds == pytest.approx(alone.step_time_s, rel=1e-9), train
        assert memory == pytest.approx(alone.memory.total_bytes, rel=1e-9), train
        assert draw == pytest.approx(mean_draw(alone.schedule), rel=1e-9)


def test_layouts_are_sorted_consistent_and_fit():
    result = layouts(DENSE, DEVICE, num_devices=16, global_batch=64, stack="megatron", top=40)
    times = [layout.step_time_s for layout in result.layouts]
    assert times == sorted(times)
    assert result.evaluated >= result.priced >= 40
    for layout in result.layouts:
        assert layout.tp * layout.pp * layout.cp * layout.dp == 16
        assert layout.micro_batch * layout.dp * layout.accumulation == 64
        assert 16 % layout.tp == 0
        assert layout.vp == 1 or layout.accumulation % layout.pp == 0
        assert layout.fits
        assert layout.step_time_low_s < layout.step_time_s < layout.step_time_high_s


def test_the_best_is_the_best_of_all():
    result = layouts(
        DENSE, DEVICE, num_devices=4, global_batch=16, sharding="zero1", recompute="none", stack="megatron"
    )
    words = [{"recompute": "none", "sequence_parallel": s} for s in (False, True)]
    estimates = [
        estimate_step(build_step(DENSE, train), DEVICE)
        for train, *_ in all_layouts(DENSE, (4,), 16, words, "zero1", stack="megatron")
    ]
    best = min(e.step_time_s for e in estimates if e.fits)
    assert result.layouts[0].step_time_s == pytest.approx(best, rel=1e-9)


def test_front_has_no_dominated_layout():
    result = layouts(DENSE, DEVICE, num_devices=8, global_batch=32)
    for one, other in itertools.pairwise(result.front):
        assert one.memory_bytes < other.memory_bytes
        assert one.step_time_s > other.step_time_s
    assert result.front[-1].step_time_s == pytest.approx(result.layouts[0].step_time_s)


def test_the_simplest_cannot_be_told_from_the_best():
    result = layouts(DENSE, DEVICE, num_devices=8, global_batch=64)
    assert result.simplest is not None
    assert result.ties(result.simplest)
    assert (result.simplest.tp, result.simplest.pp, result.simplest.cp) == (
        1,
        1,
        1,
    )  # a 1B model: data parallel only


@pytest.mark.parametrize("objective", ["time", "cost", "energy", "memory"])
def test_objectives(objective):
    result = layouts(DENSE, DEVICE, num_devices=(4, 8), global_batch=32, objective=objective)
    values = {
        "time": lambda layout: layout.step_time_s,
        "cost": lambda layout: layout.device_seconds_per_step,
        "energy": lambda layout: layout.device_seconds_per_step * layout.energy_share,
        "memory": lambda layout: layout.memory_bytes,
    }
    found = [values[objective](layout) for layout in result.layouts]
    assert found == pytest.approx(sorted(found), rel=1e-12)


def test_given_degrees_restrict():
    result = layouts(DENSE, DEVICE, num_devices=16, global_batch=64, tp=(2, 4), pp=2, recompute="full")
    assert {layout.tp for layout in result.layouts} <= {2, 4}
    assert {layout.pp for layout in result.layouts} == {2}
    assert {layout.recompute for layout in result.layouts} == {"full"}


def test_nothing_fits_names_the_smallest():
    result = layouts(load_model("llama-2-70b"), DEVICE, num_devices=2, global_batch=8)
    assert result.layouts == []
    assert result.smallest is not None
    assert not result.smallest.fits


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


def test_recompute_that_saves_nothing_is_not_a_choice():
    kept = layouts(DENSE, DEVICE, num_devices=8, global_batch=64, stack="nemo", top=50)
    assert "selective" not in {layout.recompute for layout in [*kept.layouts, *kept.front]}  # flash keeps no scores
    unfused = layouts(DENSE, DEVICE, num_devices=8, global_batch=64, stack="nemo", attention="unfused", top=50)
    assert "selective" in {layout.recompute for layout in unfused.layouts}


@given(st.integers(1, 5000))
def test_divisors(number):
    assert divisors(number) == [n for n in range(1, number + 1) if number % n == 0]


@given(st.integers(1, 4096), st.sampled_from([1024, 2048, 8192]))
def test_default_global_batch_serves_every_device(devices, seq_len):
    batch = default_global_batch(devices, seq_len)
    assert batch % devices == 0
    assert batch * seq_len >= 2**20


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=30), min_size=1, max_size=5), st.integers(1, 8))
def test_leaders_are_the_smallest(chunks, count):
    leaders = Leaders(count)
    for source, chunk in enumerate(chunks):
        leaders.offer(np.array(chunk), np.arange(len(chunk)), source)
    values = [chunks[source][index] for source, index in leaders.best()]
    assert values == sorted(itertools.chain(*chunks))[:count]


@settings(max_examples=50)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30),
        min_size=1,
        max_size=4,
    )
)
def test_front_is_the_undominated(chunks):
    front = Front()
    for source, chunk in enumerate(chunks):
        cost, time = np.array(chunk, dtype=float).T
        front.offer(cost, time, np.arange(len(chunk)), source)
    found = {chunks[source][index] for source, index in front.points()}
    points = set(itertools.chain(*chunks))
    assert found == {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}


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
        assert layout.memory_bytes == pytest.approx(alone.memory.total_bytes, rel=1e-9)
        stacks.add(layout.stack)
    assert stacks >= {"compiled", "nemo"}
    assert layouts(DENSE, DEVICE, num_devices=1, global_batch=8).layouts[0].stack == "compiled"
    assert layouts(DENSE, "tpu-v5p", num_devices=4, global_batch=8).layouts[0].stack == "jax"


@pytest.mark.parametrize("model", ["llama-2-7b", "gpt2-xl"])
def test_layouts_are_compared_on_one_footing(model):
    asked = {"num_devices": 8, "recompute": "none"}
    found = layouts(model, "h100-sxm-80gb", **asked)
    best, alone = found.layouts[0], layouts(model, "h100-sxm-80gb", **asked, stack="nemo").layouts[0]
    assert best.train == alone.train  # software does not decide
    assert (best.dp, best.sharding) == (8, "zero1")
    assert found.simplest == best
    assert found.by_software[0].stack == "nemo"
    assert {layout.stack for layout in found.by_software} == {"nemo", "compiled", "fsdp"}


def test_experts_are_spread_over_the_ranks():
    found = layouts("qwen3-30b-a3b", "h100-sxm-80gb", num_devices=64, recompute="none", micro_batch=(1, 2))
    assert found.layouts[0].ep > 1
    assert found.simplest is not None
    assert found.simplest.pp == 1


def test_software_that_no_layout_needs_is_left_out():
    whole = layouts(DENSE, DEVICE, num_devices=8, global_batch=64, tp=1, pp=1, cp=1)
    assert {layout.stack for layout in whole.by_software} == {"compiled", "fsdp"}
    asked = layouts(DENSE, DEVICE, num_devices=8, global_batch=64, sharding="fsdp")
    assert all(layout.tp * layout.pp * layout.cp > 1 for layout in asked.layouts if layout.stack == "nemo")


def test_no_layout_is_dominated_by_a_twin_of_the_same_degrees():
    found = layouts(DENSE, DEVICE, num_devices=8, global_batch=64, top=30).layouts
    assert len(found) == 30
    for better, worse in itertools.combinations(found, 2):
        degrees = ("tp", "pp", "cp", "ep", "dp", "stack", "dtype", "attention")
        if all(getattr(better, name) == getattr(worse, name) for name in degrees):
            assert worse.memory_bytes < better.memory_bytes


def test_virtual_stages_alone_do_not_make_another_layout():
    result = layouts(DENSE, DEVICE, num_devices=16, global_batch=64, pp=4, top=20)
    seen = [msgspec.structs.replace(layout.train, vp=1) for layout in result.layouts]
    assert len(set(seen)) == len(seen)


def test_parameters_are_sharded_under_a_pipeline_only_if_asked():
    options = {"num_devices": 16, "global_batch": 64, "sharding": "fsdp"}
    assert {layout.pp for layout in layouts(DENSE, DEVICE, **options, top=50).layouts} == {1}
    assert {layout.pp for layout in layouts(DENSE, DEVICE, **options, pp=2).layouts} == {2}


def test_numbers_are_read_as_typed():
    typed = layouts(DENSE, DEVICE, num_devices="8", global_batch="32", seq_len="2k", micro_batch=["1", 2])
    plain = layouts(DENSE, DEVICE, num_devices=8, global_batch=32, seq_len=2048, micro_batch=(1, 2))
    assert typed.layouts == plain.layouts
    for name, value in [("micro_batch", -1), ("tp", True), ("global_batch", "many"), ("sharding", "fdsp")]:
        with pytest.raises(RooflineError, match=name):
            layouts(DENSE, DEVICE, num_devices=8, **{name: value})


def test_a_result_prints_in_a_few_lines():
    result = layouts(DENSE, DEVICE, num_devices=8, global_batch=64)
    assert "best <8 devices: dp 8" in repr(result)
    assert len(repr(result)) < 400
    assert {"tp", "stack", "step_time_s"} <= set(result.to_frame().columns)


def test_where_nothing_fits_each_remedy_fits():
    large, asked = load_model("llama-2-70b"), {"global_batch": 64, "recompute": "none", "seq_len": 4096}
    found = layouts(large, DEVICE, num_devices=2, **asked)
    ways = remedy(large, DEVICE, found, 2, asked)
    assert "--seq-len" not in ways  # 70e9 x 12 bytes and more over two devices: no sequence is short enough
    assert re.search("needs [0-9.]+ GiB per device at least, [0-9.]+ GiB of it weights", shortage(found))
    devices = int(re.search("use ([0-9]+) devices", ways)[1])
    assert layouts(large, DEVICE, num_devices=devices, **asked).layouts
    assert not layouts(large, DEVICE, num_devices=devices - 8, **asked).layouts


def test_a_restriction_that_stands_in_the_way_is_named():
    model, asked = load_model("llama-2-7b"), {"global_batch": 64, "sharding": "none", "pp": 1, "tp": 1}
    found = layouts(model, DEVICE, num_devices=8, **asked)
    assert found.layouts == []
    assert "leave --sharding, --tp, --pp out" in remedy(model, DEVICE, found, 8, asked)


def test_a_shorter_sequence_helps_where_activations_do_not_fit():
    asked = {"seq_len": 2**20, "micro_batch": 1, "global_batch": 1}
    found = layouts(DENSE, DEVICE, num_devices=1, **asked)
    assert found.layouts == []
    length = int(re.search(r"--seq-len (\d+)", remedy(DENSE, DEVICE, found, 1, asked))[1])
    assert layouts(DENSE, DEVICE, num_devices=1, **{**asked, "seq_len": length}).layouts
    assert not layouts(DENSE, DEVICE, num_devices=1, **{**asked, "seq_len": 2 * length}).layouts


def test_each_layout_runs_the_attention_of_its_software():
    found = layouts("gpt2-xl", "h100-sxm-80gb", num_devices=8, global_batch=32).by_software
    assert {(layout.stack, layout.attention) for layout in found} >= {("compiled", "flash2"), ("nemo", "te")}
    asked = layouts("gpt2-xl", "h100-sxm-80gb", num_devices=8, global_batch=32, attention="flash3").layouts
    assert {layout.attention for layout in asked} == {"flash3"}
    for layout in (found[0], next(layout for layout in found if layout.stack == "nemo")):
        same = {
            name: getattr(layout, name) for name in ("tp", "pp", "vp", "cp", "micro_batch", "sharding", "recompute")
        }
        same |= {"sequence_parallel": layout.sequence_parallel, "stack": layout.stack}
        alone = estimate("gpt2-xl", "h100-sxm-80gb", num_devices=8, global_batch=32, **same)
        assert alone.train.attention == layout.attention
        assert float(alone.step_time_s) == pytest.approx(layout.step_time_s)


@pytest.mark.parametrize("model", ["olmo-2-7b", "minimax-m2"])
def test_a_norm_over_all_heads_is_searched_like_any_other(model):
    """Its weights are those of the heads held, whatever the micro batch."""
    best = layouts(model, DEVICE, num_devices=64, global_batch=64, sharding="fsdp", top=1).layouts[0]
    names = ("num_devices", "tp", "pp", "vp", "cp", "ep", "micro_batch", "sharding", "recompute", "sequence_parallel")
    given = {name: getattr(best, name) for name in (*names, "stack")}
    alone = estimate(model, DEVICE, global_batch=64, **given)
    assert best.step_time_s == pytest.approx(alone.step_time_s, rel=1e-9)
    assert best.memory_bytes == pytest.approx(alone.memory.total_bytes, rel=1e-9)
