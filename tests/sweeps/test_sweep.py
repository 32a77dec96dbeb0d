"""Sweeps on disk: what a comparison holds, written in parts that a stopped sweep goes on with."""

import errno
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib.util import find_spec
from io import StringIO
from multiprocessing import get_context

import pandas as pd
import pytest

import roofline
from roofline.answers.comparison import Sweep
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.sweeps import sweep as sweeps

from ..executors import Disorderly

DEVICES = ("a100-sxm-80gb", "h100-sxm-80gb")
ASKED = {"micro_batch": [1, 2, 3], "seq_len": [512, "1k"], "global_batch": 8}
WORDS = ["gpt2", "-d", DEVICES[0], "-d", DEVICES[1], "--micro-batch", "1,2,3", "--seq-len", "512,1k"]
WORDS += ["--global-batch", "8"]
REFUSED = "global_batch 8 is not micro_batch 3"


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(sweeps, "PIECE", 3)


def swept(path, **more):
    return roofline.sweep("gpt2", DEVICES, record=path, **{**ASKED, **more})


def test_the_file_is_that_of_the_comparison(tmp_path, printed, small_parts):
    path = tmp_path / "all.csv"
    said = printed("compare", *WORDS, "--all", "-o", str(path))
    assert said.startswith(f"{path} holds 8 cases; 4 cannot be, the first: {REFUSED}")
    compared = pd.read_csv(StringIO(printed("compare", *WORDS, "--format", "csv")))
    pd.testing.assert_frame_equal(pd.read_csv(path), compared, check_dtype=False, rtol=1e-12)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["all.csv"]


def test_a_sweep_that_was_stopped_goes_on(tmp_path, small_parts):
    whole = swept(tmp_path / "whole.csv")
    assert (whole.written, whole.refused, whole.reason[: len(REFUSED)]) == (8, 4, REFUSED)

    def stop(done, number):
        assert number == 12
        if done > 6:
            raise KeyboardInterrupt

    path = tmp_path / "all.csv"
    with pytest.raises(KeyboardInterrupt):
        swept(path, progress=stop)
    assert len(list((tmp_path / "all.csv.parts").glob("*.csv"))) == 3
    with pytest.raises(RooflineError, match="holds parts of another sweep"):
        swept(path, global_batch=16)
    assert swept(path).written == 8
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert swept(path).to_frame().shape == (8, len(sweeps.COLUMNS))  # anew


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_file_is_the_same_wherever_and_in_whatever_order_parts_are_worked_out(suffix, tmp_path, small_parts):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    swept(tmp_path / f"here{suffix}")
    with ThreadPoolExecutor(3) as threads:
        for name, executor in {"last": Disorderly(), "any": Disorderly(seed=1), "threads": threads}.items():
            swept(tmp_path / f"{name}{suffix}", executor=executor)
            assert (tmp_path / f"{name}{suffix}").read_bytes() == (tmp_path / f"here{suffix}").read_bytes()


