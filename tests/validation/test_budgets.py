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


def test_practice_is_held_out_by_source():
    def trained(source, measured, doublings=1.0):
        given = {"practice": 1.5**doublings, "doublings": doublings, "low": 90, "high": 300}
        row = {"id": source, "source": source}
        return validate_budgets.BudgetPrediction(row=row, measured=measured, predicted=100 * 1.5**doublings, **given)

    rows = [trained("a", 120), trained("a", 130), trained("b", 160), trained("b", 40, 0.0), trained("c", 200, 0.5)]
    found = validate_budgets.held_out(rows)
    # over the steps alone: a 1.2 and 1.3, b 1.6, c 2 at half the doublings, so 4 in all; one node says nothing
    assert [each.predicted for each in found] == pytest.approx([280, 280, 130, 100, 100 * 1.3**0.5])
