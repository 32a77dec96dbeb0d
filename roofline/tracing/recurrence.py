"""LSTM, GRU and plain recurrences as cuDNN runs them: input matmuls over all steps, and a loop over the steps.

What is merged is in arXiv:1604.01946, sections 3.1 to 3.3: the gates of a layer are one matmul, the inputs of all steps
another, everything element by element one kernel a step, the weight gradient one matmul after the loop. Loops of
several layers that run side by side, and kernels that hold the weights of small layers, are not counted on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from ..counting.op import Gradient
from .rules import Call, Cost, rule


class Cell(NamedTuple):
    """A kind of recurrence, in vectors of the hidden size.

    Attributes:
        gates: What the matmuls of a step make.
        kept: What backward reads of a step beside h. cuDNN does not say what it keeps: assumes the gates, and the
            cell's state or the candidate's part of h.
        carried: What goes from step to step past the matmul: the cell's state, or the part of h that passes the gate.
        flops: Sums, products and activations of a step.
    """

    gates: int
    kept: int
    carried: int
    flops: int


CELLS = {  # in the order of cuDNN's numbers
    "rnn_relu": Cell(1, 0, 0, 4),
    "rnn_tanh": Cell(1, 0, 0, 4),
    "lstm": Cell(4, 5, 1, 21),
    "gru": Cell(3, 4, 1, 17),
}
_BIASES = 2  # of the input and of the state


class _Loop(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of one layer: `steps` are the rows of each step."""

    cell: Cell
    steps: tuple[int, ...]
    inputs: int
    hidden: int
    projected: int  # 0: h is as wide as the cell
    itemsize: int

    @property
    def rows(self) -> int:
        return sum(self.steps)

    @property
    def width(self) -> int:
        """Of the gates."""
        return self.cell.gates * self.hidden

    @property
    def state(self) -> int:
        """Width of h."""
        return self.projected or self.hidden

    @property
    def kept_bytes(self) -> int:
        """What all rows keep for backward beside h: with a projection also what it projects."""
        return self.rows * (self.cell.kept + (1 if self.projected else 0)) * self.hidden * self.itemsize

    def matmul(self, m: int, n: int, k: int, gradient: Gradient = "none", suffix: str = "") -> Cost:
        """[m, k] @ [k, n]."""
        return Cost(
            kind="matmul",
            flops=2 * m * n * k,
            read=(m * k + k * n) * self.itemsize,
            written=m * n * self.itemsize,
            shape=(m, n, k, 1),
            gradient=gradient,
            suffix=suffix,
            library=True,
        )

    def pointwise(self, rows: int, *, backward: bool) -> Cost:
        """The gates of a step from their two matmuls, and h; backward the gates' gradients from those of h."""
        cell = self.cell
        read, written = 2 * cell.gates + cell.carried, 1 + cell.kept
        if backward:
            read, written = max(cell.kept, 1) + 2 + 2 * cell.carried, cell.gates + cell.carried
        numbers = rows * self.hidden
        biases = 0 if backward else _BIASES * self.width
        return Cost(
            kind="elementwise",
            flops=cell.flops * numbers,
            read=(read * numbers + biases) * self.itemsize,
            written=written * numbers * self.itemsize,
            suffix="gates",
            library=True,
        )

    def forward(self) -> list[Cost]:
        """The gates: x W of all rows; then step by step h U on top, and the activations."""
        costs = [self.matmul(self.rows, self.width, self.inputs, suffix="input")]
        for rows in self.steps:
            costs += [self.matmul(rows, self.width, self.state, suffix="state"), self.pointwise(rows, backward=False)]
            if self.projected:
                costs.append(self.matmul(rows, self.projected, self.hidden, suffix="projection"))
        return costs

    def backward(self, *, to_input: bool, to_start: bool, to_weights: bool) -> list[Cost]:
        """Step by step from the last; then the gradients of all rows' inputs and of the weights in one matmul each."""
        costs: list[Cost] = []
        for step, rows in reversed(list(enumerate(self.steps))):
            if self.projected:
                costs.append(self.matmul(rows, self.hidden, self.projected, "data", "projection"))
            costs.append(self.pointwise(rows, backward=True))
            if step or to_start:
                costs.append(self.matmul(rows, self.state, self.width, "data", "state"))
        if to_input:
            costs.append(self.matmul(self.rows, self.inputs, self.width, "data", "input"))
        if to_weights:
            costs += [
                self.matmul(self.width, self.inputs, self.rows, "weight", "input"),
                self.matmul(self.width, self.state, self.rows, "weight", "state"),
                self.over_rows(self.width, _BIASES * self.width, "bias"),
            ]
            if self.projected:
                costs.append(self.matmul(self.projected, self.hidden, self.rows, "weight", "projection"))
        return costs

    def over_rows(self, width: int, written: int, suffix: str) -> Cost:
        """One kernel over `width` numbers of each row: it writes `written` of them, or sums."""
        numbers = self.rows * width
        read, written = numbers * self.itemsize, written * self.itemsize
        return Cost(kind="elementwise", flops=numbers, read=read, written=written, suffix=suffix, library=True)


def _layers(args: Mapping[str, Any]) -> list[list[_Loop]]:
    """The directions of each layer of a call of ``_cudnn_rnn``, from the first layer."""
    shape = args["input"].shape
    directions, packed = 2 if args["bidirectional"] else 1, tuple(args["batch_sizes"])
    batch, length = shape[:2] if args["batch_first"] else (shape[1], shape[0])
    first = _Loop(
        cell=[*CELLS.values()][args["mode"]],
        steps=packed or (batch,) * length,
        inputs=shape[-1],
        hidden=args["hidden_size"],
        projected=args["proj_size"],
        itemsize=args["input"].itemsize,
    )
    later = msgspec.structs.replace(first, inputs=directions * first.state)
    return [[first] * directions, *[[later] * directions] * (args["num_layers"] - 1)]


def _dropout(args: Mapping[str, Any], loop: _Loop) -> list[Cost]:
    """Of what goes from a layer to the next, whose `loop` is."""
    if not (args["train"] and args["dropout"]):
        return []
    return [loop.over_rows(loop.inputs, loop.rows * loop.inputs, "dropout")]


@rule("aten._cudnn_rnn")
def _recurrence(call: Call) -> list[Cost]:
    """Layer after layer, and what is dropped between them."""
    costs: list[Cost] = []
    for number, loops in enumerate(_layers(call.args)):
        costs += _dropout(call.args, loops[0]) if number else []
        costs += [cost for loop in loops for cost in loop.forward()]
    return costs


@rule("aten._cudnn_rnn_backward")
def _recurrence_backward(call: Call) -> list[Cost]:
    """From the last layer to the first; whether its input, its first h and the weights want a gradient is told."""
    to_input, to_start, _, to_weights = call.args["output_mask"]
    costs: list[Cost] = []
    for number, loops in reversed([*enumerate(_layers(call.args))]):
        for loop in loops:
            costs += loop.backward(to_input=bool(number) or to_input, to_start=to_start, to_weights=to_weights)
        costs += _dropout(call.args, loops[0]) if number else []
    return costs


def reserved(args: Mapping[str, Any]) -> int:
    """Bytes that a call keeps for backward beside its inputs and its output: also inner layers' h, and masks."""
    layers = _layers(args)
    between = sum(loop.rows * loop.inputs * (loop.itemsize + len(_dropout(args, loop))) for loop, *_ in layers[1:])
    return between + sum(loop.kept_bytes for loops in layers for loop in loops)
