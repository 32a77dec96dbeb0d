"""What each aten operator costs: a formula of shapes per operator or class of operators, without torch.

A rule sees operands (shape, bytes) under the argument names of the operator's schema and returns the kernels
it runs. Views cost nothing. An operator that no rule and no tag covers is an error, never zero cost.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from math import prod
from typing import Any, Literal, TypeAlias

import msgspec

from ..counting.op import Gradient, Kind
from ..errors import RooflineError
from ..reading import packaged, read_packaged


class Operand(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor as its cost sees it; `elements` counts those of expanded (stride 0) dimensions once."""

    shape: tuple[int, ...]
    itemsize: int
    elements: int
    identity: tuple[Any, ...] = ()  # equal for two arguments that are the same memory
    parameter: bool = False
    is_complex: bool = False

    @property
    def bytes(self) -> int:
        """Bytes that cross device memory when a kernel reads or writes it once."""
        return self.elements * self.itemsize

    @property
    def numel(self) -> int:
        """Elements with expanded dimensions written out."""
        return prod(self.shape)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One operator call: arguments by schema name (tensors as `Operand`), results, and what its schema says.

    Attributes:
        name: Namespace and operator without overload: ``aten.mm``.
        args: Arguments by name, those at their default included.
        inputs: Tensor arguments, each memory once.
        mutated: Tensor arguments the operator writes to.
        outputs: Results with memory of their own.
        tags: Names of torch's operator tags.
        view: Whether every result only aliases an argument.
        backward: Whether the call runs in the backward pass.
    """

    name: str
    args: dict[str, Any]
    inputs: tuple[Operand, ...]
    mutated: tuple[Operand, ...] = ()
    outputs: tuple[Operand, ...] = ()
    tags: frozenset[str] = frozenset()
    view: bool = False
    backward: bool = False

    @property
    def read(self) -> int:
        """Bytes of all tensor arguments."""
        return sum(operand.bytes for operand in self.inputs)

    @property
    def written(self) -> int:
        """Bytes of all results and of the arguments written in place."""
        return sum(operand.bytes for operand in (*self.outputs, *self.mutated))

    @property
    def largest(self) -> int:
        """Elements of the largest argument or result."""
        return max((operand.elements for operand in (*self.inputs, *self.outputs, *self.mutated)), default=0)


Loop = Literal[
    "points",
    "reduction",
    "rows",  # a reduction over rows, and what is done with their elements
    "statistics",  # sums over columns, then a second loop over the elements
    "beside",  # rows, and sums over columns in a second loop
    "scatter",  # a table filled or copied, then rows added to it
]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One kernel (or chain of `kernels`) of a call; fields as in `Op`, and a `suffix` of the op's name.

    `loop` is how a compiler writes it; None: it calls a library.
    """

    kind: Kind
    flops: int | float
    read: int
    written: int
    shape: tuple[int, ...] | None = None
    kernels: int = 1
    model_flops: int | float | None = None
    gradient: Gradient = "none"
    library: bool = False
    suffix: str = ""
    loop: Loop | None = None


Rule: TypeAlias = Callable[[Call], "list[Cost]"]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators, e.g. ``@rule("aten.mm")``; one rule per operator.

    Raises:
        RooflineError: An operator has a rule already.
    """

    def register(function: Rule) -> Rule:
        for name in names:
            if name in RULES:
                raise RooflineError(f"operator {name} has a cost rule already ({RULES[name].__name__})")
            RULES[name] = function
        return function

    return register


def costs(call: Call) -> list[Cost]:
    """The kernels a call runs, by its own rule or else by its class; a view runs none.

    Raises:
        RooflineError: No rule and no class covers the operator.
    """
    for name in (call.name, call.name.removesuffix("_")):
        if name in RULES:
            return RULES[name](call)
    if call.view or "inplace_view" in call.tags:
        return []
    if reason := refusal(call.name):
        raise RooflineError(f"operator {call.name!r} is not costed: {reason}")
    if "pointwise" in call.tags or "reduction" in call.tags:
        return _elementwise(call)
    if of := class_of(call.name):
        return {"free": _free, "fill": _fill, "copy": _copy, "elementwise": _elementwise, "scatter": _scatter}[of](call)
    raise RooflineError(
        f"no cost rule for operator {call.name!r}: register one with @roofline.tracing.rules.rule({call.name!r})"
    )


class Operators(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Operators without a rule of their own: patterns by reason of refusal, and by what they cost as.

    `library` are those that no compiler writes as a loop with others, although they cost as element by element.
    """

    library: list[str]
    refused: dict[str, list[str]]
    costs_as: dict[str, list[str]] = msgspec.field(name="class")


