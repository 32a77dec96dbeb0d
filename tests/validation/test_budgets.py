"""Device-hours of whole trainings beside ours."""

import pytest

from roofline.hardware import load_device
from roofline.reading import packaged
from roofline.validation import budgets as validate_budgets
from roofline.validation.rows import read_table
from roofline.validation.runs import data_file


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


def test_the_middle_of_an_even_number_lies_between_two():
    hours = (80, 100, 120, 200)
    rows = [validate_budgets.BudgetPrediction(row={}, measured=m, predicted=100, low=1, high=1) for m in hours]
    total = validate_budgets.summarise("all", rows)
    assert total.median_ratio == pytest.approx(1.1)
    assert total.median_ape == pytest.approx((1 - 100 / 120 + 0.25) / 2)


def test_a_row_is_predicted_on_the_layout_its_source_says():
    row = {
        "id": "mine",
        "source": "mine",
        "scope": "single pre-training run",
        "hardware": "h100-sxm-80gb",
        "tokens": "1e11",
        "device_hours": "5000",
        "n_devices": "64",
        "seq_len": "4096",
        "global_batch_tokens": "1048576",
        "n_layers": "16",
        "d_model": "2048",
        "n_heads": "16",
        "d_ff": "8192",
        "vocab_size": "32000",
    }
    stated = {"software": "Megatron-LM", "tp": "8", "pp": "2", "recompute": "full", "network_gbit_per_s": "50"}
    free, own = validate_budgets.predict_budgets([{**row, "software": "Megatron-LM"}, {**row, **stated}])
    assert own.practice == free.practice
    # a third more FLOPs, and splits that a small model does not need
    assert own.predicted > 1.3 * free.predicted


def test_software_that_is_not_named_is_what_runs_are_taken_to_have():
    row = {"source": "mine", "model": "mine"}
    device = load_device("h100-sxm-80gb")
    assert validate_budgets._stack(row, device, 64) == "parallel"
    assert validate_budgets._stack(row, device, 8) is None  # within a node the best of a search
    assert validate_budgets._stack({**row, "source": "llm.c"}, device, 8) == "llm-c"
    assert validate_budgets._stack(row, load_device("tpu-v4"), 64) == "jax"


def test_a_batch_is_the_one_published_also_where_it_is_smaller_than_the_devices():
    whole = validate_budgets._whole_batch
    assert whole(2048, 16384, {}) == 2048
    assert whole(1152, 2304, {"tp": 8, "pp": 1}) == 1152  # 288 replicas of 4
    assert whole(1024, 992, {"tp": 8, "pp": 1}) == 992  # 124 replicas of 8
    assert whole(3, 64, {}) in (2, 4)


def test_what_papers_say_of_layouts_names_the_paper():
    table = read_table(packaged(validate_budgets.__name__, "data") / "budget_layouts.csv")
    trainings = {row["id"] for row in read_table(data_file("budgets"))}
    for row in table:
        assert row["id"] in trainings
        assert row["stated_by"]


def test_what_a_row_leaves_out_is_known_of_its_model_or_is_told():
    rows = {row["id"]: row for row in read_table(data_file("budgets"))}
    known = ("llama4-maverick", "t5-11b", "gpt3-175b", "mpt-1.3b")
    assert not any(one.skipped_reason for one in validate_budgets.predict_budgets(rows[name] for name in known))
    pods, heads = validate_budgets.predict_budgets([rows["gopher-280b"], rows["jetmoe-8b"]])
    assert "network" in pods.skipped_reason
    assert "n_layers" in heads.skipped_reason
