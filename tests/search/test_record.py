"""Everything that fits is on disk, whole, once."""

from pathlib import Path

import pandas as pd
import pytest

import roofline
from roofline.errors import RooflineError
from roofline.search import record, rows

from .small import ASKED, found, told


def test_every_layout_that_fits_is_recorded(tmp_path, small_pieces):
    path = tmp_path / "all.csv"
    result = found(record=path)
    assert told(result)["layouts"] == told(found())["layouts"]
    read = pd.read_csv(path)
    assert tuple(read.columns) == rows.COLUMNS
    assert len(read) == result.fitting
    assert not read.duplicated(list(rows.COLUMNS[:-2])).any()
    assert read.step_time_s.min() == pytest.approx(result.layouts[0].step_time_s, rel=1e-4)
    assert (read.memory_bytes <= 80 * 2**30).all()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["all.csv"]
    for row in read.sample(5, random_state=1).to_dict("records"):
        seconds, needed = row.pop("step_time_s"), row.pop("memory_bytes")
        one = roofline.estimate("llama-2-7b", "a100-sxm-80gb", **{**ASKED, **row})
        assert one.step_time_s == pytest.approx(seconds, rel=1e-4)
        assert one.memory.needed_bytes == pytest.approx(needed, rel=1e-4)


def test_a_search_that_was_stopped_goes_on(tmp_path, small_pieces):
    path = tmp_path / "all.csv"
    whole = tmp_path / "whole.csv"
    expected = found(record=whole)
    told_of = []

    def stop(done, _total):
        told_of.append(done)
        if len(told_of) == 6:
            raise KeyboardInterrupt

    assert found(record=path, progress=stop).interrupted
    assert not path.exists()
    kept = {each.name: each.stat().st_mtime_ns for each in (tmp_path / "all.csv.parts").glob("*.npz")}
    assert len(kept) > 0
    result = found(record=path)
    assert path.read_bytes() == whole.read_bytes()
    assert told(result) == told(expected)


def test_parts_of_another_search_are_not_taken(tmp_path, small_pieces):
    folder = tmp_path / "all.csv.parts"
    folder.mkdir()
    (folder / "question").write_text("another")
    with pytest.raises(RooflineError, match="holds parts of another search"):
        found(record=tmp_path / "all.csv")


def test_a_damaged_part_is_told_and_never_unpickled(tmp_path, monkeypatch):
    monkeypatch.setattr(record.shutil, "rmtree", lambda _: None)  # the parts stay
    few = {"tp": 8, "pp": 1, "recompute": "full", "sharding": "none"}
    found(record=tmp_path / "all.csv", **few)
    damaged = next((tmp_path / "all.csv.parts").glob("*.npz"))
    for content in (b"", b"PK", b"\x93NUMPY", b"\x80\x04."):  # the last: a pickle
        damaged.write_bytes(content)
        with pytest.raises(RooflineError, match="is damaged .*: remove it"):
            found(record=tmp_path / "all.csv", **few)
    damaged.unlink()
    found(record=tmp_path / "all.csv", **few)
    assert damaged.exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"record": "all.txt"}, "ends in .csv or .parquet"),
        ({"record": Path("nowhere") / "all.csv"}, "cannot write"),
        ({"executor": 3}, "executor must have a method submit"),
    ],
)
def test_what_cannot_be_is_said(given, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RooflineError, match=says):
        found(**given)
    assert not list(tmp_path.iterdir())


def test_parquet_holds_the_same(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    found(record=tmp_path / "all.csv")
    found(record=tmp_path / "all.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "all.parquet"), pd.read_csv(tmp_path / "all.csv"), rtol=1e-4, check_dtype=False
    )


def test_a_dask_cluster_gives_the_same_answer():
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        assert told(found(executor=client.get_executor())) == told(found())


def test_the_command_writes_all_with_several_processes(tmp_path, refused, printed):
    path = tmp_path / "all.csv"
    run = "--num-devices 8 --global-batch 64 --stack megatron --tp 2 --pp 1"
    words = ["llama-2-7b", "-d", "a100-sxm-80gb", *run.split()]
    assert f"are in {path}" in printed("layouts", *words, "--all", "-o", str(path), "--jobs", "2")
    assert len(path.read_text().splitlines()) > 10
    assert "name a file with --output" in refused("layouts", *words, "--all")
