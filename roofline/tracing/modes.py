"""How a traced pass runs: on shapes instead of data, and with the kernels a GPU would pick."""

# ruff: noqa: SLF001  pytrees, fake tensors and the oneDNN switch have no public name
from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from . import autocast, cudnn, higher_order

_LARGEST_KNOWN = 2**26  # bytes: tensors of integers up to this size keep their values, such as a mask of 8k x 8k
_LARGEST_FLOATS = 2**24  # and what is made of numbers alone, such as a mask of 2k x 2k with -inf in it
_SMALL = 2**12  # numbers: operators on no more make tensors of a bounded size


def with_data(torch: Any) -> Callable[[Any, Any, Any], Any]:
    """Run operators as they are."""

    def execute(func: Any, args: Any, kwargs: Any) -> Any:
        result = cudnn.run(torch, func, args, real=True)
        return func(*args, **kwargs) if result is None else result

    return execute


def fake_mode(torch: Any, stack: contextlib.ExitStack) -> Any:
    """Tensors with a shape and no data; torch's log of what it raises anyway is silenced for the time."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    stack.callback(setattr, logger, "disabled", logger.disabled)
    logger.disabled = True
    return torch._subclasses.fake_tensor.FakeTensorMode(allow_non_fake_inputs=True)


@contextlib.contextmanager
def without_data(torch: Any, mode: Any) -> Iterator[Callable[[Any, Any, Any], Any]]:
    """Run operators on shapes alone, except small ones on known values (positions, masks): these run.

    So a model that asks whether its mask is all ones takes the branch it takes in real training. Known are integers,
    and what is made of numbers without chance; not what a tensor of unknown values was written to.
    """
    stale: set[int] = set()  # storages
    fake_tensor = torch._subclasses.fake_tensor
    leaves_of = torch.utils._pytree.tree_leaves

    def tensors_of(tree: Any) -> list[Any]:
        return [leaf for leaf in leaves_of(tree) if isinstance(leaf, torch.Tensor)]

    def known(tensors: list[Any]) -> bool:
        return all(
            not isinstance(tensor, fake_tensor.FakeTensor)
            and not tensor.is_complex()
            and tensor.nbytes <= (_LARGEST_FLOATS if tensor.is_floating_point() else _LARGEST_KNOWN)
            and tensor.untyped_storage()._cdata not in stale
            for tensor in tensors
        )

    def execute(func: Any, args: Any, kwargs: Any) -> Any:
        inputs = tensors_of((args, kwargs))
        if not known(inputs):
            written = (args[at] for at, one in enumerate(func._schema.arguments[: len(args)]) if _writes(one))
            for storage in (tensor.untyped_storage() for tensor in tensors_of(list(written))):
                stale.add(storage._cdata)
                weakref.finalize(storage, stale.discard, storage._cdata)
            return _on_shapes(torch, func, args, kwargs)
        if not inputs or any(tensor.numel() > _SMALL for tensor in inputs):  # how much it makes is known on shapes
            result = _on_shapes(torch, func, args, kwargs)
            made = tensors_of(result)
            by_chance = torch.Tag.nondeterministic_seeded in func.tags or func._schema.name.startswith("aten::empty")
            unknown = by_chance and not inputs and any(tensor.is_floating_point() for tensor in made)
            limits = [_LARGEST_FLOATS if tensor.is_floating_point() else _LARGEST_KNOWN for tensor in made]
            if unknown or any(tensor.nbytes > limit for tensor, limit in zip(made, limits, strict=True)):
                return result
        with fake_tensor.unset_fake_temporarily():
            result = func(*args, **kwargs)
        return torch.utils._pytree.tree_map_only(
            torch.Tensor, lambda tensor: tensor if known([tensor]) else mode.from_tensor(tensor), result
        )

    with mode:
        yield execute


def _writes(argument: Any) -> bool:
    return argument.alias_info is not None and bool(argument.alias_info.is_write)


def _on_shapes(torch: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operator on fake tensors, those that torch gives no shape among them."""
    result = cudnn.run(torch, func, args, real=False)
    if result is not None:
        return result
    name = func._schema.name
    if name == "aten::_grouped_mm" and args[0].dtype != torch.bfloat16:  # in bf16 only
        left, right = (operand.to(torch.bfloat16) for operand in args[:2])
        return func(left, right, *args[2:], **kwargs).to(args[0].dtype)
    return func(*args, **kwargs)


@contextlib.contextmanager
def whole(module: Any) -> Iterator[None]:
    """Without the hooks that torch.distributed hangs on modules: FSDP2 gathers shards there, which are whole here."""
    tables = [hooks for part in module.modules() for hooks in (part._forward_pre_hooks, part._forward_hooks)]
    kept = [(hooks, list(hooks.items())) for hooks in tables]
    for hooks, items in kept:
        for key, hook in items:
            if str(getattr(hook, "__module__", "")).startswith("torch.distributed."):
                del hooks[key]
    try:
        yield
    finally:
        for hooks, items in kept:
            hooks.clear()
            hooks.update(items)


@contextlib.contextmanager
def gpu_kernels(torch: Any, *, real: bool) -> Iterator[None]:
    """Run as a GPU does: one dropout kernel, dropout in fused attention, recurrences of cuDNN, no CPU-only kernels."""
    functional = torch.nn.functional
    attention, dropout = functional.scaled_dot_product_attention, functional.dropout

    def fused_dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:  # noqa: A002
        if not training or p == 0:
            return dropout(input, p, training, inplace)
        return torch.native_dropout(input, p, True)[0]

    def fused_attention(
        query: Any,
        key: Any,
        value: Any,
        attn_mask: Any = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Any:
        del dropout_p  # drawn inside the kernel: no mask in memory
        learned = attn_mask is not None and attn_mask.requires_grad  # positions of T5
        if real or query.dim() != 4 or not (learned or query.shape[-1] != value.shape[-1]):
            options = {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
            return attention(query, key, value, attn_mask, 0.0, **options)
        # heads of queries and values differ in width, or a mask takes a gradient: a GPU has a fused kernel for that
        groups = query.shape[1] // key.shape[1]
        key, value = (tensor.repeat_interleave(groups, 1) if groups > 1 else tensor for tensor in (key, value))
        bias = attn_mask
        if bias is not None:
            bias = bias.to(query.dtype).expand(*query.shape[:3], key.shape[2])
        kernel = torch.ops.aten._scaled_dot_product_efficient_attention
        return kernel(query, key, value, bias, True, 0.0, is_causal, scale=scale)[0]

    functional.dropout, functional.scaled_dot_product_attention = fused_dropout, fused_attention
    onednn = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        with (
            autocast.of_gpu(torch),
            cudnn.recurrences(torch, real=real),
            higher_order.as_they_run(torch, real=real),
        ):
            yield
    finally:
        functional.dropout, functional.scaled_dot_product_attention = dropout, attention
        torch._C._set_mkldnn_enabled(onednn)
