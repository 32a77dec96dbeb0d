"""What an operator of a trace costs, against counts by hand."""

from typing import Any

from roofline.profiling.inputs import Arguments
from roofline.profiling.operators import operator_costs
from roofline.tracing.rules import Operand


def operand(*shape: int) -> Operand:
    elements = 1
    for size in shape:
        elements *= size
    return Operand(shape=shape, itemsize=2, elements=elements)


def arguments(*items: Any) -> Arguments:
    return Arguments(tuple(items), "bf16", untyped=False)


def test_a_matmul() -> None:
    found = operator_costs("aten::mm", arguments(operand(3, 5), operand(5, 7)), backward=False)
    assert found is not None
    (cost,) = found
    assert cost.flops == 2 * 3 * 5 * 7
    assert (cost.read, cost.written) == (2 * (15 + 35), 2 * 21)


def test_a_generated_kernel_has_a_flop_for_each_fused_operation() -> None:
    name = "triton_poi_fused_add_mul_0"
    found = operator_costs(name, arguments(operand(8, 4), operand(4)), backward=False)
    assert found is not None
    (cost,) = found
    assert (cost.kind, cost.flops, cost.read) == ("elementwise", 2 * 32, 2 * 36)


def test_what_no_rule_knows_has_no_cost() -> None:
    assert operator_costs("my::own", arguments(operand(2)), backward=False) is None
    assert operator_costs("aten::mm", arguments(operand(3)), backward=False) is None  # no such call


def test_a_template_of_a_matmul_is_one() -> None:
    given = arguments(operand(3, 5), operand(5, 7), operand(3, 7))  # the last is what it writes
    (cost,) = operator_costs("triton_tem_fused_mm_relu_0", given, backward=False) or ()
    assert (cost.kind, cost.flops, cost.shape) == ("matmul", 2 * 3 * 5 * 7, (3, 7, 5, 1))
    assert cost.read == 2 * (15 + 35 + 21)
    (batched,) = (
        operator_costs("triton_tem_fused_bmm_2", arguments(operand(4, 3, 5), operand(4, 5, 7)), backward=True) or ()
    )
    assert (batched.flops, batched.shape) == (2 * 4 * 3 * 5 * 7, (3, 7, 5, 4))
    attention = arguments(operand(2, 4, 16, 8), operand(2, 4, 16, 8))
    assert operator_costs("triton_tem_fused_flex_attention_0", attention, backward=False) is None
