"""Passes without data: shapes, values that shapes hang on, and nothing left changed."""

# ruff: noqa: E402, N812  torch is optional: it is imported where the suite finds it; F is its usual name

import pytest

from roofline.errors import RooflineError

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional as F

from roofline.tracing.trace import trace


def test_a_70b_layer_on_meta_needs_no_memory():
    with torch.device("meta"):
        module = nn.Sequential(*(nn.Linear(8192, 28672, bias=False) for _ in range(3)))
        module.append(nn.Embedding(7, 3))
    module = module[:1]
    result = trace(module, torch.empty(4096, 8192, device="meta", dtype=torch.bfloat16), dtype="bf16")
    assert result.parameters == 8192 * 28672
    assert result.matmul_flops("forward") == 2 * 4096 * 8192 * 28672
    assert result.ops[0].dtype == "bf16"


def test_module_and_inputs_are_left_alone():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    image = torch.randn(2, 3, 8, 8)
    for real in (False, True):
        trace(module, image, real=real)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert F.dropout.__module__ == "torch.nn.functional"
    assert not any(submodule._forward_hooks or submodule._forward_pre_hooks for submodule in module.modules())


def test_shapes_that_depend_on_data_need_real_data():
    class Routed(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            rows = torch.nonzero(x[:, 0] > 0)[:, 0]
            return self.linear(x[rows])

    x = torch.ones(6, 4)
    with pytest.raises(RooflineError, match=r"chooses its shapes by the data.*real=True"):
        trace(Routed(), x)
    assert trace(Routed(), x, real=True).matmul_flops("forward") == 2 * 6 * 4 * 4


def test_integers_keep_their_values():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x, mask):
            return self.linear(x) if mask.all() and torch.arange(len(x)).max().item() == 1 else x

    result = trace(Masked(), torch.randn(2, 4), keyword_inputs={"mask": torch.ones(2, dtype=torch.bool)})
    assert result.matmul_flops("forward") == 2 * 2 * 4 * 4
