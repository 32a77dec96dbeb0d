"""Device-hours of whole trainings beside ours."""

import pytest

from roofline.validation import budgets as validate_budgets


def test_budget_summary_by_hand():
    rows = [
        validate_budgets.BudgetPrediction(row={"id": str(i)}, measured=measured, predicted=100, low=80, high=160)
        for i, measured in enumerate((60, 100, 140, 170))
    ]
    total = validate_budgets.summarise("all", rows)
    assert (total.rows, total.within, total.coverage) == (4, 0.5, 0.5)
    errors = [abs(100 / measured - 1) for measured in (60, 100, 140, 170)]
    assert total.mape == pytest.approx(sum(errors) / 4)
    assert total.bias == pytest.approx((100**4 / (60 * 100 * 140 * 170)) ** 0.25 - 1)


def test_a_table_of_budgets_has_its_columns(tmp_path, run):
    (tmp_path / "x.csv").write_text("id,hardwar\na,b\n")
    assert run("validate", "budgets", "--data", str(tmp_path / "x.csv"))[0] == 2
