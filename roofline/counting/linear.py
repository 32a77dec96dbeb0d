"""Matmuls with a weight, as they are recorded: forward, both gradients, and what quantises and casts around them."""

from __future__ import annotations

from typing import Any

import msgspec

from ..arrays import Number, is_scalar, maximum
from ..config.base import base_dtypes
from ..config.recipes import Recipe
from ..config.recompute import Module
from ..config.stack import Fusion
from . import kernels, traffic
from .kernels import Kernel
from .op import Phase, Role, Saved
from .recorder import Tape
from .weights import Matrices


class Linear(msgspec.Struct, frozen=True):
    """y[batch,m,n] = x[batch,m,k] . w[batch,k,n] (+ bias).

    Attributes:
        name: Op name.
        m: Rows: tokens.
        k: Input features.
        n: Output features.
        batch: Independent matmuls in one grouped kernel (experts).
        bias: Output features to which a bias is added (in the epilogue), with its gradient summed.
        saves: Bytes of input kept for backward that no earlier op keeps (its quantised copy in low precision).
        made_by: The module that wrote the input.
        low_precision: Whether training in fp8 and below runs this matmul so.
        quantised_by: The fusion by which the kernel that wrote x quantises it; None where none can.
        quantises_gradient: Whether dy is quantised by a kernel of its own.
        adapted: Whether adapters beside a frozen weight read the input that it keeps.
        own_dtype: What it runs in, where that is not what the step does.
        role: Of the forward op.
        tied: Whether the weight is the embedding's table.
        windows: Rows that read an element of the input each, where that is a convolution's: it crosses memory once.
        matrices: What w holds, where that is not `batch` matrices of k x n.
        stored: Bytes of a weight of a quantised base; None: as training keeps it.
    """

    name: str
    m: Number
    k: Number
    n: Number
    batch: Number = 1
    bias: Number = 0
    saves: Number = 0
    made_by: Module | None = None
    low_precision: bool = True
    quantised_by: Fusion | None = None
    quantises_gradient: bool = True
    adapted: bool = False
    own_dtype: str | None = None
    role: Role | None = None
    tied: bool = False
    windows: float = 1.0
    matrices: tuple[Matrices, ...] = ()
    stored: float | None = None

    @property
    def weights(self) -> Number:
        """Elements of w."""
        return self.batch * self.k * self.n


class _Operands(msgspec.Struct, frozen=True):
    """How operands are kept: the recipe that quantises them (None: none), what the matmul runs in, bytes of each."""

    recipe: Recipe | None
    dtype: str
    es: float
    out: float


def record_linear(tape: Tape, linear: Linear) -> None:
    """The weight, its matmul, and the two of its backward pass as far as gradients are needed."""
    _weight(tape, linear)
    operands = _operands(tape, linear)
    trainable = not tape.frozen
    _forward(tape, linear, operands)
    if trainable or tape.input_needs_grad:
        _backward(tape, linear, operands)
    tape.input_needs_grad = tape.input_needs_grad or trainable


def bias(tape: Tape, name: str, rows: Number, n: Number) -> None:
    """A bias that stands beside a weight of another kind (a tied table), with its gradient."""
    tape.weight(f"{name}.bias", n)
    if not tape.frozen:
        _bias_gradient(tape, name, rows, n, 1)


def _weight(tape: Tape, linear: Linear) -> None:
    matrices = linear.matrices or (Matrices(linear.k, linear.n, linear.batch),)
    # what a depthwise convolution has of a channel is a vector
    matrices = tuple(shape for shape in matrices if not (is_scalar(shape.columns) and shape.columns == 1))
    biases = linear.batch * linear.bias
    if linear.stored is None:
        own: dict[str, Any] = {"tied": linear.tied, "low_precision": linear.low_precision}
        if tape.routed and tape.leaves_experts:  # cast with the norms: embedding and head alone are cast back
            own["upcast"] = ("norms", "all")
        tape.weight(linear.name, linear.weights + biases, matrices=matrices, **own)
        return
    tape.weight(linear.name, linear.weights, matrices=matrices, stored_bytes=linear.stored)
    if not (is_scalar(linear.bias) and linear.bias == 0):
        tape.weight(f"{linear.name}.bias", biases)


def _operands(tape: Tape, linear: Linear) -> _Operands:
    recipe = tape.recipe if linear.low_precision and linear.own_dtype is None else None
    if recipe is not None:
        return _Operands(recipe, recipe.dtype, recipe.bytes, maximum(recipe.bytes, tape.es))
    dtype = linear.own_dtype or tape.compute_dtype
    es = 4 if dtype == "fp32" else tape.es
    return _Operands(None, dtype, es, maximum(es, tape.es))


