"""Stored weights: bits and scales of each method, and which matrices they leave alone."""

from typing import Any

import msgspec
import pytest

from roofline.errors import RooflineError
from roofline.model.huggingface import model_from_config
from roofline.model.load import load_model
from roofline.model.parameters import count_parameters
from roofline.model.quantization import read, weight_bytes

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}


@pytest.mark.parametrize(
    ("entry", "dtype", "bytes_per_weight"),
    [
        (NF4, "nf4", (4 + 32 / 64) / 8),
        ({**NF4, "bnb_4bit_use_double_quant": True}, "nf4", (4 + (8 + 32 / 256) / 64) / 8),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8", 1),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", (8 + 32 / 128**2) / 8),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "int4", (4 + 20 / 128) / 8),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "int4", (4 + 20 / 128) / 8),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", (4 + 8 / 16) / 8),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8", 1),
        ({"quant_method": "bitnet"}, "int2", 1 / 4),
        ({"load_in_8bit": True}, "int8", 1),
        ({"quant_method": "mxfp8"}, "mxfp8", (8 + 8 / 32) / 8),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "int8", 1),
        ({"quant_method": "intel/auto-round", "bits": 3, "group_size": 64}, "int3", (3 + 19 / 64) / 8),
        (
            {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}},
            "int4",
            (4 + 32 / 64) / 8,
        ),
        (
            {"quant_method": "hqq", "quant_config": {"mlp.up_proj": {"weight_quant_params": {"nbits": 2}}}},
            "int2",
            (2 + 32 / 64) / 8,
        ),
        ({"quant_method": "quanto", "weights": "float8"}, "fp8", 1),
        ({"quant_method": "quanto", "weights": "int4"}, "int4", (4 + 32 / 128) / 8),
        ({"quant_method": "eetq"}, "int8", 1),
        (
            {
                "quant_method": "torchao",
                "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 32}}},
            },
            "int4",
            (4 + 32 / 32) / 8,
        ),
        ({"quant_method": "torchao", "quant_type": "int8_dynamic_activation_int4_weight"}, "int4", (4 + 32 / 128) / 8),
        ({"quant_method": "torchao", "quant_type": "float8_weight_only"}, "fp8", 1),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "mxfp4-pack-quantized",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 32, "type": "float"}}},
            },
            "mxfp4",
            (4 + 8 / 32) / 8,
        ),
    ],
)
def test_bytes_of_a_weight(entry: dict[str, Any], dtype: str, bytes_per_weight: float) -> None:
    found = read({"quantization_config": entry}, "config.json")
    assert found is not None
    assert found.dtype == dtype
    assert found.bytes_per_weight("mlp") == pytest.approx(bytes_per_weight)
    assert found.bytes_per_weight("logits") == 2


def test_a_model_in_nf4_keeps_its_tables_in_16_bits() -> None:
    """Llama 3 8B: 6,979,321,856 weights in its layers' matrices; table, head and norms are whole."""
    model = model_from_config({**LLAMA, "quantization_config": NF4})
    matrices = 32 * (4096 * (4096 + 2 * 1024 + 4096) + 3 * 4096 * 14336)
    rest = 8_030_261_248 - matrices
    assert weight_bytes(model) == matrices * 4.5 / 8 + rest * 2
    assert weight_bytes(model) / 2**30 == pytest.approx(5.6, abs=0.05)


def test_without_quantisation_every_weight_is_whole() -> None:
    for name in ("gpt2", "mixtral-8x7b", "deepseek-v3", "opt-350m"):
        model = load_model(name)
        assert model.quantization is None
        assert weight_bytes(model) == 2 * count_parameters(model).total


def test_experts_alone_or_in_a_format_of_their_own() -> None:
    mixture = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
    alone = model_from_config({**mixture, "quantization_config": {"quant_method": "mxfp4"}})
    experts = 32 * 4 * 3 * 4096 * 14336
    total = count_parameters(alone).total
    assert weight_bytes(alone) == experts * 4.25 / 8 + (total - experts) * 2
    entry = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    own = model_from_config({**mixture, "expert_dtype": "fp4", "quantization_config": entry})
    assert own.quantization is not None
    assert own.quantization.bytes_per_weight("experts") == 4.25 / 8
    assert own.quantization.bytes_per_weight("attention") == pytest.approx(1.000244, abs=1e-6)


