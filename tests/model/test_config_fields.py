"""Fields of a config.json against what its family needs."""

import math

import pytest

from roofline.errors import RooflineError
from roofline.model.config_fields import check_layer_lists, check_numbers, explain, field_names, require
from roofline.model.expressions import ExpressionError
from roofline.model.family import load_family
from roofline.model.huggingface import model_from_config
from roofline.model.keys import Flat

LLAMA = load_family("llama")
CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 32,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_none(value):
    with pytest.raises(RooflineError, match="rope_theta must be a number"):
        check_numbers({"rope_theta": value}, LLAMA, frozenset({"rope_theta"}))


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("torch_dtype", 3, "text"),
        ("rope_scaling", [], "an object with fields"),
        ("quantization_config", [], "an object with fields"),
        ("architectures", "LlamaForCausalLM", "a list"),
        ("layer_types", "full_attention", "a list"),
        ("rope_theta", "10000", "a number, or a list of them"),
        ("rms_norm_eps", True, "a number"),
        ("attention_dropout", 3, "a number from 0 to 1"),
        ("attention_dropout", math.nan, "a number from 0 to 1"),
        ("sliding_window", "4096", "a whole number"),
        ("sliding_window", 4096.5, "a whole number"),
        ("num_experts", True, "a whole number"),
        ("use_cache", 1, "true or false"),
        ("qk_layernorm", "False", "true or false"),  # a text of five letters is no falsehood
        ("n_shared_experts", 1.5, "a whole number"),
        ("first_k_dense_replace", 1.5, "a whole number"),
        ("moe_intermediate_size", "3072", "a whole number"),
    ],
)
def test_a_value_of_a_kind_that_its_field_never_has_is_refused(field, value, kind):
    for config in (CONFIG | {field: value}, {"model_type": "llava", field: value, "text_config": CONFIG}):
        with pytest.raises(
            RooflineError, match=f"^config: {field} must be {kind}, or null where it is not stated, got"
        ):
            model_from_config(config)


def test_shares_and_factors_may_have_a_fraction():
    fields = {"mlp_ratio": 4.5, "rope_theta": 1e4, "time_step_min": 0.001, "num_scale_factor": 0.5}
    assert model_from_config(CONFIG | fields).n_layers == 2


def test_experts_that_nobody_switches_on_are_asked_about():
    gemma = CONFIG | {
        "model_type": "gemma4_text",
        "num_key_value_heads": 1,
        "head_dim": 4,
        "num_experts": 4,
        "hidden_size_per_layer_input": 0,
    }
    with pytest.raises(RooflineError, match="num_experts is stated, and whether there are experts"):
        model_from_config(gemma)
    with pytest.raises(RooflineError, match="moe_intermediate_size is missing"):
        model_from_config(gemma | {"enable_moe_block": True, "top_k_experts": 2})
    assert model_from_config(gemma | {"enable_moe_block": False}).n_layers == 2


def test_null_is_not_stated_and_a_whole_float_a_whole_number():
    assert model_from_config(CONFIG | {"rope_scaling": None, "sliding_window": 32.0, "torch_dtype": None}).n_layers == 2


def test_negative_numbers_but_for_an_index():
    known = frozenset({"beta", "pad_index"})
    check_numbers({"pad_index": -1, "unknown": -5}, LLAMA, known)
    with pytest.raises(RooflineError, match="beta must not be negative, got -1"):
        check_numbers({"beta": -1}, LLAMA, known)


def test_a_list_of_layers_is_as_long_as_the_model_and_of_known_words():
    known = frozenset({"layer_types"})
    check_layer_lists({"layer_types": ["full_attention"] * 2}, LLAMA, known, 2)
    with pytest.raises(RooflineError, match="layer_types must be a list of 2 words, one per layer, got 1 of them"):
        check_layer_lists({"layer_types": ["full_attention"]}, LLAMA, known, 2)
    with pytest.raises(RooflineError, match="unknown word in layer_types: 'full_atention'"):
        check_layer_lists({"layer_types": ["full_atention"] * 2}, LLAMA, known, 2)


def test_what_a_type_cannot_do_without_is_named_as_the_config_spells_it():
    mixtral = load_family("mixtral")
    flat = Flat({"n_layers": 2}, names=field_names(mixtral, {}))
    with pytest.raises(RooflineError, match=r"models of type 'mixtral' need it: add it, or pass --set"):
        require(mixtral, flat, "mixtral", {"num_hidden_layers"})


def test_messages_call_a_key_by_its_field():
    names = field_names(LLAMA, CONFIG)
    assert (names["n_layers"], names["d_model"]) == ("num_hidden_layers", "hidden_size")
    with pytest.raises(RooflineError, match="num_hidden_layers"):
        model_from_config({**CONFIG, "num_hidden_layers": "two"})


def test_an_expression_that_cannot_be_computed_names_the_field():
    missing = ExpressionError("hidden_size // heads", "hidden_size is missing")
    assert explain(missing, LLAMA, "llama") == "hidden_size is missing, and models of type 'llama' need it: add it"
    other = explain(ExpressionError("hidden_size // 0", "division by zero"), LLAMA, "llama")
    assert other == "the value of hidden_size cannot be used (division by zero): correct it"


@pytest.mark.parametrize(
    ("model_type", "field"),
    [
        ("llama", "hidden_act"),
        ("qwen3", "head_dim"),
        ("gemma2", "num_key_value_heads"),
        ("gpt2", "activation_function"),
    ],
)
def test_a_null_from_which_no_class_builds_anything_is_refused(model_type, field):
    fields = {**CONFIG, "model_type": model_type, "head_dim": 4, field: None}
    with pytest.raises(RooflineError, match=f"{field} must not be null in models of type '{model_type}': give a value"):
        model_from_config(fields)


def test_a_null_means_what_it_means_to_the_class():
    nulls = {"num_key_value_heads": None, "head_dim": None, "attention_bias": None}
    attention = model_from_config({**CONFIG, **nulls}).groups[0].attention
    assert attention.n_kv_heads == attention.n_heads
    assert attention.head_dim * attention.n_heads == CONFIG["hidden_size"]
    assert not attention.q_bias
    mistral = {**CONFIG, "model_type": "mistral", "num_key_value_heads": 2, "sliding_window": None}
    assert model_from_config(mistral).groups[0].attention.window is None