def _forward(tape: Tape, linear: Linear, operands: _Operands) -> None:
    """Y = x . w, after the casts of both."""
    name, recipe, es = linear.name, operands.recipe, operands.es
    if recipe is not None:
        _quantise(tape, linear, "forward", linear.batch * linear.m * linear.k, recipe, linear.quantised_by)
        _quantise_weight(tape, linear, recipe)
    trainable = not tape.frozen
    if tape.autocasts and (trainable or not tape.train.adapts):  # adapters: the base model is loaded in 16 bits
        # autocast: fp32 weight to 16 bits, once per forward pass
        tape.op(f"{name}.autocast", "elementwise", "forward", kernels.convert(linear.weights, 4, tape.es))
    kept = linear.saves * es / tape.es if es < tape.es else linear.saves
    kept = kept if trainable or linear.adapted else 0
    saved = Saved(made_by=linear.made_by, input=kept, whole=linear.saves)
    extra: dict[str, Any] = {"role": linear.role, "saved_bytes": kept, "saved": saved}
    if linear.stored is not None:
        _quantised_forward(tape, linear, linear.stored, **extra)
        return
    kernel = kernels.matmul(linear.m, linear.n, linear.k, linear.batch, es, operands.out)
    _matmul(tape, name, "forward", _less(kernel, linear, read=es), dtype=operands.dtype, **extra)


def _backward(tape: Tape, linear: Linear, operands: _Operands) -> None:
    """Dx = dy . w^T where the input takes a gradient, dw = x^T . dy where the weight does."""
    name, recipe, dtype, es = linear.name, operands.recipe, operands.dtype, operands.es
    if recipe is not None and linear.quantises_gradient:
        _quantise(tape, linear, "backward", linear.batch * linear.m * linear.n, recipe, None)
    if tape.input_needs_grad:
        if linear.stored is not None:
            _cast_around(tape, linear, "backward", linear.n, linear.k)
            _dequantise(tape, linear, "backward", linear.stored)
        kernel = kernels.data_gradient(linear.m, linear.n, linear.k, linear.batch, es, operands.out)
        kernel = _less(kernel, linear, written=operands.out)
        _matmul(tape, f"{name}.dgrad", "backward", kernel, dtype=dtype, gradient="data", of=name)
    if not tape.frozen:
        _weight_gradient(tape, linear, operands)
        _bias_gradient(tape, name, linear.m, linear.bias, linear.batch)


def _weight_gradient(tape: Tape, linear: Linear, operands: _Operands) -> None:
    """The gradient of a weight and its sum over micro batches, in the matmul's epilogue where that is fused."""
    in_place, how = tape.fused("wgrad_accumulation"), {"gradient": "weight", "of": linear.name}
    out = tape.gradient_bytes if in_place else operands.out
    kernel = kernels.weight_gradient(linear.m, linear.n, linear.k, linear.batch, operands.es, out, adds=in_place)
    kernel = _less(kernel, linear, read=operands.es)
    _matmul(tape, f"{linear.name}.wgrad", "backward", kernel, dtype=operands.dtype, **how)
    if not in_place:
        tape.accumulate(linear.name, linear.weights, tied=linear.tied)


def _bias_gradient(tape: Tape, name: str, rows: Number, n: Number, batch: Number) -> None:
    if not (is_scalar(n) and n == 0):
        tape.op(f"{name}.bias_grad", "elementwise", "backward", kernels.bias_gradient(rows, n, batch, tape.es))


def _less(kernel: Kernel, linear: Linear, read: float = 0.0, written: float = 0.0) -> Kernel:
    """A convolution as a matmul, without what of its input overlapping windows would read or write again."""
    if linear.windows == 1:
        return kernel
    again = linear.batch * linear.m * linear.k * (1 - 1 / linear.windows)
    moved = {"bytes_read": kernel.bytes_read - again * read, "bytes_written": kernel.bytes_written - again * written}
    return msgspec.structs.replace(kernel, **moved)


def _matmul(tape: Tape, name: str, phase: Phase, kernel: Kernel, **extra: Any) -> None:
    """A matmul with weights: of one expert each while tokens are routed."""
    kernel = kernels.padded(kernel) if tape.fused("padding") else kernel
    each = tape.routed and tape.stack.expert_launches == "each" and not tape.experts_in_one
    if each and kernel.shape is not None:
        kernel = msgspec.structs.replace(kernel, kernels=kernel.shape[3])
    tape.op(name, "matmul", phase, kernel, form="grouped" if tape.routed else "dense", **extra)


