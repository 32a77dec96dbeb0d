"""The pass of a traced module as that of a step."""

from typing import Any

from roofline.counting.op import Op
from roofline.counting.recorded import recorded_flops
from roofline.model.recorded import RecordedPass


def op(**fields: Any) -> Op:
    plain = {"name": "a", "kind": "matmul", "phase": "forward", "part": "layer", "dtype": "fp32"}
    return Op(**{**plain, "flops": 10, "bytes_read": 1, "bytes_written": 1, **fields})


def test_mfu_counts_matmuls_and_full_attention_of_forward_and_backward() -> None:
    ops = (
        op(count=2),  # 20
        op(kind="attention", flops=10, model_flops=16, phase="backward"),  # 16: the mask does not count
        op(kind="elementwise", flops=1000),
        op(phase="recompute"),
        op(phase="optimizer", kind="optimizer"),
    )
    assert recorded_flops(RecordedPass(ops=ops, peak_bytes=0, trainable=0)) == 36