@cache
def _operators() -> Operators:
    return read_packaged(packaged(__name__) / "operators.toml", Operators)


def refusal(name: str) -> str | None:
    """Why an operator such as ``aten._nested_select_backward`` is not costed; None where nothing refuses it."""
    return _named(name, _operators().refused)


def class_of(name: str) -> str | None:
    """What an operator without a rule costs as: free, fill, copy, elementwise or scatter."""
    return _named(name, _operators().costs_as)


@cache
def in_library(name: str) -> bool:
    """Whether a compiler calls a library for an operator, although it costs as element by element."""
    return _named(name, {"library": _operators().library}) is not None


def _named(name: str, table: dict[str, list[str]]) -> str | None:
    """The entry of a table with a pattern that fits an operator, in place or not."""
    namespace, _, plain = name.partition(".")
    words = {plain, plain.removesuffix("_")} if namespace == "aten" else set()
    fits = (of for of, patterns in table.items() if any(fnmatchcase(w, p) for w in words for p in patterns))
    return next(fits, None)


def aten(names: str) -> list[str]:
    """Full names of aten operators listed in one string."""
    return [f"aten.{name}" for name in names.split()]


@rule(
    *aten("""
    _unsafe_view unsafe_split unsafe_split_with_sizes unsafe_chunk _reshape_alias empty empty_like
    empty_strided empty_permuted new_empty new_empty_strided resize_ is_same_size _local_scalar_dense lift
    set_ _assert_async _assert_tensor_metadata sym_size sym_stride sym_numel sym_storage_offset
    _has_same_storage_numel is_pinned is_set_to _fused_sdp_choice _resize_output _assert_scalar
    record_stream
""")
)
def _free(call: Call) -> list[Cost]:
    """Bookkeeping: no kernel, or none worth a byte."""
    del call
    return []


@rule(
    *aten("""
    zeros ones full arange zeros_like ones_like full_like new_zeros new_ones new_full rand randn rand_like
    randn_like randint randint_like randperm linspace scalar_tensor eye fill zero bernoulli normal uniform
    exponential random tril_indices triu_indices native_dropout_seed log_normal cauchy geometric poisson
    binomial normal_functional range hann_window
""")
)
def _fill(call: Call) -> list[Cost]:
    """Constants and random numbers: written, nothing read."""
    return [Cost(kind="elementwise", flops=0, read=0, written=call.written, loop="points")]


@rule(
    *aten("""
    clone _to_copy copy cat stack constant_pad_nd flip roll repeat repeat_interleave tril triu contiguous
    reflection_pad1d reflection_pad2d replication_pad2d pixel_shuffle pixel_unshuffle channel_shuffle
    im2col col2im slice_scatter select_scatter view_as_real_copy diag_embed diagonal_backward
    unfold_backward rot90 block_diag diagonal_scatter as_strided_scatter reflection_pad3d
    replication_pad1d replication_pad3d permute_copy expand_copy masked_select nonzero one_hot
""")
)
def _copy(call: Call) -> list[Cost]:
    """Data moved, perhaps converted: sources read, result written, no arithmetic."""
    source = call.args.get("src") if call.mutated else None
    read = source.bytes if isinstance(source, Operand) else call.read
    return [Cost(kind="elementwise", flops=0, read=read, written=call.written, loop="points")]


