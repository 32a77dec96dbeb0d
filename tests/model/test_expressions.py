"""The expressions of family files: what they may compute, and what they refuse."""

import pytest

from roofline.errors import RooflineError
from roofline.model.expressions import ExpressionError, evaluate, names_in
from roofline.reading import Work


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


@pytest.mark.parametrize(
    "expression",
    [
        "[0 for a in range(100000) for b in range(100000) if 0]",
        "[0 for a in range(999) for b in range(999) for c in range(999) for d in range(999) if 0]",
        "[[0] * 90000 for i in range(90000)]",
        "[x for i in range(90000)] == [y for i in range(90000)]",
        "'%1000000000d' % 1",
        "1 % 'a'",
        "sum([[0] * 2] * 50000, [])",
        "1+" * 1000 + "1",
        "1+" * 20_000 + "1",
        "(" * 1500 + "1" + ")" * 1500,
        "-" * 3000 + "1",
        "x" + ".y" * 1500,
        "1 if 0 else " * 3000 + "1",
        "int('" + "1" * 3000 + "') * 1",
        "\0",
        "",
    ],
)
def test_work_is_bounded(expression: str) -> None:
    """Each took minutes, gigabytes or a traceback; here it is refused after about a second at the most."""
    with pytest.raises(RooflineError) as error:
        evaluate(expression, {"x": [1] * 50_000, "y": [1] * 50_000})
    assert "\n" not in str(error.value)


def test_several_expressions_share_what_they_may_cost() -> None:
    work = Work(100)
    assert evaluate("[i for i in range(9)]", {}, work) == list(range(9))
    assert evaluate("[i for i in range(9)]", {}, work) == list(range(9))
    with pytest.raises(RooflineError, match="it takes too long"):
        evaluate("[i for i in range(40)]", {}, work)


@pytest.mark.parametrize(
    ("expression", "value", "words"),
    [
        ("range(x)", None, "what is no number stands where one belongs"),
        ("int(x)", "a", "what is no number stands where one belongs"),
        ("-x", "a", "what is no number stands where one belongs"),
        ("int(x)", float("nan"), "what is no number stands where one belongs"),
        ("3 in x", True, "what is no list stands where one belongs"),
        ("x[0]", 1.5, "what is no list stands where one belongs"),
        ("len(x)", 2, "what is no list stands where one belongs"),
        ("[i for i in x]", 3, "what is no list stands where one belongs"),
        ("x[5]", [1], "a list is too short"),
        ("7 // x", 0.0, "division by zero"),
        ("7 % x", 0, "division by zero"),
        ("sum(x)", ["a"], "sum takes numbers"),
    ],
)
def test_what_cannot_be_computed_is_not_told_in_words_of_python(expression, value, words):
    with pytest.raises(ExpressionError) as error:
        evaluate(expression, {"x": value})
    assert error.value.problem == words
