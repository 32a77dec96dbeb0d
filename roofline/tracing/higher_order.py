"""Torch's operators that take functions, in a traced pass: control flow as Python runs it, flex attention as a kernel.

Eager torch hands them to its compiler, whose graphs a trace does not see. Each is replaced where the public function
looks its operator up, however that function was imported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from math import ceil
from typing import Any


@contextlib.contextmanager
def as_they_run(torch: Any, *, real: bool) -> Iterator[None]:
    """Branches, loops and scans call their functions; flex attention is one operator."""
    flex, control = "torch.nn.attention.flex_attention", "torch._higher_order_ops"
    places: list[tuple[str, str, Any]] = [
        (f"{control}.cond", "cond_op", _branch(torch, real=real)),
        (f"{control}.while_loop", "while_loop_op", _loop),
        (f"{control}.scan", "scan_op", _scan(torch)),
        (flex, "flex_attention_hop", _flex_attention(torch)),
        (flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True),
        (flex, "_validate_device", lambda *_: None),  # shapes on the CPU stand for those on a GPU
    ]
    modules = [import_module(name) for name, _, _ in places]
    kept = [getattr(module, name) for module, (_, name, _) in zip(modules, places, strict=True)]
    try:
        for module, (_, name, replacement) in zip(modules, places, strict=True):
            setattr(module, name, replacement)
        yield
    finally:
        for module, (_, name, _), value in zip(modules, places, kept, strict=True):
            setattr(module, name, value)


def _branch(torch: Any, *, real: bool) -> Callable[..., Any]:
    def run(pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
        """The branch that a known predicate names; of one that hangs on the data, the first."""
        known = not isinstance(pred, torch.Tensor) or real or not hasattr(pred, "fake_mode")
        return (true_fn if not known or bool(pred) else false_fn)(*operands)

    return run


def _loop(cond_fn: Any, body_fn: Any, carried: Any, additional: Any) -> Any:
    """As often as the condition says, which must be known."""
    while cond_fn(*carried, *additional):
        carried = body_fn(*carried, *additional)
    return carried


def _scan(torch: Any) -> Callable[..., Any]:
    def run(combine: Any, carry: Any, sources: Any, additional_inputs: Any = ()) -> tuple[list[Any], list[Any]]:
        """Along the first dimension; `combine` returns what it carries, then what it gives out."""
        count, steps = len(carry), []
        for rows in zip(*sources, strict=True):
            found = list(combine(*carry, *rows, *additional_inputs))
            carry, given = found[:count], found[count:]
            steps.append(given)
        return list(carry), [torch.stack(given) for given in zip(*steps, strict=True)]

    return run


# --- flex attention ----------------------------------------------------------------------------------------

_QUERY_LENGTH, _KEY_LENGTH, _BLOCKS, _FULL_BLOCKS, _BLOCK_SIZES = 0, 1, 2, 4, slice(-3, -1)  # in a mask's tuple


def _flex_attention(torch: Any) -> Callable[..., Any]:
    operator = _operator(torch)

    def run(query: Any, key: Any, value: Any, score_mod: Any, mask: Any, *_: Any, **__: Any) -> tuple[Any, Any, Any]:
        """Output, log-sum-exp, largest scores. What `score_mod` computes stays in the kernel."""
        del score_mod
        output, sums = operator(query, key, value, _visible(mask))
        return output, sums, sums

    return run


def _visible(mask: tuple[Any, ...]) -> float:
    """Share of the blocks of scores that a kernel computes; all of them where the mask hangs on the data."""
    counts = [count for count in (mask[_BLOCKS], mask[_FULL_BLOCKS]) if count is not None]
    if any(hasattr(count, "fake_mode") or count.is_meta for count in counts):
        return 1.0
    rows, columns = mask[_BLOCK_SIZES]
    sizes = ceil(mask[_QUERY_LENGTH] / rows), ceil(mask[_KEY_LENGTH] / columns)
    shown: float = sum(count.sum().item() for count in counts)
    return min(shown / (counts[0].numel() / counts[0].shape[-1] * sizes[0] * sizes[1]), 1.0)


@cache
def _operator(torch: Any) -> Any:
    """``roofline::flex_attention(query, key, value, visible)``, of [batch, heads, length, size], with its gradient.

    On real data it is plain attention: a mask and a `score_mod` change numbers, and no shape.
    """
    library, name = torch.library, "roofline::flex_attention"
    library.define(name, "(Tensor query, Tensor key, Tensor value, float visible) -> (Tensor, Tensor)")
    backward = "(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor out, Tensor sums, float visible)"
    library.define(f"{name}_backward", f"{backward} -> (Tensor, Tensor, Tensor)")
    operators = torch.ops.roofline

    def shapes(query: Any, key: Any, value: Any, visible: float) -> tuple[Any, Any]:
        del key, visible
        alike = query.shape[-1] == value.shape[-1]
        output = torch.empty_like(query) if alike else query.new_empty(*query.shape[:-1], value.shape[-1])
        return output, query.new_empty(query.shape[:-1], dtype=torch.float32)

    def attend(query: Any, key: Any, value: Any, visible: float) -> tuple[Any, Any]:
        grouped = query.shape[1] != key.shape[1]
        attention = torch.nn.functional.scaled_dot_product_attention
        return attention(query, key, value, enable_gqa=grouped), shapes(query, key, value, visible)[1].zero_()

    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, Any]) -> None:
        *tensors, ctx.visible = inputs
        ctx.save_for_backward(*tensors, *output)
        ctx.set_materialize_grads(False)

    def differentiate(ctx: Any, grad: Any, _: Any) -> tuple[Any, ...]:
        return (*operators.flex_attention_backward(grad, *ctx.saved_tensors, ctx.visible), None)

    library.impl(name, "CPU", attend)
    library.register_fake(name, shapes)
    library.register_autograd(name, differentiate, setup_context=keep)

    def gradients(*args: Any) -> tuple[Any, ...]:
        return tuple(torch.zeros_like(operand) for operand in args[1:4])

    library.impl(f"{name}_backward", "CPU", gradients)
    library.register_fake(f"{name}_backward", gradients)
    return operators.flex_attention
