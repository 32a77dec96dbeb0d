"""Many layouts priced at once are what each is alone."""

import itertools

import msgspec
import numpy as np
import pytest

from roofline.answers.estimate import estimate, estimate_step
from roofline.config.settle import outline, train_config
from roofline.counting.step import build_step
from roofline.search.answer import layouts
from roofline.search.grid import Bundle
from roofline.search.layout import mean_draw
from roofline.search.space import Choices, space_of
from roofline.search.sums import of_passes
from roofline.search.variants import counted_as
from roofline.timing.ranks import price
from roofline.timing.schedule import exposed_times

from .small import DENSE, DEVICE, EXPERTS, TIED


def bundle_of(model, num_devices, global_batch, variants, sharding="none", **options):
    """Every layout of some devices, under some words."""
    base = outline(train_config({**options, "num_devices": 1, "global_batch": 1}), model)
    base = msgspec.structs.replace(base, global_batch=global_batch)
    space = space_of(model, base, Choices(), 8, num_devices)
    trains = [msgspec.structs.replace(base, **words) for words in variants]
    return Bundle(model, DEVICE, space, trains, counted_as(sharding, base))


def all_layouts(model, num_devices, global_batch, variants, sharding, **options):
    """Every layout of the bundle with its array result and its configuration."""
    bundle = bundle_of(model, num_devices, global_batch, variants, sharding, **options)
    space = bundle.space
    rows, micro = np.nonzero(space.consistent)
    for variant, train in enumerate(bundle.trains):
        memory = bundle.memory(sharding, np.arange(len(space.columns["tp"]))).needed[variant, rows, micro]
        times = bundle.schedule(sharding, np.full(len(rows), variant), rows, micro)
        for i, (row, m) in enumerate(zip(rows, micro, strict=True)):
            degrees = {name: int(column[row]) for name, column in space.columns.items()}
            one = msgspec.structs.replace(train, **degrees, sharding=sharding, micro_batch=int(space.micro_batches[m]))
            yield one, times.total[i], mean_draw(times)[i], memory[i]


