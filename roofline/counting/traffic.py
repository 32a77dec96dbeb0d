"""How often a chain of element-wise kernels crosses memory: reads and writes per element, forward and backward.

One pass is one element of the activation dtype; an fp32 copy of a 16-bit tensor counts twice. Counted from the
kernels that each chain launches (`roofline.trace` lists them for eager PyTorch).
"""

from __future__ import annotations

import msgspec

from ..arrays import Number
from ..model.spec import Norm


class Passes(msgspec.Struct, frozen=True, kw_only=True):
    """Memory passes per element and kernel launches of one chain."""

    reads: Number
    writes: Number
    back_reads: Number
    back_writes: Number
    kernels: Number = 1
    back_kernels: Number = 1


NOTHING = Passes(reads=0, writes=0, back_reads=0, back_writes=0, kernels=0, back_kernels=0)
COPY = Passes(reads=1, writes=1, back_reads=1, back_writes=1)
SCALE = Passes(reads=1, writes=1, back_reads=3, back_writes=1, back_kernels=2)  # by a vector, which has a gradient
PRODUCT = Passes(reads=2, writes=1, back_reads=3, back_writes=2)
PRODUCTS = Passes(reads=1, writes=0.5, back_reads=1.5, back_writes=1)  # of each two factors
WEIGHT_NORM = Passes(reads=1, writes=1, back_reads=2, back_writes=1)
UPCAST = Passes(reads=1, writes=2, back_reads=2, back_writes=1)  # from 16 bits to 32, and its gradient back
# backward reads x and dy twice: once for dx, once for the gradients of weight and bias
NORM = Passes(reads=1, writes=1, back_reads=4, back_writes=1, back_kernels=2)
# the same with the residual stream, and so the norm, in fp32, and the output cast for the projection behind it
NORM_OF_FP32 = Passes(reads=2, writes=1, back_reads=6, back_writes=2, back_kernels=2)
NORM_OF_FP32_EAGER = Passes(reads=4, writes=3, back_reads=9, back_writes=4, kernels=2, back_kernels=3)
# cast up, square, mean, scale, cast down, weight
RMS_NORM_EAGER = Passes(reads=10, writes=8, back_reads=27, back_writes=19, kernels=8, back_kernels=16)
# cast up, square, mean, scale, weight in fp32, cast down
RMS_NORM_EAGER_WIDE = Passes(reads=11, writes=9, back_reads=31, back_writes=21, kernels=8, back_kernels=17)
# Cohere's LayerNorm: cast up, mean, square of the difference, its mean, the difference again, scale, weight, cast down
LAYER_NORM_EAGER_WIDE = Passes(reads=17, writes=13, back_reads=43, back_writes=29, kernels=12, back_kernels=24)
# T5's: the mean of squares of a copy cast up, the input itself scaled to fp32, cast down, weight
RMS_NORM_EAGER_INPUT = Passes(reads=9, writes=8, back_reads=26, back_writes=19, kernels=8, back_kernels=17)
# without a weight: cast up, torch's kernel, cast down
LAYER_NORM_EAGER_PLAIN = Passes(reads=5, writes=5, back_reads=7, back_writes=5, kernels=3, back_kernels=3)
LAYER_NORM_EAGER_FP32 = Passes(reads=7, writes=5, back_reads=20, back_writes=13, kernels=9, back_kernels=21)
RMS_NORM_EAGER_FP32 = Passes(reads=4, writes=3, back_reads=14, back_writes=9, kernels=6, back_kernels=14)
RMS_NORM_OF_FP32_EAGER = Passes(reads=10, writes=7, back_reads=29, back_writes=20, kernels=7, back_kernels=15)
# a norm of what a recurrence made, times an activated gate
GATED_NORM = Passes(reads=2, writes=1, back_reads=4, back_writes=2)
GATED_NORM_EAGER = Passes(reads=18, writes=15, back_reads=43, back_writes=29, kernels=12, back_kernels=22)
# one of n residual streams: cast up, square, mean, scale; each times its weight, their sum, cast down
STREAMS_GATHER = Passes(reads=1, writes=0.25, back_reads=2, back_writes=1, kernels=2, back_kernels=3)
STREAMS_GATHER_EAGER = Passes(reads=10.5, writes=8.75, back_reads=30.3, back_writes=21.5, kernels=16, back_kernels=26)
STREAMS_SPREAD = Passes(reads=1.25, writes=1, back_reads=2, back_writes=1)
STREAMS_SPREAD_EAGER = Passes(reads=2.25, writes=2, back_reads=4.5, back_writes=2.5, kernels=2, back_kernels=4)
# two parts joined, one scaled, and taken off the other
DIFFERENCE = Passes(reads=2, writes=1.5, back_reads=2.5, back_writes=2, kernels=3, back_kernels=4)
POSITION_SCORES = Passes(reads=3, writes=1, back_reads=2, back_writes=1)  # added to a mask, read by the kernel
SINKHORN = Passes(reads=5, writes=3, back_reads=12, back_writes=7, kernels=3, back_kernels=7)  # sum, add, divide
ROTARY = COPY
# of queries and of keys: rotate halves, two products, one sum; the gradient's halves into zeros, and a copy in order
ROTARY_EAGER = Passes(reads=5.5, writes=4.5, back_reads=8.5, back_writes=8.5, kernels=10, back_kernels=20)
ROTARY_EAGER_FP32 = Passes(reads=14, writes=12, back_reads=19, back_writes=19, kernels=14, back_kernels=24)
ACTIVATION = Passes(reads=1, writes=1, back_reads=2, back_writes=1)
# GPT-2's gelu written out in eight framework operations
GELU_NEW_EAGER = Passes(reads=10, writes=8, back_reads=17, back_writes=11, kernels=8, back_kernels=11)
# exact, and clamped
GELU_CLIPPED_EAGER = Passes(reads=2, writes=2, back_reads=6.5, back_writes=3.5, kernels=2, back_kernels=6)
# the exact one written out
GELU_ERF_EAGER = Passes(reads=6, writes=5, back_reads=14, back_writes=10, kernels=5, back_kernels=10)
LAPLACE_EAGER = Passes(reads=5, writes=5, back_reads=8, back_writes=7, kernels=5, back_kernels=7)
SQRT_SOFTPLUS_EAGER = Passes(reads=2, writes=2, back_reads=5, back_writes=3, kernels=2, back_kernels=3)
# x * sigmoid(1.702 x)
QUICK_GELU_EAGER = Passes(reads=4, writes=3, back_reads=9, back_writes=5, kernels=3, back_kernels=5)
GELU_FAST_EAGER = Passes(reads=12, writes=9, back_reads=23, back_writes=13, kernels=9, back_kernels=13)
RELU2_EAGER = Passes(reads=2, writes=2, back_reads=6, back_writes=4, kernels=2, back_kernels=4)
XIELU_EAGER = Passes(reads=17.5, writes=11.5, back_reads=38, back_writes=22, kernels=15, back_kernels=29)
GATE = Passes(reads=3, writes=2, back_reads=6, back_writes=3, kernels=2, back_kernels=3)  # sigmoid, product
# cast up, sigmoid, product with a value of 16 bits, cast down
GATE_FP32_EAGER = Passes(reads=8, writes=7, back_reads=16, back_writes=10, kernels=4, back_kernels=6)
SOFTCAP = Passes(reads=3, writes=3, back_reads=4, back_writes=3, kernels=3, back_kernels=3)  # divide, tanh, multiply
GATED = Passes(reads=2, writes=1, back_reads=3, back_writes=2)  # gate and up in, their product out
# both cast up, the activation and the product in fp32, cast down
GATED_FP32_EAGER = Passes(reads=10, writes=9, back_reads=17, back_writes=10, kernels=5, back_kernels=6)
# gate and up clamped before (DeepSeek-V4)
GATED_CLAMPS_EAGER = Passes(reads=5, writes=4, back_reads=9, back_writes=5, kernels=4, back_kernels=4)
# its clamps and the tensor they are joined in are kernels of their own before the fused one
GATED_CLAMPED = Passes(reads=6, writes=5, back_reads=9, back_writes=6, kernels=4, back_kernels=4)
# in the epilogue of the matmul before: the product quantised in both orientations; backward, of gate and up
GATED_EPILOGUE = Passes(reads=0, writes=1, back_reads=2, back_writes=1, kernels=0, back_kernels=0)
# gpt-oss: clamp gate and up, scale, sigmoid, two products, one sum, and the router's weight: each a kernel of its own
GATED_CLAMPED_EAGER = Passes(reads=10, writes=8, back_reads=17, back_writes=10, kernels=8, back_kernels=10)
# y + p * b of each expert by itself, in fp32 like the router's p, their outputs joined and cast: backward casts dy, and
# makes p * dy and the products that are summed to the gradient of p; that of b is summed as any bias's
EXPERT_BIAS_EAGER = Passes(reads=7, writes=7, back_reads=10, back_writes=8, kernels=2, back_kernels=5)
# one expert after the other: which tokens are its own, and they looked up; backward into zeros of all tokens
EXPERT_TAKES = Passes(reads=1, writes=1, back_reads=1, back_writes=1, kernels=2)
EXPERT_GRADIENT = Passes(reads=0, writes=0, back_reads=2, back_writes=2, kernels=0, back_kernels=2)  # zeros, sum
SOFTMAX = Passes(reads=1, writes=1, back_reads=2, back_writes=1)
# scale, mask, softmax
SOFTMAX_EAGER = Passes(reads=3, writes=3, back_reads=4, back_writes=3, kernels=3, back_kernels=3)
# scale, mask, to fp32, softmax, back: Llama-era code takes the softmax in fp32
SOFTMAX_EAGER_UPCAST = Passes(reads=7, writes=7, back_reads=10, back_writes=7, kernels=5, back_kernels=5)
SOFTMAX_EAGER_FP32 = Passes(reads=6, writes=6, back_reads=8, back_writes=6, kernels=3, back_kernels=3)
ROUTER = Passes(reads=3, writes=3, back_reads=3, back_writes=2, kernels=6, back_kernels=6)  # softmax, top-k, weights
LOOK_UP = Passes(reads=1, writes=1, back_reads=1, back_writes=2)
POSITIONS = Passes(reads=2, writes=1, back_reads=1, back_writes=0.5, kernels=2, back_kernels=2)
LOSS_FUSED = Passes(reads=1, writes=1, back_reads=0, back_writes=0)


