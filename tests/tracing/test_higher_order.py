"""Operators that take functions: control flow runs as Python does, flex attention is one kernel of the blocks shown."""

# ruff: noqa: E402  torch is optional: it is imported where the suite finds it

import pytest

from roofline.errors import RooflineError

torch = pytest.importorskip("torch")

from torch import nn
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from roofline.tracing.trace import trace

from .nets import total

B, H, S, D = 2, 4, 512, 16
compiled_attention = torch.compile(flex_attention)


class Attention(nn.Module):
    """Attention over x[B, S, H D] under a mask of 128 x 128 blocks, or none."""

    def __init__(self, mask=None, attend=flex_attention, **options):
        super().__init__()
        self.qkv = nn.Linear(H * D, 3 * H * D)
        self.mask, self.attend, self.options = mask, attend, options

    def forward(self, x):
        q, k, v = self.qkv(x).view(B, S, 3, H, D).permute(2, 0, 3, 1, 4)
        shown = create_block_mask(self.mask, None, None, S, S, device=x.device) if self.mask else None
        return self.attend(q, k, v, block_mask=shown, **self.options)


def causal(b, h, i, j):
    return i >= j


def window(b, h, i, j):
    return (i >= j) & (i - j < 128)


@pytest.mark.parametrize(
    ("mask", "blocks"),  # of 4 x 4: a triangle with its diagonal, and the diagonal with the one before it
    [(None, 16), (causal, 10), (window, 7)],
)
@pytest.mark.parametrize("attend", [flex_attention, compiled_attention])
@pytest.mark.parametrize("real", [False, True])
def test_flex_attention_runs_the_blocks_that_its_mask_shows(mask, blocks, attend, real):
    result = trace(Attention(mask, attend), torch.randn(B, S, H * D), real=real)
    pairs = B * H * S * S * blocks // 16
    assert total(result, "flops", "forward", kind="attention") == 2 * pairs * (D + D)
    assert total(result, "flops", "backward", kind="attention") == 5 * pairs * (D + D)
    assert sum(op.model_flops for op in result.ops if op.kind == "attention" and op.phase == "forward") == (
        2 * B * H * S * S * (D + D)
    )


def test_flex_attention_keeps_its_operands_and_no_scores():
    def capped(score, b, h, i, j):
        return 30 * torch.tanh(score / 30)

    result = trace(Attention(score_mod=capped), torch.randn(B, S, H * D))
    operand, sums = 4 * B * H * S * D, 4 * B * H * S
    assert result.activation_bytes == operand + 3 * operand + operand + sums  # x; q, k and v; the output, and its sums


class Loop(nn.Module):
    """Three steps of one layer, as torch's own loop or as a scan over the rows."""

    def __init__(self, kind):
        super().__init__()
        self.layer, self.kind = nn.Linear(8, 8), kind

    def forward(self, x):
        if self.kind == "scan":
            return scan(lambda carry, row: ((found := self.layer(carry) + row), found.clone()), torch.zeros(8), x)[1]
        start = torch.tensor(0) if self.kind == "counted" else x.sum()
        return while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, self.layer(x)), (start, x))[1]


def test_loops_run_their_steps():
    x = torch.randn(3, 8)
    assert trace(Loop("counted"), x).matmul_flops("forward") == 3 * 2 * 3 * 8 * 8
    assert trace(Loop("scan"), x).matmul_flops("forward") == 3 * 2 * 8 * 8
    with pytest.raises(RooflineError, match="Loop asks for a value .*: shapes have none, trace it with real"):
        trace(Loop("by value"), x)


def test_flex_attention_runs_its_functions_on_the_scores():
    def capped(score, b, h, i, j):
        return 30 * torch.tanh(score / 30)

    result = trace(Attention(causal, score_mod=capped), torch.randn(B, S, H * D))
    scores, cut = B * H * S * S * 10 / 16, B * H * S * S * 4 / 16  # 4 blocks on the diagonal, 6 below it
    work = 3 * scores + 1 * cut  # a product, tanh, a quotient; a comparison
    found = {op.phase: op for op in result.ops if op.name.endswith("scores")}
    assert found["forward"].flops == work
    assert found["backward"].flops == 2 * work
    assert {(op.bytes, op.kernels, op.kind) for op in found.values()} == {(0, 0, "elementwise")}


def test_a_map_runs_row_by_row():
    from torch._higher_order_ops.map import map as mapped

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            return mapped(lambda row: {"out": torch.tanh(self.layer(row))}, x)

    assert trace(Rows(), torch.randn(3, 5, 8)).matmul_flops("forward") == 3 * 2 * 5 * 8 * 8


def test_an_associative_scan_runs_as_a_tree():
    from torch._higher_order_ops.associative_scan import associative_scan

    class Prefix(nn.Module):
        def forward(self, x):
            return associative_scan(lambda a, b: a * b, x, dim=0, combine_mode=self.mode)

    net = Prefix()
    net.mode = "generic"
    products = [op for op in trace(net, torch.randn(8, 4, requires_grad=True)).ops if op.phase == "forward"]
    assert sum(op.flops * op.count for op in products if op.name.startswith("mul")) == 11 * 4  # 4 + 2 + 1, then 1 and 3
    net.mode = "pointwise"
    with pytest.raises(RooflineError, match="Prefix failed .* combine_mode='pointwise', .*: trace it with 'generic'"):
        trace(net, torch.randn(8, 4))
