"""What cuDNN's recurrences cost: matmuls and bytes by hand, from shapes alone."""

from __future__ import annotations

from typing import Any

from roofline.tracing.recurrence import reserved
from roofline.tracing.rules import Call, Cost, Operand, costs

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 8, 16


def arguments(mode: int, **changed: Any) -> dict[str, Any]:
    """Those of ``_cudnn_rnn`` for x[steps, batch, inputs] in 16 bits."""
    source = Operand(shape=(STEPS, BATCH, INPUTS), itemsize=2, elements=STEPS * BATCH * INPUTS)
    usual = {"input": source, "mode": mode, "hidden_size": HIDDEN, "proj_size": 0, "num_layers": 1, "dropout": 0.0}
    flags = {"batch_first": False, "train": True, "bidirectional": False, "batch_sizes": []}
    return usual | flags | {"output_mask": (True, False, False, True)} | changed


def kernels(args: dict[str, Any], *, backward: bool = False) -> list[Cost]:
    return costs(Call(name="aten._cudnn_rnn" + "_backward" * backward, args=args, inputs=(), backward=backward))


def matmuls(found: list[Cost]) -> int:
    return sum(int(cost.flops) for cost in found if cost.kind == "matmul")


def test_inputs_of_all_steps_are_one_matmul_and_each_step_has_another() -> None:
    first, state, gates, *rest = kernels(arguments(2))
    assert first.shape == (STEPS * BATCH, 4 * HIDDEN, INPUTS, 1)
    assert state.shape == (BATCH, 4 * HIDDEN, HIDDEN, 1)
    # gates from x and from h (4 H each) and the cell's state are read, two biases once; h, and what is kept, written
    assert gates.read == 2 * (BATCH * (2 * 4 + 1) * HIDDEN + 2 * 4 * HIDDEN)
    assert gates.written == 2 * BATCH * (1 + 5) * HIDDEN
    assert rest == [state, gates] * (STEPS - 1)
    assert all(cost.library for cost in (first, state, gates))


def test_backward_has_one_matmul_for_the_gradient_of_each_weight() -> None:
    found = kernels(arguments(2), backward=True)
    weights = [cost.shape for cost in found if cost.gradient == "weight"]
    assert weights == [(4 * HIDDEN, INPUTS, STEPS * BATCH, 1), (4 * HIDDEN, HIDDEN, STEPS * BATCH, 1)]
    forward = 2 * STEPS * BATCH * 4 * HIDDEN * (INPUTS + HIDDEN)
    # the first step's h wants no gradient
    assert matmuls(found) == 2 * forward - 2 * BATCH * 4 * HIDDEN * HIDDEN
    only_weights = arguments(2, output_mask=(False, True, False, True))
    assert matmuls(kernels(only_weights, backward=True)) == 2 * forward - 2 * STEPS * BATCH * 4 * HIDDEN * INPUTS


def test_layers_directions_projections_and_packed_steps() -> None:
    both = arguments(3, num_layers=2, bidirectional=True)
    rows = STEPS * BATCH * 3 * HIDDEN  # GRU: three gates
    assert matmuls(kernels(both)) == 2 * 2 * rows * (INPUTS + HIDDEN) + 2 * 2 * rows * (2 * HIDDEN + HIDDEN)
    projected = arguments(2, proj_size=4)
    assert matmuls(kernels(projected)) == 2 * STEPS * BATCH * (4 * HIDDEN * (INPUTS + 4) + 4 * HIDDEN)
    rows_packed = Operand(shape=(6, INPUTS), itemsize=2, elements=6 * INPUTS)
    packed = kernels(arguments(2, input=rows_packed, batch_sizes=[3, 2, 1]))
    assert [cost.shape[0] for cost in packed if cost.suffix == "state" and cost.shape] == [3, 2, 1]
    assert matmuls(packed) == 2 * 6 * 4 * HIDDEN * (INPUTS + HIDDEN)


def test_what_is_kept_beside_inputs_and_output() -> None:
    rows = STEPS * BATCH
    assert reserved(arguments(1)) == 0  # a plain recurrence needs its output alone
    assert reserved(arguments(2)) == 2 * rows * 5 * HIDDEN
    # two layers: what the first hands on, and a byte for each number of it that may be dropped
    assert reserved(arguments(3, num_layers=2, dropout=0.1)) == 2 * rows * HIDDEN * (2 * 4 + 1) + rows * HIDDEN
    assert kernels(arguments(3, num_layers=2, dropout=0.1))[1 + 2 * STEPS].suffix == "dropout"
