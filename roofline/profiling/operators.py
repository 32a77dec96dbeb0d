"""What an operator of a trace costs: its shapes named as its schema names them, its results from its inputs.

The formulas are those of `roofline/tracing`; a trace lacks what a call has: names of arguments, results, tags. An
operator that no rule knows has no cost, and is counted by its time alone.
"""

from __future__ import annotations

import math
import re
from typing import Any

from ..counting.op import Kind
from ..errors import RooflineError
from ..tracing import matmul, norms  # noqa: F401  register their rules
from ..tracing.rules import Call, Cost, Operand, aten, costs, rule
from .inputs import Arguments, is_true
from .results import attended, convolution_settings, results
from .words import listed, words

_WITH_RESULT = frozenset({"mm", "addmm", "bmm", "baddbmm"})  # compiled code passes the result too
_OPTIMIZERS = ("_foreach_", "_fused_", "_amp_foreach")
_NO_SUCH_CALL = (RooflineError, LookupError, ValueError, TypeError, AttributeError, ZeroDivisionError, StopIteration)


def operator_costs(name: str, found: Arguments, *, backward: bool) -> list[Cost] | None:
    """The kernels of an operator with their FLOPs and bytes; None where no rule knows it or an input is missing."""
    try:
        call = _call(name, found, backward=backward)
        return None if call is None else costs(call)
    except _NO_SUCH_CALL:
        return None  # shapes that no call of this operator has: an old schema, or a namesake


def _call(name: str, found: Arguments, *, backward: bool) -> Call | None:
    """The operator as a call that a rule understands."""
    if name in words().by_length:
        return _attention_by_length(name, found, backward=backward)
    if name.startswith("triton_"):
        return Call(name="profile.generated", args={"name": name}, inputs=_shaped(found.tensors))
    if not name.startswith("aten::") or any(not tensor.itemsize for tensor in found.tensors):
        return None
    base = name.removeprefix("aten::")
    if base.startswith("cudnn_convolution_backward"):
        return Call(name=f"aten.{base}", args={"tensors": found.tensors}, inputs=found.tensors, backward=True)
    if base.startswith(_OPTIMIZERS) and not base.startswith("_fused_rms"):
        return _optimizer_call(base, found)
    return _aten_call(base, found, backward=backward)


def _aten_call(base: str, found: Arguments, *, backward: bool) -> Call | None:
    stem, tensors = base.removesuffix("_"), found.tensors
    named = words().arguments.get(stem, "").split()
    args: dict[str, Any] = {str(place): item for place, item in enumerate(found.items)}
    args |= dict(zip(named, found.items, strict=False))
    if "is_causal" in args:
        args["is_causal"] = is_true(args["is_causal"]) or False
    if "convolution" in base:
        args = convolution_settings(args)
    if isinstance(args.get("output_mask"), str):
        args["output_mask"] = tuple(word == "True" for word in re.findall(r"True|False", args["output_mask"]))
    in_place = base.endswith("_")
    outputs = [] if in_place else results(base, args, tensors)
    if outputs is None:
        return None
    inputs = tensors[: len(named)] if base in _WITH_RESULT else tensors[1:] if stem == "copy" else tensors
    return Call(
        name=f"aten.{words().same.get(base, base)}",
        args=args,
        inputs=_shaped(inputs),
        mutated=tensors[:1] if in_place else (),
        outputs=tuple(outputs),
        tags=frozenset({"pointwise"} if stem in listed("pointwise") else ()),
        backward=backward,
    )


def _shaped(inputs: tuple[Operand, ...]) -> tuple[Operand, ...]:
    """Tensors without shape (a scale, a learning rate) cross memory too, but weigh nothing."""
    return tuple(tensor for tensor in inputs if tensor.shape)


