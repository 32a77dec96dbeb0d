"""Which projections have adapters: names as people type them, by hand on small models."""

import pytest

import roofline
from roofline.config.lora import are_units
from roofline.config.settle import train_config
from roofline.config.stack import load_stack
from roofline.counting.step import build_step

# d 64, 4 heads of 16, 2 kv heads, feed-forward 96: q [64, 64]; k, v [64, 32]; gate, up [64, 96]; down [96, 64]
FLAT = {"n_layers": 3, "d_model": 64, "n_heads": 4, "n_kv_heads": 2, "d_ff": 96, "vocab_size": 100, "name": "small"}
RANK = 8


def adapted(modules, model=None, **options):
    model = model or roofline.load_model("llama-3-8b", {**FLAT, "max_seq_len": 128})
    options = {"train": "lora", "lora_rank": RANK, "lora_modules": modules, "seq_len": 16, **options}
    step = build_step(model, train_config(options))
    return sum(weight.local * weight.count for weight in step.weights if weight.trainable)


@pytest.mark.parametrize(
    ("modules", "shapes"),
    [
        ("q_proj", [(64, 64)]),
        ("query", [(64, 64)]),
        ("k_proj", [(64, 32)]),
        ("q_proj,v_proj", [(64, 64), (64, 32)]),
        ("q_proj+v_proj", [(64, 64), (64, 32)]),
        ("o_proj", [(64, 64)]),
        ("qkv_proj", [(64, 128)]),
        ("gate_proj", [(64, 96)]),
        ("gate_up_proj", [(64, 192)]),
        ("up_proj,down_proj", [(64, 96), (96, 64)]),
        ("mlp", [(64, 96), (64, 96), (96, 64)]),
        ("attention,down_proj", [(64, 64), (64, 32), (64, 32), (64, 64), (96, 64)]),
        ("q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj", None),
    ],
)
def test_adapters_by_hand(modules, shapes):
    by_hand = adapted("all") if shapes is None else 3 * sum(RANK * (k + n) for k, n in shapes)
    assert adapted(modules) == by_hand
    assert adapted(modules.split(",")) == by_hand


def test_flops_of_two_adapters_by_hand():
    model = roofline.load_model("llama-3-8b", {**FLAT, "max_seq_len": 128})
    options = {"train": "lora", "lora_rank": RANK, "lora_modules": "q_proj,v_proj", "seq_len": 16, "dtype": "fp32"}
    ops = roofline.count(model, **options).ops
    adapters = [op for op in ops if ".lora_" in op.name and op.kind == "matmul"]
    forward = sum(op.flops * op.count for op in adapters if op.phase == "forward")
    # 16 tokens, 3 layers: x [64] to 2 x 8, then 8 to 64 and 8 to 32
    assert forward == 3 * 2 * 16 * (64 * 2 * 8 + 8 * 64 + 8 * 32)


def test_experts_and_their_shared_expert_are_the_feed_forward_layer():
    mlp, everything = (adapted(words, roofline.load_model("qwen1.5-moe-a2.7b")) for words in ("mlp", "all"))
    assert 0 < mlp < everything


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ("qproj", "unknown lora module 'qproj': did you mean 'q_proj'.*allowed: attention, mlp, all, q_proj"),
        ("kv_b_proj", "lora_modules 'kv_b_proj': small has no such projection: use attention, mlp, all, q_proj"),
    ],
)
def test_a_name_that_is_no_projection_is_refused(modules, message):
    with pytest.raises(roofline.RooflineError, match=message):
        adapted(modules)


def test_modules_without_adapters_are_refused():
    with pytest.raises(roofline.RooflineError, match="lora_modules 'mlp' without train 'lora': add --train lora"):
        roofline.count("gpt2", lora_modules="mlp")


@pytest.mark.parametrize(("sharding", "wrapped"), [("none", False), ("zero3", False), ("fsdp", True), ("hsdp", True)])
def test_only_fsdp_wraps_matrices_of_adapters(sharding, wrapped):
    train = train_config({"train": "lora", "stack": "hf-trainer", "num_devices": 8, "sharding": sharding})
    assert are_units(train, load_stack("hf-trainer")) is wrapped
