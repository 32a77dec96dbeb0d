"""Counts of a step: the model's FLOPs, and what one op records."""

from typing import Any

from roofline.counting.count import model_flops, op_record
from roofline.counting.op import Op


def op(**fields: Any) -> Op:
    plain = {"name": "a", "kind": "attention", "phase": "forward", "part": "layer", "dtype": "bf16", "model_flops": 16}
    return Op(**{**plain, "flops": 10, "bytes_read": 3, "bytes_written": 2, **fields})


def test_the_model_states_full_attention_and_recompute_what_it_executes() -> None:
    assert model_flops(op()) == 16
    assert model_flops(op(model_flops=None)) == 10
    assert model_flops(op(phase="recompute")) == 10


def test_intensity_is_left_out_where_nothing_moves() -> None:
    assert op_record(op())["intensity"] == 2
    assert op_record(op(bytes_read=0, bytes_written=0))["intensity"] is None
