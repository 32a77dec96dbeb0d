"""What each kernel computes and moves: pure functions of shapes, to be checked against a textbook.

Each operand crosses device memory once per kernel. `es` is the bytes of an element; 1 multiply-add is 2 FLOPs.
Which kernels a model runs is said by `layers`; the `recorder` holds what they have in common.
"""

from __future__ import annotations

import msgspec

from ..arrays import Number, ceil_div
from .traffic import Passes


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """One launch, or a chain of them.

    Attributes:
        flops: FLOPs executed.
        bytes_read: Bytes read from device memory.
        bytes_written: Bytes written to it.
        shape: (m, n, k, batch) of a matmul; (batch, heads, seq_q, seq_kv, head_dim) of fused attention.
        kernels: Launches.
        model_flops: FLOPs that count as the model's; None where all do.
    """

    flops: Number
    bytes_read: Number
    bytes_written: Number
    shape: tuple[Number, ...] | None = None
    kernels: Number = 1
    model_flops: Number | None = None


def matmul(m: Number, n: Number, k: Number, batch: Number, es: float, out: float) -> Kernel:
    """y[batch,m,n] = x[batch,m,k] . w[batch,k,n]; operands of `es` bytes, a result of `out`.

    >>> matmul(10, 16, 6, 1, es=2, out=2)
    Kernel(flops=1920, bytes_read=312, bytes_written=320, shape=(10, 16, 6, 1), kernels=1, model_flops=None)
    """
    read = (batch * m * k + batch * k * n) * es
    flops = 2 * batch * m * k * n
    return Kernel(flops=flops, bytes_read=read, bytes_written=batch * m * n * out, shape=(m, n, k, batch))


def data_gradient(m: Number, n: Number, k: Number, batch: Number, es: float, out: float) -> Kernel:
    """dx[batch,m,k] = dy[batch,m,n] . w^T[batch,n,k]."""
    return matmul(m, k, n, batch, es, out)


def weight_gradient(m: Number, n: Number, k: Number, batch: Number, es: float, out: float, *, adds: bool) -> Kernel:
    """dw[batch,k,n] = x^T[batch,k,m] . dy[batch,m,n]; where it `adds`, the epilogue reads the sum, too."""
    gradient = matmul(k, n, m, batch, es, out)
    if not adds:
        return gradient
    return msgspec.structs.replace(gradient, bytes_read=gradient.bytes_read + batch * k * n * out)


def padded(kernel: Kernel) -> Kernel:
    """A matmul as a stack runs it that pads n and k to whole vectors of 16 bytes."""
    assert kernel.shape is not None
    m, n, k, batch = kernel.shape
    return msgspec.structs.replace(kernel, shape=(m, ceil_div(n, 8) * 8, ceil_div(k, 8) * 8, batch))


def bias_gradient(rows: Number, n: Number, batch: Number, es: float) -> Kernel:
    """db[batch,n] = sum over rows of dy[batch,rows,n], in fp32."""
    elements = batch * rows * n
    return Kernel(flops=elements, bytes_read=elements * es, bytes_written=batch * n * 4)


def convert(elements: Number, es: float, out: float) -> Kernel:
    """A copy in another dtype: autocast's fp32 weight to 16 bits."""
    return Kernel(flops=0, bytes_read=elements * es, bytes_written=elements * out)


def quantise(elements: Number, es: float, out: float, *, passes: int) -> Kernel:
    """A matmul operand in low precision, in both orientations: for the forward and for the gradient matmul."""
    return Kernel(
        flops=2 * elements, bytes_read=passes * elements * es, bytes_written=2 * elements * out, kernels=passes
    )


def grad_accumulate(weights: Number, es: float, grad: float, passes: Number, *, casts: bool) -> Kernel:
    """dw[weights] of `es` bytes into the sum of `grad` bytes: the mean over the `passes` of a step.

    Autograd moves the first gradient into place where both are of one size. Where it `casts` (weights in fp32 that
    autocast reads in 16 bits) it casts each gradient, then adds from the second on: 2 bytes read and 4 written per
    weight, then 10 and 8. A sum kept apart from the gradient (Megatron's main_grad) is read and written every time.
    """
    adding = Kernel(flops=weights, bytes_read=weights * (es + grad), bytes_written=weights * grad)
    if not casts and grad != es:
        return adding
    moving = convert(weights, es, grad) if casts else Kernel(flops=0, bytes_read=0, bytes_written=0, kernels=0)
    later = 1 - 1 / passes  # share of the passes that add: with one dtype, a sum of `grad` bytes to one of `grad`
    return Kernel(
        flops=weights * later,
        bytes_read=moving.bytes_read + 2 * weights * grad * later,
        bytes_written=moving.bytes_written + weights * grad * later,
        kernels=moving.kernels + later,
    )


