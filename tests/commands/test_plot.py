"""``roofline plot``: every kind, and bad input on one line with nothing written."""

import os
import subprocess
import sys

import pytest

from roofline.cli import main

from ..plot.predictions import PREDICTIONS


def run(*arguments):
    return main(["plot", *arguments])


@pytest.mark.parametrize("kind", ["roofline", "waterfall", "memory", "batch"])
def test_every_kind_from_the_command_line(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    arguments = ["gpt2", "-d", "h100-sxm-80gb", "--kind", kind, "--dpi", "50", "--data", "data.csv"]
    assert run(*arguments) == 0
    assert capsys.readouterr().out == f"wrote {kind}.png and data.csv\n"
    assert (tmp_path / f"{kind}.png").exists()
    assert (tmp_path / "data.csv").read_text().count("\n") > 3


def test_devices_may_repeat_and_be_joined(tmp_path):
    output = str(tmp_path / "a.svg")
    assert run("-d", "h100-sxm-80gb,a100-sxm-80gb", "-d", "mi300x", "--output", output) == 0
    assert run("gpt2", "-d", "h100-sxm-80gb", "-d", "a100-sxm-80gb", "--kind", "memory", "--output", output) == 0


def test_validate_reads_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr("roofline.validation.runs.validate_runs", lambda path: PREDICTIONS if path == "my.csv" else [])
    output = str(tmp_path / "a.png")
    assert run("--kind", "validate", "--runs", "my.csv", "--by", "source", "--output", output) == 0
    assert run("--kind", "validate", "--runs", "my.csv", "-d", "t4", "--output", output) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gpt2", "-d", "t4", "--dtype", "bf16"], ["t4", "bf16", "fp16"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--output", "a.gif"], ["a.gif", ".png, .svg, .pdf"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--data", "no/a.csv"], ["no/a.csv", "folder"]),
        (["gpt2", "-d", "t4", "--output", "x.svg", "--data", "./x.svg"], ["x.svg is named for two results"]),
        (["gpt2"], ["--device", "roofline devices"]),
        (["-d", "h100-sxm-80gb", "--kind", "memory"], ["memory", "MODEL"]),
        (["-d", "h100-sxm-80gb", "--dtype", "fp4"], ["fp4", "fp8"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--tp", "1,2"], ["--tp", "one value"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--kind", "batch", "--micro-batch", "4"], ["--micro-batch", "list"]),
        (["gpt2", "-d", "t4,h100-sxm-80gb", "--kind", "memory", "--micro-batch", "1,2"], ["one of either"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--dpi", "1"], ["--dpi 1", "30"]),
        (["gpt2", "-d", "t4", "--over", "seq-len"], ["--over", "--kind batch"]),
        (["gpt2", "-d", "t4", "--kind", "batch", "--over", "seq-len", "--seq-len", "64"], ["--seq-len", "list"]),
        (["gpt2", "--kind", "validate"], ["validate", "'gpt2'"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--kind", "rooflines"], ["roofline"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--kind", "batch", "--global-batch", "5", "--num-devices", "2"], ["5", "2"]),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert all(word in captured.err for word in words), captured.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", [("--offload", "optimizer"), ("--fused", "residual,rotary")])
def test_an_option_that_is_a_list_is_one_value(tmp_path, option):
    words = ["plot", "gpt2", "-d", "h100-sxm-80gb", "--micro-batch", "1", "--kind", "waterfall"]
    assert main([*words, *option, "-o", str(tmp_path / "picture.svg")]) == 0
    assert (tmp_path / "picture.svg").exists()


def test_a_backend_that_matplotlib_does_not_know_is_one_line(tmp_path):
    arguments = ["plot", "gpt2", "-d", "t4", "-o", str(tmp_path / "x.svg")]
    done = subprocess.run(
        [sys.executable, "-m", "roofline", *arguments],
        env={**os.environ, "MPLBACKEND": "x"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "'x' is not a valid value for backend" in done.stderr
    assert "correct or unset MPLBACKEND" in done.stderr
