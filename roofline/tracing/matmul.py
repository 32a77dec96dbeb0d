"""What the matrix engines run: matmuls, convolutions as implicit matmuls, fused attention."""

from __future__ import annotations

import msgspec

from ..counting.op import Gradient
from .rules import Call, Cost, Operand, aten, rule

# --- matrix multiplication -------------------------------------------------------------------------------


def _matmul(call: Call, m: int, n: int, k: int, batch: int = 1) -> list[Cost]:
    """[batch, m, k] @ [batch, k, n]; in the backward pass, dgrad reads a parameter and wgrad does not."""
    batch *= 4 if any(operand.is_complex for operand in call.inputs) else 1  # multiply-adds of real numbers
    return [_cost(call, 2 * batch * m * n * k, (m, n, k, batch))]


def _cost(call: Call, flops: int, shape: tuple[int, int, int, int]) -> Cost:
    return Cost(kind="matmul", flops=flops, read=call.read, written=call.written, shape=shape, gradient=_gradient(call))


def _gradient(call: Call) -> Gradient:
    if not call.backward:
        return "none"
    return "data" if any(operand.parameter for operand in call.inputs) else "weight"


@rule(*aten("mm addmm _addmm_activation _int_mm _scaled_mm _scaled_mm_v2"))
def _mm(call: Call) -> list[Cost]:
    left: Operand = call.args["mat1"] if "mat1" in call.args else call.args["self"]
    m, k = left.shape  # [m, k] @ [k, n]
    return _matmul(call, m, call.args["mat2"].shape[1], k)


@rule(*aten("bmm baddbmm addbmm"))
def _bmm(call: Call) -> list[Cost]:
    left: Operand = call.args["batch1"] if "batch1" in call.args else call.args["self"]
    right: Operand = call.args["batch2"] if "batch2" in call.args else call.args["mat2"]
    batch, m, k = left.shape  # [batch, m, k] @ [batch, k, n]
    (cost,) = _matmul(call, m, right.shape[2], k, batch)
    return [msgspec.structs.replace(cost, gradient="data" if call.backward else "none")]


