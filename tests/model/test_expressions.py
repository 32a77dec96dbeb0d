"""The expressions of family files: what they may compute, and what they refuse."""

from __future__ import annotations

import pytest

from roofline.errors import RooflineError
from roofline.model.expressions import evaluate, names_in


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a or b", 3),
        ("missing or 4 * b", 12),
        ("missing is None and 'yes'", "yes"),
        ("[i for i in range(b) if i % 2 == 0]", [0, 2]),
        ("kinds[i] == 'x' if kinds else False", True),
        ("table.inner", 7),
        ("table.inner.deeper", None),
        ("kinds[:1] * 2", ["x", "x"]),
        ("-b // 2", -2),
        ("1 < b <= 3", True),
        ("len(kinds) + max(1, b)", 5),
        ("'gated' in word", True),
        ("'x' in missing", False),
    ],
)
def test_value(expression: str, value: object) -> None:
    names = {"a": 0, "b": 3, "i": 0, "kinds": ["x", "y"], "table": {"inner": 7}, "word": "gated-gelu"}
    assert evaluate(expression, names) == value


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os')",
        "(lambda: 1)()",
        "b ** 99",
        "b.__class__()",
        "open('x')",
        "1 / 0",
        "missing * 2",
        "'a' + 1",
        "[1][5]",
        "range(10 ** 9)",
        "range(1000000)",
        "'x' * 1000000",
        "10000000000 * 10000000000000000000000",
        "1 +",
        "{1: 2}",
        "[a for a, b in [[1, 2]]]",
        "int('x')",
    ],
)
def test_anything_else_is_refused(expression: str) -> None:
    with pytest.raises(RooflineError) as error:
        evaluate(expression, {"b": 3})
    assert "\n" not in str(error.value)


def test_a_missing_name_is_named() -> None:
    with pytest.raises(RooflineError, match="hidden_size is missing"):
        evaluate("4 * hidden_size", {})


def test_names() -> None:
    assert names_in("max(a, b.c) if d else [i for i in e]") == {"a", "b", "d", "e"}
