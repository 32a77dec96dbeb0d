"""Which software each layout is priced on."""

import numpy as np
import pytest

from roofline.answers.estimate import estimate
from roofline.config.settle import train_config
from roofline.errors import RooflineError
from roofline.search.answer import layouts
from roofline.search.software import Part, joined, runnable, several, splits
from roofline.search.space import Space

from .small import DENSE, DEVICE


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


def test_software_that_no_layout_needs_is_left_out():
    whole = layouts(DENSE, DEVICE, num_devices=8, global_batch=64, tp=1, pp=1, cp=1)
    assert {layout.stack for layout in whole.by_software} == {"compiled", "fsdp"}
    asked = layouts(DENSE, DEVICE, num_devices=8, global_batch=64, sharding="fsdp")
    assert all(layout.tp * layout.pp * layout.cp > 1 for layout in asked.layouts if layout.stack == "nemo")


@pytest.mark.parametrize(
    ("options", "stacks"),
    [
        ({}, {"hf-trainer"}),
        ({"tp": 2}, {"nemo"}),
        ({"tp": (1, 2), "sharding": "none"}, {"hf-trainer", "nemo"}),
        ({"stack": "hf-trainer"}, {"hf-trainer"}),
        ({"stack": "fsdp"}, {"fsdp"}),
    ],
)
def test_adapters_are_trained_on_software_that_splits_no_model_unless_asked(options, stacks):
    found = layouts(DENSE, DEVICE, num_devices=8, global_batch=64, train="lora", top=50, **options)
    assert {layout.stack for layout in (*found.layouts, *found.by_software)} == stacks
    split = any(layout.tp * layout.pp * layout.cp > 1 for layout in found.layouts)
    assert split == ("tp" in options or options.get("stack") == "fsdp")
    assert any("adapters are priced on hf-trainer" in note for note in found.notes) == (not options)


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


def test_a_part_takes_the_rows_that_are_split_or_not():
    columns = {"tp": np.array([1, 2, 1]), "pp": np.array([1, 1, 4]), "cp": np.ones(3, int), "ep": np.ones(3, int)}
    space = Space(columns, np.array([1]), np.ones((3, 1), dtype=bool))
    assert splits(space).tolist() == [False, True, True]
    assert Part("x", (), split=True).rows_of(space).columns["pp"].tolist() == [1, 4]
    assert Part("x", (), split=False).rows_of(space).columns["tp"].tolist() == [1]
    assert Part("x", ()).rows_of(space) is space


def test_parts_that_differ_in_what_is_split_alone_are_counted_together():
    columns = {"tp": np.array([1, 2]), "pp": np.array([1, 1]), "cp": np.ones(2, int), "ep": np.ones(2, int)}
    space = Space(columns, np.array([1, 2]), np.array([[True, False], [True, True]]))
    parts = [Part("x", ("none",), split=True), Part("y", ("none",), split=False), Part("x", ("none",), split=False)]
    (whole, both), (other, alone) = joined([(part, part.rows_of(space)) for part in parts])
    assert (whole, other) == (Part("x", ("none",)), parts[1])
    assert both.columns["tp"].tolist() == [2, 1]  # in the order of the parts
    assert both.consistent.tolist() == [[True, True], [True, False]]
    assert alone.columns["tp"].tolist() == [1]


def test_shardings_that_software_refuses_with_the_optimizer_are_left_out():
    """FSDP's shards are flat slices, and Muon needs whole matrices; a sharded state alone is dealt out whole."""
    train = train_config({"optimizer": "muon"})
    parts = (Part("fsdp", ("none", "zero2", "fsdp")), Part("fsdp", ("fsdp",), split=True))
    assert runnable(parts, train) == (Part("fsdp", ("none",)),)
    with pytest.raises(RooflineError, match="flat slices"):
        runnable(parts[1:], train)
    found = layouts(DENSE, DEVICE, num_devices=8, global_batch=64, stack="fsdp", optimizer="muon", top=50)
    assert {layout.sharding for layout in found.layouts} == {"none", "zero1"}


def test_replicas_of_hybrids_are_as_large_as_is_said():
    words = {"num_devices": 16, "global_batch": 64, "stack": "automodel", "tp": 1, "pp": 1, "top": 50}
    found = layouts(DENSE, DEVICE, sharding="hsdp", dp_shard=4, **words).layouts
    assert {layout.train.dp_shard for layout in found} == {4}
    for layout in found:
        named = {
            name: getattr(layout.train, name) for name in ("num_devices", "cp", "micro_batch", "recompute", "stack")
        }
        alone = estimate(DENSE, DEVICE, **named, global_batch=64, sharding="hsdp", dp_shard=4)
        assert alone.memory.needed_bytes == pytest.approx(layout.memory_bytes)
    with pytest.raises(RooflineError, match="no replicas"):
        layouts(DENSE, DEVICE, sharding="fsdp", dp_shard=4, **words)


def test_one_value_or_several():
    assert [several(value) for value in (None, 2, [1, 2], "a")] == [None, (2,), (1, 2), ("a",)]
