"""Families: one row for what is one line, a file for the rest."""

import tomllib
from pathlib import Path

import pytest

from roofline.errors import RooflineError
from roofline.model import family
from roofline.model.family import family_ids, load_family, recognised_fields

FOLDER = Path(family.__file__).parent
TYPES = tomllib.loads((FOLDER / "types.toml").read_text(encoding="utf-8"))
TABLES = {name: table for name, table in TYPES.items() if isinstance(table, dict)}
FILES = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in (FOLDER / "families").glob("*.toml")}


def test_a_type_is_declared_once() -> None:
    rows = [name for table in TABLES.values() for name in table]
    assert len(rows) == len(set(rows))
    assert not set(rows) & FILES.keys()


@pytest.mark.parametrize("table", TABLES)
def test_rows_are_sorted(table: str) -> None:
    assert list(TABLES[table]) == sorted(TABLES[table])


def test_what_is_one_line_is_a_row() -> None:
    assert [name for name, declared in FILES.items() if declared.keys() in ({"base"}, {"refused"})] == []


def test_a_row_reads_as_what_it_names() -> None:
    assert load_family("emu3") == load_family("llama")
    assert "language model alone" in load_family("qwen2_5_vl").note
    assert load_family("qwen2_5_vl").fields == load_family("qwen2").fields
    assert load_family("xlnet").refused == "its two-stream attention is not described"


def test_types_of_files_and_rows_are_listed_together() -> None:
    assert {"llama", "emu3", "qwen2_5_vl"} <= set(family_ids())
    assert "xlnet" in family_ids(refused=True)
    assert not any(name.startswith("_") for name in family_ids())


def test_fields_of_all_bases_are_recognised() -> None:
    assert {"hidden_size", "num_local_experts", "sliding_window"} <= recognised_fields("mixtral")


@pytest.mark.parametrize("name", ["lama", "../llama", "", "x" * 200])
def test_an_unknown_type_is_refused_by_name(name: str) -> None:
    with pytest.raises(RooflineError, match="unknown model_type"):
        load_family(name)
