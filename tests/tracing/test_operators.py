"""Every operator of torch is costed or refused on purpose."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from roofline.errors import RooflineError
from roofline.tracing import algebra, matmul, norms, recurrence  # noqa: F401  register their rules
from roofline.tracing.rules import RULES, Call, class_of, costs, refusal

LINES = (Path(__file__).parents[1] / "data" / "aten_operators.csv").read_text().splitlines()
OPERATORS = list(csv.DictReader(LINES[1:]))


def ruling(row: dict[str, str]) -> str:
    """How an operator is costed, in the order in which `rules.costs` asks."""
    name, tags = f"aten.{row['operator']}", row["tags"].split()
    if name in RULES or name.removesuffix("_") in RULES:
        return "rule"
    if row["view"] == "1" or "inplace_view" in tags:
        return "view"
    if refusal(name):
        return "refused"
    if {"pointwise", "reduction"} & set(tags) or class_of(name):
        return "class"
    return "made of others" if row["composite"] == "1" else "missing"


def test_every_operator_is_costed_or_refused_with_a_reason() -> None:
    assert [row["operator"] for row in OPERATORS if ruling(row) == "missing"] == []


def test_few_operators_are_refused() -> None:
    found = Counter(map(ruling, OPERATORS))
    assert sum(found.values()) > 1400
    assert found["refused"] < 280


def test_a_refused_operator_says_why() -> None:
    call = Call(name="aten._nested_select_backward", args={}, inputs=())
    with pytest.raises(RooflineError, match="is not costed: a nested tensor's sizes are not in its shape: pad it"):
        costs(call)
