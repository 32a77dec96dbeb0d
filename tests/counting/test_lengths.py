"""Samples shorter than the sequence: memory by the longest, time by the mean, attention within each."""

import pytest

import roofline
from roofline.answers.estimate import estimate_step
from roofline.config.settle import settle
from roofline.counting.op import total
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.footprint.parts import memory_for
from roofline.hardware import load_device

LONGEST, MEAN = 4096, 512


def step(name="llama-3.2-1b", **options):
    options = {"micro_batch": 2, "seq_len": LONGEST, "attention": "flash2", **options}
    model = roofline.load_model(name)
    return build_step(model, settle(model, None, options).train)


def flops(found, kind):
    return total(found.ops, where=lambda op: op.kind == kind and op.phase == "forward")


def test_packed_samples_attend_within_themselves():
    whole, packed = step(), step(mean_len=MEAN)
    short = step(seq_len=MEAN, micro_batch=2 * LONGEST // MEAN)  # the same tokens as sequences of their own
    assert packed.train.packing == "packed"
    assert flops(packed, "attention") == flops(short, "attention")
    # causal: (S + 1) / 2 keys of each query
    assert flops(whole, "attention") / flops(packed, "attention") == pytest.approx((LONGEST + 1) / (MEAN + 1))
    assert flops(packed, "matmul") == flops(whole, "matmul")
    (core,) = [op for op in packed.ops if op.name == "attention.core" and op.phase == "forward"]
    assert core.shape[0] * core.shape[2] == 2 * LONGEST
    assert core.shape[2:4] == (MEAN, MEAN)
    assert packed.train.tokens_per_step == 2 * LONGEST
    assert memory_for(packed, 0).total_bytes == memory_for(whole, 0).total_bytes


def test_padding_is_computed_and_not_trained_on():
    whole, padded = step(), step(mean_len=MEAN, packing="padded")
    assert padded.ops == whole.ops
    assert padded.train.tokens_per_step == 2 * MEAN
    results = [
        roofline.estimate("llama-3.2-1b", "h100-sxm-80gb", micro_batch=2, seq_len=LONGEST, **more)
        for more in ({}, {"mean_len": MEAN, "packing": "padded"})
    ]
    assert results[1].step_time_s == results[0].step_time_s
    assert results[0].tokens_per_s / results[1].tokens_per_s == pytest.approx(LONGEST / MEAN)
    assert results[1].mfu < results[0].mfu
    assert results[1].hfu == results[0].hfu


@pytest.mark.parametrize("attention", ["flash2", "unfused"])
@pytest.mark.parametrize("recompute", ["none", "full"])
def test_unpadded_takes_the_time_of_the_mean_and_the_memory_of_the_longest(attention, recompute):
    how = {"attention": attention, "recompute": recompute}
    found = step(mean_len=MEAN, packing="unpadded", **how)
    short, whole = step(seq_len=MEAN, **how), step(**how)
    for phase in ("forward", "backward", "recompute"):
        sums = [total(each.ops, where=lambda op, phase=phase: op.phase == phase) for each in (found, short)]
        assert sums[0] == sums[1]
    figures = [memory_for(each, 0) for each in (found, whole)]
    assert figures[0].activations_bytes == pytest.approx(figures[1].activations_bytes, rel=1e-3)
    assert figures[0].logits_bytes == pytest.approx(figures[1].logits_bytes)


def test_mfu_counts_the_attention_of_samples():
    one, packed = (
        roofline.estimate("llama-3.2-1b", "h100-sxm-80gb", micro_batch=2, seq_len=length, **more)
        for length, more in ((MEAN, {}), (LONGEST, {"mean_len": MEAN}))
    )
    per_token = [each.model_flops_per_step / each.train.tokens_per_step for each in (one, packed)]
    assert per_token[0] == per_token[1]


def test_adapters_over_padding_count_what_is_trained():
    options = {"micro_batch": 2, "seq_len": LONGEST, "train": "lora"}
    whole = roofline.estimate("llama-3.2-1b", "h100-sxm-80gb", **options)
    padded = roofline.estimate("llama-3.2-1b", "h100-sxm-80gb", **options, mean_len=MEAN, packing="padded")
    assert padded.mfu == pytest.approx(whole.mfu * MEAN / LONGEST)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mean_len": 5000}, "mean_len 5000 is above seq_len 4096, the longest"),
        ({"packing": "padded"}, "packing padded is of samples shorter than seq_len: add --mean-len"),
        ({"mean_len": 700, "packing": "loose"}, "unknown packing 'loose' .*packed, padded, unpadded"),
    ],
)
def test_what_cannot_be(options, words):
    with pytest.raises(RooflineError, match=words):
        step(**options)


def test_packing_is_assumed_and_said():
    model = roofline.load_model("llama-3.2-1b")
    notes = settle(model, None, {"seq_len": "4k", "mean_len": 700}).assumed
    assert "assumed: samples share sequences (--packing), of equal length each" in notes
    assert settle(model, None, {"seq_len": "4k", "mean_len": 700, "packing": "packed"}).assumed == ()


def test_layouts_of_packed_samples_take_less_time():
    options = {"num_devices": 8, "global_batch": 32, "seq_len": "32k", "micro_batch": 1, "recompute": "full"}
    whole, packed = (
        roofline.layouts("llama-3-8b", "h100-sxm-80gb", **options, **more).layouts[0]
        for more in ({}, {"mean_len": "1k"})
    )
    assert packed.step_time_s < 0.9 * whole.step_time_s
    alone = estimate_step(build_step(roofline.load_model("llama-3-8b"), packed.train), load_device("h100-sxm-80gb"))
    assert packed.step_time_s == pytest.approx(alone.step_time_s)
