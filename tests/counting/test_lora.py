import pytest

import roofline
from roofline.config.settle import train_config
from roofline.counting.step import build_step


def trainable(model, **options):
    step = build_step(roofline.load_model(model), train_config({"train": "lora", **options}))
    return sum(weight.local * weight.count for weight in step.weights if weight.trainable)


def test_adapters_of_llama_2_7b_by_hand():
    # each projection [k, n] has an adapter of rank r: r * (k + n); q, k, v, o are [4096, 4096]
    attention = 4 * 16 * (4096 + 4096)
    assert trainable("llama-2-7b", lora_rank=16, lora_modules="attention") == 32 * attention == 16_777_216
    # gate and up are [4096, 11008], down is [11008, 4096]
    mlp = 3 * 16 * (4096 + 11008)
    assert trainable("llama-2-7b", lora_rank=16) == 32 * (attention + mlp) == 39_976_960


def test_forward_and_activation_gradients_stay_weight_gradients_go():
    full = roofline.count("llama-2-7b")
    lora = roofline.count("llama-2-7b", train="lora", lora_rank=1)
    weights = 2 * 6_607_077_376 * full.tokens  # forward FLOPs of all weights that multiply a token
    adapters = sum(op.flops * op.count for op in lora.ops if ".lora_" in op.name and op.kind == "matmul")
    saved = full.matmul_flops_forward + full.matmul_flops_backward
    saved -= lora.matmul_flops_forward + lora.matmul_flops_backward - adapters
    assert saved == weights
    names = {op.name for op in lora.ops}
    assert "attention.qkv.dgrad" in names
    assert "attention.qkv.wgrad" not in names
    assert "attention.qkv.lora_a.wgrad" in names
    assert "embedding.backward" not in names


def test_memory_keeps_state_for_adapters_only():
    full = roofline.memory("llama-2-7b", "h100-sxm-80gb")
    lora = roofline.memory("llama-2-7b", "h100-sxm-80gb", train="lora", lora_rank=16)
    assert not full.fits
    assert lora.fits
    assert lora.optimizer_bytes == pytest.approx(39_976_960 / 6_738_415_616 * full.optimizer_bytes)
    assert 2 * 6_738_415_616 < lora.weights_bytes < 2.1 * 6_738_415_616  # 16 bits, and no fp32 copy


def test_mfu_counts_what_runs():
    full = roofline.estimate("llama-2-7b", "h100-sxm-80gb", micro_batch=1)
    lora = roofline.estimate("llama-2-7b", "h100-sxm-80gb", micro_batch=1, train="lora", lora_rank=16)
    assert 0.66 < lora.model_flops_per_step / full.model_flops_per_step < 0.74
    assert 0 < lora.mfu <= lora.hfu < 1
    assert lora.step_time_s < full.step_time_s
    assert lora.mfu_rule.startswith("as counted")


def test_only_adapters_are_reduced():
    options = {"num_devices": 8, "micro_batch": 1}
    full, lora = (roofline.count("llama-2-7b", **options, **how) for how in ({}, {"train": "lora", "lora_rank": 16}))
    sent = [
        sum(op.bytes_sent * op.count for op in result.ops if op.name == "gradients.all_reduce")
        for result in (full, lora)
    ]
    assert sent[1] == pytest.approx(39_976_960 / 6_738_415_616 * sent[0])


def test_experts_have_adapters_of_their_own():
    # an expert: gate, up [4096, 14336], down [14336, 4096]; attention: q, o [4096, 4096]; k, v [4096, 1024]
    expert = 3 * 8 * (4096 + 14336)
    attention = 2 * 8 * (4096 + 4096) + 2 * 8 * (4096 + 1024)
    assert trainable("mixtral-8x7b", lora_rank=8) == 32 * (8 * expert + attention)


def test_flops_against_autograd():
    """A Llama of 3 layers with adapters of rank 8 on all projections, frozen otherwise, in torch (FLOP counter).

    torch skips the gradient of the first layer's input (its q, k, v and their adapters), which counts here.
    """
    flat = {"d_model": 256, "d_ff": 704, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "vocab_size": 1000}
    model = roofline.load_model("llama-3-8b", {**flat, "name": "small"} | {"max_seq_len": 2048})
    options = {"micro_batch": 2, "seq_len": 64, "attention": "unfused", "dtype": "fp32", "stack": "eager"}
    result = roofline.count(model, train="lora", lora_rank=8, **options)
    assert result.matmul_flops_forward == 685_637_632
    first_layer = 2 * 128 * 256 * (256 + 128 + 128 + 3 * 8)
    assert result.matmul_flops_backward == 704_380_928 + first_layer
