"""What a layer's forward pass frees again, by hand."""

from types import SimpleNamespace
from typing import Any

from roofline.counting.op import Op
from roofline.footprint.blocks import forward_bytes


def op(kind: Any = "elementwise", written: float = 0, **more: Any) -> Op:
    usual = {"name": "x", "phase": "forward", "part": "layer", "dtype": "bf16", "flops": 0, "bytes_read": 0}
    return Op(kind=kind, bytes_written=written, **{**usual, **more})


def freed(*ops: Op) -> Any:
    step: Any = SimpleNamespace(ops=ops, train=SimpleNamespace(longest=1, activation_bytes=2))
    return forward_bytes(step)


MATMUL = op("matmul", 2 * 4 * 5, shape=(4, 5, 3, 1))  # 24 bytes to 40


def test_an_op_stands_beside_what_it_reads_and_a_chain_of_kernels_has_half():
    assert freed(MATMUL) == 24 + 40
    assert freed(MATMUL, op(written=100)) == 40 + 100
    assert freed(MATMUL, op(written=100, kernels=4)) == 40 + 50
    assert freed(MATMUL, op(written=100, saved_bytes=30)) == 40 + 100 - 30


def test_the_feed_forward_block_takes_no_block_of_the_rest():
    wide = op(written=100, module="mlp")
    assert freed(MATMUL, wide) == (24 + 40) + (40 + 100)
    assert freed(MATMUL, wide, op(written=300), op(written=200, module="experts")) == (40 + 300) + (40 + 200)


def test_the_fullest_of_layers_that_differ_counts_and_nothing_of_what_is_sent_or_of_the_head():
    other = op("matmul", 2 * 4 * 7, shape=(4, 7, 3, 1), layer_kind=1)
    assert freed(MATMUL, other) == 24 + 56
    others = (op("collective", 1000), op(written=1000, part="head"), op(written=1000, phase="backward"))
    assert freed(MATMUL, *others) == 24 + 40
    assert freed() == 0
