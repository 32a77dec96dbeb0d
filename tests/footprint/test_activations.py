"""Bytes that micro batches in flight keep, of the loss, and of gathered parameters."""

import numpy as np
import pytest

from roofline.config.settle import train_config
from roofline.counting.step import build_step
from roofline.footprint.activations import REDUCTION_BYTES, in_flight
from roofline.footprint.parts import memory_of
from roofline.hardware import load_device
from roofline.model.huggingface import model_from_config
from roofline.model.parameters import count_parameters

from ..records import records
from ..small import small

H100 = load_device("h100-sxm-80gb")


# Megatron pads the vocabulary to a multiple of 128: 512 stays
GPT = small(name="gpt", n_layers=12, d_model=96, n_heads=4, d_ff=384, gated_mlp=False, vocab_size=512)


def step_of(model=GPT, **options):
    return build_step(model, train_config({"stack": "megatron", "seq_len": 32, **options}))


def memory(model=GPT, **options):
    return memory_of(step_of(model, **options), H100)


@pytest.mark.parametrize(
    ("pp", "vp", "micro_batches", "expected"),
    [
        (1, 1, 5, 1),
        (4, 1, 8, 4),
        (4, 1, 2, 2),  # fewer micro batches than stages
        (4, 3, 8, 5),  # 4 * (1 + 3/12)
        (4, 3, 4, 4),  # never more than there are
        (4, 3, 1, 1),
    ],
)
def test_micro_batches_in_flight(pp, vp, micro_batches, expected):
    step = step_of(pp=pp, vp=vp, num_devices=pp, global_batch=micro_batches)
    assert in_flight(step) == pytest.approx(expected)


def test_a_schedule_that_holds_all_micro_batches_holds_one_where_nothing_is_split():
    step = step_of(num_devices=4, pp=np.array([1, 2, 4]), global_batch=8, schedule="gpipe")
    assert in_flight(step).tolist() == [1, 4, 8]  # of 2, 4 and 8 of each replica


def test_logits_are_kept_on_the_last_stage():
    plain, fused = memory(), memory(stack="compiled")
    logits = 32 * 512
    # 10 bytes per logit: 16-bit logits, fp32 log-probabilities and their gradient; fused, the logits alone
    assert 10.9 * logits > plain.phases[0].logits > 10 * logits
    assert 3.2 * logits > fused.phases[0].logits >= 2 * logits
    half = memory(tp=2, num_devices=2).phases[0].logits
    assert half < plain.phases[0].logits
    assert plain.phases[-1].logits == 0  # freed before the update


def test_gathered_layers_and_buckets():
    fsdp, alone = memory(num_devices=8, sharding="fsdp", stack="fsdp"), memory(stack="fsdp")
    counted = count_parameters(GPT)
    ends = 2 * (counted.embedding + counted.head + counted.positions + counted.other)
    layer = 2 * counted.total / 12 - ends / 12
    # in the loss no layer is gathered; then one and the next, with the gradients of the one behind; at the end no next
    held = [phase.communication for phase in fsdp.phases]
    assert held == pytest.approx([ends, ends + 3 * layer, ends + 2 * layer, 0])
    assert alone.communication_bytes == 0


def test_gathered_layers_are_those_of_a_single_one_and_of_an_encoder():
    def gathered(model):
        loss, start, *_ = memory(model, num_devices=8, sharding="fsdp", stack="fsdp", seq_len=1024).phases
        return (start.communication - loss.communication) / 3  # two, and gradients of a third

    def layer(width):
        return 2 * (12 * width + 13) * width  # a GPT's, in 16 bits: matrices, their biases and two norms with biases

    sizes = {"n_layers": 1, "d_model": 64, "n_heads": 4, "d_ff": 256, "vocab_size": 512, "max_seq_len": 1024}
    assert gathered(small(**sizes, gated_mlp=False)) == layer(64)
    config = next(record["config"] for record in records("tower_flops.jsonl") if record["type"] == "llava")
    for layers in (1, 2):  # of width 1,024, beside a decoder of width 256
        encoder = {**config["vision_config"], "num_hidden_layers": layers}
        assert gathered(model_from_config({**config, "vision_config": encoder}, "llava")) == layer(1024)


@pytest.mark.parametrize(("devices", "stack", "held"), [(1, "eager", 0), (2, "eager", 0), (2, "deepspeed", 2 * 1000e6)])
def test_what_a_reduction_takes(devices, stack, held):
    found = memory(num_devices=devices, stack=stack)
    assert {phase.communication for phase in found.phases} == {held + (REDUCTION_BYTES if devices > 1 else 0)}
