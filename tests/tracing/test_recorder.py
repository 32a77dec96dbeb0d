"""What a pass keeps, where it ran, and what is merged."""

# ruff: noqa: E402  torch is optional: it is imported where the suite finds it; F is its usual name

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from roofline.tracing.trace import trace

from .nets import resnet, total


def test_checkpointed_layers_run_again():
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))

        def forward(self, x):
            return checkpoint(self.layer, x, use_reentrant=False)

    x = torch.randn(4, 8, requires_grad=True)
    result, plain = trace(Checkpointed(), x), trace(Checkpointed().layer, x)
    assert result.matmul_flops("forward", "backward") == plain.matmul_flops()
    assert total(result, "flops", "recompute", kind="matmul") >= 2 * 4 * 8 * 32
    assert result.matmul_flops("recompute") == 0  # not the model's FLOPs
    assert result.activation_bytes < plain.activation_bytes / 5


def test_equal_layers_merge_and_totals_hold():
    module = nn.Sequential(*(nn.Linear(8, 8) for _ in range(5)))
    result = trace(module, torch.randn(2, 8, requires_grad=True))
    assert [(op.name, op.count) for op in result.ops if op.phase == "forward"] == [("*.addmm", 5)]
    whole = result.by_module[""]
    assert whole.flops_forward == total(result, "flops", "forward")
    assert whole.flops_backward == total(result, "flops", "backward")
    assert whole.activation_bytes == result.activation_bytes == total(result, "saved_bytes", "forward")
    assert result.by_module["3"].flops_forward == 2 * 2 * 8 * 8


def test_activation_bytes_are_what_torch_keeps():
    module, image = resnet(), torch.randn(2, 3, 32, 32)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = module(image)
    assert output.requires_grad
    expected = sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in own)
    assert trace(module, image).activation_bytes == expected
    assert trace(module, image, real=True).activation_bytes == expected


def test_what_is_dropped_within_forward_is_not_kept():
    class Scored(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(64, 64, bias=False) for _ in range(20))

        def forward(self, x):
            for layer in self.layers:
                torch.sigmoid(x).exp()  # keeps two tensors for a gradient that nothing asks for
                x = layer(x)
            return x

    assert trace(Scored(), torch.randn(32, 64)).activation_bytes == 20 * 32 * 64 * 4


def test_peak_is_the_largest_sum_of_live_tensors():
    class Mlp(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(64, 256, bias=False), nn.Linear(256, 64, bias=False)

        def forward(self, x):
            return self.down(torch.relu(self.up(x)))

    result = trace(Mlp(), torch.randn(32, 64))
    x, hidden, weight = 32 * 64 * 4, 32 * 256 * 4, 64 * 256 * 4
    assert result.activation_bytes == x + hidden
    # backward of `down`: input, hidden, output, its gradient, the hidden's gradient and the weight's
    assert result.peak_bytes == x + hidden + x + x + hidden + weight
