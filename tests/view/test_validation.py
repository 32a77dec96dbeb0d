"""Our error as it is read: sums over the rows that could be predicted."""

import pytest

from roofline.errors import RooflineError
from roofline.validation.budgets import BudgetPrediction
from roofline.validation.runs import Prediction
from roofline.view import validation as view


def run(name: str, measured: float, predicted: float) -> Prediction:
    row = {"id": name, "device": "t4", "n_devices": "1.0", "model": "gpt2"}
    return Prediction(row=row, measured=measured, predicted=predicted, low=predicted * 0.9, high=predicted * 1.1)


RUNS = [run("a-1", 100.0, 100.0), run("a-2", 100.0, 80.0), Prediction(row={"id": "b-1"}, skipped_reason="no tp")]


def test_errors_are_of_the_step_time_and_skipped_rows_are_counted():
    shown = view.runs(RUNS, worst=1)
    # 100 / 80: the step is said to take a quarter more
    assert shown.data["mape"] == pytest.approx((0 + 0.25) / 2)
    assert (shown.data["rows"], shown.data["skipped"], shown.data["coverage"]) == (2, 1, 0.5)
    assert [row[0] for row in shown.tables[-1].rows] == ["a-2"]
    assert shown.notes[-1] == "skipped 1 rows: no tp"
    assert len(shown.records.rows) == 3


def test_nothing_predicted_names_the_first_reason():
    with pytest.raises(RooflineError, match="no row could be predicted; the first reason: no tp"):
        view.runs(RUNS[2:], worst=1)


def test_budgets_by_hand():
    done = BudgetPrediction(row={"id": "a-1", "model": "m"}, measured=300.0, predicted=100.0, low=50.0, high=200.0)
    close = BudgetPrediction(row={"id": "b-1", "model": "m"}, measured=100.0, predicted=100.0, low=50.0, high=200.0)
    half = BudgetPrediction(row={"id": "a-2", "model": "m"}, measured=50.0, predicted=100.0, low=60.0, high=200.0)
    shown = view.budgets([done, close, half, BudgetPrediction(row={"id": "c-1"}, skipped_reason="no tokens")])
    assert (shown.data["within_1_5x"], shown.data["median_ratio"], shown.data["skipped"]) == (
        pytest.approx(1 / 3),
        1.0,
        1,
    )
    assert [row[-1] for row in shown.tables[0].rows] == ["3.00", "1.00", "0.50"]
    assert {group.name for group in shown.data["by_source"]} == {"a", "b"}