def test_processes_write_the_same(tmp_path):
    swept(tmp_path / "here.csv")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        assert swept(tmp_path / "there.csv", executor=executor).written == 8
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_jobs_write_the_same(tmp_path, printed):
    swept(tmp_path / "here.csv")
    printed("compare", *WORDS, "--all", "-o", str(tmp_path / "jobs.csv"), "--jobs", "2")
    assert (tmp_path / "jobs.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_a_dask_cluster_writes_the_same(tmp_path, small_parts):
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    swept(tmp_path / "here.csv")
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        swept(tmp_path / "there.csv", executor=client.get_executor())
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_loky_writes_the_same(tmp_path, small_parts):
    loky = pytest.importorskip("loky", reason="loky is not installed")
    swept(tmp_path / "here.csv")
    with loky.ProcessPoolExecutor(2) as executor:
        swept(tmp_path / "there.csv", executor=executor)
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_parquet_holds_the_same_with_a_type_for_each_column(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    of_csv, of_parquet = swept(tmp_path / "all.csv").to_frame(), swept(tmp_path / "all.parquet").to_frame()
    pd.testing.assert_frame_equal(of_csv, of_parquet, check_dtype=False, check_exact=True)
    kinds = of_parquet.dtypes[["tp", "fits", "mfu"]].astype(str).tolist()
    assert kinds == ["int64", "bool", "float64"]


def test_what_befalls_the_parts_is_told_in_one_line(tmp_path, small_parts, monkeypatch):
    path, folder = tmp_path / "all.csv", tmp_path / "all.csv.parts"

    def after(number, change):
        def progress(done, _):
            if done == 3 * number:
                change()

        return progress

    with pytest.raises(RooflineError, match=r"the folder of its parts, .*all.csv.parts, is gone"):
        swept(path, progress=after(2, lambda: sweeps.shutil.rmtree(folder)))
    part = folder / "00000000.csv"
    with pytest.raises(RooflineError, match="1 of 4 parts are not in .*; the same again works out those alone"):
        swept(path, progress=after(2, part.unlink))
    with pytest.raises(RooflineError, match=r"00000000.csv is damaged \(9 of .* bytes\): remove it"):
        swept(path, progress=after(2, lambda: part.write_text("truncated")))
    part.unlink()
    note = folder / "00000001.json"
    note.write_text("{")
    with pytest.raises(RooflineError, match=r"00000001.json is damaged .*: remove it, and its part is worked out"):
        swept(path)
    note.unlink()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setitem(sweeps.WRITERS, ".csv", full)
        with pytest.raises(RooflineError, match="cannot write .*all.csv: No space left on device"):
            swept(path)
    assert not path.exists()
    assert swept(path).written == 8


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--all",), "name a file with --output (.csv, or .parquet with pyarrow)"),
        (("--all", "-o", "all.txt"), "all.txt: cases by the million are written as .csv or .parquet"),
        (("--all", "-o", "all.csv", "--format", "json"), "leave out --format"),
        (("--all", "-o", "all.csv", "--case", "gpt2"), "--all takes combinations of options"),
        (("--all", "-o", "all.csv", "--global-batch", "5"), "global_batch 5 is not"),
        (("--all", "-o", "all.csv", *(f"--{name}=1:1000:1" for name in ("tp", "pp", "dp"))), "at most 1,000,000,000"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(words, says, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in refused("compare", "gpt2", "-d", "t4", "--micro-batch", "2,4", *words)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_parquet(tmp_path, refused, printed):
    path = tmp_path / "all.parquet"
    if find_spec("pyarrow") is None:
        assert "Parquet needs pyarrow" in refused("compare", *WORDS, "--all", "-o", str(path))
    else:
        assert "all.parquet holds 8 cases" in printed("compare", *WORDS, "--all", "-o", str(path))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"record": 3}, "record must be a path"),
        ({"record": "all.csv", "executor": 3}, "executor must have a method submit"),
        ({"record": "all.csv", "micro_bach": 3}, "did you mean 'micro_batch'"),
        ({"record": "all.csv", "devices": []}, "nothing to sweep over: name a model and a device"),
        ({"record": "nowhere/all.csv"}, "cannot write nowhere/all.csv: there is no folder"),
        ({"record": "a\0b.csv"}, "no file can have this name"),
        ({"record": "a" * 300 + ".csv"}, "no file can have this name"),
        ({"record": "all.csv", "stack": "\udc80"}, "unknown stack"),
    ],
)
def test_wrong_arguments_are_told(given, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RooflineError, match=says):
        roofline.sweep(**{"models": "gpt2", "devices": "t4", **given})
    assert not list(tmp_path.iterdir())


def test_cases_of_a_sweep_are_found_by_their_numbers():
    options = {"micro_batch": (1, 2, 4), "seq_len": (512, 1024), "dtype": "bf16"}
    cases = Sweep((load_model("gpt2"),), tuple(map(load_device, DEVICES)), options)
    found = [case.varied for case in cases.between(0, 100)]
    assert len(found) == len(cases) == 12
    assert [found[number] for number in (0, 1, 7, 11)] == [
        {"device": "a100-sxm-80gb", "micro_batch": 1, "seq_len": 512},
        {"device": "a100-sxm-80gb", "micro_batch": 1, "seq_len": 1024},
        {"device": "h100-sxm-80gb", "micro_batch": 1, "seq_len": 1024},
        {"device": "h100-sxm-80gb", "micro_batch": 4, "seq_len": 1024},
    ]
    (one,) = cases.between(7, 8)
    assert (one.device.id, one.options) == ("h100-sxm-80gb", {"micro_batch": 1, "seq_len": 1024, "dtype": "bf16"})
