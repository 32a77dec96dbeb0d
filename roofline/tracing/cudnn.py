"""Recurrences in a traced pass as a GPU runs them: cuDNN's one operator, and cells of two matmuls and one kernel.

The CPU breaks them into operators of each step. What cuDNN's cost is in `recurrence.py`.
"""

# ruff: noqa: SLF001  these operators have no public name
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from .recurrence import CELLS, reserved

_WITH_BIASES = 4  # tensors of a layer: two matrices and two biases
_WORKSPACE = 5  # vectors of the hidden size that torch's fused GRU cell keeps


@contextlib.contextmanager
def recurrences(torch: Any, *, real: bool) -> Iterator[None]:
    """Run the recurrences of torch.nn so; cells only on shapes, since the CPU has no such kernel."""
    functions: dict[str, Any] = {kind: _recurrence(torch, kind) for kind in CELLS}
    if not real:
        functions |= {"lstm_cell": _lstm_cell(torch), "gru_cell": _gru_cell(torch)}
    vars(torch._VF).update(functions)
    try:
        yield
    finally:
        for name in functions:
            del vars(torch._VF)[name]  # what torch has under the name shows again


def _recurrence(torch: Any, kind: str) -> Callable[..., tuple[Any, ...]]:
    """The function of this name, as torch.nn calls it: packed with the sizes of the steps, or not."""
    cell, number = CELLS[kind], [*CELLS].index(kind)

    def run(source: Any, *args: Any) -> tuple[Any, ...]:
        packed = isinstance(args[2], (list, tuple))
        sizes, states, weights, _, layers, *flags = args if packed else (None, *args)
        dropout, train, bidirectional, *batch_first = flags
        h, c = states if isinstance(states, (list, tuple)) else (states, None)
        each = len(weights) // (layers * (2 if bidirectional else 1))  # two matrices; two biases; a projection
        hidden, projected = weights[0].shape[0] // cell.gates, weights[each - 1].shape[0] if each % 2 else 0
        buffer = weights[0].detach()  # on a GPU the weights are views of one buffer
        steps = sizes.tolist() if packed else []
        settings = (number, hidden, projected, layers, any(batch_first), dropout, train, bidirectional, steps, None)
        output, h, c, *_ = torch.ops.aten._cudnn_rnn(source, list(weights), each, buffer, h, c, *settings)
        return (output, h, c) if kind == "lstm" else (output, h)

    return run


def _lstm_cell(torch: Any) -> Callable[..., tuple[Any, Any]]:
    linear, fused = torch.nn.functional.linear, torch.ops.aten._thnn_fused_lstm_cell

    def run(source: Any, states: Any, w_input: Any, w_state: Any, *biases: Any) -> tuple[Any, Any]:
        h, c, _ = fused(linear(source, w_input), linear(states[0], w_state), states[1], *biases)
        return h, c

    return run


def _gru_cell(torch: Any) -> Callable[..., Any]:
    linear, fused = torch.nn.functional.linear, torch.ops.aten._thnn_fused_gru_cell

    def run(source: Any, h: Any, w_input: Any, w_state: Any, *biases: Any) -> Any:
        return fused(linear(source, w_input), linear(h, w_state), h, *biases)[0]

    return run


def run(torch: Any, func: Any, args: Any, *, real: bool) -> Any:
    """The results of an operator that the CPU has not; None for others. Gradients are shapes, zeros where `real`."""
    make = torch.zeros_like if real else torch.empty_like
    name = func._schema.name.removeprefix("aten::")
    if name == "_cudnn_rnn":
        named = dict(zip((argument.name for argument in func._schema.arguments), args, strict=True))
        output, h, c, *_ = _on_data(torch, named) if real else func(*args)
        return output, h, c, args[0].new_empty(reserved(named), dtype=torch.uint8), named["weight_buf"]
    if name == "_cudnn_rnn_backward":
        source, weights, _, _, h, c, *_ = args
        return make(source), make(h), None if c is None else make(c), [make(weight) for weight in weights]
    if name == "_thnn_fused_gru_cell":
        h = args[2]
        return torch.empty_like(h), h.new_empty(len(h), _WORKSPACE * h.shape[1])
    if name == "_thnn_fused_gru_cell_backward":
        h, _, biased = args
        gates, bias = h.new_empty(len(h), 3 * h.shape[1]), h.new_empty(3 * h.shape[1]) if biased else None
        return gates, torch.empty_like(gates), torch.empty_like(h), bias, bias
    if name == "_pack_padded_sequence" and not real and not hasattr(args[1], "fake_mode"):  # the lengths are known
        source, lengths, batch_first = args
        with torch._subclasses.fake_tensor.unset_fake_temporarily():
            rows, sizes = func(torch.empty(*source.shape[:2], 1), lengths, batch_first)
        return source.new_empty(len(rows), *source.shape[2:]), sizes
    return None


def _on_data(torch: Any, named: dict[str, Any]) -> tuple[Any, ...]:
    """Output and last states of a recurrence, as the CPU computes them."""
    kind, sizes = [*CELLS][named["mode"]], named["batch_sizes"]
    states = [named["hx"], named["cx"]] if named["cx"] is not None else named["hx"]
    settings = [named["weight_stride0"] >= _WITH_BIASES, named["num_layers"]]
    settings += [named[name] for name in ("dropout", "train", "bidirectional")]
    if sizes:
        found = getattr(torch, kind)(named["input"], torch.tensor(sizes), states, named["weight"], *settings)
    else:
        found = getattr(torch, kind)(named["input"], states, named["weight"], *settings, named["batch_first"])
    return found if kind == "lstm" else (*found, found[0].new_empty(0))
