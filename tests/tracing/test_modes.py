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
    with pytest.raises(RooflineError, match=r"asks for a value at test_modes\.py:\d+ .*real=True"):
        trace(Routed(), x)
    assert trace(Routed(), x, real=True).matmul_flops("forward") == 2 * 6 * 4 * 4


def test_masks_of_numbers_keep_their_values():
    module = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)

    class Masked(nn.Module):  # torch asks whether a mask is causal
        def __init__(self):
            super().__init__()
            self.net = module

        def forward(self, x):
            return self.net(x, x, tgt_mask=module.generate_square_subsequent_mask(6))

    x = torch.randn(2, 6, 16)
    shapes, real = trace(Masked(), x), trace(Masked(), x, real=True)
    assert shapes.matmul_flops() == real.matmul_flops()


def test_what_is_not_known_makes_what_it_is_written_to_unknown():
    class Kept(nn.Module):
        def __init__(self, fill):
            super().__init__()
            self.fill = fill

        def forward(self, x):
            kept = torch.zeros(3)
            kept[0] = self.fill(x)
            return x * 2 if kept.sum() > 0 else x

    for fill in (torch.sum, lambda _: torch.rand(())):
        with pytest.raises(RooflineError, match="Kept asks for a value"):
            trace(Kept(fill), torch.randn(4))
    assert "mul" in {op.name for op in trace(Kept(len), torch.randn(4)).ops}


def test_integers_keep_their_values():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x, mask):
            return self.linear(x) if mask.all() and torch.arange(len(x)).max().item() == 1 else x

    result = trace(Masked(), torch.randn(2, 4), keyword_inputs={"mask": torch.ones(2, dtype=torch.bool)})
    assert result.matmul_flops("forward") == 2 * 2 * 4 * 4


def test_one_branch_of_a_conditional_runs():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.near, self.far = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4))

        def forward(self, x, known=None):
            return torch.cond(x.sum() > 0 if known is None else known, self.near, self.far, (x,))

    x, near, far = torch.randn(2, 4), 2 * 2 * 4 * 4, 2 * 2 * 2 * 4 * 8
    assert trace(Gated(), x).matmul_flops("forward") == near  # hangs on the data: the first
    for known, flops in ((True, near), (False, far), (torch.tensor(False), far)):
        assert trace(Gated(), x, keyword_inputs={"known": known}).matmul_flops("forward") == flops


@pytest.fixture
def one_rank():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_rank")
def test_modules_wrapped_for_data_parallelism_trace_as_they_are():
    from torch.distributed.fsdp import fully_shard

    def net():
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))

    x, plain, sharded = torch.randn(2, 4), trace(net(), torch.randn(2, 4)), net()
    wrapped = trace(nn.parallel.DistributedDataParallel(net()), x)
    assert wrapped.matmul_flops() == plain.matmul_flops()
    for part in (sharded[0], sharded[2], sharded):
        fully_shard(part)
    hooks = [len(part._forward_pre_hooks) for part in sharded.modules()]
    result = trace(sharded, x)
    assert (result.ops, result.parameters) == (plain.ops, plain.parameters)
    assert [len(part._forward_pre_hooks) for part in sharded.modules()] == hooks


@pytest.mark.parametrize("device", ["cuda", "cpu"])
@pytest.mark.parametrize("real", [False, True])
def test_autocast_casts_as_on_a_gpu(device, real):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

        def forward(self, x):
            with torch.autocast(device, torch.bfloat16):
                found = self.norm(self.layer(x))
                with torch.autocast(device, enabled=False):
                    return found @ x.T

    ops = [op for op in trace(Net(), torch.randn(4, 8), real=real).ops if op.phase == "forward"]
    assert [op.dtype for op in ops if op.kind == "matmul"] == ["bf16", "fp32"]
    assert [op.dtype for op in ops if op.kind == "normalization"] == ["fp32"]  # the CPU's own list has no norms
    assert sum(op.name.endswith("to_copy") for op in ops) == 4  # x, weight and bias; what the norm reads
    assert torch.amp.autocast_mode.autocast.__init__.__module__ == "torch.amp.autocast_mode"


def test_a_mask_that_takes_a_gradient_runs_in_a_fused_kernel_as_on_a_gpu():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = nn.Parameter(torch.zeros(1, 3, 8, 8))  # of the positions of 8 tokens, 3 heads (T5)

        def forward(self, q):
            return F.scaled_dot_product_attention(q, q, q, attn_mask=self.scores)

    result = trace(Positions(), torch.empty(2, 3, 8, 4, requires_grad=True), dtype="bf16")
    phases = [op.phase for op in result.ops if op.kind == "attention"]
    assert phases == ["forward", "backward"]
    assert not [op for op in result.ops if op.kind == "matmul"]
