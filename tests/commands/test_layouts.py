"""``roofline layouts`` on the command line."""

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from roofline.cli import main


def test_layouts_command_prints_the_contract(printed, answered):
    arguments = ["layouts", "gpt2-xl", "-d", "a100-sxm-80gb", "--num-devices", "8", "--global-batch", "64"]
    data = answered(*arguments)
    assert data["evaluated"] > 100
    assert data["seconds"] > 0
    assert data["layouts"][0]["step_time_s"] <= data["layouts"][1]["step_time_s"]
    assert "The fastest layouts" in printed(*arguments)
    assert main(["layouts", "llama-2-70b", "-d", "a100-sxm-80gb"]) == 3


def test_layouts_have_the_same_csv_columns_whatever_is_asked(capsys, printed):
    arguments = ["layouts", "gpt2-xl", "-d", "a100-sxm-80gb", "--format", "csv", "--global-batch", "64"]
    choices = ([], ["--num-devices", "8"], ["--num-devices", "4,8", "--objective", "energy", "--price", "2"])
    heads = [printed(*arguments, *more).splitlines()[0] for more in choices]
    assert len(set(heads)) == 1
    columns = heads[0].split(",")
    assert {"step_time_low_s", "step_time_high_s", "stack", "ep", "dtype", "energy_j_per_step"} <= set(columns)
    assert main(["layouts", "llama-2-70b", "-d", "a100-sxm-80gb", "--format", "csv"]) == 3
    assert capsys.readouterr().out.splitlines()[0] == heads[0]


def test_layouts_of_one_footing_say_their_software(printed):
    arguments = ["layouts", "gpt2-xl", "-d", "h100-sxm-80gb", "--num-devices", "8"]
    text = printed(*arguments, "--objective", "energy")
    for software in ("compiled", "fsdp"):
        assert re.search(rf"{software} +.*its best\n", text)
    assert re.search(r"[0-9.]+ kJ", text)
    assert "e+0" not in text


def test_layouts_say_what_was_searched(printed):
    arguments = ["layouts", "gpt2-xl", "-d", "a100-sxm-80gb", "--num-devices", "8", "--global-batch", "64"]
    text = printed(*arguments)
    assert text.splitlines()[0].startswith("gpt2-xl (1.56B parameters) on 8 x a100-sxm-80gb")
    assert "dense peak" in text
    assert "  simplest" in text
    assert "simplest" in printed(*arguments, "--format", "csv").splitlines()[0].split(",")


def test_processes_end_with_the_one_that_started_them():
    code = (
        "import sys, time; from roofline.commands.jobs import processes\n"
        "with processes(2) as executor: print(executor.submit(abs, -7).result(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "7\n"
        parent.kill()
        assert parent.communicate(timeout=50) == ("", None)  # the pipe is closed where all that hold it have ended


def test_a_layout_in_a_frameworks_keys_has_no_other_form(refused, tmp_path):
    arguments = ["layouts", "gpt2", "-d", "h100-sxm-80gb", "--num-devices", "2", "--emit", "torchtitan"]
    for name, more in {"format": ["json"], "full": [], "all": ["--output", str(tmp_path / "x.csv")]}.items():
        assert f"in torchtitan's own keys: leave out --{name}" in refused(*arguments, f"--{name}", *more)
    assert not [*tmp_path.iterdir()]


def test_a_layout_in_a_frameworks_keys_goes_to_a_file_of_any_name(printed, refused, tmp_path):
    path = tmp_path / "x.toml"
    arguments = ["layouts", "gpt2", "-d", "h100-sxm-80gb", "--num-devices", "2", "--emit", "torchtitan"]
    assert printed(*arguments, "--output", str(path)) == ""
    assert path.read_text() == printed(*arguments)
    assert "no folder" in refused(*arguments, "--output", str(tmp_path / "no" / "x.toml"))
    none = [arguments[0], "llama-3-70b", *arguments[2:], "--output", str(tmp_path / "none.toml")]
    assert "No layout fits" in printed(*none, statuses=(3,))
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="the extra parquet is not installed")
def test_every_layout_is_written_as_parquet(printed, refused, tmp_path):
    path = tmp_path / "all.parquet"
    arguments = ["layouts", "gpt2", "-d", "h100-sxm-80gb", "--num-devices", "2", "--micro-batch", "1,2", "--all"]
    assert f"are in {path}" in printed(*arguments, "--output", str(path))
    assert path.read_bytes()[:4] == b"PAR1"
    assert "leave out --format" in refused(*arguments, "--output", str(path), "--format", "json")