def test_modules_that_a_checkpoint_leaves_alone() -> None:
    entry = {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 32, "type": "int"}}},
        "ignore": ["re:.*self_attn.*", "lm_head"],
    }
    found = read({"quantization_config": entry}, "config.json")
    assert found is not None
    assert found.bytes_per_weight("attention") == 2
    assert found.bytes_per_weight("experts") == (4 + 16 / 32) / 8


@pytest.mark.parametrize(
    ("field", "named", "whole"),
    [
        ("llm_int8_skip_modules", ["lm_head", "self_attn"], True),
        ("modules_to_not_convert", ["model.layers.*.self_attn"], True),
        ("modules_to_not_convert", [f"model.layers.{layer}.self_attn.q_proj" for layer in range(32)], True),
        ("llm_int8_skip_modules", ["model.layers.3.self_attn", "model.layers.4.self_attn"], False),  # 2 layers of 32
        ("skip_modules", None, False),
    ],
)
def test_modules_are_left_alone_in_all_layers_or_in_most(field: str, named: object, whole: bool) -> None:
    model = model_from_config({**LLAMA, "quantization_config": {**NF4, field: named}})
    assert model.quantization is not None
    assert model.quantization.bytes_per_weight("attention") == (2 if whole else 4.5 / 8)
    assert model.quantization.bytes_per_weight("mlp") == 4.5 / 8


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"quant_method": "gptq", "bits": "four"}, "of gptq: bits must be .*'four'"),
        ({"quant_method": "awq", "group_size": 2.5}, "of awq: group_size must be .*2.5"),
        ({"quant_method": "gptq", "bits": 0}, "bits must be a whole number from 1 to 16, got 0"),
        ({"quant_method": "fp8", "weight_block_size": ["a", 128]}, r"weight_block_size must be .*'a'"),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": "8"}}}}, "num_bits"),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": []}}}, "nbits"),
        ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Magic"}}}, "no format is named"),
    ],
)
def test_what_is_no_number_is_named(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(RooflineError, match=f"^config.json: quantization_config .*{words}"):
        read({"quantization_config": entry}, "config.json")


@pytest.mark.parametrize("entry", ["fp8", {"quant_method": "magic"}])
def test_a_method_that_is_not_known_refuses(entry: object) -> None:
    with pytest.raises(RooflineError, match=r"^config.json: quantization_config"):
        model_from_config({**LLAMA, "quantization_config": entry}, "config.json")


def test_it_changes_no_count() -> None:
    plain, stored = (model_from_config({**LLAMA, "quantization_config": entry}) for entry in (None, NF4))
    assert msgspec.structs.replace(stored, quantization=None) == plain


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"quant_method": "gptq", "bits": [4]}, "bits must be a whole number from 1 to 16, got [4]"),
        ({"quant_method": "awq", "w_bit": float("nan")}, "w_bit must be a whole number from 1 to 16, got nan"),
        (
            {"quant_method": "gptq", "group_size": {"a": 1}},
            "group_size must be a whole number from -1 to 10000000, got",
        ),
        (
            {"quant_method": "fp8", "weight_block_size": [128, "x"]},
            "weight_block_size must be a whole number from 1 to",
        ),
        ({"quant_method": "fp8", "weight_block_size": 128}, "weight_block_size must be two whole numbers, got 128"),
        ({"quant_method": ["gptq"]}, "quantization_config has quant_method ['gptq'], which is not read"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": True}}}},
            "num_bits must be a whole number from 1 to 16, got True",
        ),
    ],
)
def test_a_figure_of_another_kind_is_named(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(RooflineError) as error:
        read({"quantization_config": entry}, "config.json")
    assert words in str(error.value)
    assert str(error.value).startswith("config.json: ")


def test_groups_of_a_whole_row_and_patterns_of_any_kind() -> None:
    """-1 is GPTQ's word for a row; what ``ignore`` holds is text to look into."""
    row = read({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": -1}}, "config.json")
    assert row is not None
    assert row.block == 0
    weights = {"group_0": {"weights": {"num_bits": 8}}}
    entry = {"quant_method": "compressed-tensors", "config_groups": weights, "ignore": 7}
    assert read({"quantization_config": entry}, "config.json") is not None
