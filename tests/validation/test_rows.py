"""Tables of published runs as they are read."""

import csv
import zipfile

import pytest

from roofline.errors import RooflineError
from roofline.validation.rows import Skipped, number, read_rows, read_table, source_name
from roofline.validation.runs import data_file


@pytest.mark.parametrize("what", ["runs", "memory", "budgets"])
def test_packaged_tables_have_unique_ids_and_sources(what):
    with data_file(what).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids))
    assert all(row["source"].strip() for row in rows)


def test_every_source_has_a_name_of_its_own():
    codes = {row["id"].split("-")[0] for what in ("runs", "memory") for row in read_table(data_file(what))}
    names = [source_name(code) for code in codes]
    assert not [code for code in codes if source_name(code) == code and code != "nanochat"]
    assert len(set(names)) == len(names)


def test_tables_that_cannot_be_read(tmp_path):
    path = tmp_path / "runs.csv"
    with pytest.raises(RooflineError, match="cannot read"):
        read_rows(path)
    path.write_text("id,device\n")
    with pytest.raises(RooflineError, match="no rows"):
        read_rows(path)
    path.write_text("id,device\na,b\n")
    with pytest.raises(RooflineError, match=r"no column .*seq_len"):
        read_rows(path)
    assert read_table(path) == [{"id": "a", "device": "b"}]
    path.write_text("id;device\na;b\n")
    with pytest.raises(RooflineError, match=r"runs.csv: its columns are separated by ';': save it with commas"):
        read_rows(path)
    path.write_text("id,device\na,b\nc,,d\n")
    with pytest.raises(RooflineError, match=r"runs.csv: line 3: more cells than the first line names columns"):
        read_table(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RooflineError, match="not a text file"):
        read_table(path)


def test_a_table_may_lie_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("data/runs.csv", "id,model\none,gpt2\n")
    assert read_table(zipfile.Path(tmp_path / "all.zip", "data/runs.csv")) == [{"id": "one", "model": "gpt2"}]


@pytest.mark.parametrize("path", [3, None, ["runs.csv"]])
def test_what_names_no_table_is_refused(path):
    with pytest.raises(RooflineError, match="a table of runs is the path of a CSV, got"):
        read_table(path)


@pytest.mark.parametrize("cell", ["1e31", "1e-31", "-1", "x"])
def test_figures_that_no_measurement_gives_are_skipped(cell):
    with pytest.raises(Skipped, match="row a: tokens .*(out of range|not a number)"):
        number({"id": "a", "tokens": cell}, "tokens")
    assert number({"tokens": "0"}, "tokens") == 0
