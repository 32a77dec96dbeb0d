"""What the recorder writes down of element-wise work."""

import pytest

from .tiny import TINY, op_of


def test_look_ups_and_elementwise_work():
    assert op_of("embedding").flops == 0
    norm = op_of("attention.norm", stack="megatron")
    assert (norm.bytes, norm.kernels) == (2 * 2 * 10 * 6, 1)
    eager = op_of("attention.norm", stack="eager", master_weights=False)
    assert eager.bytes == (10 + 8) * 10 * 6 * 2
    assert eager.kernels == 8  # cast, square, mean, epsilon, root, product, cast, weight


def test_autocast_keeps_the_residual_stream_in_fp32():
    hidden = 10 * 6
    assert op_of("attention.norm").bytes == (4 + 2) * hidden  # fp32 in, 16 bits out for the projection
    # squares and their mean, the product and that with the weight, and a cast
    assert op_of("attention.norm", stack="eager").bytes == ((2 + 1 + 2 + 2) * 4 + 4 + 2) * hidden
    assert op_of("attention.norm").saved_bytes == 4 * hidden + 4 * 10
    residual = op_of("mlp.residual", stack="eager")
    assert residual.bytes == (4 + 2 + 4) * hidden  # x in fp32, y in 16 bits, their sum in fp32
    backward = op_of("mlp.residual.backward", stack="eager")
    assert (backward.bytes, backward.kernels) == ((2 * 4 + 4 + 4 + 2) * hidden, 2)  # summed, and cast for y
    assert op_of("mlp.residual", stack="fsdp").bytes == 3 * 2 * hidden


@pytest.mark.parametrize(
    ("flat", "kept"),  # bytes of an element in 16 bits: an fp32 copy, and what the weight multiplies
    [
        ({}, 4 + 2),
        ({"norm_fp32": True}, 4 + 4),
        ({"norm_weight": False}, 4),
        ({"norm": "layer"}, 2),
        ({"norm": "layer", "norm_fp32": True}, 4 + 4 + 4),  # what is left of the mean twice, then scaled
    ],
)
def test_a_norm_keeps_what_its_code_reads_again(flat, kept):
    norm = op_of("attention.norm", {**TINY, **flat}, stack="eager", master_weights=False)
    statistics = 8 if flat == {"norm": "layer"} else 4
    assert norm.saved_bytes == 10 * (6 * kept + statistics)


def test_the_second_norm_of_one_input_keeps_its_statistics_alone():
    flat = {**TINY, "parallel_block": True, "norms_per_layer": 2, "norm": "layer"}
    first, second = (op_of(name, flat, stack="eager", master_weights=False) for name in ("attention.norm", "mlp.norm"))
    assert (first.saved_bytes, second.saved_bytes) == (10 * (6 * 2 + 8), 10 * 8)
