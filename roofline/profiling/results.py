"""The results of an operator, which a trace does not record, from its inputs; None where these do not tell."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, TypeAlias

from ..tracing.rules import Operand
from .inputs import is_true, whole_numbers
from .words import listed

Args: TypeAlias = dict[str, Any]
Found: TypeAlias = "list[Operand] | None"


def results(base: str, args: Args, tensors: tuple[Operand, ...]) -> Found:
    """The results of an operator that have memory of their own."""
    known = _SHAPES.get(base)
    if known is not None:
        shape = known(args)
        return None if shape is None else [dense(shape, tensors[0].itemsize)]
    other = _OTHERS.get(base) or next((rule for fits, rule in _CLASSES if fits(base)), _elementwise)
    return other(args, tensors)


def dense(shape: tuple[int, ...], itemsize: int) -> Operand:
    """A tensor of its own."""
    return Operand(shape=shape, itemsize=itemsize, elements=prod(shape))


def broadcast(tensors: tuple[Operand, ...]) -> Operand:
    """What element-wise arithmetic gives, in the widest type."""
    rank = max(len(tensor.shape) for tensor in tensors)
    padded = [(1,) * (rank - len(tensor.shape)) + tensor.shape for tensor in tensors]
    shape = tuple(max(sizes) for sizes in zip(*padded, strict=True))
    shaped = [tensor.itemsize for tensor in tensors if tensor.shape]
    return dense(shape, max(shaped or [tensors[0].itemsize]))


def _embedding_rows(args: Args) -> tuple[int, ...] | None:
    rows = whole_numbers(args.get("num_weights"))
    return (rows[0], args["grad_output"].shape[-1]) if rows else None


_SHAPES: dict[str, Callable[[Args], tuple[int, ...] | None]] = {
    "mm": lambda a: (a["self"].shape[0], a["mat2"].shape[1]),
    "_int_mm": lambda a: (a["self"].shape[0], a["mat2"].shape[1]),
    "_scaled_mm": lambda a: (a["self"].shape[0], a["mat2"].shape[1]),
    "addmm": lambda a: (a["mat1"].shape[0], a["mat2"].shape[1]),
    "_addmm_activation": lambda a: (a["mat1"].shape[0], a["mat2"].shape[1]),
    "bmm": lambda a: (*a["self"].shape[:2], a["mat2"].shape[2]),
    "baddbmm": lambda a: (*a["batch1"].shape[:2], a["batch2"].shape[2]),
    "addbmm": lambda a: (a["batch1"].shape[1], a["batch2"].shape[2]),
    "linear": lambda a: (*a["input"].shape[:-1], a["weight"].shape[0]),
    "mv": lambda a: a["self"].shape[:1],
    "addmv": lambda a: a["mat"].shape[:1],
    "dot": lambda _: (),
    "embedding": lambda a: (*a["indices"].shape, a["weight"].shape[-1]),
    "embedding_dense_backward": _embedding_rows,
    "nll_loss_forward": lambda _: (),
    "gather": lambda a: a["index"].shape,
}


def _joined(_args: Args, tensors: tuple[Operand, ...]) -> Found:
    return [Operand(shape=(), itemsize=tensors[0].itemsize, elements=sum(t.numel for t in tensors))]


def _norm_gradients(args: Args, _tensors: tuple[Operand, ...]) -> Found:
    weight = args.get("weight")
    return [args["input"], *([weight] * 2 if isinstance(weight, Operand) else [])]


def _selected(args: Args, _tensors: tuple[Operand, ...]) -> Found:
    source, index = args["self"], args["index"]
    if not isinstance(args.get("dim"), str):
        return None
    dim = int(args["dim"]) % len(source.shape)
    return [dense((*source.shape[:dim], index.numel, *source.shape[dim + 1 :]), source.itemsize)]


def _indexed(args: Args, _tensors: tuple[Operand, ...]) -> Found:
    source, index = args["self"], args["indices"]
    shaped = tuple(each for each in index if each.shape) if isinstance(index, list) else ()
    return [dense((broadcast(shaped).numel, *source.shape[len(index) :]), source.itemsize)] if shaped else None


def _pooled(args: Args, tensors: tuple[Operand, ...]) -> Found:
    """Each window of the stride gives a value and an int64 place."""
    size, stride = whole_numbers(args.get("1")), whole_numbers(args.get("2"))
    if not size:
        return None
    area = tensors[0].numel // max(prod(((stride or size) * 2)[:2]), 1)
    return [Operand(shape=(), itemsize=tensors[0].itemsize + 8, elements=area)]


_OTHERS: dict[str, Callable[[Args, tuple[Operand, ...]], Found]] = {
    "cat": _joined,
    "stack": _joined,
    "native_layer_norm_backward": _norm_gradients,
    "_fused_rms_norm_backward": _norm_gradients,
    "nll_loss_backward": lambda args, _: [args["self"]],
    "convolution_backward": lambda args, _: [args["input"], args["weight"]],
    "index_select": _selected,
    "index": _indexed,
    "max_pool2d_with_indices": _pooled,
}


def _elementwise(_args: Args, tensors: tuple[Operand, ...]) -> Found:
    return [broadcast(tensors)]


def _reduced(args: Args, tensors: tuple[Operand, ...]) -> Found:
    """Without the dimensions that the second argument lists; all, where it lists none."""
    first = tensors[0]
    dims = whole_numbers(args.get("1")) or tuple(range(len(first.shape)))
    gone = {dim % max(len(first.shape), 1) for dim in dims}
    return [dense(tuple(size for place, size in enumerate(first.shape) if place not in gone), first.itemsize)]


def _gradient(_args: Args, tensors: tuple[Operand, ...]) -> Found:
    """A gradient has the shape of what it is the gradient of: the input, the largest tensor of most."""
    return [max(tensors, key=lambda tensor: tensor.elements)]


def convolution_settings(args: Args) -> Args:
    """Groups and transposition as values: groups follow from the channels where no scalar is recorded."""
    image = args["input"] if "input" in args else args["self"]
    transposed = bool(is_true(args.get("transposed")))
    groups = whole_numbers(args.get("groups"))
    inferred = 1 if transposed else image.shape[1] // max(args["weight"].shape[1], 1)
    return {**args, "transposed": transposed, "groups": groups[0] if groups else inferred}


def _convolved(args: Args, _tensors: tuple[Operand, ...]) -> Found:
    """The image that a convolution makes, where its strides are recorded."""
    image, weight = args["input"] if "input" in args else args["self"], args["weight"]
    settings = [whole_numbers(args.get(name)) for name in ("stride", "padding", "dilation")]
    if any(each is None for each in settings) or args.get("transposed"):
        return None
    spatial = len(image.shape) - 2
    stride, padding, dilation = ((each or (1,)) * spatial for each in settings)
    sizes = [
        (size + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1
        for i, size in enumerate(image.shape[2:])
    ]
    return [dense((image.shape[0], weight.shape[0], *sizes), image.itemsize)]


def attended(args: Args, *, backward: bool) -> list[Operand]:
    """Forward: the result and fp32 sums of rows; backward: gradients of query, key and value."""
    q, k, v = args["query"], args["key"], args["value"]
    if backward:
        return [q, k, v]
    rows = prod(q.shape[:3])
    return [dense((*q.shape[:3], v.shape[3]), q.itemsize), dense((rows,), 4)]


# the input is larger than anything that the backward pass sees
_ENLARGED = ("upsample", "_upsample", "avg_pool", "_adaptive", "slice", "select")
_CLASSES: tuple[tuple[Callable[[str], bool], Callable[[Args, tuple[Operand, ...]], Found]], ...] = (
    (lambda base: base.endswith("_norm"), lambda _, tensors: [tensors[0]]),
    (lambda base: base.endswith("convolution"), _convolved),
    (lambda base: "attention" in base, lambda args, _: attended(args, backward="grad_out" in args)),
    (lambda base: base in listed("reductions"), _reduced),
    (lambda base: base.endswith("_backward") and base.startswith(_ENLARGED), lambda *_: None),
    (lambda base: base.endswith("_backward"), _gradient),
)
