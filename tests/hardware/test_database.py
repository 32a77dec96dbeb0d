"""Where the facts lie and how their files are read."""

import zipfile
from pathlib import Path

import pytest

from roofline.hardware import HardwareError, database

TOML = 'id = "x"\nnames = ["a",\n  "b"]\n\n[sources]\nsheet = "a sheet"\n'


def test_the_facts_are_there() -> None:
    for name in ("boards.csv", "documents.csv", "instances.csv", "hosts.toml"):
        assert (database.facts() / name).is_file(), name
    assert "default" not in database.architecture_ids()
    assert "hopper" in database.architecture_ids()


def test_the_head_of_a_file_is_its_keys_before_the_first_table(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(TOML, encoding="utf-8")
    assert database.read_head(path) == {"id": "x", "names": ["a", "b"]}
    for key in ("h100-sxm-80gb", "l4"):
        head = database.read_head(database.facts() / "devices" / f"{key}.toml")
        assert head["id"] == key
        assert "peak" not in head


def test_files_in_a_zip_are_read_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "facts.zip", "w") as archive:
        archive.writestr("x.toml", TOML)
        archive.writestr("x.csv", "id,name\na,A\n")
    inside = zipfile.Path(tmp_path / "facts.zip")
    assert database.read_head(inside / "x.toml")["id"] == "x"  # type: ignore[arg-type]
    assert database.read_csv(inside / "x.csv") == [{"id": "a", "name": "A"}]  # type: ignore[arg-type]


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match=r"cannot read table '.*absent.csv': No such file"):
        database.read_csv(tmp_path / "absent.csv")


def test_a_table_without_its_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('id,name,note\na, A ,\nb,"B, C",x\n', encoding="utf-8-sig")
    assert database.read_csv(path) == [{"id": "a", "name": "A"}, {"id": "b", "name": "B, C", "note": "x"}]
    path.write_text("id,name\na,A,too many\n", encoding="utf-8")
    with pytest.raises(HardwareError, match="row 2: more cells than the heading has columns"):
        database.read_csv(path)


def test_an_unknown_architecture_shows_the_nearest() -> None:
    with pytest.raises(HardwareError, match="unknown architecture 'hoper': did you mean 'hopper'"):
        database.load_architecture("hoper")
