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
        (f"{control}.map", "map_impl", _map(torch)),
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


def _map(torch: Any) -> Callable[..., Any]:
    def run(function: Any, sources: Any, additional: Any) -> Any:
        """Row after row, as eager torch does."""
        trees = torch.utils._pytree  # noqa: SLF001 (pytrees have no public name)
        found = [trees.tree_flatten(function(*rows, *additional)) for rows in zip(*sources, strict=True)]
        columns = zip(*(leaves for leaves, _ in found), strict=True)
        return trees.tree_unflatten([torch.stack(column) for column in columns], found[0][1])

    return run


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
        """Output, log-sum-exp, largest scores; `score_mod` runs on all scores shown, the mask in cut blocks."""
        cut, full = _shown(mask)
        scored = _operations(torch, score_mod, query.new_empty((), dtype=torch.float32))
        masked = _operations(torch, mask[-1]) if cut else 0
        output, sums = operator(query, key, value, cut + full, (cut + full) * scored + cut * masked)
        return output, sums, sums

    return run


def _shown(mask: tuple[Any, ...]) -> tuple[float, float]:
    """Shares of the blocks of scores that a kernel computes: those cut by the mask, and full ones.

    All are cut where the mask hangs on the data.
    """
    counts = [count for count in (mask[_BLOCKS], mask[_FULL_BLOCKS]) if count is not None]
    if any(hasattr(count, "fake_mode") or count.is_meta for count in counts):
        return 1.0, 0.0
    rows, columns = mask[_BLOCK_SIZES]
    sizes = ceil(mask[_QUERY_LENGTH] / rows), ceil(mask[_KEY_LENGTH] / columns)
    blocks = counts[0].numel() / counts[0].shape[-1] * sizes[0] * sizes[1]
    cut, full = (min(count.sum().item() / blocks, 1.0) for count in (*counts, *counts[:1])[:2])
    return (cut, full) if len(counts) > 1 else (cut, 0.0)


def _operations(torch: Any, function: Any, *score: Any) -> int:
    """Operators that a `score_mod` or `mask_mod` runs on one score: those that make a tensor of their own."""
    mode: Any = torch.utils._python_dispatch.TorchDispatchMode  # noqa: SLF001 (it has no public name)
    made: list[Any] = []

    class Count(mode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            del types
            aliases = [item.alias_info for item in func._schema.returns]  # noqa: SLF001
            made.extend([func] if not any(aliases) else [])
            return func(*args, **(kwargs or {}))

    places = [torch.zeros((), dtype=torch.int32) for _ in range(4)]  # batch, head, query, key
    with torch.utils._python_dispatch._disable_current_modes(), torch.no_grad(), Count():  # noqa: SLF001
        function(*score, *places)
    return len(made)


@cache
def _operator(torch: Any) -> Any:
    """``roofline::flex_attention`` of query, key and value [batch, heads, length, size], with its gradient.

    `visible` is the share of scores that it computes, `work` how many operations run on a score besides, over all. On
    real data it is plain attention: a mask and a `score_mod` change numbers, and no shape.
    """
    library, name = torch.library, "roofline::flex_attention"
    library.define(name, "(Tensor query, Tensor key, Tensor value, float visible, float work) -> (Tensor, Tensor)")
    backward = (
        "(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor out, Tensor sums, float visible, float work)"
    )
    library.define(f"{name}_backward", f"{backward} -> (Tensor, Tensor, Tensor)")
    operators = torch.ops.roofline

    def shapes(query: Any, key: Any, value: Any, visible: float, work: float) -> tuple[Any, Any]:
        del key, visible, work
        alike = query.shape[-1] == value.shape[-1]
        output = torch.empty_like(query) if alike else query.new_empty(*query.shape[:-1], value.shape[-1])
        return output, query.new_empty(query.shape[:-1], dtype=torch.float32)

    def attend(query: Any, key: Any, value: Any, visible: float, work: float) -> tuple[Any, Any]:
        grouped = query.shape[1] != key.shape[1]
        attention = torch.nn.functional.scaled_dot_product_attention
        return attention(query, key, value, enable_gqa=grouped), shapes(query, key, value, visible, work)[1].zero_()

    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, Any]) -> None:
        *tensors, ctx.visible, ctx.work = inputs
        ctx.save_for_backward(*tensors, *output)
        ctx.set_materialize_grads(False)

    def differentiate(ctx: Any, grad: Any, _: Any) -> tuple[Any, ...]:
        return (*operators.flex_attention_backward(grad, *ctx.saved_tensors, ctx.visible, ctx.work), None, None)

    library.impl(name, "CPU", attend)
    library.register_fake(name, shapes)
    library.register_autograd(name, differentiate, setup_context=keep)

    def gradients(*args: Any) -> tuple[Any, ...]:
        return tuple(torch.zeros_like(operand) for operand in args[1:4])

    library.impl(f"{name}_backward", "CPU", gradients)
    library.register_fake(f"{name}_backward", gradients)
    return operators.flex_attention