TO_INT8 = Passes(reads=2, writes=0.5, back_reads=0, back_writes=0, kernels=2)  # of 16 bits: largest value, then cast
# the norm of W + scale a . b: a . b, scaled, W added, squares summed over the rows
DORA_NORM = Passes(reads=4, writes=3, back_reads=0, back_writes=0, kernels=5)
# (magnitude / norm - 1) x . W, and the product by magnitude / norm; backward both again, and the magnitude's own
DORA_SCALE = Passes(reads=3, writes=2, back_reads=6, back_writes=3, kernels=2, back_kernels=6)


def norm(norm: Norm, es: float, *, wide: bool, fused: bool) -> Passes:
    """A norm over elements of `es` bytes; `wide`: of a stream in fp32, to be cast for the projection behind it."""
    if norm.kind == "layer" and (norm.fp32 or norm.written_out) and not fused:
        return _layer_norm_eager(norm, es)
    if norm.kind == "layer" or fused:
        return (NORM_OF_FP32 if fused else NORM_OF_FP32_EAGER) if wide else NORM
    return RMS_NORM_OF_FP32_EAGER if wide else _rms_norm_eager(norm, es)


def _layer_norm_eager(norm: Norm, es: float) -> Passes:
    """One that is written out in fp32, or torch's on a copy in fp32."""
    if es == 4:
        return LAYER_NORM_EAGER_FP32 if norm.weight else NORM
    return LAYER_NORM_EAGER_WIDE if norm.weight else LAYER_NORM_EAGER_PLAIN