# --- a frozen weight that is stored in few bits -------------------------------------------------------------------


def _quantised_forward(tape: Tape, linear: Linear, stored: float, **extra: Any) -> None:
    """The forward matmul with a quantised weight: of integers, or of its 16-bit copy.

    Integers: rows of x to 8 bits (largest value, then the cast), and the sums back (arXiv:2208.07339, section 3.1).
    """
    name, m, k, n, batch, es = linear.name, linear.m, linear.k, linear.n, linear.batch, tape.es
    _cast_around(tape, linear, "forward", linear.k, linear.n)
    if not base_dtypes()[tape.train.base_dtype or ""].int8_forward:
        _dequantise(tape, linear, "forward", stored)
        _matmul(tape, name, "forward", kernels.matmul(m, n, k, batch, es, es), dtype=tape.compute_dtype, **extra)
        return
    tape.op(f"{name}.cast", "elementwise", "forward", kernels.chain(batch * m * k, traffic.TO_INT8, es, 2))
    _matmul(tape, name, "forward", kernels.matmul(m, n, k, batch, es=1, out=4), dtype="int8", **extra)
    tape.op(f"{name}.scale", "elementwise", "forward", kernels.convert(batch * m * n, 4, es))


def _cast_around(tape: Tape, linear: Linear, phase: Phase, read: Number, written: Number) -> None:
    """What a layer reads cast to the dtype it computes in, and what it writes cast back, where it is given fp32.

    Norms and activations hand that out; attention, whose result is said to be of no module, hands out 16 bits.
    """
    if tape.wide and linear.made_by is not None:
        rows = linear.batch * linear.m
        tape.op(f"{linear.name}.cast_input", "elementwise", phase, kernels.convert(rows * read, 4, tape.es))
        tape.op(f"{linear.name}.cast_output", "elementwise", phase, kernels.convert(rows * written, tape.es, 4))


def _dequantise(tape: Tape, linear: Linear, phase: Phase, stored: float) -> None:
    """The copy of a quantised weight that a matmul with it reads (arXiv:2305.14314, equation 5)."""
    kernel = kernels.convert(linear.weights, stored, tape.es)
    tape.op(f"{linear.name}.dequantise", "elementwise", phase, kernel)


# --- operands in low precision ------------------------------------------------------------------------------------


def _quantise(
    tape: Tape, linear: Linear, phase: Phase, elements: Number, recipe: Recipe, quantised_by: Fusion | None
) -> None:
    """Quantise a matmul operand: both orientations are written, for the forward and the gradient matmul.

    Where the kernel before it does so (see `stack.Fusion`), it writes two copies of 8 bits instead of one of 16:
    a norm for every projection but the last of attention and of a feed-forward layer.
    """
    written = quantised_by is not None and tape.fused(quantised_by)
    if written and (recipe.norm_casts or quantised_by == "expert_epilogue"):
        return
    known = recipe.amax_before and quantised_by is not None
    kernel = kernels.quantise(elements, tape.es, recipe.bytes, passes=recipe.reads - known)
    _cast(tape, linear, f"{linear.name}.cast", phase, kernel)


def _quantise_weight(tape: Tape, linear: Linear, recipe: Recipe) -> None:
    """Quantise a weight: once per step where the stack keeps the copy, else for every micro batch."""
    if tape.frozen:  # cast once for all steps
        return
    name = f"{linear.name}.weight_cast"
    kernel = kernels.quantise(linear.weights, tape.es, recipe.bytes, passes=recipe.reads)
    if tape.train.low_precision_recipe not in tape.stack.quantised_gathers:
        _cast(tape, linear, name, "forward", kernel)
        return
    share = 1 / tape.train.accumulation
    once = {field: getattr(kernel, field) * share for field in ("flops", "bytes_read", "bytes_written", "kernels")}
    _cast(tape, linear, name, "forward", msgspec.structs.replace(kernel, **once), role="weight_cast")


def _cast(tape: Tape, linear: Linear, name: str, phase: Phase, kernel: Kernel, role: Role | None = None) -> None:
    """A kernel that quantises: one for each expert where they are launched one by one."""
    if tape.routed and tape.stack.expert_launches == "each":
        kernel = msgspec.structs.replace(kernel, kernels=kernel.kernels * linear.batch)
    tape.op(name, "elementwise", phase, kernel, role=role)
