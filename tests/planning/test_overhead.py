"""What a whole run adds to its steps: each part by hand, and how it grows with devices."""

import math

import pytest

import roofline
from roofline.cli import main
from roofline.config.run import TrainConfig
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.model.parameters import count_parameters
from roofline.planning.overhead import best_interval_s, checkpoint_bytes, facts, overhead_of, with_failures

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
    fleet = facts().fleet[0]
    found = on(16384, mtbf_s=fleet.device_hours / fleet.interruptions * 3600)
    effective = 1 / (found.failures * found.checkpoints)
    assert 0.9 < effective < 0.95
    # by hand: each failure, one in 3.09 h, loses 10 min of restart and half an interval; each interval a checkpoint
    lost = (found.restart_s + found.checkpoint_every_s / 2 + found.checkpoint_s) / found.mtbf_s
    writing = found.checkpoint_s / found.checkpoint_every_s
    assert found.failures * found.checkpoints == pytest.approx(1 + lost + writing, rel=5e-3)
    # what one interruption may cost at most, all of it: a tenth of 54 days over 419
    assert found.restart_s + found.checkpoint_every_s / 2 < 0.1 * 54 * 86400 / 419


def test_the_overhead_grows_with_the_devices():
    found = [on(devices).usual for devices in (1024, 4096, 16384)]
    assert 1.01 < found[0] < found[1] < found[2]
    assert 1.1 < found[2] < 1.4
    assert on(16384).low < found[2] < on(16384).high


def test_one_device_adds_evaluation_and_next_to_nothing_else():
    found = on(1, "gpt2")
    assert found.usual == pytest.approx(1.01, abs=0.002)
    assert found.practice == (1, 1, 1)


def test_a_checkpoint_holds_masters_and_moments():
    # 12 bytes a parameter: fp32 copies, two fp32 moments; 2 nodes write 2 GB/s
    found = on(16, "gpt2")
    assert found.checkpoint_bytes == 12 * count_parameters(load_model("gpt2")).total
    assert found.checkpoint_s == pytest.approx(found.checkpoint_bytes / 2e9)


def test_a_checkpoint_holds_what_is_trained():
    llama = load_model("llama-3-8b")

    def saved(**options):
        return checkpoint_bytes(llama, TrainConfig(num_devices=8, global_batch=8, micro_batch=1, **options))

    # rank 16 on each projection of 32 layers, its inputs and outputs: q and o 4096 + 4096, k and v 4096 + 1024, and
    # three of the mlp 4096 + 14336; 12 bytes each
    adapters = 32 * 16 * (2 * 8192 + 2 * 5120 + 3 * 18432)
    assert adapters == 41_943_040
    assert saved(train="lora") == saved(train="qlora") == saved(train="lora", tp=4) == 12 * adapters
    # its head is not tied; what is frozen is saved too, in fp32 where autocast keeps it so, else in 16 bits
    table = 128_256 * 4096
    assert saved(freeze=("embeddings",)) == 12 * (8_030_261_248 - table) + 4 * table
    assert saved(freeze=("embeddings",), stack="megatron") == 12 * (8_030_261_248 - table) + 2 * table
    assert saved(train="lora", optimizer="sgd") == 4 * adapters  # no momentum, no moments


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
    known = facts().practice
    for settled, usual in ((False, known.best.usual), (True, known.own.usual)):
        found = [on(8 * nodes, "gpt2", settled=settled).practice[1] for nodes in (1, 2, 4, 16, 64)]
        assert found == pytest.approx([1, usual ** (1 / 4), usual ** (2 / 4), usual, usual])


def test_practice_is_beside_the_overhead_and_in_the_time():
    found = on(1024)
    assert found.usual == pytest.approx(math.prod(found.parts.values()))
    assert found.range[1] == pytest.approx(found.usual * facts().practice.best.usual)
    words = {"stack": "megatron", "tp": 8, "pp": 16, "num_devices": 1024, "tokens": "1B", "global_batch": 1024}
    settled = roofline.plan("llama-3.1-405b", "h100-sxm-80gb", **words)
    assert settled.overhead.settled
    assert settled.wall_time_s == pytest.approx(
        settled.steps * settled.layout.step_time_s * settled.overhead.usual * facts().practice.own.usual
    )
    del words["tp"]
    assert not roofline.plan("llama-3.1-405b", "h100-sxm-80gb", **words).overhead.settled


def test_a_run_that_never_ends_is_an_error():
    with pytest.raises(RooflineError, match="--checkpoint-every"):
        on(16384, mtbf_s=3600, checkpoint_every_s=86400)


def test_the_command_explains_the_parts_and_keeps_a_given_whole(printed, answered):
    words = ["plan", "gpt2", "-d", "h100-sxm-80gb", "--tokens", "1B", "--num-devices", "8"]
    derived = answered(*words)
    parts = [derived["overhead"][name] for name in ("failures", "checkpoints", "evaluation", "data")]
    assert derived["overhead"]["usual"] == pytest.approx(math.prod(parts))
    text = " ".join(printed(*words, "--mtbf", "1000h", "--checkpoint-every", "30min").split())
    assert "every 30 min (--checkpoint-every)" in text
    assert "a failure every 5.21 days" in text  # 1,000 h over 8
    given = answered(*words, "--overhead", "1.1")["overhead"]
    assert (given["usual"], given["failures"]) == (1.1, None)
    assert main([*words, "--overhead", "1.1", "--mtbf", "1000h"]) == 2
