"""Configs as repositories of the Hub publish them, against the parameters of their checkpoints."""

from typing import Any

import pytest

from roofline.config.run import TrainConfig
from roofline.counting.mfu import matmul_weights, model_flops_per_token
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.model.huggingface import model_from_config
from roofline.model.parameters import count_parameters

from ..records import records
from . import closed_forms

RECORDS = records("hub_configs.jsonl")
BY_NAME = {record["name"]: record["config"] for record in RECORDS}


@pytest.mark.parametrize("record", RECORDS, ids=[record["name"] for record in RECORDS])
def test_parameters_are_those_of_the_checkpoint(record: dict[str, Any]) -> None:
    model = model_from_config(record["config"], overrides=record.get("overrides"))
    assert count_parameters(model).total == record["parameters"]
    assert count_parameters(model).total == closed_forms.total(model)


def test_llada_attends_both_ways() -> None:
    (group,) = model_from_config(BY_NAME["llada-8b"]).groups
    assert group.attention is not None
    assert not group.attention.causal


def test_the_first_chatglm_is_refused_by_name() -> None:
    first = {"model_type": "chatglm", "hidden_size": 4096, "num_layers": 28, "inner_hidden_size": 16384}
    with pytest.raises(RooflineError, match="its first version"):
        model_from_config(first)


def test_a_name_with_several_language_models_reads_as_the_one_its_fields_say() -> None:
    plain = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "vocab_size": 80,
    }
    seventh = {"model_type": "minicpmv", "version": 2.6, "tie_word_embeddings": False, **plain}
    own = {**seventh, "model_type": "qwen2"}
    assert count_parameters(model_from_config(seventh)) == count_parameters(model_from_config(own))
    with pytest.raises(RooflineError, match="the language model of this version is not known"):
        model_from_config({**seventh, "version": 9})


def test_a_model_within_another_that_is_not_read_is_said_to_be_left_out() -> None:
    """Qwen-VL: the language model is 7.72B of 9.66B."""
    sees = {**BY_NAME["qwen1-7b"], "visual": {"layers": 48, "width": 1664, "heads": 16, "image_size": 448}}
    model = model_from_config(sees)
    assert model.name.startswith("language model of")
    assert any("the language model of qwen alone" in sentence for sentence in model.assumptions)
    assert not any("alone" in sentence for sentence in model_from_config(BY_NAME["qwen1-7b"]).assumptions)


def test_active_parameters_of_mixtures_are_those_published() -> None:
    published = {
        "gemma-4-26b-a4b": 3.8,
        "mimo-v2-flash": 15.4,
        "deepseek-moe-16b": 2.8,
        "longcat-flash": 28.0,
        "arctic": 17.3,
    }
    for name, billions in published.items():
        active = count_parameters(model_from_config(BY_NAME[name])).active / 1e9
        assert active == pytest.approx(billions, abs=0.05)


def test_latent_experts_work_at_their_own_width() -> None:
    """Kimi-K3 has about 2.8T parameters; at the width of the model its experts alone would have 5.4T."""
    kimi = {
        "model_type": "kimi_linear",
        "hidden_size": 7168,
        "intermediate_size": 33792,
        "hidden_act": "situ",
        "num_hidden_layers": 93,
        "num_attention_heads": 96,
        "first_k_dense_replace": 1,
        "num_experts": 896,
        "num_experts_per_token": 16,
        "num_shared_experts": 2,
        "moe_intermediate_size": 3072,
        "routed_expert_hidden_size": 3584,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "vocab_size": 163840,
        "linear_attn_config": {
            "full_attn_layers": [4 * i for i in range(1, 24)] + [93],
            "num_heads": 96,
            "head_dim": 128,
            "short_conv_kernel_size": 4,
        },
    }
    assert count_parameters(model_from_config(kimi)).total / 1e12 == pytest.approx(2.8, abs=0.05)


def test_flops_of_deepseek_v4_are_those_published() -> None:
    """92,762,352,876 per token at 4,096 tokens with the prediction layer (torchtitan pull request 4441).

    That figure trains the indexer (queries, keys, weights and scores count three times; its weights take no gradient
    here), and counts norms and other vectors as if they multiplied.
    """
    model = model_from_config(BY_NAME["deepseek-v4-flash"])
    indexer = 64 * 128 * 1024 + 128 * 4 * 4096 + 64 * 4096  # queries, four matrices of keys and gates, weights
    parameters = count_parameters(model)
    vectors = parameters.active - parameters.embedding + 4096 * 129280 + 3 * 4096**2 - matmul_weights(model)
    assert vectors - 21 * indexer == pytest.approx(1.8e6, rel=0.1)
    assert model_flops_per_token(model, 4096) + 6 * vectors == 92_762_352_876


def test_blocks_that_were_left_out_or_narrowed_are_counted_as_they_are() -> None:
    model = model_from_config(BY_NAME["nemotron-super-49b"])
    without = sum(group.count for group in model.groups if group.attention is None)
    blocks = BY_NAME["nemotron-super-49b"]["block_configs"]
    assert without == sum(block["attention"]["no_op"] for block in blocks) > 0


@pytest.mark.parametrize("record", RECORDS, ids=[record["name"] for record in RECORDS])
def test_the_weights_of_the_ops_add_up_to_the_parameters(record: dict[str, Any]) -> None:
    model = model_from_config(record["config"], overrides=record.get("overrides"))
    length = min(256, model.learned_positions or 256)
    for options in ({}, {"attention": "unfused", "stack": "eager"}):
        step = build_step(model, TrainConfig(seq_len=length, **options))
        held = sum(weight.local * weight.count for weight in step.weights if not weight.tied)
        assert held == count_parameters(model).total


def test_a_latent_expert_multiplies_at_its_own_width() -> None:
    """Nemotron-3: 22 of 512 experts of [1024, 2688] and [2688, 1024] a token, behind [4096, 1024] and [1024, 4096]."""
    record = next(record for record in RECORDS if record["name"] == "nemotron-3-super")
    model = model_from_config(record["config"], overrides={"mtp_layers": 0})
    ops = [op for op in build_step(model, TrainConfig(micro_batch=1, seq_len=256)).ops if op.phase == "forward"]
    flops = {op.name: op.flops for op in ops}
    assert flops["experts.up"] == 2 * 256 * 22 * 1024 * 2688
    assert flops["moe.latent_down"] == flops["moe.latent_up"] == 2 * 256 * 4096 * 1024
