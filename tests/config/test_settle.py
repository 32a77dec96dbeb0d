"""The one door: the same words settle to the same run everywhere, complete and with every assumption named."""

import pytest

import roofline
from roofline.config.settle import settle
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model

GPT2, H100 = load_model("gpt2"), load_device("h100-sxm-80gb")
LAYOUTS = ({}, {"tp": 8}, {"num_devices": 8, "sharding": "fsdp"}, {"num_devices": 16, "tp": 2, "pp": 4}, {"cp": 2})


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_the_same_words_are_the_same_run_in_every_call(options):
    options = {**options, "micro_batch": 1}
    model = load_model("llama-3-8b")
    trains = [
        roofline.count(model, **options).train,
        roofline.memory(model, **options).train,
        roofline.memory(model, H100, **options).train,
        roofline.estimate(model, H100, **options).train,
    ]
    assert trains == [settle(model, H100, options).train] * 4


def test_nothing_said_stays_empty():
    run = settle(GPT2, H100, {"tp": None, "micro_batch": "2", "seq_len": "1k"})
    assert run.options == {"micro_batch": 2, "seq_len": 1024}
    assert (run.train.dp, run.train.global_batch, run.train.num_devices) == (1, 2, 1)


def test_other_options_settle_anew():
    run = settle(GPT2, H100, {"micro_batch": 2})
    assert run.changed(tp=2).train.stack == "nemo"  # what such a layout usually runs on
    assert run.changed(micro_batch=4).train.stack == "compiled"


def test_assumptions_are_sentences_that_name_the_option():
    assert settle(GPT2, H100, {}).assumed == ()
    notes = settle(GPT2, load_device("v100-sxm2-32gb"), {"tp": 4, "pp": 2}).assumed
    for option in ("--stack", "--global-batch", "--dtype", "--attention"):
        assert any(option in note for note in notes), option


@pytest.mark.parametrize(
    ("stack", "sharding"),
    [
        *(("fsdp", "fsdp"), ("torchtitan", "fsdp"), ("composer", "fsdp"), ("jax", "fsdp"), ("deepspeed", "zero1")),
        *(("megatron", "zero1"), ("nemo", "zero1"), ("compiled", "none"), ("eager", "none")),
    ],
)
def test_a_stacks_usual_sharding_is_its_default_and_said(stack, sharding):
    run = settle(GPT2, H100, {"num_devices": 8, "stack": stack})
    assert run.train.sharding == sharding
    assert any("--sharding" in note for note in run.assumed) == (sharding != "none")
    assert settle(GPT2, H100, {"num_devices": 8, "stack": stack, "sharding": "none"}).train.sharding == "none"
    assert settle(GPT2, H100, {"stack": stack}).train.sharding == "none"  # one rank has nobody to share with


@pytest.mark.parametrize(("stack", "on"), [("megatron", True), ("nemo", True), ("torchtitan", True), ("eager", False)])
def test_sequence_parallelism_is_on_wherever_the_software_runs_it(stack, on):
    run = settle(GPT2, H100, {"tp": 4, "stack": stack})
    assert run.train.sequence_parallel is on
    assert any("--no-sequence-parallel" in note for note in run.assumed) is on
    assert not settle(GPT2, H100, {"tp": 4, "stack": stack, "sequence_parallel": False}).train.sequence_parallel
    assert not settle(GPT2, H100, {"stack": stack}).train.sequence_parallel
    with pytest.raises(roofline.RooflineError, match="tp is 1: add --tp"):
        settle(GPT2, H100, {"stack": stack, "sequence_parallel": True})


def test_llama_8b_fits_eight_h100_under_fsdp():
    result = roofline.memory("llama-3-8b", H100, num_devices=8, stack="fsdp", seq_len=2048, micro_batch=1)
    assert result.fits  # 170 GiB without sharding: 8.03e9 x 18 bytes and more
    assert result.train.sharding == "fsdp"


def test_adapters_of_no_rank_have_the_usual_one_and_it_is_said():
    run = settle(GPT2, H100, {"train": "lora"})
    assert run.train.lora_rank == 16
    assert any("--lora-rank" in note for note in run.assumed)
    assert settle(GPT2, H100, {"train": "lora", "lora_rank": 8}).train.lora_rank == 8
    assert settle(GPT2, H100, {}).train.lora_rank == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sharding": "hsdp", "dp_shard": 3}, "dp_shard 3 does not divide dp.cp = 8: use 2 or 4"),
        ({"sharding": "hsdp", "dp_shard": 16}, "dp_shard 16 does not divide dp.cp = 8: use 8"),
        ({"sharding": "fsdp", "dp_shard": 4}, "sharding fsdp, which has no replicas: add --sharding hsdp"),
    ],
)
def test_replicas_of_a_hybrid_are_whole(options, words):
    with pytest.raises(RooflineError, match=words):
        settle(GPT2, H100, {"num_devices": 8, **options})


def test_what_is_meant_of_syncs_may_be_said_again():
    for sharding, synced in (("fsdp", False), ("zero2", True), ("zero1", False)):
        run = settle(GPT2, H100, {"num_devices": 8, "stack": "hf-trainer", "sharding": sharding})
        assert run.train.sync_each_batch is synced
        again = settle(GPT2, H100, {**run.options, "sync_each_batch": synced})
        assert again.train == run.train
    with pytest.raises(RooflineError, match="--sync-each-batch is of sharding fsdp and hsdp, not of zero1"):
        settle(GPT2, H100, {"num_devices": 8, "sharding": "zero1", "sync_each_batch": True})
