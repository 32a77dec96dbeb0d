"""Prefill and decode: the forward ops of training, the cache, and where decode turns compute-bound."""

import json

import pytest

from roofline.answers.inference import infer
from roofline.cli import main
from roofline.errors import RooflineError
from roofline.model.load import load_model
from roofline.model.parameters import count_parameters

DEVICE = "h100-sxm-80gb"


def test_prefill_runs_the_forward_flops_with_logits_of_the_last_token_only():
    model = load_model("llama-3-8b")
    result = infer(model, DEVICE, "prefill", seq_len=512)
    flops = sum(op.flops * op.runs for op in result.ops if op.kind == "matmul")
    head = 4096 * 128256
    body = count_parameters(model).total - 2 * head - 65 * 4096  # without look-up table, head and 65 norms
    assert flops == 2 * body * 512 + 2 * head  # 2 FLOPs per weight and token; the head once per sequence


def test_decode_reads_every_weight_and_the_whole_cache():
    result = infer("llama-3-8b", DEVICE, "decode", micro_batch=4, seq_len=1000)
    # 32 layers x 2 (keys, values) x 8 kv heads x 128 x 2 bytes x 1000 tokens x 4 sequences
    assert result.memory.kv_cache_bytes == 32 * 2 * 8 * 128 * 2 * 1000 * 4
    core = next(op for op in result.ops if op.name == "attention.core")
    assert core.bytes * 32 >= result.memory.kv_cache_bytes
    assert result.bound == "memory"


def test_latent_attention_caches_the_latent_vector():
    result = infer("deepseek-v3", "h200-sxm-141gb", "decode", seq_len=1000, tp=8, dtype="fp8")
    assert result.memory.kv_cache_bytes == 61 * (512 + 64) * 2 * 1000


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("name", ["gpt2", "llama-2-7b", "mistral-7b", "gemma-2-2b"])
def test_time_is_never_below_ideal_and_the_interval_holds_it(name, phase):
    result = infer(name, DEVICE, phase, seq_len=512)
    assert 0 < result.ideal_time_s <= result.time_low_s < result.time_s < result.time_high_s


def test_decode_turns_compute_bound_near_the_ridge():
    """Dense 16-bit matmuls do 2*b FLOPs per 2-byte weight: b is the ridge point, a little more for activations."""
    result = infer("llama-2-7b", DEVICE, "decode", seq_len=128)
    ridge = 989.4e12 / 3.35e12
    assert ridge < result.compute_bound_batch < 1.3 * ridge


def test_few_tokens_read_few_experts():
    alone = infer("mixtral-8x7b", DEVICE, "decode", tp=2, seq_len=128)
    many = infer("mixtral-8x7b", DEVICE, "decode", tp=2, seq_len=128, micro_batch=64)
    read = {r.batch: next(op.bytes for op in r.ops if op.name == "experts.up") for r in (alone, many)}
    assert read[1] * 3.5 < read[64]  # 2 of 8 experts for one token, nearly all for 64


def test_options_of_training_are_refused():
    with pytest.raises(RooflineError, match="recompute has no meaning"):
        infer("gpt2", DEVICE, "prefill", recompute="full")
    with pytest.raises(RooflineError, match="did you mean 'decode'"):
        infer("gpt2", DEVICE, "decod")
    with pytest.raises(RooflineError, match="bert-base is not one"):
        infer("bert-base", DEVICE, "prefill")


def test_command_prints_both_phases(capsys, printed):
    for phase, key in (("prefill", "time_to_first_token_s"), ("decode", "time_per_output_token_s")):
        arguments = ["estimate", "llama-3-8b", "-d", DEVICE, "--phase", phase, "--format", "json"]
        result = json.loads(printed(*arguments))
        assert result[key] == result["time_s"] > 0
        assert result["memory"]["fits"] is True
    assert main(["estimate", "llama-3-70b", "-d", DEVICE, "--phase", "decode"]) == 3
    assert "DOES NOT FIT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "device", "expected"),
    [
        ("llama-3-70b", "h100-sxm-80gb", ["--tp 2", "--dtype fp8"]),
        ("llama-3-70b", "a100-sxm-80gb", ["--tp 2"]),  # has no fp8
        ("llama-3.1-405b", "h100-sxm-80gb", ["--tp 16", "--tp 8 --dtype fp8"]),
    ],
)
def test_what_does_not_fit_names_the_smallest_changes_that_do(model, device, expected):
    result = infer(model, device, "decode")
    assert not result.fits
    assert [fix.change for fix in result.fixes] == expected
    for fix in result.fixes:
        again = infer(model, device, "decode", **fix.options)
        assert again.fits
        assert again.memory.total_bytes == fix.total_bytes
        assert again.time_s == fix.time_s


def test_a_large_cache_is_served_in_smaller_batches():
    result = infer("llama-3-8b", "h100-sxm-80gb", "decode", micro_batch=256)
    (fix,) = (fix for fix in result.fixes if "micro_batch" in fix.options)
    assert not infer("llama-3-8b", "h100-sxm-80gb", "decode", micro_batch=2 * fix.options["micro_batch"]).fits
    assert infer("llama-3-8b", "h100-sxm-80gb", "decode").fixes == ()


def test_a_pass_near_the_capacity_is_borderline_as_a_training_is(printed):
    one = infer("llama-3-8b", "h100-sxm-80gb", "decode", seq_len=4096).memory
    # a little more than there is: 2 % over is well within what such figures err by
    batch = int((1.02 * one.capacity_bytes - one.total_bytes) / one.kv_cache_bytes)
    found = infer("llama-3-8b", "h100-sxm-80gb", "decode", seq_len=4096, micro_batch=batch)
    assert not found.fits
    assert 0.1 < found.memory.fit_probability < 0.5
    words = ["estimate", "llama-3-8b", "-d", "h100-sxm-80gb", "--phase", "decode", "--seq-len", "4096", "--micro-batch"]
    assert "borderline" in printed(*words, str(batch))
    assert main([*words, str(2 * batch)]) == 3
