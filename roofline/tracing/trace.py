"""Any PyTorch module as the ops the analytic path counts: one training pass, recorded operator by operator.

The pass runs on fake tensors (shapes without data), so a 70B module costs no memory. Kernels are those a GPU
would run: fused attention, one dropout kernel with a byte mask. Only this module imports torch, in functions.
"""

# ruff: noqa: SLF001  pytrees and the oneDNN switch have no public name
from __future__ import annotations

import contextlib
import os
import runpy
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

from ..errors import RooflineError, unknown
from ..gate import gated
from .modes import fake_mode, gpu_kernels, whole, with_data, without_data
from .recorder import ModuleCost, Recorder, Trace

__all__ = ["FailedPassError", "ModuleCost", "Trace", "load_builder", "trace"]

LARGEST_REAL = 300e6  # parameters of a module that runs on numbers by itself
_CASTS = {"fp64": "float64", "fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}

_SPARSE = (
    "how large it is hangs on its values: trace an embedding with sparse=False, a matrix as index_select and index_add"
)
_REMEDIES = {  # what torch says of what a traced pass cannot do -> what to do
    "SparseTensorImpl": _SPARSE,
    "not defined for sparse tensors": _SPARSE,
    "NestedInt": "a nested tensor's sizes are not in its shape: pad it",
    "saved tensor hooks": "torch.func.grad hides what it keeps: take torch.autograd.grad(..., create_graph=True)",
    "combine_mode='pointwise'": "trace it with 'generic'",
}


class FailedPassError(RooflineError):
    """A module does not run on its example inputs; `asks_value`: because shapes have no values."""

    asks_value = False


def import_torch() -> Any:
    """The torch package.

    Raises:
        RooflineError: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise RooflineError("tracing a module needs PyTorch: pip install 'roofline[torch]'") from error
    return torch


@gated()
def trace(
    module: Any,
    *example_inputs: Any,
    keyword_inputs: Mapping[str, Any] | None = None,
    loss: Callable[[Any], Any] | None = None,
    dtype: str | None = None,
    real: bool = False,
) -> Trace:
    """Trace one training pass of `module`; neither it nor its inputs are changed.

    Args:
        module: Any `torch.nn.Module`, on the CPU or the meta device.
        *example_inputs: Its inputs; only shapes and dtypes matter unless `real`.
        keyword_inputs: Its keyword inputs.
        loss: Scalar loss of the module's output. None: the output's own ``loss`` if it has one, otherwise
            backward starts from a given gradient of every output, which costs nothing.
        dtype: fp64, fp32, tf32, fp16 or bf16: what parameters and inputs are cast to; None: as they are.
        real: Run on real data: for modules whose shapes depend on values (experts in a Python loop).

    Raises:
        RooflineError: torch is missing, the module fails on these inputs, its shapes depend on data, or
            it runs an operator without a cost rule.
    """
    torch = import_torch()
    if not isinstance(module, torch.nn.Module):
        raise RooflineError(f"trace needs a torch.nn.Module, got {type(module).__name__}")
    if dtype is not None and dtype not in _CASTS:
        raise RooflineError(f"cannot trace in dtype {dtype!r} (allowed: {', '.join(_CASTS)})")
    cast = getattr(torch, _CASTS[dtype]) if dtype else None
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "Using `torch.compile")  # beside hooks on modules, which are ours
        stack.enter_context(gpu_kernels(torch, real=real))
        stack.enter_context(whole(module))
        mode = None if real else fake_mode(torch, stack)
        state = {name: _leaf(torch, tensor, cast, mode) for name, tensor in _state(module)}
        args, kwargs = torch.utils._pytree.tree_map_only(
            torch.Tensor,
            lambda tensor: _leaf(torch, tensor, cast, mode),
            (example_inputs, dict(keyword_inputs or {})),
        )
        execute = stack.enter_context(without_data(torch, mode)) if mode else with_data(torch)
        recorder = Recorder(torch, module, execute, "tf32" if dtype == "tf32" else None)
        recorder.exclude(state)
        recorder.track((args, kwargs))
        for parameter in state.values():
            if parameter.requires_grad:  # gradients of parameters are the caller's to count
                parameter.register_post_accumulate_grad_hook(_drop_gradient)
        stack.enter_context(_explained(module))

        def run_pass() -> None:
            with recorder.keeping():
                output = module(*args, **kwargs)  # stays alive until the end, as in a training loop
                targets = _targets(torch, output, loss)
            recorder.hold(output)
            if targets:
                torch.autograd.backward(targets, [torch.empty_like(target) for target in targets])

        stack.enter_context(recorder.recording())
        _call_with(torch, module, state, run_pass)
    return recorder.result()


def _call_with(torch: Any, module: Any, state: dict[str, Any], function: Callable[[], None]) -> None:
    """Call with the module's parameters and buffers replaced, in backward too: checkpoints rerun layers."""

    class Pass(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self) -> None:
            function()

    torch.func.functional_call(Pass(), {f"module.{name}": tensor for name, tensor in state.items()}, ())


def _state(module: Any) -> Iterator[tuple[str, Any]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _leaf(torch: Any, tensor: Any, cast: Any, mode: Any) -> Any:
    """A stand-in for a parameter, buffer or input: same shape, strides and (unless cast) dtype; a leaf.

    Integers (token ids, positions) keep their values where they have some: control flow may look at them.
    """
    dtype = cast if cast is not None and tensor.is_floating_point() else tensor.dtype
    if hasattr(tensor, "full_tensor"):  # a DTensor stands for the whole that its shards are of
        device = "cpu" if mode is None else "meta"
        tensor = torch.zeros(tensor.shape, dtype=tensor.dtype, device=device, requires_grad=tensor.requires_grad)
    valueless = tensor.is_floating_point() or tensor.is_complex() or tensor.is_meta
    if valueless and mode is not None:
        with mode:
            leaf = torch.empty_strided(tensor.size(), tensor.stride(), dtype=dtype, device="cpu")
        return leaf.requires_grad_(tensor.requires_grad)
    detached = tensor.detach().to(dtype)
    return (detached if tensor.requires_grad else detached.clone()).requires_grad_(tensor.requires_grad)


def _drop_gradient(parameter: Any) -> None:
    parameter.grad = None


def _targets(torch: Any, output: Any, loss: Callable[[Any], Any] | None) -> list[Any]:
    """The tensors that backward starts from."""
    if loss is not None:
        output = loss(output)
    elif isinstance(output, Mapping) and isinstance(output.get("loss"), torch.Tensor):
        output = output["loss"]
    leaves = torch.utils._pytree.tree_leaves(output)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.requires_grad]


@contextlib.contextmanager
def _explained(module: Any) -> Iterator[None]:
    """Turn what a module raises while it runs into one line with a remedy."""
    name = type(module).__name__
    try:
        yield
    except RooflineError:
        raise
    except Exception as error:  # a module can raise anything
        first_line, line = _first_line(error), _line_of(error, module)
        if type(error).__name__ in {"DynamicOutputShapeException", "DataDependentOutputException"}:
            failed = FailedPassError(
                f"{name} asks for a value{line} ({first_line}): shapes have none, trace it with real=True (--real)"
            )
            failed.asks_value = True
            raise failed from error
        remedy = "".join(f": {remedy}" for words, remedy in _REMEDIES.items() if words in first_line)
        raise FailedPassError(
            f"{name} failed on the example inputs{line}: {type(error).__name__}: {first_line}{remedy}"
        ) from error


def _line_of(error: Exception, module: Any) -> str:
    """Where in the code of a module's classes an error arose: the innermost line of a file that defines one of them."""
    files = {getattr(sys.modules.get(type(part).__module__), "__file__", None) for part in module.modules()}
    files |= {code.co_filename for part in module.modules() if (code := getattr(part.forward, "__code__", None))}
    inside = f"{os.sep}torch{os.sep}"  # torch's own layers have no line of the user's
    found = (
        at for at in traceback.extract_tb(error.__traceback__) if at.filename in files and inside not in at.filename
    )
    last = deque(found, maxlen=1)
    return f" at {Path(last[0].filename).name}:{last[0].lineno}" if last else ""


def load_builder(spec: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Import ``path/to/file.py:function`` and call it for a module with its example inputs.

    It returns ``(module, example_inputs)``: a tensor, a tuple of them, or a dict of keyword inputs.

    Returns:
        The module, its positional inputs, its keyword inputs.

    Raises:
        RooflineError: No such file or function, an error inside it, or another return value.
    """
    torch = import_torch()
    path_text, _, function_name = spec.rpartition(":")
    path = Path(path_text)
    if not path_text.endswith(".py") or not function_name:
        raise RooflineError(f"{spec!r} does not name a function: write path/to/file.py:function")
    if not path.is_file():
        raise RooflineError(f"no file {path_text!r}: write path/to/file.py:function")
    namespace = _import_file(path)
    build = namespace.get(function_name)
    if not callable(build):
        functions = [name for name, value in namespace.items() if isinstance(value, FunctionType)]
        raise unknown("function", function_name, functions, f"functions of {path_text}: {', '.join(functions)}")
    try:
        built = build()
    except Exception as error:  # a builder can raise anything
        raise RooflineError(f"{spec} failed: {type(error).__name__}: {_first_line(error)}") from error
    if not (isinstance(built, tuple) and len(built) == 2 and isinstance(built[0], torch.nn.Module)):
        raise RooflineError(f"{spec} must return (module, example_inputs), got {_described(built)}")
    module, inputs = built
    if isinstance(inputs, dict):
        return module, (), inputs
    return module, tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,), {}


def _import_file(path: Path) -> dict[str, Any]:
    """The names a Python file defines; its own folder is importable while it runs."""
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        return runpy.run_path(str(path), run_name=path.stem)
    except Exception as error:  # a file can raise anything
        raise RooflineError(f"cannot import {path}: {type(error).__name__}: {_first_line(error)}") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))


def _described(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(type(item).__name__ for item in value)})"
    return type(value).__name__


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
