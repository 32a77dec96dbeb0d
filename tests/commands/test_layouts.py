"""``roofline layouts`` on the command line."""

from __future__ import annotations

import json
import re

from roofline.cli import main


def test_layouts_command_prints_the_contract(capsys):
    arguments = ["layouts", "gpt2-xl", "-d", "a100-sxm-80gb", "--num-devices", "8", "--global-batch", "64"]
    assert main([*arguments, "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["evaluated"] > 100
    assert data["seconds"] > 0
    assert data["layouts"][0]["step_time_s"] <= data["layouts"][1]["step_time_s"]
    assert main(arguments) == 0
    assert "The fastest layouts" in capsys.readouterr().out
    assert main(["layouts", "llama-2-70b", "-d", "a100-sxm-80gb"]) == 3


def test_layouts_have_the_same_csv_columns_whatever_is_asked(capsys):
    arguments = ["layouts", "gpt2-xl", "-d", "a100-sxm-80gb", "--format", "csv", "--global-batch", "64"]
    heads = []
    for more in (
        [],
        ["--num-devices", "8"],
        ["--num-devices", "4,8", "--objective", "energy", "--price", "2"],
    ):
        assert main([*arguments, *more]) == 0
        heads.append(capsys.readouterr().out.splitlines()[0])
    assert len(set(heads)) == 1
    columns = heads[0].split(",")
    assert {"step_time_low_s", "step_time_high_s", "stack", "ep", "dtype", "energy_j_per_step"} <= set(columns)
    assert main(["layouts", "llama-2-70b", "-d", "a100-sxm-80gb", "--format", "csv"]) == 3
    assert capsys.readouterr().out.splitlines()[0] == heads[0]


def test_layouts_of_one_footing_say_their_software(capsys):
    arguments = ["layouts", "gpt2-xl", "-d", "h100-sxm-80gb", "--num-devices", "8"]
    assert main([*arguments, "--objective", "energy"]) == 0
    text = capsys.readouterr().out
    assert "best on compiled" in text
    assert "best on fsdp" in text
    assert re.search(r"[0-9.]+ kJ", text)
    assert "e+0" not in text


def test_layouts_say_what_was_searched(capsys):
    arguments = ["layouts", "gpt2-xl", "-d", "a100-sxm-80gb", "--num-devices", "8", "--global-batch", "64"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0].startswith("gpt2-xl (1.56B parameters) on 8 x a100-sxm-80gb")
    assert "dense peak" in text
    assert "  simplest" in text
    assert main([*arguments, "--format", "csv"]) == 0
    assert "simplest" in capsys.readouterr().out.splitlines()[0].split(",")
