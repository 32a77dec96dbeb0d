"""Bytes that micro batches in flight keep, of the loss, and of gathered parameters."""

import numpy as np
import pytest

from roofline.config.settle import train_config
from roofline.counting.step import build_step
from roofline.footprint.activations import in_flight
from roofline.footprint.parts import memory_of
from roofline.hardware import load_device
from roofline.model.parameters import count_parameters

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
    ddp = memory(num_devices=8, stack="deepspeed")
    assert ddp.communication_bytes > 2 * 1000e6
