"""Gradients of one tensor that several kernels read, and of parts of one product: what autograd adds and joins."""

import pytest

from .tiny import EXPERTS, PLAIN, TINY, op_of, step_of

HALF = {"stack": "eager", "master_weights": False}  # 16 bits throughout
HIDDEN = 10 * 6  # T 10, D 6


def backward(flat=TINY, **options):
    names = ("grad_add", "grad_join")
    return {op.name: op for op in step_of(flat, **options).ops if op.name.endswith(names)}


def test_queries_keys_and_values_each_hand_back_a_gradient_of_their_input():
    # y1 + y2, then that + y3: two sums that read two and write one
    found = op_of("attention.qkv.grad_add", **HALF)
    assert (found.bytes_read, found.bytes_written) == (2 * 2 * HIDDEN * 2, 2 * HIDDEN * 2)
    assert (found.kernels, found.flops, found.count) == (2, 2 * HIDDEN, 3)
    assert op_of("mlp.up.grad_add", **HALF).bytes == 3 * HIDDEN * 2  # gate and up
    assert set(backward(PLAIN, **HALF)) == {"attention.qkv.grad_add"}  # a lone matrix has nothing to add


def test_parts_of_one_product_are_joined():
    joint = backward({**TINY, "joint_qkv": True, "joint_up": True}, **HALF)
    assert set(joint) == {"attention.qkv.grad_join", "mlp.up.grad_join"}
    qkv = 10 * (3 + 1 + 1) * 2  # three heads of queries, one of keys and values, 2 wide
    assert (joint["attention.qkv.grad_join"].bytes_read, joint["attention.qkv.grad_join"].bytes_written) == (
        qkv * 2,
        qkv * 2,
    )
    sliced = backward({**TINY, "joint_qkv": True, "sliced_qkv": True}, **HALF)["attention.qkv.grad_join"]
    # three times zeros of the whole and a part written into them; two sums
    assert (sliced.bytes_read, sliced.bytes_written) == ((1 + 2 * 2) * qkv * 2, (3 + 1 + 2) * qkv * 2)
    assert sliced.kernels == 3 * 2 + 2
    assert joint["mlp.up.grad_join"].bytes == 2 * (2 * 10 * 8) * 2


@pytest.mark.parametrize(
    ("stack", "names"),
    [
        ("fsdp", {"attention.qkv.grad_add", "mlp.up.grad_add"}),
        ("megatron", {"attention.qkv.grad_join"}),  # one matmul each; SwiGLU writes both halves of its gradient
        ("nemo", set()),  # and its attention kernel the three parts of theirs
        ("compiled", set()),  # added in the norm behind
        ("torchtitan", set()),
    ],
)
def test_what_software_adds_and_joins(stack, names):
    assert set(backward(stack=stack)) == names


def test_autocast_casts_the_input_for_every_matmul_and_adds_in_fp32():
    found = op_of("attention.qkv.cast_again", stack="eager")  # two beside the norm's own
    assert (found.bytes_read, found.bytes_written, found.kernels) == (2 * 4 * HIDDEN, 2 * 2 * HIDDEN, 2)
    back = op_of("attention.qkv.cast_again.backward", stack="eager")
    assert (back.bytes_read, back.bytes_written) == (2 * 2 * HIDDEN, 2 * 4 * HIDDEN)
    assert op_of("attention.qkv.grad_add", stack="eager").bytes == 2 * 3 * 4 * HIDDEN


def test_parallel_blocks_hand_back_one_gradient_each():
    parallel = backward({**PLAIN, "parallel_block": True, "norms_per_layer": 1}, **HALF)
    assert parallel["parallel.grad_add"].bytes == 3 * HIDDEN * 2


def test_router_and_dispatch_read_one_tensor():
    assert backward(EXPERTS, **HALF)["moe.grad_add"].bytes == 3 * HIDDEN * 2
    shared = {**EXPERTS, "d_ff_shared": 8, "shared_gate": True}
    assert backward(shared, **HALF)["moe.grad_add"].bytes == 3 * 3 * HIDDEN * 2
    # gate and up of experts are one tensor of transformers 5, and two of each expert before
    assert "experts.up.grad_join" in backward(EXPERTS, **HALF)
    loop = backward(EXPERTS, stack="hf-trainer@4.57")
    assert loop["experts.up.grad_add"].kernels == 4


def test_frozen_bases_add_their_gradients_and_those_of_the_adapters():
    options = {"train": "lora", "lora_rank": 2, "lora_modules": "all", "stack": "hf-trainer"}
    # three frozen matmuls and three adapters: five sums
    assert backward(**options)["attention.qkv.grad_add"].kernels == 2
    (adapters,) = [op for op in step_of(**options).ops if op.name == "attention.qkv.lora_grad_add"]
    assert adapters.kernels == 3


def test_the_gradient_of_a_tied_head_is_added_to_the_tables_in_every_pass():
    table = 11 * 6
    tied, untied = ({**TINY, "tied_embeddings": flag} for flag in (True, False))
    one = {**HALF, "gradient_dtype": "bf16"}
    assert op_of("head.logits.grad_accumulate", untied, **one).bytes == 0  # the first moves into place
    for sharding in ({}, {"num_devices": 2, "sharding": "fsdp"}):
        found = op_of("head.logits.grad_sum", tied, **one, **sharding)
        assert (found.bytes_read, found.bytes_written, found.flops) == (2 * table * 2, table * 2, 0)
    assert op_of("head.logits.grad_accumulate", tied, **one).bytes == 0
