"""``roofline validate``: our error against a table of runs."""

import csv

import pytest

from roofline.config.run import IMBALANCE
from roofline.hardware import load_device
from roofline.timing.terms import TERMS
from roofline.validation.runs import data_file


@pytest.fixture
def first(tmp_path):
    """The first rows of a packaged table, and a file of a user's own that holds them."""

    def written(what, count):
        rows = list(csv.DictReader(data_file(what).read_text(encoding="utf-8").splitlines()))[:count]
        path = tmp_path / "own.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return rows, str(path)

    return written


def test_rows_of_a_users_own(answered, first):
    rows, path = first("budgets", 2)
    found = answered("validate", "budgets", "--data", path)
    assert [result["id"] for result in found["results"]] == [row["id"] for row in rows]
    assert found["rows"] + found["skipped"] == 2


def test_bad_input_is_one_line(refused):
    assert refused("validate", "--worst", "-1") == "roofline: error: --worst -1: give a number of rows, 0 or more\n"
    assert "none.csv" in refused("validate", "budgets", "--data", "none.csv")
    assert "runs, memory, budgets" in refused("validate", "weather")


CONTRACT = {"rows", "mape", "median_ape", "bias", "coverage", "by_source", "by_device"}


@pytest.mark.parametrize(("what", "count"), [("memory", 40), ("budgets", 3), ("runs", 40)])
def test_output_has_the_keys_of_the_contract(answered, printed, first, what, count):
    _, path = first(what, count)
    assert set(answered("validate", what, "--data", path)) >= CONTRACT
    header = printed("validate", what, "--data", path, "--format", "csv").splitlines()[0]
    figures = ["measured", "predicted", "low", "high", "error"]
    start = ["id", "kind"] if what == "memory" else ["id"]  # a row of a table of memory may measure several figures
    assert header.split(",")[: len(start) + 5] == [*start, *figures]
    assert "skipped_reason" in header.split(",")


def test_constants_of_all_tables_are_listed_with_their_evidence(answered, printed):
    found = answered("validate", "constants")["constants"]
    assert found["expert_imbalance"]["value"] == IMBALANCE["natural"]
    assert found["sustained.hopper"]["value"] == load_device("h100-sxm-80gb").measured.sustained.compute
    assert found["sustained.default"]["evidence"] == "assumed"
    for name, term in TERMS.items():
        assert found[f"spread.{name}"]["value"] == term.spread
    assert all(row["source"] for row in found.values())
    assert len(printed("validate", "constants", "--format", "csv").splitlines()) == 1 + len(found)


def test_constants_are_no_rows_of_runs(run):
    refused = run("validate", "constants", "--tier", "A")
    assert refused.status == 2
    assert "leave --data and --tier out" in refused.err
