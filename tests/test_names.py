"""Names are labels: a step whose ops and weights bear other names takes the same time and the same memory."""

from functools import cache
from typing import Any

import msgspec
import pytest

from roofline import model_ids
from roofline.config.settle import train_config
from roofline.counting.op import total
from roofline.counting.step import Step, build_step
from roofline.footprint.parts import memory_of
from roofline.hardware.load import load_device
from roofline.model.huggingface import model_from_config
from roofline.model.load import load_model
from roofline.timing.ranks import price
from roofline.timing.schedule import schedule

MEGATRON = {"num_devices": 16, "tp": 2, "pp": 2, "global_batch": 32, "stack": "megatron"}
HYBRID = {  # a Jamba of eight layers: state space, attention, and experts in every second one
    "model_type": "jamba",
    "num_hidden_layers": 8,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 65536,
    "max_position_embeddings": 4096,
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_dt_rank": 64,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "dense": ("gpt2-xl", {"attention": "unfused", "recompute": "selective"}),
    "dense, tied head over stages": ("gpt2-large", MEGATRON),
    "sharded": ("llama-3-8b", {"num_devices": 8, "sharding": "fsdp", "stack": "fsdp"}),
    "mixture of experts": ("mixtral-8x7b", {**MEGATRON, "ep": 2, "recompute": "full"}),
    "experts in 8 bits": ("mixtral-8x7b", {**MEGATRON, "ep": 2, "dtype": "fp8", "stack": "nemo"}),
    "latent attention": ("deepseek-v2-lite", {"num_devices": 8, "ep": 8, "recompute": "selective"}),
    "hybrid": (HYBRID, {"num_devices": 8, "sharding": "zero3"}),
    "adapters": ("llama-3-8b", {"train": "lora", "lora_rank": 16}),
    "adapters over experts in 4 bits": ("mixtral-8x7b", {"train": "qlora", "lora_rank": 16, "stack": "hf-trainer"}),
    "biases and sorting of experts": ("gpt-oss-20b", {"num_devices": 8, "ep": 8, "stack": "fsdp"}),
    "experts without the host": ("gpt-oss-20b", {"num_devices": 8, "ep": 8, "stack": "nemo", "cuda_graph": "full"}),
    "experts split over tp": ("qwen1.5-moe-a2.7b", {**MEGATRON, "ep": 2, "etp": 2, "dispatcher": "allgather"}),
    "latent queries, a schedule of their own": (
        "deepseek-v2",
        {"num_devices": 16, "pp": 4, "ep": 4, "schedule": "zb-h1"},
    ),
    "matrix optimizer, offloaded": (
        "llama-3.2-1b",
        {"optimizer": "muon", "recompute": "full", "offload": "activations"},
    ),
    "multiplied embedding, capped logits": ("gemma-2-27b", {"stack": "eager"}),
    "multiplied logits": ("command-r-35b", {"stack": "eager"}),
    "context parallel": ("gemma-2-27b", {"num_devices": 16, "cp": 4, "tp": 2, "stack": "nemo"}),
    "cross attention": ("t5-11b", {}),
    "cross attention, each projection by itself": ("t5-11b", {"stack": "eager"}),
    "encoder": ("bert-base", {"seq_len": 128}),
    "patches": ("vit-b16", {"seq_len": 128}),
    "shared expert": ("qwen1.5-moe-a2.7b", {"stack": "eager"}),
    "router in fp32": ("deepseek-v2-lite", {"stack": "eager"}),
    "norms of queries and keys": ("command-r-plus-104b", {}),
    "norm of the embedding": ("bloom-1.1b", {}),
    "projected embedding": ("opt-350m", {}),
    "gate and up in one": ("phi-4", {"stack": "eager"}),
    "bias of the head": ("gpt-j-6b", {}),
}


def renamed(step: Step) -> Step:
    """The same step with every op and weight called by a number."""
    ops = [msgspec.structs.replace(op, name=f"op {i}", of="") for i, op in enumerate(step.ops)]
    weights = [msgspec.structs.replace(weight, name=f"weight {i}") for i, weight in enumerate(step.weights)]
    return msgspec.structs.replace(step, ops=tuple(ops), weights=tuple(weights))


@cache
def step_of(case: str) -> Step:
    """The step of a case."""
    model, options = CASES[case]
    spec = model_from_config(model) if isinstance(model, dict) else load_model(model)
    return build_step(spec, train_config({"seq_len": 1024, "micro_batch": 1, **options}))


@pytest.mark.parametrize("part", range(4))
def test_every_op_of_every_preset_is_among_the_cases(part: int) -> None:
    covered = {op.name for case in CASES for op in step_of(case).ops}
    assert {"moe.sort", "moe.unsort", "experts.bias", "experts.bias.backward"} <= covered
    train = train_config({"seq_len": 128, "micro_batch": 1, "stack": "eager"})
    for name in model_ids()[part::4]:
        ops = build_step(load_model(name), train).ops
        assert {op.name for op in ops} <= covered, name


@pytest.mark.parametrize("case", CASES)
def test_names_change_nothing(case: str) -> None:
    device = load_device("h100-sxm-80gb")
    step = step_of(case)
    other = renamed(step)
    before, after = price(step, device), price(other, device)
    assert [(each.ideal, each.expected) for each in before] == [(each.ideal, each.expected) for each in after]
    assert schedule(step, device, before) == schedule(other, device, after)
    assert memory_of(step, device) == memory_of(other, device)
    for figure in ("flops", "bytes", "saved_bytes", "bytes_sent"):
        assert total(step.ops, figure) == total(other.ops, figure)
