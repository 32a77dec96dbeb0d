"""The unit of account: sums over runs, and what decides behaviour."""

from typing import Any

import pytest

from roofline.counting.op import CORE, Op, total


def op(**fields: Any) -> Op:
    plain = {"name": "a", "kind": "matmul", "phase": "forward", "part": "layer", "dtype": "bf16"}
    return Op(**{**plain, "flops": 6, "bytes_read": 1, "bytes_written": 2, **fields})


def test_sums_are_over_runs() -> None:
    ops = [op(count=2), op(count=3, phase="backward", flops=10)]
    assert total(ops) == 2 * 6 + 3 * 10
    assert total(ops, "bytes_written", where=lambda each: each.phase == "forward") == 4
    assert total(ops, lambda each: each.flops / each.bytes) == pytest.approx(2 * 2 + 3 * 10 / 3)
    assert total([]) == 0


def test_traffic_is_both_ways() -> None:
    assert op().bytes == 3


def test_only_the_role_makes_an_op_part_of_attention() -> None:
    assert {role for role in (None, "logits", "loss", "attention_entry", "attention_core") if role in CORE} == {
        "attention_entry",
        "attention_core",
    }
    assert not op(name="attention.core").in_attention_core
    assert op(name="x", role="attention_core").in_attention_core
