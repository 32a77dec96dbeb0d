"""Frozen embeddings: no gradient, no optimizer state, no weight gradient of a tied head; products by hand."""

import pytest

import roofline
from roofline.config.settle import resolve, train_config
from roofline.counting.ownership import parameter_shares
from roofline.counting.step import build_step

# vocabulary 100, d 64, 3 layers: the table has 6,400 parameters
FLAT = {"n_layers": 3, "d_model": 64, "n_heads": 4, "n_kv_heads": 2, "d_ff": 96, "vocab_size": 100, "name": "small"}
TABLE = 100 * 64
TOKENS = 2 * 16


def small(**changes):
    return roofline.load_model("llama-3-8b", {**FLAT, "max_seq_len": 128, **changes})


def shares(model, **options):
    train = resolve(train_config({"seq_len": 16, "micro_batch": 2, **options}), model)
    return parameter_shares(model, train, build_step(model, train).weights)


def counts(model, **options):
    return roofline.count(model, seq_len=16, micro_batch=2, **options)


@pytest.mark.parametrize("tied", [False, True])
def test_the_table_takes_no_gradient_and_no_state(tied):
    model = small(tied_embeddings=tied)
    free, frozen = shares(model), shares(model, freeze=("embeddings",))
    assert frozen.total == free.total
    assert frozen.trainable == free.trainable - TABLE
    names = {op.name for op in counts(model, freeze="embeddings").ops}
    assert "embedding" in names
    assert "embedding.backward" not in names


def test_a_tied_head_keeps_its_input_gradient_alone():
    free, frozen = (counts(small(tied_embeddings=True), **how) for how in ({}, {"freeze": ["embeddings"]}))
    head = 2 * TOKENS * 64 * 100  # dw [64, 100] = x^T [64, 32] . dy [32, 100]
    assert frozen.matmul_flops_forward == free.matmul_flops_forward
    assert frozen.matmul_flops_backward == free.matmul_flops_backward - head
    names = {op.name for op in frozen.ops}
    assert "head.logits.dgrad" in names
    assert not {"head.logits.wgrad", "head.logits.grad_accumulate"} & names


def test_an_untied_head_trains_on():
    free, frozen = (counts(small(tied_embeddings=False), **how) for how in ({}, {"freeze": ("embeddings",)}))
    assert frozen.matmul_flops_backward == free.matmul_flops_backward
    assert frozen.params_total == free.params_total


def test_a_tied_head_trains_its_bias():
    model = roofline.load_model("bert-base")
    free, frozen = shares(model), shares(model, freeze=("embeddings",))
    assert free.trainable - frozen.trainable == 30522 * 768
    assert free.total == frozen.total


def test_positions_are_a_word_of_their_own():
    model = roofline.load_model("gpt2")
    assert shares(model).trainable - shares(model, freeze="positions").trainable == 1024 * 768
    both = counts(model, freeze="embeddings,positions")
    assert not any(op.name in {"embedding.backward", "positions.backward"} for op in both.ops)


def test_memory_and_update_leave_the_table_out():
    options = {"stack": "megatron", "micro_batch": 1, "seq_len": 128}
    free, frozen = (
        roofline.memory("gpt2", "h100-sxm-80gb", **options, **how) for how in ({}, {"freeze": ("embeddings",)})
    )
    table = 50304 * 768  # padded to a multiple of 128
    assert free.optimizer_bytes - frozen.optimizer_bytes == 12 * table  # fp32 weight and two moments
    assert free.gradients_bytes - frozen.gradients_bytes == 4 * table
    assert free.weights_bytes == frozen.weights_bytes
    update = [
        next(op for op in roofline.count("gpt2", **options, **how).ops if op.name == "optimizer.adamw")
        for how in ({}, {"freeze": ("embeddings",)})
    ]
    assert update[0].flops - update[1].flops == 14 * table


def test_only_what_trains_is_reduced():
    sent = [
        sum(op.bytes_sent * op.count for op in roofline.count("gpt2", num_devices=8, **how).ops)
        for how in ({}, {"freeze": ("embeddings",)})
    ]
    # fp32 sums of gradients, or 16-bit ones, as the stack has it
    assert (sent[0] - sent[1]) % (50257 * 768) == 0
    assert sent[0] > sent[1] > 0


def test_a_stage_without_the_table_loses_nothing():
    model = small(tied_embeddings=False)
    free, frozen = (shares(model, pp=3, **how) for how in ({}, {"freeze": ("embeddings",)}))
    assert frozen.total == free.total  # the last stage, with the head, holds as much as the first
    assert frozen.trainable == free.trainable


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": "embedding"}, r"unknown word in freeze: 'embedding'.*\(allowed: embeddings, positions, towers\)"),
        ({"freeze": "embeddings", "train": "lora", "lora_rank": 8}, "which trains adapters alone: leave --freeze out"),
    ],
)
def test_what_cannot_be_frozen_is_refused(options, message):
    with pytest.raises(roofline.RooflineError, match=message):
        roofline.count("gpt2", **options)


def test_step_time_and_mfu_follow():
    free, frozen = (roofline.estimate("gemma-2b", "h100-sxm-80gb", **how) for how in ({}, {"freeze": ("embeddings",)}))
    assert frozen.step_time_s < free.step_time_s
    assert frozen.model_flops_per_step < free.model_flops_per_step
    assert 0 < frozen.mfu <= frozen.hfu < 1
