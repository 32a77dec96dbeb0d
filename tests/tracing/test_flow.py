"""Which memory a kernel reads and writes, as a compiler sees it."""

from typing import Any

import pytest

from roofline.counting.op import Op
from roofline.tracing import norms  # noqa: F401  registers its rules
from roofline.tracing.flow import Buffers, Node, nodes
from roofline.tracing.rules import Call, Operand, costs

OP = Op(
    name="op", kind="elementwise", phase="forward", part="layer", dtype="fp32", flops=0, bytes_read=0, bytes_written=0
)


def operand(number: int, *shape: int) -> Operand:
    size = 1
    for side in shape:
        size *= side
    return Operand(shape=shape, itemsize=4, elements=size, identity=(number, 0, shape))


def parts(name: str, buffers: Buffers, inputs: dict[str, Any], **fields: Any) -> list[Node]:
    given = tuple(value for value in inputs.values() if isinstance(value, Operand))
    call = Call(name=f"aten.{name}", args=inputs, inputs=given, **fields)
    return nodes(call, [(cost, OP) for cost in costs(call)], "h", buffers)


@pytest.fixture
def buffers() -> Buffers:
    """Storages of 3,200 bytes with the numbers 0, 1 and 2."""
    found = Buffers()
    for storage in (70, 80, 90):
        found.of(storage, 3200)
    return found


def test_a_storage_that_is_freed_or_overwritten_has_a_new_number(buffers: Buffers) -> None:
    assert buffers.of(80, 3200) == 1
    assert buffers.rewrite(1) == buffers.of(80, 3200) == 3
    buffers.forget(80)
    assert buffers.of(80, 64) == 4
    assert buffers.sizes == [3200, 3200, 3200, 3200, 64]


def test_in_place_operators_write_the_next_number(buffers: Buffers) -> None:
    x = operand(0, 10, 80)
    (node,) = parts("relu_", buffers, {"self": x}, mutated=(x,))
    assert ([one.buffer for one in node.reads], [one.buffer for one in node.writes]) == ([0], [3])


def test_what_is_written_to_a_part_waits_for_the_rest(buffers: Buffers) -> None:
    part, source = operand(0, 1, 80), operand(1, 1, 80)
    (node,) = parts("copy_", buffers, {"self": part, "src": source}, mutated=(part,))
    assert {(one.buffer, one.bytes) for one in node.reads} == {(1, 320), (0, 0)}


def test_a_batch_norm_sums_columns_and_then_works_point_by_point(buffers: Buffers) -> None:
    x, out, mean = operand(0, 10, 80), operand(1, 10, 80), operand(2, 80)
    sums, points = parts("native_batch_norm", buffers, {"input": x}, outputs=(out, mean))
    assert (sums.loop, sums.reduced, [one.buffer for one in sums.writes]) == ("columns", 80, [2])
    assert (points.loop, points.size, [one.buffer for one in points.reads]) == ("points", 800, [0, 2])


def test_a_layer_norm_s_backward_sums_its_weight_s_gradient_in_a_second_loop(buffers: Buffers) -> None:
    x, out, weight = operand(0, 10, 80), operand(1, 10, 80), operand(2, 80)
    given = {"input": x, "normalized_shape": [80]}
    rows, columns = parts("native_layer_norm_backward", buffers, given, outputs=(out, weight))
    assert (rows.loop, rows.reduced, columns.loop, columns.reduced) == ("rows", 10, "columns", 80)


def test_rows_are_added_to_a_table_after_it_is_filled(buffers: Buffers) -> None:
    grad, indices, table = operand(0, 10, 80), operand(1, 10), operand(2, 10, 80)
    given = {"grad_output": grad, "indices": indices}
    fill, rows = parts("embedding_dense_backward", buffers, given, outputs=(table,))
    assert (fill.reads, [one.buffer for one in fill.writes]) == ((), [2])
    assert ([one.buffer for one in rows.writes], rows.writes[0].bytes) == ([3], 3200)
    assert (2, 0) in {(one.buffer, one.bytes) for one in rows.reads}


@pytest.mark.parametrize(("dim", "loop"), [([1], "rows"), ([-1], "rows"), ([0], "columns"), ([0, 1], "columns")])
def test_reductions_run_over_rows_or_columns(buffers: Buffers, dim: list[int], loop: str) -> None:
    left = {"rows": (10,), "columns": (80,)}[loop] if len(dim) == 1 else ()
    given = {"self": operand(0, 10, 80), "dim": dim}
    (node,) = parts("sum", buffers, given, outputs=(operand(1, *left),), tags=frozenset({"reduction"}))
    assert (node.loop, node.size) == (loop, 800)


def test_sorts_are_library_calls(buffers: Buffers) -> None:
    (node,) = parts("sort", buffers, {"self": operand(0, 10, 80)}, outputs=(operand(1, 10, 80),))
    assert node.loop is None
