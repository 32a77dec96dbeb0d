"""``roofline plan`` on the command line."""

import json

import pytest

from roofline import units
from roofline.cli import main
from roofline.planning.plan import DoesNotFit, plan

ASKED = {"model": "gpt2-xl", "device": "a100-sxm-80gb"}


def test_what_does_not_fit_says_why_and_what_would(capsys):
    with pytest.raises(DoesNotFit, match=r"[0-9.]+ GiB of it weights, gradients and optimizer state .* use 2 devices"):
        plan("llama-2-7b", "h100-sxm-80gb", tokens="1B")
    assert main(["layouts", "llama-2-7b", "-d", "h100-sxm-80gb"]) == 3
    text = " ".join(capsys.readouterr().out.split())
    assert "To fit: use 2 devices" in text
    assert "--seq-len" not in text
    assert main(["plan", "llama-2-7b", "-d", "t4", "--tokens", "1B", "--num-devices", "1"]) == 3
    assert "more than 8 devices (t4 has no network figure" in " ".join(capsys.readouterr().out.split())


def test_command_prints_the_contract(printed, answered):
    arguments = ["plan", "gpt2", "-d", "a100-sxm-80gb,h100-sxm-80gb", "--tokens", "1B", "--price", "1", "--price", "3"]
    data = answered(*arguments, "--explain", "--ladder")
    keys = (
        "tokens",
        "steps",
        "wall_time_s",
        "wall_time_low_s",
        "wall_time_high_s",
        "device_hours",
        "energy_kwh",
        "cost",
        "num_devices",
        "layout",
    )
    assert all(key in data for key in keys)
    assert [one["cost"] for one in data["plans"]] == sorted(one["cost"] for one in data["plans"])
    text = printed(*arguments, "--explain", "--ladder")
    assert "1.000 failures x" in text
    assert "The arithmetic" in text


def test_a_missed_deadline_says_what_would_meet_it(capsys):
    asked = {**ASKED, "global_batch": 512}
    late = plan(**asked, tokens="10B", num_devices=1, deadline_s="1d")
    assert late.devices_in_time == plan(**asked, tokens="10B", deadline_s="1d").num_devices
    assert plan(**asked, tokens="10B", num_devices=64, deadline_s="1d").devices_in_time is None
    arguments = ["--num-devices", "1", "--tokens", "10B", "--deadline", "1d", "--global-batch", "512"]
    assert main(["plan", "gpt2-xl", "-d", "a100-sxm-80gb", *arguments]) == 3
    by = units.format_time(late.wall_time_s - 86400)
    assert f"IS MISSED by {by}: {late.devices_in_time} devices would meet it" in capsys.readouterr().out


@pytest.mark.parametrize(
    "asked",
    [
        ["llama-3-8b", "-d", "h100-sxm-80gb", "--tokens", "15T", "--deadline", "1h"],  # no number of devices is enough
        ["gpt2-xl", "-d", "a100-sxm-80gb", "--tokens", "1B", "--num-devices", "8", "--budget", "1", "--price", "2"],
        ["llama-2-70b", "-d", "a100-sxm-80gb", "--num-devices", "2", "--tokens", "1B"],  # does not fit
    ],
)
def test_what_is_missed_is_a_result_with_exit_status_3(asked, tmp_path, capsys):
    assert main(["plan", *asked, "--output", str(tmp_path / "plan.json")]) == 3
    data = json.loads((tmp_path / "plan.json").read_text())
    assert data["missed"][0]["by"] > 0 if "missed" in data else data["fits"] is False and data["problems"]
    assert main(["plan", *asked, "--format", "csv"]) == 3
    assert capsys.readouterr().out.startswith("device,tokens,")


def test_a_device_without_the_dtype_is_left_out(printed):
    arguments = ["--dtype", "bf16", "--tokens", "1B", "--num-devices", "8"]
    text = printed("plan", "gpt2", "-d", "h100-sxm-80gb,v100-sxm2-32gb", *arguments)
    assert "Left out: v100-sxm2-32gb has no bf16" in " ".join(text.split())


def test_a_plan_without_a_price_has_a_cost_of_null(answered):
    assert answered("plan", "gpt2", "-d", "a100-sxm-80gb", "--tokens", "1B")["cost"] is None