def gradient_sum(weights: Number, es: float) -> Kernel:
    """Two gradients of one weight added up."""
    return Kernel(flops=weights, bytes_read=2 * weights * es, bytes_written=weights * es)


def beside(whole: Kernel, part: Kernel) -> Kernel:
    """What a kernel moves and launches beside a part of it."""
    names = ("flops", "bytes_read", "bytes_written", "kernels")
    return Kernel(**{name: getattr(whole, name) - getattr(part, name) for name in names})


def fill(elements: Number, es: float) -> Kernel:
    """A tensor set to zero."""
    return Kernel(flops=0, bytes_read=0, bytes_written=elements * es)


def chain(elements: Number, passes: Passes, es: float, flops: Number) -> Kernel:
    """Element-wise kernels over `elements`, with `flops` for each."""
    read, written = passes.reads * elements * es, passes.writes * elements * es
    return Kernel(flops=flops * elements, bytes_read=read, bytes_written=written, kernels=passes.kernels)


def chain_backward(elements: Number, passes: Passes, es: float, flops: Number) -> Kernel:
    """The backward pass of a chain: twice its FLOPs."""
    read, written = passes.back_reads * elements * es, passes.back_writes * elements * es
    return Kernel(flops=2 * flops * elements, bytes_read=read, bytes_written=written, kernels=passes.back_kernels)


class AttentionShape(msgspec.Struct, frozen=True, kw_only=True):
    """Fused attention on one device: b sequences, H query and G key heads, s queries against S keys, of d and dv.

    `seen` keys are computed for each query (causal mask, window), `counted` are the model's, `read` ones are loaded.
    """

    batch: Number
    heads: Number
    kv_heads: Number
    seq_q: Number
    seq_kv: Number
    head_dim: int
    value_head_dim: int
    seen: Number
    counted: Number
    read: Number

    @property
    def q(self) -> Number:
        """Elements of q[b,H,s,d]."""
        return self.batch * self.seq_q * self.heads * self.head_dim

    @property
    def o(self) -> Number:
        """Elements of o[b,H,s,dv]."""
        return self.batch * self.seq_q * self.heads * self.value_head_dim

    @property
    def kv(self) -> Number:
        """Elements read of k[b,G,S,d] and v[b,G,S,dv]."""
        return self.batch * self.read * self.kv_heads * (self.head_dim + self.value_head_dim)

    @property
    def lse(self) -> Number:
        """Bytes of the log-sum-exp of each query, fp32."""
        return self.batch * self.seq_q * self.heads * 4

    @property
    def sizes(self) -> tuple[Number, ...]:
        """The shape that its time depends on."""
        return self.batch, self.heads, self.seq_q, self.seq_kv, self.head_dim

    @property
    def per_key(self) -> Number:
        """FLOPs of q.k^T and p.v for one key of every query: 2*b*H*s*(d + dv)."""
        return 2 * self.batch * self.heads * self.seq_q * (self.head_dim + self.value_head_dim)


def attention(a: AttentionShape, es: float) -> Kernel:
    """softmax(q.k^T / sqrt(d)) . v in one kernel (arXiv:2205.14135)."""
    return Kernel(
        flops=a.per_key * a.seen,
        model_flops=a.per_key * a.counted,
        bytes_read=(a.q + a.kv) * es,
        bytes_written=a.o * es + a.lse,
        shape=a.sizes,
    )


def attention_backward(a: AttentionShape, es: float) -> Kernel:
    """Scores again, dq, dk (3 matmuls of d), dp and dv (2 of dv); dq is summed in fp32 (arXiv:2307.08691, 3.2)."""
    flops = 2 * a.batch * a.heads * a.seq_q * (3 * a.head_dim + 2 * a.value_head_dim)
    return Kernel(
        flops=flops * a.seen,
        model_flops=2 * a.per_key * a.counted,
        bytes_read=(a.q + a.kv + 2 * a.o) * es + a.lse,
        bytes_written=(a.q + a.kv) * es + a.q * 4,
        shape=a.sizes,
        kernels=3,
    )


def latent_decode(a: AttentionShape, es: float, rank: int, rope: int) -> Kernel:
    """One query against a latent cache: up-projections absorbed into q and the output (arXiv:2405.04434, 2.1.2)."""
    per_key = 2 * a.batch * a.heads * a.seq_q * (2 * rank + rope)
    cache = a.batch * a.seen * (rank + rope)
    return Kernel(
        flops=per_key * a.seen,
        model_flops=per_key * a.counted,
        bytes_read=(a.q + cache) * es,
        bytes_written=a.o * es + a.lse,
        shape=a.sizes,
    )