def _rms_norm_eager(norm: Norm, es: float) -> Passes:
    if es == 4:
        return RMS_NORM_EAGER_FP32
    if norm.keeps_input:
        return RMS_NORM_EAGER_INPUT
    return RMS_NORM_EAGER_WIDE if norm.fp32 else RMS_NORM_EAGER


def rotary(*, fused: bool, wide: bool) -> Passes:
    """Queries and keys turned by their positions; `wide`: in fp32, to which they are cast."""
    if fused:
        return ROTARY
    return ROTARY_EAGER_FP32 if wide else ROTARY_EAGER


def joined(first: Passes, second: Passes) -> Passes:
    """Two chains, one after the other."""
    return Passes(**{name: getattr(first, name) + getattr(second, name) for name in Passes.__struct_fields__})


def dropout(mask: float) -> Passes:
    """Dropout alone; `mask` is the bytes of a mask element over those of an activation."""
    return Passes(reads=1, writes=1 + mask, back_reads=1 + mask, back_writes=1)


def residual(mask: float, *, fused: bool, in_norm: bool, stream: float = 1, terms: int = 1) -> Passes:
    """``x + dropout(y)``: one kernel where fused, its sum formed in the next norm where that is fused too.

    Backward adds the two gradients that meet at the fork. `mask` is 0 without dropout; `stream` is the bytes of an
    element of x over those of y: under autocast x is fp32, and its gradient is cast for y. Parallel blocks add
    several `terms` at once.
    """
    drops, casts = mask > 0, stream > 1
    together = fused or in_norm or not drops
    return Passes(
        reads=stream * (not in_norm) + terms + (0 if together else 1),
        writes=stream + (0 if together else 1) + mask,
        back_reads=2 * stream + (1 + mask if drops else 0) + (stream if casts and not fused else 0),
        back_writes=stream + (drops or casts),
        kernels=1 if together else 2,
        back_kernels=(1 if together else 2) + (casts and not fused),
    )


