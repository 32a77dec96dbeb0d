"""What to train, asked of ``roofline plan`` on the command line."""

import json

import pytest

from roofline.cli import main
from roofline.planning.plan import plan


def test_the_command_prints_what_to_train(printed, answered) -> None:
    asked = ["plan", "-d", "a100-sxm-80gb", "--num-devices", "8", "--flops", "1e21", "--price", "2.5"]
    data = answered(*asked)
    assert data["rungs"][data["best"]]["cost"] == 2.5 * data["rungs"][data["best"]]["device_hours"]
    assert data["law"]["source"].startswith("Besiroglu")
    text = printed(*asked)
    assert "What to train on a100-sxm-80gb, by chinchilla-refit" in text
    assert "1e+21 FLOPs by every law" in text


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([], "missing MODEL"),
        (["--law", "kaplan", "--tokens", "1T"], "--tokens needs a MODEL"),
        (["gpt2", "--flops", "1e22"], "for gpt2, give --tokens"),
        (["--law", "kaplann"], "did you mean 'kaplan'"),
        (["--law", "kaplan", "--deadline", "1d", "-d", "a100-sxm-80gb"], "for one device"),
    ],
)
def test_what_does_not_go_together_is_one_line(asked: list[str], words: str, refused) -> None:
    assert words in refused("plan", "-d", "h100-sxm-80gb", *asked)


def test_a_missed_deadline_is_a_result_with_exit_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["plan", "-d", "h100-sxm-80gb", "--flops", "1e24", "--num-devices", "8", "--deadline", "1d"]
    assert main(asked) == 3
    assert "Deadline  IS MISSED by" in capsys.readouterr().out
    assert main(["plan", "-d", "rtx-4090", "--flops", "1e26", "--num-devices", "1"]) == 3
    assert "does not fit" in capsys.readouterr().out


def test_a_plan_is_judged_by_a_law(printed) -> None:
    asked = ["llama-3-8b", "-d", "h100-sxm-80gb", "--num-devices", "64"]
    text = " ".join(printed("plan", *asked, "--tokens", "15T", "--law", "chinchilla-refit").split())
    assert "loss 2.022; the size is best with 165B tokens and has 91.2 times as many; 82 % less compute" in text
    found = plan("llama-3-8b", "h100-sxm-80gb", num_devices=64, law="minicpm")
    assert found.tokens == round(found.verdict.optimal_tokens)
    # 192 tokens for each parameter that is in no table: 8,030,261,248 less two of 128,256 x 4,096
    assert found.tokens == 192 * (8_030_261_248 - 2 * 128_256 * 4096)
    assert any("tokens by minicpm" in note for note in found.notes)


def test_the_ladder_of_a_plan_has_its_compute_and_devices(printed) -> None:
    asked = ["gpt2-xl", "-d", "a100-sxm-80gb", "--tokens", "30B", "--num-devices", "8", "--ladder", "--format", "json"]
    found = json.loads(printed("plan", *asked))["ladder"]
    assert found["flops"] == 6 * 1_557_611_200 * 30e9  # gpt2-xl has 1,557,611,200 parameters
    assert {rung["num_devices"] for rung in found["rungs"]} == {8}


def test_each_device_has_its_price(refused) -> None:
    asked = ["plan", "gpt2", "--tokens", "1B", "-d", "h100-sxm-80gb", "-d", "a100-sxm-80gb", "--num-devices", "1"]
    assert "3 prices for 2 devices: give --price once, or once per --device" in refused(
        *asked, "--price", "1/h", "--price", "2/h", "--price", "3/h"
    )
