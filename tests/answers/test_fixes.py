"""What makes a run fit: sets of changes none of which can be left out."""

import numpy as np
import pytest

import roofline
from roofline.answers.changes import Change, applied
from roofline.answers.fixes import DEAREST, LISTED, cheapest_fixes
from roofline.footprint.spreads import SURE

RUN = roofline.settle("gpt2", "t4", micro_batch=64, stack="compiled")
FIXES = cheapest_fixes(RUN)


def remade_of(model, device, fix):
    return applied(roofline.settle(model, device), [Change(kind="", what="", options=fix.options)])[0]


def remade(fix, **without):
    options = {name: value for name, value in fix.options.items() if name not in without}
    return applied(RUN, [Change(kind="", what="", options=options)])[0]


def test_each_makes_it_fit_and_none_of_its_changes_can_be_left_out():
    assert FIXES
    for fix in FIXES:
        assert fix.total_bytes <= RUN.device.memory_bytes
        assert fix.total_bytes == pytest.approx(roofline.memory(run=remade(fix)).total_bytes)
        made = [name for name, value in fix.options.items() if value != getattr(RUN.train, name)]
        for name in made if len(made) > 1 and "stack" not in made else ():
            assert not roofline.memory(run=remade(fix, **{name: None})).fits, (fix.change, name)


@pytest.mark.parametrize(
    ("model", "device", "options"),
    [
        ("gpt2-xl", "v100-sxm2-16gb", {"dtype": "fp16"}),
        ("llama-2-7b", "rtx-3090", {"num_devices": 4, "train": "lora"}),
    ],
)
def test_nothing_can_be_left_out_beside_software_that_comes_along(model, device, options):
    run = roofline.settle(model, device, **options)
    found = [fix for fix in cheapest_fixes(run) if "stack" in fix.options]
    assert found
    for fix in found:
        made = fix.options.keys() - {"stack", "global_batch"}
        for name in made:
            if fix.options[name] == getattr(run.train, name):  # the micro batch that must be typed to stay
                continue
            less = {other: value for other, value in fix.options.items() if other != name}
            try:
                left = applied(run, [Change(kind="", what="", options=less)])[0]
            except roofline.RooflineError:
                continue
            assert not roofline.memory(run=left).fits, (fix.change, name)


def test_what_is_saved_and_what_it_costs():
    own = roofline.memory(run=RUN).needed_bytes
    price = roofline.estimate(run=RUN)
    for fix in FIXES:
        assert fix.needed_bytes == pytest.approx(roofline.memory(run=remade(fix)).needed_bytes)
        assert fix.saved_bytes == pytest.approx(own - fix.needed_bytes)
        train = remade(fix).train
        device_time = fix.step_time_s * train.num_devices / train.tokens_per_step
        assert fix.cost == pytest.approx(device_time * float(price.tokens_per_s_per_device) - 1)


def test_a_micro_batch_that_must_be_typed_to_stay_is_told_from_one_that_changes():
    found = cheapest_fixes(roofline.settle("gpt2-xl", "rtx-4090"))  # nothing fits, so one sequence was taken
    assert {fix.change for fix in found} >= {"8-bit AdamW + micro batch 1 (as now)"}
    smaller = cheapest_fixes(roofline.settle("gpt2-xl", "a100-sxm-40gb", micro_batch=16, global_batch=16))
    assert any("micro batch" in fix.change for fix in smaller)
    assert not any("(as now)" in fix.change for fix in smaller)


@pytest.mark.parametrize(
    ("model", "device", "options", "row"),
    [
        ("llama-2-13b", "rtx-3090", {"train": "lora", "lora_rank": 16, "recompute": "full"}, {"train": "qlora"}),
        (
            "llama-3-8b",
            "h100-sxm-80gb",
            {"num_devices": 8, "tp": 2, "micro_batch": 3, "seq_len": 7168},
            {"recompute": "mlp"},
        ),
    ],
)
def test_a_row_takes_what_it_says(model, device, options, row):
    """Of each row by itself: the options that it gives, given by hand, need what it says."""
    given = {"stack": "megatron", "sharding": "zero1", "micro_batch": 1, **options}
    settled = roofline.settle(model, device, **given)
    (fix,) = [fix for fix in cheapest_fixes(settled, limit=99) if fix.options == row]
    again = roofline.memory(model, device, **{**given, **fix.options, "global_batch": settled.train.global_batch})
    assert again.fits
    assert again.total_bytes == pytest.approx(fix.total_bytes)
    before = roofline.memory(model, device, **given)
    assert fix.saved_bytes == pytest.approx(before.needed_bytes - again.needed_bytes)


def test_few_and_the_cheapest_first():
    costs = [fix.cost for fix in FIXES]
    assert costs == sorted(costs)
    assert len(costs) <= LISTED
    assert max(costs) <= max(DEAREST, costs[0])


def test_one_change_alone_is_the_weakest_that_surely_fits():
    """Recompute of the feed-forward layers is likelier than not to do: all of it surely does."""
    given = {"stack": "megatron", "sharding": "zero1", "num_devices": 8, "tp": 2, "micro_batch": 3}
    settled = roofline.settle("llama-3-8b", "h100-sxm-80gb", **given)
    assert 0.5 < roofline.memory(run=settled.changed(recompute="mlp")).fit_probability < SURE
    (fix,) = [fix for fix in cheapest_fixes(settled, limit=99) if fix.options.keys() == {"recompute"}]
    assert fix.fit_probability >= SURE


def test_adapters_are_named_where_they_alone_make_it_fit():
    """Weights, gradients and AdamW of 1.24B parameters take 16 bytes each, 18.4 GiB; frozen in 16 bits 2.3 GiB."""
    full = roofline.settle("llama-3.2-1b", "rtx-4060-laptop", micro_batch=1)
    fixes = cheapest_fixes(full)
    assert fixes
    assert all(fix.options["train"] in {"lora", "qlora"} for fix in fixes)
    (recomputed,) = [fix for fix in fixes if "recompute" in fix.options]
    assert recomputed.change.startswith("LoRA of rank 16 + selective recompute")
    assert recomputed.options["stack"] == "hf-trainer"  # on which adapters are usually trained
    again = roofline.memory("llama-3.2-1b", "rtx-4060-laptop", micro_batch=1, **recomputed.options)
    assert again.fits
    assert recomputed.needed_bytes == pytest.approx(again.needed_bytes)
    assert not any("train" in fix.options for fix in FIXES)  # all weights fit with less


def test_adapters_are_named_beside_what_takes_many_times_the_device_time():
    """All weights of Llama 2 7B fit on 24 GiB only where eight cards wait for each other over PCIe."""
    fixes = cheapest_fixes(roofline.settle("llama-2-7b", "rtx-3090"))
    (whole,) = [fix for fix in fixes if "train" not in fix.options]
    assert whole.cost > DEAREST
    assert fixes[0].change.startswith("LoRA of rank 16")
    for fix in fixes:
        assert roofline.memory(run=remade_of("llama-2-7b", "rtx-3090", fix)).needed_bytes == pytest.approx(
            fix.needed_bytes
        )


@pytest.mark.parametrize("option", ["network_gbit_per_s", "host_gb_per_s"])
def test_none_are_looked_for_where_a_speed_is_an_array(option):
    """The memory is one number, and what each fix costs is not."""
    speeds = {option: np.array([100.0, 400.0])}
    found = roofline.memory("llama-3-8b", "h100-sxm-80gb", num_devices=8, offload="optimizer", micro_batch=8, **speeds)
    assert (found.fits, found.fixes) == (False, ())