@rule(
    *aten("""
    sum mean amax amin max min argmax argmin var var_mean std std_mean norm linalg_vector_norm prod any
    all logsumexp cumsum cumprod sort topk histc bincount searchsorted count_nonzero median unique_dim
    _unique2 avg_pool1d avg_pool2d avg_pool3d avg_pool2d_backward max_pool2d_with_indices
    max_pool2d_with_indices_backward max_pool3d_with_indices max_pool3d_with_indices_backward
    adaptive_max_pool2d adaptive_max_pool2d_backward _adaptive_avg_pool2d _adaptive_avg_pool2d_backward
    avg_pool3d_backward _adaptive_avg_pool3d _adaptive_avg_pool3d_backward upsample_nearest1d
    upsample_nearest2d upsample_nearest3d upsample_nearest1d_backward upsample_nearest2d_backward
    upsample_nearest3d_backward _upsample_nearest_exact2d _upsample_nearest_exact2d_backward
    upsample_bilinear2d upsample_bilinear2d_backward upsample_bicubic2d upsample_bicubic2d_backward
    upsample_linear1d upsample_linear1d_backward upsample_trilinear3d upsample_trilinear3d_backward
    _upsample_bilinear2d_aa grid_sampler_2d grid_sampler_2d_backward reflection_pad1d_backward
    reflection_pad2d_backward replication_pad2d_backward relu threshold_backward hardtanh
    hardtanh_backward leaky_relu_backward elu elu_backward softplus_backward hardswish_backward
    hardsigmoid_backward glu glu_backward log_sigmoid_forward log_sigmoid_backward mish_backward
    _prelu_kernel _prelu_kernel_backward rrelu_with_noise prelu where masked_fill addr cumsum_backward
    mse_loss mse_loss_backward smooth_l1_loss smooth_l1_loss_backward huber_loss huber_loss_backward
    binary_cross_entropy binary_cross_entropy_backward binary_cross_entropy_with_logits soft_margin_loss
    soft_margin_loss_backward native_dropout native_dropout_backward _cdist_forward _cdist_backward
    _thnn_fused_lstm_cell _thnn_fused_lstm_cell_backward_impl _thnn_fused_gru_cell
    _thnn_fused_gru_cell_backward floor_divide hardswish gelu threshold hardshrink_backward
    softshrink_backward cummax cummin logcumsumexp kthvalue mode isin bucketize nanmedian dist renorm
    complex polar heaviside _aminmax adaptive_max_pool3d adaptive_max_pool3d_backward
    adaptive_avg_pool3d_backward max_unpool2d max_unpool3d fractional_max_pool2d
    fractional_max_pool2d_backward grid_sampler_3d grid_sampler_3d_backward
    _upsample_bilinear2d_aa_backward _upsample_bicubic2d_aa _upsample_bicubic2d_aa_backward
    _upsample_nearest_exact1d _upsample_nearest_exact1d_backward _upsample_nearest_exact3d
    _upsample_nearest_exact3d_backward _weight_norm_interface _weight_norm_interface_backward
    rrelu_with_noise_backward _euclidean_dist _ctc_loss _ctc_loss_backward _fused_dropout multinomial
    replication_pad1d_backward replication_pad3d_backward reflection_pad3d_backward multi_margin_loss
    multi_margin_loss_backward
""")
)
def _elementwise(call: Call) -> list[Cost]:
    """Element by element, or a reduction: 1 FLOP per element of the largest operand."""
    left = max((operand.numel for operand in call.outputs), default=0)
    reduces = left < call.largest and ("reduction" in call.tags or left == 1)
    loop: Loop = "reduction" if reduces else "points"
    return [Cost(kind="elementwise", flops=call.largest, read=call.read, written=call.written, loop=loop)]


# --- gathers and scatters of rows ------------------------------------------------------------------------


def _indices(call: Call) -> int:
    listed = call.args.get("indices", call.args.get("index"))
    items = listed if isinstance(listed, (list, tuple)) else [listed]
    return sum(item.bytes for item in items if isinstance(item, Operand))


@rule(*aten("embedding index index_select gather take _unsafe_index _unsafe_masked_index"))
def _gather(call: Call) -> list[Cost]:
    """Rows looked up: the indices and the rows they name are read, not the whole table; 0 FLOPs."""
    return [Cost(kind="embedding", flops=0, read=_indices(call) + call.written, written=call.written, loop="points")]


@rule(
    *aten("""
    embedding_dense_backward index_put _unsafe_index_put _index_put_impl
    index_add scatter scatter_add scatter_reduce index_copy index_fill masked_scatter
""")
)
def _scatter(call: Call) -> list[Cost]:
    """Rows added into a table: a fresh result is first filled (or copied from `self`), then written."""
    names = ("grad_output", "grad", "values", "source", "src")
    rows = sum(value.bytes for key in names if isinstance(value := call.args.get(key), Operand))
    base = call.args.get("self")
    read = rows + _indices(call)
    if not call.mutated and isinstance(base, Operand):
        read += base.bytes
    filled = sum(operand.bytes for operand in call.outputs)
    flops, written = rows // max(1, _itemsize(call)), filled + rows
    return [Cost(kind="embedding", flops=flops, read=read, written=written, loop="scatter")]


@rule(*aten("slice_backward select_backward"))
def _padded(call: Call) -> list[Cost]:
    """Zeros, and a part of them written again."""
    (cost,) = _scatter(call)
    return [msgspec.structs.replace(cost, loop="points")]


def _itemsize(call: Call) -> int:
    return next((operand.itemsize for operand in (*call.outputs, *call.mutated)), 1)
