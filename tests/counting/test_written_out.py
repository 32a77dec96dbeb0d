"""What model code keeps that writes its operations out: casts to fp32, learned scales, products by a gate."""

import pytest

from .tiny import EXPERTS, PLAIN, TINY, op_of, step_of

T, D, H, B, S = 10, 6, 3, 2, 5  # tokens, width, heads, sequences and their length


def saved(name, flat, **options):
    """Bytes of one layer."""
    return op_of(name, flat, stack="eager", **options).saved_bytes


def names(flat, stack="eager"):
    return {op.name for op in step_of(flat, stack=stack).ops}


def test_a_router_in_fp32_keeps_casts_of_its_operands():
    flat = {**EXPERTS, "router_fp32": True}
    assert saved("router", EXPERTS) == 2 * T * D
    assert saved("router.upcast", flat) == 4 * (T * D + 4 * D)  # hidden states, and the matrix of 4 experts
    assert saved("router", flat) == 0  # what is cast need not stay
    assert saved("router", {**flat, "d_ff_shared": 8}) == 2 * T * D  # but for a shared expert
    assert "router.upcast" not in names(flat, "megatron")


@pytest.mark.parametrize(
    ("fields", "scores", "softmax"),
    [
        ({}, 2 * 3 * T * D, (4 + 2) * B * H * S * S),  # q, k and v; the softmax in fp32, and what is cast back
        ({"softmax_fp32": False}, 2 * 3 * T * D, 2 * B * H * S * S),
        ({"rotary": False}, 2 * 3 * T * D, 2 * B * H * S * S),
        ({"scores_fp32": True}, (4 + 4 + 2) * T * D, (4 + 2) * B * H * S * S),
    ],
)
def test_what_unfused_attention_casts_up(fields, scores, softmax):
    flat = {**PLAIN, "rotary": True, **fields}
    assert saved("attention.scores", flat, attention="unfused") == scores
    assert saved("attention.softmax", flat, attention="unfused") == softmax


def test_a_scale_of_each_block_and_of_each_head_keeps_what_it_multiplies():
    flat = {**TINY, "layer_scale": True, "head_gate": True}
    for name in ("attention.scale", "mlp.scale", "attention.head_gate"):
        assert saved(name, flat) == 2 * T * D
    assert not {"attention.scale", "attention.head_gate"} & names(TINY)


def test_products_of_a_layer_without_attention():
    flat = {**TINY, "no_attention": True, "linears": [["convolution.in", D, 3 * D]], "mixer_kept": 5 * D}
    assert saved("recurrence.products", flat) == 2 * T * 5 * D
    assert "recurrence.products" not in names({**TINY, "mixer_kept": 5 * D})


def test_a_layer_norm_in_fp32_without_a_weight_is_one_kernel_on_a_copy():
    flat = {**TINY, "norm": "layer", "norm_weight": False, "norm_fp32": True}
    assert saved("attention.norm", flat) == 4 * T * D + 8 * T  # the copy; mean and deviation of each token