@pytest.mark.parametrize(
    ("model", "stack"),
    [(DENSE, "megatron"), (TIED, "compiled"), (EXPERTS, "eager"), (DENSE, "torchtitan"), (DENSE, "hf-trainer@4.48")],
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
        assert memory == pytest.approx(alone.memory.needed_bytes, rel=1e-9), train
        assert draw == pytest.approx(mean_draw(alone.schedule), rel=1e-9)


@pytest.mark.parametrize("sharding", ["zero1", "fsdp"])
def test_a_quantised_base_is_upcast_where_it_is_whole(sharding):
    adapted = {"train": "qlora", "lora_rank": 2, "stack": "hf-trainer@4.48"}
    for train, seconds, _, memory in all_layouts(DENSE, (2,), 16, [{"recompute": "full"}], sharding, **adapted):
        alone = estimate_step(build_step(DENSE, train), DEVICE)
        assert seconds == pytest.approx(alone.step_time_s, rel=1e-9), train
        assert memory == pytest.approx(alone.memory.needed_bytes, rel=1e-9), train


def test_tokens_that_travel_beside_another_micro_batch_are_timed_by_pipeline():
    words = [{"recompute": "full", "sequence_parallel": True, "exchange_overlap": 0.5}]
    found = list(all_layouts(EXPERTS, (16,), 48, words, "zero1", stack="megatron"))
    for train, seconds, *_ in found[:: len(found) // 40]:
        assert seconds == pytest.approx(estimate_step(build_step(EXPERTS, train), DEVICE).step_time_s, rel=1e-9), train


@pytest.mark.parametrize("optimizer", ["adamw-8bit", "adamw-8bit-paged", "adafactor", "muon", "galore"])
@pytest.mark.parametrize("sharding", ["none", "zero1"])
def test_optimizers_of_whole_tensors_are_searched_as_estimated(optimizer, sharding):
    """Their state depends on the size or the sides of each tensor, which tensor parallelism cuts."""
    words = [{"recompute": "full"}]
    found = list(all_layouts(TIED, (4, 16), 48, words, sharding, stack="eager", optimizer=optimizer))
    for train, seconds, _, memory in found[:: max(1, len(found) // 20)]:
        alone = estimate_step(build_step(TIED, train), DEVICE)
        assert seconds == pytest.approx(alone.step_time_s, rel=1e-9), train
        assert memory == pytest.approx(alone.memory.needed_bytes, rel=1e-9), train


def test_recompute_saves_where_the_same_without_it_holds_more():
    words = [{"recompute": how, "sequence_parallel": whole} for whole in (False, True) for how in ("full", "none")]
    bundle = bundle_of(TIED, (1,), 2, [*words, {"recompute": "selective", "dtype": "fp16"}], stack="megatron")
    full, none, whole, whole_none, alone = [5.0, 4.0], [5.0, 4.5], [3.0, 4.0], [2.0, 6.0], [9.0, 9.0]
    memory = np.array([full, none, whole, whole_none, alone])[:, None, :]  # [variants, one row, two micro batches]
    saves = bundle.saves(memory)[:, 0].tolist()
    assert saves == [[False, True], [True, True], [False, True], [True, True], [True, True]]


def test_each_layout_has_a_number_of_its_own():
    bundle = bundle_of(TIED, (1, 2), 4, [{"recompute": how} for how in ("none", "full")], stack="megatron")
    rows, sizes = len(bundle.space.consistent), len(bundle.micro)
    places = list(itertools.product(range(2), range(rows), range(sizes)))
    numbers = bundle.index_of(*np.array(places).T)
    assert numbers.tolist() == list(range(2 * rows * sizes))
    assert [bundle.layout_at(number) for number in numbers.tolist()] == places


def test_what_a_step_surely_takes_is_divided_by_data_parallelism_and_stages():
    """16 passes of a sequence on one device are the mean stage's 16 / (dp x pp), whatever else is not split."""
    bundle = bundle_of(DENSE, (1, 2, 4), 16, [{"recompute": how} for how in ("none", "full")], stack="megatron")
    columns = bundle.space.columns
    rows = ((columns["tp"] == 1) & (columns["cp"] == 1)).nonzero()[0]
    shares = columns["dp"][rows] * columns["pp"][rows]
    assert set(shares.tolist()) == {1, 2, 4}
    for micro in range(2):
        none, full = (bundle.least(np.full(len(rows), variant), rows, np.full(len(rows), micro)) for variant in (0, 1))
        assert none * shares == pytest.approx(none[shares == 1][0], rel=1e-12)
        assert (full > 1.2 * none).all()  # a forward pass more, where backward is two


@pytest.mark.parametrize("sharding", ["none", "zero1", "fsdp"])
def test_no_layout_holds_less_than_its_degrees_do(sharding):
    """Without activations; with few, recomputed, a layout holds little more."""
    bundle = bundle_of(TIED, (1, 4), 4, [{"recompute": how} for how in ("none", "full")], sharding, stack="megatron")
    rows = np.arange(len(bundle.key_of_row))
    share = bundle.memory_floor(sharding, rows) / bundle.memory(sharding, rows).held.min(axis=(0, 2))
    assert 0.7 < share.min() <= share.max() <= 1


@pytest.mark.parametrize("micro", [1, 2])
def test_on_one_device_a_step_surely_takes_its_passes(micro):
    """All that runs for 16 sequences, but for adding up their gradients, less a billionth for rounding."""
    bundle = bundle_of(DENSE, (1,), 16, [{"recompute": "none"}], stack="eager")
    train = train_config({"micro_batch": micro, "global_batch": 16, "stack": "eager"})
    step = build_step(DENSE, train)
    priced = [item for item in price(step, DEVICE) if item.op.part != "step" and not of_passes(item.op)]
    of_term, _ = exposed_times(step, DEVICE, priced)  # with what the device waits for launches
    seconds = 16 / micro * sum(sum(terms.values()) for terms in of_term.values())
    first = np.zeros(1, dtype=int)
    (least,) = bundle.least(first, first, np.flatnonzero(bundle.micro == micro))
    assert 1 - least / seconds == pytest.approx(1e-9, rel=1e-3)


def test_what_runs_again_may_not_in_cuda_graphs():
    words = [{"recompute": how, "cuda_graph": "full"} for how in ("none", "full")]
    bundle = bundle_of(TIED, (2,), 2, words, stack="megatron")
    allowed = bundle.allowed("none", np.arange(len(bundle.key_of_row)))
    assert allowed[0].any()
    assert not allowed[1].any()


@pytest.mark.parametrize(
    ("model", "stack", "names"),
    [
        (DENSE, "megatron", ["dp"]),  # the number of passes, of which all but the first add gradients up
        (EXPERTS, "megatron", ["dp", "pp", "vp"]),  # and how many of them there are to run beside an exchange
    ],
)
def test_what_one_micro_batch_takes_depends_on_little_of_a_layout(model, stack, names):
    bundle = bundle_of(model, (4, 8), 16, [{"recompute": "none"}], stack=stack)
    of_row = list(zip(*(bundle.space.columns[name].tolist() for name in names), strict=True))
    firsts, places = bundle.successions
    assert [of_row[first] for first in firsts] == sorted(set(of_row))
    assert [of_row[firsts[place]] for place in places] == of_row


def test_figures_that_variants_have_alike_are_held_once():
    """Two numbers of passes, as many degrees and micro batches as there are; one number where nothing changes it."""
    for other, held in (("none", {1}), ("full", {1, 3})):
        words = [{"recompute": how} for how in ("none", other, "none")]
        bundle = bundle_of(TIED, (1, 2), 4, words, stack="megatron")
        each = 2 * len(bundle.keys["tp"]) * len(bundle.micro)
        figures = [table for _, sums in bundle.saved for table in sums.values()]
        assert {table.size // each for table in figures if np.ndim(table)} == held
        assert sum(np.ndim(sums["kernels"]) for _, sums in bundle.saved) == 0


def test_recompute_that_saves_nothing_is_not_a_choice():
    kept = layouts(DENSE, DEVICE, num_devices=8, global_batch=64, stack="nemo", top=50)
    assert "selective" not in {layout.recompute for layout in [*kept.layouts, *kept.front]}  # flash keeps no scores
    unfused = layouts(DENSE, DEVICE, num_devices=8, global_batch=64, stack="nemo", attention="unfused", top=50)
    assert "selective" in {layout.recompute for layout in unfused.layouts}


@pytest.mark.parametrize("model", ["olmo-2-7b", "minimax-m2"])
def test_a_norm_over_all_heads_is_searched_like_any_other(model):
    """Its weights are those of the heads held, whatever the micro batch."""
    best = layouts(model, DEVICE, num_devices=64, global_batch=64, sharding="fsdp", top=1).layouts[0]
    names = ("num_devices", "tp", "pp", "vp", "cp", "ep", "micro_batch", "sharding", "recompute", "sequence_parallel")
    given = {name: getattr(best, name) for name in (*names, "stack")}
    alone = estimate(model, DEVICE, global_batch=64, **given)
    assert best.step_time_s == pytest.approx(alone.step_time_s, rel=1e-9)
    assert best.memory_bytes == pytest.approx(alone.memory.needed_bytes, rel=1e-9)


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
