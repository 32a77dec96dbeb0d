"""The accuracy gate: no row is lost, and the mean error never rises by 2 points and a tenth over what is on record."""

from pathlib import Path

import pytest

from ..maintain import script

ROOT = Path(__file__).parents[2]
gate = script("record_errors")


@pytest.mark.parametrize("name", sorted(gate.TABLES))
def test_nothing_has_become_worse(name):
    before = gate.recorded(ROOT / "tests" / "data" / name)
    assert len(before) > 90
    assert gate.regressions(before, gate.TABLES[name]()) == []


def test_what_the_gate_lets_pass():
    before = {"a": 0.10, "b": -0.10}
    assert gate.regressions(before, {"a": 0.10, "b": -0.13, "c": 0.9}) == []  # 11.5 %: less than 2 points
    assert gate.regressions(before, {"a": 0.10, "b": -0.15})[0].startswith("the mean error over 2 rows rose")
    assert gate.regressions(before, {"a": 0.10})[0] == "1 rows are no longer predicted: b"
    large = {"a": 1.0}
    assert gate.regressions(large, {"a": 1.05}) == []  # 5 points, but a twentieth
