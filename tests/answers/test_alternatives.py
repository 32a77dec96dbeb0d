"""What else a run might be: values worth trying, by hand, for runs that have the choice and those that have none."""

import pytest

import roofline
from roofline.answers import alternatives as able


def run(model="gpt2", device="h100-sxm-80gb", **options):
    return roofline.settle(model, device, **options)


def test_degrees_divide_the_ranks_that_data_parallelism_leaves():
    sharded = run("llama-3-8b", num_devices=8, tp=2, micro_batch=1)  # dp 4: tp 2 times 4 ranks is 8
    assert able.degrees("tp")(sharded) == [1, 4, 8]
    assert able.degrees("cp")(sharded) == []  # 8,192 tokens are no long sequence
    assert able.degrees("pp")(run(micro_batch=1)) == []  # one device


def test_experts_have_degrees_of_their_own():
    mixture = run("mixtral-8x7b", num_devices=8, ep=4, micro_batch=1)
    assert able.expert_degrees("ep")(mixture) == [2, 8, 16, 32]
    assert able.expert_degrees("ep")(run(micro_batch=1)) == []


def test_micro_batches_make_up_the_step_of_a_rank():
    accumulated = run(micro_batch=4, global_batch=24)
    assert able.micro_batches(accumulated) == [1, 2, 8]  # powers of two that divide 24, but its own
    assert able.batch_words(accumulated, 8) == "micro batch 8 x 3 accumulation steps"


def test_a_pipeline_is_filled_where_it_is_short():
    short = run("llama-3-8b", num_devices=4, pp=4, micro_batch=1, global_batch=2)
    assert able.fuller(short) == [able.FILL * 4]
    assert able.fuller(run("llama-3-8b", num_devices=4, pp=4, micro_batch=1, global_batch=8)) == []
    assert f"{able.FILL} micro batches per pipeline stage, not 2 for 4 stages" in able.fuller_words(short, 32)


def test_more_devices_than_the_run_has():
    assert able.more_devices(run("llama-3-8b", num_devices=8, micro_batch=1))[:3] == [16, 24, 32]


def test_losses_that_keep_less():
    assert able.losses(run(stack="eager", micro_batch=1)) == [("cross_entropy",), ("linear_cross_entropy",)]
    assert able.losses(run(stack="eager", micro_batch=1, fused="linear_cross_entropy")) == []


def test_dtypes_that_are_faster_and_slower():
    single = run(dtype="fp32", micro_batch=1)
    assert able.better_dtype(single) == ["bf16"]
    assert able.better_dtype(run(micro_batch=1)) == []
    assert able.slower_dtypes(run(micro_batch=1)) == ["tf32", "fp32"]
    assert able.narrower(run(micro_batch=1)) == ["fp8"]  # Hopper has no engine of 4 bits


def test_attention_kernels_that_came_later():
    assert able.later_kernels(run(attention="flash1", micro_batch=1)) == ["flash2", "flash3"]
    assert able.later_kernels(run(device="a100-sxm-80gb", attention="flash1", micro_batch=1)) == ["flash2"]


def test_a_vocabulary_is_padded_to_whole_tiles():
    (found,) = able.padded_vocabulary(run(stack="eager", micro_batch=1))
    assert found["model"].vocab_size == 50304  # 786 x 64
    assert able.padded_vocabulary(run(stack="compiled", micro_batch=1)) == []  # the compiler pads its matmuls


def test_a_device_otherwise():
    several = run("llama-3-8b", num_devices=16, micro_batch=1)
    assert able.slow_network(several) == [pytest.approx(400 / able.SLOW_NETWORK)]
    assert able.slow_network(run(micro_batch=1)) == []
    (slower,) = able.throttled(several)
    peak = several.device.peaks["bf16"]
    assert slower["device"].peaks["bf16"] == pytest.approx(able.THROTTLED * peak, rel=1e-6)
    assert {each["device"].id.split("-")[0] for each in able.siblings(several)} == {"h100"}


def test_what_serves_less():
    serving = run("llama-3-8b", micro_batch=5)
    assert able.fewer_sequences(serving) == [2, 1]
    assert able.sharing(serving)[:2] == [{"tp": 2, "num_devices": None}, {"tp": 4, "num_devices": None}]


def test_restrictions_are_the_options_that_were_given():
    given = run("llama-3-8b", num_devices=8, tp=2, micro_batch=1, recompute="full")
    (free,) = able.restrictions(given)
    assert set(free) == {"tp", "micro_batch", "recompute"}
    assert able.free_words(given, {"micro_batch": None, "tp": None}) == "leave --micro-batch, --tp out"


def test_modules_run_again_alone_where_the_software_does_so():
    dense = run("llama-3-8b", stack="megatron", micro_batch=1)
    # its attention is fused, and recomputed by itself all the same
    assert able.recomputed_modules(dense) == ["core_attn", "layernorm", "mlp"]
    assert able.recomputed_modules(run("llama-3-8b", stack="nemo", micro_batch=1, recompute="mlp")) == [
        "core_attn",
        "layernorm",
    ]
    latent = able.recomputed_modules(run("deepseek-v2-lite", stack="megatron", micro_batch=1))
    assert {"mla_up_proj", "moe_act", "moe", "shared_experts"} <= set(latent)
    assert able.recomputed_modules(run("llama-3-8b", stack="eager", micro_batch=1)) == []


def test_a_base_under_adapters_is_quantised_once():
    assert able.quantised_bases(run("llama-3-8b", train="lora", micro_batch=1)) == [{"train": "qlora"}]
    for other in ({}, {"train": "qlora"}, {"train": "lora", "base_dtype": "int8"}):
        assert able.quantised_bases(run("llama-3-8b", micro_batch=1, **other)) == []
