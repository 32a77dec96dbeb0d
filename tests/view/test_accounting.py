"""The textbook table, indented under the names of its parts."""

from types import SimpleNamespace
from typing import Any

from roofline.view.accounting import data, tables


def line(*levels: str, flops: int, share: float) -> Any:
    return SimpleNamespace(levels=levels, flops=flops, flops_fmt=str(flops), proportion=share)


RESULT: Any = SimpleNamespace(
    model=SimpleNamespace(name="gpt"),
    micro_batch=1,
    seq_len=2048,
    rows=(
        line("block", "mlp", "up", flops=30, share=0.3),
        line("block", "mlp", "down", flops=30, share=0.3),
        line("block", "norm", "", flops=10, share=0.1),
        line("head", "", "", flops=30, share=0.3),
    ),
    flops_6nd=90,
    flops_6nd_ratio=0.9,
)


def test_each_heading_stands_once() -> None:
    (table,) = tables(RESULT)
    assert table.title == "gpt, micro batch 1 of 2,048 tokens"
    assert [row[0] for row in table.rows] == ["block", "  mlp", "    up", "    down", "  norm", "head"]
    assert [row[3] for row in table.rows] == ["", "", "30.0000 %", "30.0000 %", "10.0000 %", "30.0000 %"]


def test_programs_get_the_exact_figures() -> None:
    found = data(RESULT)
    assert [list(row.values())[3] for row in found["rows"]] == [30, 30, 10, 30]
    assert (found["flops_6nd"], found["seq_len"]) == (90, 2048)
