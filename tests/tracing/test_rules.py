"""What each operator of torch costs, by hand."""

# ruff: noqa: E402, N812  torch is optional: it is imported where the suite finds it; F is its usual name

import pytest

from roofline.errors import RooflineError

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional as F

from roofline.tracing.rules import RULES, Cost, rule
from roofline.tracing.trace import trace


def test_convolution_backward_is_three_kernels():
    result = trace(nn.Conv2d(4, 6, 3, groups=2), torch.randn(2, 4, 5, 5, requires_grad=True))
    ops = {op.name: op for op in result.ops}
    flops = 2 * (2 * 3 * 3) * 6 * (2 * 3 * 3)  # 2 x [N * 3 * 3 positions] x 6 outputs x (2 inputs * 3 * 3)
    assert ops["convolution"].flops == flops
    assert ops["convolution_backward.dgrad"].flops == ops["convolution_backward.wgrad"].flops == flops
    assert ops["convolution_backward.wgrad"].shape == (3, 18, 18, 2)
    assert ops["convolution_backward.bias_grad"].kind == "elementwise"


def test_views_are_free_and_in_place_operators_are_not():
    class Views(nn.Module):
        def forward(self, x):
            return x.view(2, 6).t().unsqueeze(0).split(3, 1)[0].mul(2).add_(1)

    mul, add = trace(Views(), torch.randn(3, 4)).ops
    assert (mul.bytes_read, mul.bytes_written, add.bytes_read, add.bytes_written) == (24, 24, 24, 24)


def test_expanded_operand_is_read_once():
    class Scale(nn.Module):
        def forward(self, x):
            return x * torch.ones(1, 4).expand(3, 4)

    assert [op.bytes_read for op in trace(Scale(), torch.randn(3, 4)).ops if op.name == "mul"] == [48 + 16]


def test_embedding_reads_rows_and_has_no_flops():
    module = nn.Embedding(1000, 8)
    look_up, scatter = trace(module, torch.zeros(2, 3, dtype=torch.int64)).ops
    assert (look_up.kind, look_up.flops) == ("embedding", 0)
    assert (look_up.bytes_read, look_up.bytes_written) == (6 * 8 + 6 * 8 * 4, 6 * 8 * 4)
    assert scatter.phase == "backward"
    assert scatter.bytes_written == 1000 * 8 * 4 + 6 * 8 * 4  # the zeros of the whole table, then the rows


def test_dropout_is_one_kernel_with_a_byte_mask():
    result = trace(nn.Dropout(0.5), torch.randn(4, 8, requires_grad=True))
    assert [op.name for op in result.ops] == ["native_dropout", "native_dropout_backward"]
    assert result.ops[0].bytes_written == 32 * 4 + 32
    assert result.activation_bytes == 32


def test_causal_attention_executes_half_and_counts_whole():
    class Attention(nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v, dropout_p=0.1, is_causal=True)

    q, k, v = (torch.randn(2, 3, 16, 8, requires_grad=True) for _ in range(3))
    forward, backward, *_ = trace(Attention(), q, k, v).ops
    full = 2 * 2 * 2 * 3 * 16 * 16 * 8  # 2 matmuls x 2 FLOPs x [b=2, h=3, s=16, S=16, d=8]
    assert (forward.name, forward.shape) == ("scaled_dot_product_attention", (2, 3, 16, 16, 8))
    assert (forward.model_flops, forward.flops) == (full, full * 17 // 32)  # (16 + 1) / 2 of 16 keys
    assert (backward.model_flops, backward.flops) == (2 * full, forward.flops * 5 / 2)


def test_attention_with_narrow_values_is_fused():
    class Latent(nn.Module):
        def forward(self, q, k, v, mask):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)

    q, k, v = torch.randn(2, 4, 16, 24), torch.randn(2, 2, 16, 24), torch.randn(2, 2, 16, 8)
    ops = trace(Latent(), q.requires_grad_(), k, v, torch.ones(16, 16, dtype=torch.bool)).ops
    (forward,) = (op for op in ops if op.kind == "attention" and op.phase == "forward")
    assert forward.flops == 2 * 2 * 4 * 16 * 16 * (24 + 8)  # 2 FLOPs x [b=2, h=4, s=16, S=16] x (d + dv)
    assert "attention" in [op.kind for op in ops if op.phase == "backward"]
    assert not [op for op in ops if op.kind == "matmul"]


def test_operator_that_is_refused_is_an_error_with_its_reason_and_place():
    class Eigen(nn.Module):
        def forward(self, x):
            return torch.linalg.eigvals(x).real

    with pytest.raises(RooflineError, match=r"operator 'aten\.\w*eig\w*' is not costed: .*in Eigen, forward"):
        trace(Eigen(), torch.randn(8, 8))


def test_operators_of_other_kinds_are_traced():
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.bag, self.pair = nn.EmbeddingBag(100, 8), nn.Bilinear(8, 8, 4)

        def forward(self, ids, x):
            rows = self.bag(ids)
            return self.pair(rows, torch.fft.rfft(x).real[:, :8]).sum() + torch.linalg.cholesky(x.T @ x).sum()

    found = trace(Several(), torch.zeros(6, 3, dtype=torch.long), torch.randn(6, 16))
    names = {op.name.rpartition(".")[2] for op in found.ops}
    assert {"embedding_bag", "trilinear", "fft_r2c", "linalg_cholesky_ex"} <= names


def test_an_operator_of_the_user_s_is_refused_until_a_rule_costs_it():
    @torch.library.custom_op("tests::silu_mul", mutates_args=())
    def silu_mul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return F.silu(a) * b

    silu_mul.register_fake(lambda a, *_: torch.empty_like(a))

    class Gate(nn.Module):
        def forward(self, a, b):
            return silu_mul(a * 2, b)

    inputs = torch.randn(4, 8), torch.randn(4, 8)
    with pytest.raises(
        RooflineError, match=r"no cost rule for operator 'tests\.silu_mul': register one with @roofline"
    ):
        trace(Gate(), *inputs)

    @rule("tests.silu_mul")
    def cost(call):
        return [Cost(kind="elementwise", flops=5 * call.largest, read=call.read, written=call.written, loop="points")]

    try:
        found = trace(Gate(), *inputs)
    finally:
        del RULES["tests.silu_mul"]
    assert [(op.name, op.flops, op.bytes) for op in found.ops] == [("mul", 32, 256), ("silu_mul", 160, 384)]
    assert [(op.name, op.flops, op.bytes) for op in found.fused.ops] == [("fused_mul_silu_mul", 192, 384)]
