"""Matmuls, convolutions and solves of torch, by hand."""

# ruff: noqa: E402, N812  torch is optional: it is imported where the suite finds it; F is its usual name

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional as F

from roofline.tracing.trace import trace


class MobileBlock(nn.Module):
    """Depthwise separable convolutions with squeeze-and-excitation."""

    def __init__(self):
        super().__init__()
        self.expand = nn.Conv2d(3, 12, 1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.gate = nn.Conv2d(12, 12, 1)

    def forward(self, x):
        x = F.hardswish(self.depthwise(F.silu(self.expand(x))))
        return x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))


def test_grouped_convolution_by_hand():
    # torch's counter multiplies the weight gradient of a grouped convolution by its groups
    result = trace(MobileBlock(), torch.randn(2, 3, 8, 8))
    expand, depthwise, gate = 2 * 128 * 3 * 12, 2 * 128 * 12 * 9, 2 * 2 * 12 * 12  # 128 = [N=2, 8, 8]
    assert result.matmul_flops("forward") == expand + depthwise + gate
    assert result.matmul_flops("backward") == expand + 2 * (depthwise + gate)  # the image takes no gradient


def test_linear_costs_by_hand():
    result = trace(nn.Linear(3, 5), torch.randn(4, 3, requires_grad=True))
    forward = next(op for op in result.ops if op.phase == "forward")
    assert (forward.name, forward.kind, forward.dtype, forward.shape) == ("addmm", "matmul", "fp32", (4, 5, 3, 1))
    assert forward.flops == 120  # 2 * 4 * 5 * 3
    assert (forward.bytes_read, forward.bytes_written) == (128, 80)  # 4 * (12 + 15 + 5), 4 * 20
    assert forward.saved_bytes == 48  # the input: 4 * 12
    backward = {op.name: op for op in result.ops if op.phase == "backward"}
    assert set(backward) == {"mm.dgrad", "mm.wgrad", "sum"}
    assert backward["mm.dgrad"].shape == (4, 3, 5, 1)
    assert backward["mm.wgrad"].shape == (5, 3, 4, 1)
    assert backward["mm.wgrad"].bytes == 4 * (20 + 12 + 15)
    assert result.parameters == result.trainable_parameters == 20


def test_triangular_solve_by_hand():
    class Solve(nn.Module):
        def forward(self, a, b):
            return torch.linalg.solve_triangular(a, b, upper=False)

    (op,) = trace(Solve(), torch.randn(2, 5, 5), torch.randn(2, 5, 3)).ops
    assert op.flops == 2 * 5 * 5 * 3  # [batch 2] x n^2 x k


def test_first_layer_has_no_data_gradient_and_frozen_weights_no_weight_gradient():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].requires_grad_(False)
    names = [op.name for op in trace(module, torch.randn(2, 4)).ops if op.phase == "backward"]
    assert [name for name in names if "mm" in name] == ["*.mm.dgrad", "*.mm.wgrad"]
    assert not [op for op in trace(module.requires_grad_(False), torch.randn(2, 4)).ops if op.phase == "backward"]
