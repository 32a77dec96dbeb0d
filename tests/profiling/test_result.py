"""A profile's figures that follow from others."""

import msgspec

from roofline.profiling.result import MeasuredOp

OP = MeasuredOp(
    name="aten::mm",
    kind="matmul",
    phase="forward",
    dtype="bf16",
    shapes=((2, 3), (3, 4)),
    count=2,
    time_s=3e-3,
    flops=96,
    bytes=104,
    expected_time_s=2e-3,
    ideal_time_s=1e-3,
)


def test_gap_and_ratio():
    assert (OP.gap_s, OP.ratio) == (1e-3, 1.5)


def test_without_an_expectation_there_is_neither():
    unknown = msgspec.structs.replace(OP, expected_time_s=None)
    assert (unknown.gap_s, unknown.ratio) == (None, None)
