"""What a whole run adds to its steps: each part by hand, and how it grows with devices."""

from __future__ import annotations

import json
import math

import pytest

from roofline.cli import main
from roofline.config.run import TrainConfig
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.model.parameters import count_parameters
from roofline.planning.overhead import best_interval_s, facts, overhead_of, with_failures

H100 = load_device("h100-sxm-80gb")


def on(devices, model="llama-3.1-405b", **options):
    train = TrainConfig(num_devices=devices, global_batch=devices, micro_batch=1)
    return overhead_of(load_model(model), H100, train, **options)


def test_the_published_interruptions_of_llama_3():
    # 419 in 54 days: one every 3.1 h on 16,384
    fleet = facts().fleet[0]
    assert fleet.device_hours == 16384 * 54 * 24
    assert fleet.device_hours / fleet.interruptions / 16384 == pytest.approx(54 * 24 / 419)


def test_a_large_run_loses_what_was_published():
    # Llama 3 405B trained more than 90 % of the time on 16,384 (arXiv:2407.21783, section 3.3.4)
    found = on(16384)
    assert 1.05 < found.failures * found.checkpoints < 1 / 0.9
    assert found.low < found.usual < found.high


def test_one_device_adds_evaluation_and_next_to_nothing_else():
    found = on(1, "gpt2")
    assert found.usual == pytest.approx(1.01, abs=0.002)
    assert found.practice == 1


def test_a_checkpoint_holds_masters_and_moments():
    # 12 bytes a parameter: fp32 copies, two fp32 moments; 2 nodes write 2 GB/s
    found = on(16, "gpt2")
    assert found.checkpoint_bytes == 12 * count_parameters(load_model("gpt2")).total
    assert found.checkpoint_s == pytest.approx(found.checkpoint_bytes / 2e9)


def test_the_interval_loses_least():
    every = best_interval_s(60, 86400)
    least = with_failures(every, 60, 600, 86400)
    assert all(least <= with_failures(every * factor, 60, 600, 86400) for factor in (0.8, 0.95, 1.05, 1.25))
    # to first order: writing over the interval, and half of it and the restart over the time between failures
    assert least == pytest.approx(1 + 60 / every + (every / 2 + 60 + 600) / 86400, rel=2e-3)


def test_failures_are_lost_work_and_restarts():
    found = on(1024, mtbf_s=1024 * 36000, checkpoint_every_s=3600)
    assert found.mtbf_s == pytest.approx(36000)
    assert found.checkpoints == pytest.approx(1 + found.checkpoint_s / 3600)
    assert found.failures == pytest.approx(1 + (1800 + 600) / 36000, rel=0.01)
    assert found.usual == pytest.approx(math.prod(found.parts.values()))


def test_practice_grows_with_the_nodes_and_then_no_more():
    found = [on(8 * nodes, "gpt2").practice for nodes in (1, 2, 4, 16, 64)]
    assert found[0] == 1
    assert found[1] == pytest.approx(facts().practice.usual ** (1 / 4))
    assert found[2] == pytest.approx(facts().practice.usual ** (2 / 4))
    assert found[3] == found[4] == facts().practice.usual


def test_a_run_that_never_ends_is_an_error():
    with pytest.raises(RooflineError, match="--checkpoint-every"):
        on(16384, mtbf_s=3600, checkpoint_every_s=86400)


def test_the_command_explains_the_parts_and_keeps_a_given_whole(capsys):
    words = ["plan", "gpt2", "-d", "h100-sxm-80gb", "--tokens", "1B", "--num-devices", "8"]
    assert main([*words, "--format", "json"]) == 0
    derived = json.loads(capsys.readouterr().out)
    parts = [derived["overhead"][name] for name in ("failures", "checkpoints", "evaluation", "data", "practice")]
    assert derived["overhead"]["usual"] == pytest.approx(math.prod(parts))
    assert main([*words, "--mtbf", "1000h", "--checkpoint-every", "30min"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "every 30 min (--checkpoint-every)" in text
    assert "a failure every 5.21 days" in text  # 1,000 h over 8
    assert main([*words, "--overhead", "1.1", "--format", "json"]) == 0
    given = json.loads(capsys.readouterr().out)["overhead"]
    assert (given["usual"], given["failures"]) == (1.1, None)
    assert main([*words, "--overhead", "1.1", "--mtbf", "1000h"]) == 2