@rule(*aten("mv addmv dot vdot"))
def _mv(call: Call) -> list[Cost]:
    matrix: Operand = call.args["mat"] if "mat" in call.args else call.args["self"]
    return _matmul(call, matrix.numel // matrix.shape[-1], 1, matrix.shape[-1])


@rule(*aten("linear matmul"))
def _linear(call: Call) -> list[Cost]:
    """x[..., k] @ w: only seen whole where autograd does not record."""
    left: Operand = call.args["input"] if "input" in call.args else call.args["self"]
    k = left.shape[-1]
    n = call.outputs[0].shape[-1]
    return _matmul(call, call.outputs[0].numel // n, n, k)


@rule("aten.linear_backward")
def _linear_backward(call: Call) -> list[Cost]:
    """dx[m, k] = dy[m, n] . w[n, k] and dw[n, k] = dy^T[n, m] . x[m, k], as `output_mask` asks."""
    x, dy, w = call.args["self"], call.args["grad_output"], call.args["weight"]
    n, k = w.shape
    return _gradients(call, dy, x, w, (x.numel // k, n, k))


def _gradients(
    call: Call, dy: Operand, x: Operand, w: Operand, sizes: tuple[int, int, int], groups: int = 1
) -> list[Cost]:
    """Of x[m, k] @ w[k, n] the data gradient dx[m, k] and the weight gradient dw[n, k], as `output_mask` asks."""
    m, n, k = sizes
    wants_x, wants_w, *_ = call.args["output_mask"]
    kernels: list[tuple[bool, Gradient, int, int, tuple[int, ...]]] = [
        (wants_x, "data", dy.bytes + w.bytes, x.bytes, (m, k, n, groups)),
        (wants_w, "weight", dy.bytes + x.bytes, w.bytes, (n, k, m, groups)),
    ]
    flops = 2 * groups * m * n * k
    return [
        Cost(kind="matmul", flops=flops, read=read, written=written, shape=shape, gradient=gradient)
        for wanted, gradient, read, written, shape in kernels
        if wanted
    ]


@rule("aten.linalg_solve_triangular")
def _solve_triangular(call: Call) -> list[Cost]:
    """a[batch, n, n] of which half is zero: n multiply-adds over 2 for each of the n*k unknowns."""
    n, k = call.args["self"].shape[-1], call.outputs[0].shape[-1]
    batch = call.outputs[0].numel // (n * k)
    flops = batch * n * n * k
    return [Cost(kind="matmul", flops=flops, read=call.read, written=call.written, shape=(n, k, n, batch))]


@rule(*aten("_grouped_mm _scaled_grouped_mm _scaled_grouped_mm_v2"))
def _grouped_mm(call: Call) -> list[Cost]:
    """Rows sorted by expert: [T, k] @ [E, k, n], or the weight gradient [m, T] @ [T, n] -> [E, m, n]."""
    left: Operand = call.args["self"]
    right: Operand = call.args["mat2"]
    out = call.outputs[0]
    experts = right.shape[0] if len(right.shape) == 3 else out.shape[0]
    inner = left.shape[-1]
    if len(left.shape) == 2 and len(right.shape) == 2:  # T is summed over: each expert has T/E of it
        m, n, k, batch = left.shape[0], right.shape[1], -(-inner // experts), experts
        flops = 2 * left.shape[0] * right.shape[1] * inner
    else:
        m, n, k, batch = -(-left.shape[-2] // experts), right.shape[-1], inner, experts
        flops = 2 * left.numel * right.shape[-1]
    return [_cost(call, flops, (m, n, k, batch))]


# --- convolution -----------------------------------------------------------------------------------------


@rule(*aten("convolution _convolution convolution_overrideable cudnn_convolution mkldnn_convolution"))
def _convolution(call: Call) -> list[Cost]:
    """Implicit matmul: each output (transposed: input) position meets every weight once."""
    weight: Operand = call.args["weight"]
    image: Operand = call.args["input"] if "input" in call.args else call.args["self"]
    positions = _positions(image if call.args.get("transposed") else call.outputs[0])
    groups = call.args["groups"]
    n = weight.shape[0] // groups
    shape = (positions, n, weight.numel // weight.shape[0], groups)
    flops = 2 * positions * weight.numel
    return [Cost(kind="matmul", flops=flops, read=call.read, written=call.written, shape=shape)]


def _positions(image: Operand) -> int:
    return image.numel // image.shape[1]  # [N, C, *spatial] -> N * spatial


@rule("aten.convolution_backward")
def _convolution_backward(call: Call) -> list[Cost]:
    """Data gradient, weight gradient, bias gradient, each where `output_mask` asks for it."""
    dy, image, weight = call.args["grad_output"], call.args["input"], call.args["weight"]
    groups = call.args["groups"]
    positions = _positions(image if call.args["transposed"] else dy)
    n, k = weight.shape[0] // groups, weight.numel // weight.shape[0]
    result = _gradients(call, dy, image, weight, (positions, n, k), groups)
    *_, wants_b = call.args["output_mask"]
    if wants_b:
        written = dy.shape[1] * dy.itemsize
        result.append(Cost(kind="elementwise", flops=dy.elements, read=dy.bytes, written=written, suffix="bias_grad"))
    return result


# --- fused attention -------------------------------------------------------------------------------------

_ATTENTION = """
    _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
    _scaled_dot_product_fused_attention_overrideable
"""


def _visible_keys(call: Call, seq_q: int, seq_kv: int) -> float:
    """Keys an average query sees: query i sees i + 1 under torch's causal mask, a share that is told, or all."""
    if "visible" in call.args:
        return float(seq_kv * call.args["visible"])
    if not call.args.get("is_causal"):
        return seq_kv
    square = min(seq_q, seq_kv)
    return (square * (square + 1) / 2 + (seq_q - square) * seq_kv) / seq_q


def _attention_cost(call: Call, *, backward: bool) -> list[Cost]:
    q, k, v = call.args["query"], call.args["key"], call.args["value"]
    batch, heads, seq_q, dim = q.shape  # q[b, h, s, d] @ k[b, h, d, S] -> scores; scores @ v[b, h, S, dv]
    seq_kv = k.shape[2]
    pair_flops = 2 * batch * heads * seq_q * (dim + v.shape[3])
    executed = int(pair_flops * _visible_keys(call, seq_q, seq_kv))
    kernel = Cost(
        kind="attention",
        flops=executed * 5 // 2 if backward else executed,
        model_flops=pair_flops * seq_kv * (2 if backward else 1),
        read=call.read,
        written=call.written,
        shape=(batch, heads, seq_q, seq_kv, dim),
        kernels=3 if backward else 1,
    )
    # backward computes them again; assumes that the gradient of an operation is one more
    work = batch * heads * seq_q * seq_kv * call.args.get("work", 0) * (2 if backward else 1)
    on_scores = Cost(kind="elementwise", flops=work, read=0, written=0, kernels=0, suffix="scores")
    return [on_scores, kernel] if work else [kernel]


_FLEX = "roofline.flex_attention"  # see higher_order.py


@rule(_FLEX, *aten(_ATTENTION))
def _attention(call: Call) -> list[Cost]:
    """Scores and weighted sum over the visible keys: 2*b*h*s*S*(d + dv); no s x S tensor touches memory."""
    return _attention_cost(call, backward=False)


@rule(*[f"{name}_backward" for name in (_FLEX, *aten(_ATTENTION))])
def _attention_backward(call: Call) -> list[Cost]:
    """Recomputes the scores: 5 matmuls for the forward pass's 2 (arXiv:2205.14135, algorithm 4)."""
    return _attention_cost(call, backward=True)