def _attention_by_length(name: str, found: Arguments, *, backward: bool) -> Call | None:
    """Attention on [batch, length, heads, size], brought into the order of torch's own."""
    base, named = words().by_length[name]
    args: dict[str, Any] = dict(zip(named.split(), found.items, strict=False))
    for key in ("query", "key", "value", "out", "grad_out"):
        item = args.get(key)
        if isinstance(item, Operand):
            b, s, h, d = item.shape  # packed sequences have no batch, and their lengths are not in the trace
            args[key] = Operand(shape=(b, h, s, d), itemsize=item.itemsize, elements=item.elements)
    args["is_causal"] = is_true(args.get("is_causal")) or args.get("custom_mask_type") in {"1", "2"}
    tensors = tuple(item for item in args.values() if isinstance(item, Operand))
    outputs = tuple(attended(args, backward="backward" in base))
    return Call(name=f"aten.{base}", args=args, inputs=_shaped(tensors), outputs=outputs, backward=backward)


def _optimizer_call(base: str, found: Arguments) -> Call | None:
    """Lists of tensors of one length each: read once, the first list (fused: also the moments) written."""
    lists = [item for item in found.items if isinstance(item, list) and any(each.shape for each in item)]
    if not lists:
        return None
    fused = next((word for word in words().fused if word in base), None) if base.startswith("_fused_") else None
    moments = lists[2 : 2 + words().fused[fused][0]] if fused else []  # the second list is the gradients
    return Call(
        name="profile.optimizer",
        args={"flops": words().fused[fused][1] if fused else 1, "first": lists[0]},
        inputs=tuple(each for item in lists for each in item),
        mutated=tuple(each for item in (lists[0], *moments) for each in item),
    )


# --- rules of what only a trace shows -----------------------------------------------------------------------


@rule("profile.optimizer")
def _optimizer(call: Call) -> list[Cost]:
    """Element by element over lists of tensors; a fused update does all of the arithmetic in one pass."""
    elements = sum(tensor.elements for tensor in call.args["first"])
    return [Cost(kind="optimizer", flops=call.args["flops"] * elements, read=call.read, written=call.written)]


@rule("profile.generated")
def _generated(call: Call) -> list[Cost]:
    """A kernel that a compiler made: its arguments, results among them, cross memory once.

    What was fused is in the name only: one FLOP per element of the largest tensor for each fused operation. A template
    of a matmul has its operands first.
    """
    fused = [word for word in call.args["name"].split("_fused_")[-1].split("_") if word and not word.isdigit()]
    if call.args["name"].startswith("triton_tem_"):
        return [_template(call, fused)]
    kind: Kind = "softmax" if "softmax" in fused else "normalization" if "rsqrt" in fused else "elementwise"
    return [Cost(kind=kind, flops=len(fused) * call.largest, read=call.read, written=0)]


def _template(call: Call, fused: list[str]) -> Cost:
    """A matmul that a compiler made from its template: [..., m, k] @ [..., k, n] and what is fused to it."""
    pairs = zip(call.inputs, call.inputs[1:], strict=False)
    left, right = next((a.shape, b.shape) for a, b in pairs if len(a.shape) > 1 and a.shape[-1] == b.shape[-2])
    if not any(word.endswith("mm") for word in fused):
        raise RooflineError("a template of something else: attention has no shape of its own here")
    (m, k), n, batch = left[-2:], right[-1], math.prod(left[:-2])
    return Cost(kind="matmul", flops=2 * batch * m * n * k, read=call.read, written=0, shape=(m, n, k, batch))


@rule(*aten("cudnn_convolution_backward_input cudnn_convolution_backward_weight"))
def _old_convolution_gradient(call: Call) -> list[Cost]:
    """Gradients of a convolution before PyTorch 1.10: one operand is known by the other's size alone.

    The data gradient has the weight [O, C/groups, ...], and each position of dy [N, O, ...] meets every weight. Of the
    weight gradient the size of the kernel is missing: no FLOPs then.
    """
    dy, weight = call.args["tensors"][:2]
    if "input" not in call.name:
        raise RooflineError("the kernel's size is not recorded")
    positions, n, k = dy.numel // dy.shape[1], weight.shape[0], weight.numel // weight.shape[0]
    flops = 2 * positions * weight.numel
    return [
        Cost(kind="matmul", flops=flops, read=call.read, written=dy.bytes, shape=(positions, k, n, 1), gradient="data")
    ]
