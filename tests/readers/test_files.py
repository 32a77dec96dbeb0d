"""Files that a run file names are found beside it, and nowhere else."""

from pathlib import Path

from roofline.readers.files import look_up, under


def test_tables_are_merged_key_by_key_and_the_upper_one_wins() -> None:
    base = {"model": {"layers": 2, "heads": 4}, "seed": 1, "data": {"path": "x"}}
    top = {"model": {"layers": 8}, "data": None}
    assert under(base, top) == {"model": {"layers": 8, "heads": 4}, "seed": 1, "data": None}
    assert base["model"] == {"layers": 2, "heads": 4}  # not changed


def test_a_value_in_place_of_a_table_replaces_it_and_the_other_way_round() -> None:
    assert under({"a": {"b": 1}}, {"a": 2}) == {"a": 2}
    assert under({"a": 2}, {"a": {"b": 1}}) == {"a": {"b": 1}}


def test_beside_the_file_or_in_a_folder_beside_it(tmp_path: Path) -> None:
    run = tmp_path / "job" / "run.yaml"
    (run.parent / "bases").mkdir(parents=True)
    (run.parent / "ds.json").write_text("{}")
    (run.parent / "bases" / "model.yaml").write_text("{}")
    assert look_up("ds.json", run, []) == run.parent / "ds.json"
    assert look_up("/somewhere/else/ds.json", run, []) == run.parent / "ds.json"  # the name alone
    assert look_up("model.yaml", run, []) is None
    assert look_up("model.yaml", run, ["bases"]) == run.parent / "bases" / "model.yaml"


def test_never_outside_the_folder(tmp_path: Path) -> None:
    run = tmp_path / "job" / "run.yaml"
    run.parent.mkdir()
    (tmp_path / "secret.json").write_text("{}")
    (run.parent / "link.json").symlink_to(tmp_path / "secret.json")
    assert look_up("../secret.json", run, []) is None
    assert look_up(str(tmp_path / "secret.json"), run, []) is None
    assert look_up("link.json", run, []) is None
    assert look_up("a\0b", run, []) is None
