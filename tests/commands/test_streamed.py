"""Sweeps on disk: what a comparison holds, written in parts that a stopped sweep goes on with."""

import pytest

from roofline.answers.comparison import Sweep
from roofline.commands import streamed
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model

DEVICES = ("a100-sxm-80gb", "h100-sxm-80gb")
ASKED = ["gpt2", "-d", "a100-sxm-80gb", "-d", "h100-sxm-80gb", "--micro-batch", "1,2,3", "--seq-len", "512,1k"]
ASKED += ["--global-batch", "8"]
REFUSED = "4 cannot be, the first: global_batch 8 is not micro_batch 3"


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(streamed, "PIECE", 3)


def sweep(**options):
    return Sweep((load_model("gpt2"),), tuple(map(load_device, DEVICES)), options)


def test_the_file_is_that_of_the_comparison(tmp_path, printed, small_parts):
    path = tmp_path / "all.csv"
    assert REFUSED in printed("compare", *ASKED, "--all", "-o", str(path))
    assert path.read_text() == printed("compare", *ASKED, "--format", "csv")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["all.csv"]


def test_a_sweep_that_was_stopped_goes_on(tmp_path, small_parts):
    cases = sweep(micro_batch=(1, 2, 3), seq_len=(512, 1024), global_batch=8)
    whole = streamed.write_cases(cases, tmp_path / "whole.csv")

    def stop(done, number):
        assert number == len(cases) == 12
        if done > 6:
            raise KeyboardInterrupt

    path = tmp_path / "all.csv"
    with pytest.raises(KeyboardInterrupt):
        streamed.write_cases(cases, path, progress=stop)
    kept = {each: each.stat().st_mtime_ns for each in (tmp_path / "all.csv.parts").glob("*.csv")}
    assert len(kept) == 3
    with pytest.raises(RooflineError, match="holds parts of another sweep"):
        streamed.write_cases(sweep(micro_batch=(1, 2), global_batch=8), path)
    assert streamed.write_cases(cases, path) == whole
    assert (whole.written, whole.refused) == (8, 4)
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert streamed.write_cases(cases, path) == whole  # anew


def test_processes_write_the_same(tmp_path, printed):
    one, several = tmp_path / "one.csv", tmp_path / "several.csv"
    printed("compare", *ASKED, "--all", "-o", str(one))
    printed("compare", *ASKED, "--all", "-o", str(several), "--jobs", "2")
    assert one.read_bytes() == several.read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--all",), "name a file with --output (.csv)"),
        (("--all", "-o", "all.txt"), "all.txt: millions of cases are written as .csv"),
        (("--all", "-o", "all.csv", "--case", "gpt2"), "--all takes combinations of options"),
        (("--all", "-o", "all.csv", "--global-batch", "5"), "global_batch 5 is not"),
        (("--all", "-o", "all.csv", *(f"--{name}=1:1000:1" for name in ("tp", "pp", "dp"))), "at most 100,000,000"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(words, says, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in refused("compare", "gpt2", "-d", "t4", "--micro-batch", "2,4", *words)
    assert not list(tmp_path.iterdir())


def test_a_case_of_a_sweep_is_found_by_its_number():
    cases = sweep(micro_batch=(1, 2, 4), seq_len=(512, 1024), dtype="bf16")
    assert [cases[number].varied for number in (0, 1, 7, 11)] == [
        {"device": "a100-sxm-80gb", "micro_batch": 1, "seq_len": 512},
        {"device": "a100-sxm-80gb", "micro_batch": 1, "seq_len": 1024},
        {"device": "h100-sxm-80gb", "micro_batch": 1, "seq_len": 1024},
        {"device": "h100-sxm-80gb", "micro_batch": 4, "seq_len": 1024},
    ]
    with pytest.raises(IndexError):
        cases[12]
