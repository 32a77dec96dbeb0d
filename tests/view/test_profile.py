"""A profile as it is read: figures of a trace written by hand."""

import pytest

from roofline.view import profile as view
from roofline.view.table import cell_text


@pytest.fixture
def result(profiled):
    return profiled[1]


def test_terms_are_the_share_of_the_step_they_take(result):
    rows = {cell_text(row[0]): row for row in view.terms_table(result).rows}
    taken = rows[view.term_words("matmul")]
    assert any(cell_text(cell) == "300 us" for cell in taken)  # 100 forward and 200 backward of 1,000


def test_an_op_is_named_with_its_shape(result):
    forward = next(op for op in result.ops if op.name == "aten::mm" and op.phase == "forward")
    assert view.shape_words(forward) == "4096x2048x1024"


@pytest.mark.parametrize(
    ("kind", "phase", "term"), [("matmul", "forward", "matmul"), ("matmul", "recompute", "recompute")]
)
def test_the_term_of_a_kind(kind, phase, term):
    assert view.term_of_kind(kind, phase) == term


def test_programs_get_an_op_a_row(result):
    table = view.records(result)
    assert len(table.rows) >= len(result.ops)
    assert "name" in table.columns
