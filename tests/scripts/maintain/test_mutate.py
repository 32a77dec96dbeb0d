"""Mutants: what is changed, one place at a time, and the list of those that mean nothing."""

import ast
import csv
from types import FunctionType

import pytest

from roofline.hardware import load_device
from roofline.hardware.overrides import override
from roofline.timing import power

from ...maintain import FOLDER, script

mutants = script("mutants")


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("a + b", ["a - b"]),
        ("a <= b", ["a < b"]),
        ("max(a, b)", ["min"]),
        ("a if b else c", ["c if b else a"]),
        ("not a", ["a"]),
        ("0", ["1000000000"]),
        ("7", ["8"]),
        ("True", ["False"]),
        ("'x' + a", []),
        ("f(a)", []),
    ],
)
def test_what_may_stand_in_place_of_a_node(text, changed):
    nodes = ast.walk(ast.parse(text, mode="eval").body)
    assert [ast.unparse(each) for node in nodes for each in mutants.changes(node)] == changed


def test_a_mutant_is_its_function_with_one_change():
    """A clock goes with the cube root of power: with ``1 * 3`` for ``1 / 3`` it is the ninth power of what it was."""
    (chosen,) = [each for each in mutants.mutants("timing/power.py") if each.before == "1 / 3"]
    assert (chosen.function, chosen.after, chosen.nth) == ("clock_share", "1 * 3", 1)
    device = override(load_device("h100-sxm-80gb"), power_limit_w=350)
    changed = FunctionType(chosen.code(), vars(power))
    assert changed(device) == pytest.approx(power.clock_share(device) ** 9)


def test_every_survivor_explained_is_a_mutant():
    with (FOLDER / "survivors.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    known = {each.key for module in {row["module"] for row in rows} for each in mutants.mutants(module)}
    assert [row for row in rows if tuple(row.values())[:-1] not in known] == []
    assert all(row["why"] for row in rows)
