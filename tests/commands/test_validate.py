"""``roofline validate``: our error against a table of runs."""

import csv
import json

import pytest

from roofline.config.run import IMBALANCE
from roofline.hardware import load_device
from roofline.timing.terms import TERMS
from roofline.validation.budgets import COLUMNS
from roofline.validation.rows import read_table
from roofline.validation.runs import data_file


@pytest.fixture
def two_budgets(tmp_path):
    """The first two rows of the packaged table, as a file of a user's own."""
    import csv

    path = tmp_path / "own.csv"
    rows = read_table(data_file("budgets", None), COLUMNS)[:2]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path, rows


def test_rows_of_a_users_own(answered, two_budgets):
    path, rows = two_budgets
    found = answered("validate", "budgets", "--data", str(path))
    assert [result["id"] for result in found["results"]] == [row["id"] for row in rows]
    assert found["rows"] + found["skipped"] == 2


def test_bad_input_is_one_line(run, two_budgets):
    path, _ = two_budgets
    assert run("validate", "--worst", "-1").err == "roofline: error: --worst -1: give a number of rows, 0 or more\n"
    status, _, err = run("validate", "budgets", "--data", str(path.with_name("none.csv")))
    assert (status, err.count("\n")) == (2, 1)
    status, _, err = run("validate", "weather")
    assert (status, "runs, memory, budgets" in err) == (2, True)


CONTRACT = {"rows", "mape", "median_ape", "bias", "coverage", "by_source", "by_device"}


@pytest.mark.parametrize("what", ["memory", "budgets", "runs"])
def test_output_has_the_keys_of_the_contract(printed, tmp_path, what):
    with data_file(what).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)[:40]
    path = tmp_path / "some.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, reader.fieldnames)
        writer.writeheader()
        writer.writerows(rows)
    out = printed("validate", what, "--data", str(path), "--format", "json")
    assert set(json.loads(out)) >= CONTRACT
    header = printed("validate", what, "--data", str(path), "--format", "csv").splitlines()[0]
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
