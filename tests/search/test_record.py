"""Everything that fits is on disk, whole, once."""

import os
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

import roofline
from roofline.errors import RooflineError
from roofline.search import parts, rows
from roofline.search.parts import Parts

from .small import ASKED, found, told

FEW = {"tp": 8, "pp": 1, "recompute": "full", "sharding": "none"}


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


def test_a_link_stays_a_link(tmp_path, small_pieces):
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "layouts", tmp_path / "all.csv"
    link.symlink_to(real)
    result = found(record=link)
    assert link.is_symlink()
    assert len(real.read_text().splitlines()) == 1 + result.fitting
    assert [*(tmp_path / "disk").iterdir()] == [real]


def test_parts_of_another_search_are_not_taken(tmp_path, small_pieces):
    folder = tmp_path / "all.csv.parts"
    folder.mkdir()
    (folder / "question").write_text("another")
    with pytest.raises(RooflineError, match="holds parts of another search"):
        found(record=tmp_path / "all.csv")


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="no such device here")
def test_what_is_no_ordinary_file_is_not_replaced():
    with pytest.raises(RooflineError, match="cannot write /dev/null: it is written in parts, which takes an ordinary"):
        Parts(Path("/dev/null"), b"", "search")


def test_a_damaged_part_is_told_and_never_unpickled(tmp_path, monkeypatch):
    monkeypatch.setattr(parts.shutil, "rmtree", lambda _: None)  # the parts stay
    found(record=tmp_path / "all.csv", **FEW)
    damaged = next((tmp_path / "all.csv.parts").glob("*.npz"))
    for content in (b"", b"PK", b"\x93NUMPY", b"\x80\x04."):  # the last: a pickle
        damaged.write_bytes(content)
        with pytest.raises(RooflineError, match="is damaged .*: remove it"):
            found(record=tmp_path / "all.csv", **FEW)
    damaged.unlink()
    found(record=tmp_path / "all.csv", **FEW)
    assert damaged.exists()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_that_were_cut_are_told_and_those_gone_are_searched_again(suffix, tmp_path, monkeypatch):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    path = tmp_path / f"all{suffix}"
    found(record=path, **FEW)
    whole = path.read_bytes()
    monkeypatch.setattr(parts.shutil, "rmtree", lambda _: None)  # the parts stay
    found(record=path, **FEW)
    part = next((tmp_path / f"all{suffix}.parts").glob(f"0*{suffix}"))
    part.write_bytes(part.read_bytes()[:-5])
    with pytest.raises(RooflineError, match=r"is damaged \(.* bytes\): remove it, and it is worked out again"):
        found(record=path, **FEW)
    part.unlink()
    path.unlink()
    found(record=path, **FEW)
    assert path.read_bytes() == whole


def test_an_executor_that_does_not_see_the_folder_is_told(tmp_path, monkeypatch):
    class Elsewhere:
        def submit(self, function, *args):
            future = Future()
            future.set_result(function(*args))
            for each in (tmp_path / "all.csv.parts").glob("0*"):
                each.unlink()
            return future

    with pytest.raises(RooflineError, match="1 of 1 parts are not in .*, which all processes must share"):
        found(record=tmp_path / "all.csv", executor=Elsewhere(), **FEW)
    assert not (tmp_path / "all.csv").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"record": "all.txt"}, "all.txt: layouts by the million are written as .csv or .parquet"),
        ({"record": Path("nowhere") / "all.csv"}, "cannot write"),
        ({"record": "a\0b.csv"}, "cannot write a.*null byte"),
        ({"record": "a" * 300 + ".csv"}, "cannot write a+.csv: File name too long"),
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
    assert "leave out --format" in refused("layouts", *words, "--all", "-o", str(path), "--format", "json")


def test_the_command_writes_parquet(tmp_path, refused, printed):
    words = ["llama-2-7b", "-d", "a100-sxm-80gb", "--num-devices", "8", "--stack", "megatron", "--tp", "8"]
    words += ["--all", "-o", str(tmp_path / "all.parquet")]
    if find_spec("pyarrow") is None:
        assert "Parquet needs pyarrow (pip install 'roofline[parquet]')" in refused("layouts", *words)
    else:
        assert "layouts that fit" in printed("layouts", *words)
        assert len(pd.read_parquet(tmp_path / "all.parquet")) > 10
