"""What we expect of an operator of a trace."""

import pytest

from roofline.hardware import load_device
from roofline.profiling.expected import NOTHING, as_op, expectation
from roofline.tracing.rules import Cost

A100 = load_device("a100-sxm-80gb")
# of two square matrices in bf16
MATMUL = Cost(kind="matmul", flops=2 * 4096**3, read=2 * 2 * 4096**2, written=2 * 4096**2, shape=(4096, 4096, 4096, 1))


def test_the_ideal_is_the_larger_of_arithmetic_and_traffic():
    found = expectation("aten::mm", [MATMUL], "bf16", "forward", A100, "flash2")
    assert found.ideal_s == pytest.approx(2 * 4096**3 / 312e12)  # 0.44 ms; traffic takes 0.05 ms
    assert found.expected_s > found.ideal_s


def test_kernels_run_one_after_another():
    one, two = (expectation("aten::mm", [MATMUL] * n, "bf16", "forward", A100, "flash2") for n in (1, 2))
    assert two.expected_s == pytest.approx(2 * one.expected_s)


def test_without_a_device_or_an_engine_nothing_is_expected():
    assert expectation("aten::mm", [MATMUL], "bf16", "forward", None, "flash2") == NOTHING
    assert expectation("aten::mm", [MATMUL], "bf16", "forward", load_device("t4"), "flash2") == NOTHING


@pytest.mark.parametrize(
    ("name", "form"), [("aten::bmm", "batched"), ("aten::_grouped_mm", "grouped"), ("aten::mm", "dense")]
)
def test_the_form_of_a_matmul(name, form):
    assert as_op(name, MATMUL, "bf16", "forward").form == form