def ring(cp: Number) -> Passes:
    """Bytes for each element of what the steps of PyTorch's ring attention hand on, in 16 bits and fp32.

    Each of `cp` steps puts keys and values together to be sent, casts its output to fp32 and merges it with that of the
    steps before; every second one, in the mean over ranks, has half of the queries, and puts the halves together again.
    Backward adds gradients of queries, keys and values up likewise. github:pytorch/pytorch
    torch/distributed/tensor/experimental/_attention.py, _templated_ring_attention and its backward.
    """
    later = cp - 1
    whole, half = (2 + 20, 4 + 12), (11 + 4, 8 + 4)  # read, written: cast and three merging kernels; halves, joined
    added = ((6 + 7) / 2, (4 + 6) / 2)  # of a gradient: 16 bits to fp32, or to half of it, joined
    return Passes(
        reads=2 + 4 + later * ((whole[0] + half[0]) / 2 + 4),
        writes=4 + 2 + later * ((whole[1] + half[1]) / 2 + 4),
        back_reads=cp * (3 * added[0] + 2 * 4) + later * 4 + 3 * 4,
        back_writes=cp * (3 * added[1] + 2 * 4) + later * 4 + 3 * (4 + 2),
        kernels=2 + 10 * later,
        back_kernels=6 + 7 * cp,
    )


def metric(es: float, times: int) -> Passes:
    """`times` cross entropies without gradient: an fp32 copy of the logits, its log-softmax."""
    return Passes(reads=times * (1 + 4 / es), writes=times * 8 / es, back_reads=0, back_writes=0, kernels=3 * times)


def expert_sum(part: float, wide: float) -> Passes:
    """What experts made times the router's weights, in the order of tokens, summed over those of each.

    `part` is the inverse of experts per token, `wide` the bytes of what is summed over those of an element: more than 1
    where weights are in fp32 and the sum is cast back. Backward spreads the gradient, puts it into zeros in the order
    of experts, takes both products, and sums that of the weights.
    """
    casts = wide > 1
    return Passes(
        reads=1 + 2 * wide + casts * part * wide,
        writes=2 * wide + part * (wide + casts),
        back_reads=part * (wide + casts) + (4 + casts) * wide + 1,
        back_writes=(5 + casts * part) * wide + casts,
        kernels=3 + casts,
        back_kernels=6 + 2 * casts,
    )


def loss(es: int) -> Passes:
    """Cross-entropy on logits of `es` bytes: to fp32, log-softmax.

    Backward fills a gradient with zeros and scatters into it, takes that of the log-softmax, and casts it back.
    """
    fp32 = 4 / es
    upcast = es != 4
    return Passes(
        reads=upcast + fp32,
        writes=fp32 * (1 + upcast),
        back_reads=fp32 * (2 + upcast),
        back_writes=fp32 * 2 + upcast,
        kernels=3,
        back_kernels=3 + upcast,
    )
