"""The tables of operators are well-formed, and what is a view costs nothing."""

import re

import pytest

from roofline.profiling.words import listed, views, words


def test_every_pattern_of_a_kernels_name_is_one() -> None:
    for pattern in words().kernels.values():
        re.compile(pattern)


def test_views_as_a_trace_names_them() -> None:
    assert {"aten::view", "aten::transpose", "detach"} <= views()
    assert "aten::add" not in views()


def test_no_operator_is_both_element_wise_and_a_reduction() -> None:
    assert not listed("pointwise") & listed("reductions")
    assert {"add", "mul"} <= listed("pointwise")
    with pytest.raises(AttributeError):
        listed("nothing")
