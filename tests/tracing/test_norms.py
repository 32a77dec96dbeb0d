"""What norms and softmax cost, by hand."""

# ruff: noqa: E402  torch is optional: it is imported where the suite finds it

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from roofline.tracing.trace import trace


def test_norm_and_softmax_kinds():
    module = nn.Sequential(nn.LayerNorm(8), nn.RMSNorm(8), nn.Softmax(-1))
    kinds = [(op.kind, op.phase) for op in trace(module, torch.randn(2, 8)).ops]
    assert kinds[:1] == [("normalization", "forward")]
    assert ("softmax", "forward") in kinds
    assert ("softmax", "backward") in kinds


def test_a_batch_norm_reads_its_input_twice():
    (forward,) = (op for op in trace(nn.BatchNorm2d(4), torch.randn(2, 4, 8, 8)).ops if op.name == "native_batch_norm")
    image, vector = 2 * 4 * 8 * 8 * 4, 4 * 4
    assert forward.bytes_read == 2 * (image + 4 * vector)  # weight, bias, running mean and variance
    assert (forward.flops, forward.kernels) == (8 * 2 * 4 * 8 * 8, 2)


def test_a_layer_norm_reads_it_once():
    forward, *_ = trace(nn.LayerNorm(8), torch.randn(2, 8)).ops
    assert (forward.bytes_read, forward.bytes_written) == (2 * 8 * 4 + 2 * 8 * 4, 2 * 8 * 4 + 2 * 2 * 4)
