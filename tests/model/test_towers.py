"""Encoders beside a language model: their parameters against published totals, their declarations, and bad input."""

from typing import Any

import pytest

from roofline.answers.counts import count
from roofline.errors import RooflineError
from roofline.model.family import load_family
from roofline.model.huggingface import model_from_config
from roofline.model.parameters import count_parameters
from roofline.model.spec import ModelConfig
from roofline.model.towers import table

from ..records import records

SO400M = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 896,
    "patch_size": 14,
    "vision_use_head": False,
}
TEXT = {
    "model_type": "gemma3_text",
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "num_hidden_layers": 34,
    "sliding_window": 1024,
}
GEMMA = {"model_type": "gemma3", "text_config": TEXT, "vision_config": SO400M}


def test_a_model_with_its_encoder_has_the_parameters_of_its_checkpoint() -> None:
    model = model_from_config(GEMMA, "config.json")
    assert count_parameters(model).total == 4_300_079_472  # google/gemma-3-4b-pt
    assert model.name == "config.json"


def test_images_become_patches_and_patches_tokens() -> None:
    (tower,) = model_from_config(GEMMA).towers
    patches = tower.encoder.patches
    assert patches is not None
    assert (patches.number(), tower.rows()) == (4096, 256)  # (896 / 14)^2, pooled to mm_tokens_per_image
    assert (patches.number(448), tower.rows(448)) == (1024, 64)


def test_what_joins_an_encoder_is_part_of_it() -> None:
    (tower,) = model_from_config(GEMMA).towers
    assert [(linear.d_in, linear.d_out, linear.bias) for linear in tower.joins] == [(1152, 2560, False)]
    assert tower.extra_params == 1152


def test_an_encoder_that_is_not_described_leaves_the_language_model_and_says_so() -> None:
    model = model_from_config({"model_type": "janus", "text_config": TEXT, "vision_config": {}}, "config.json")
    assert model.name == "language model of config.json"
    assert "counts the language model of janus alone, not its other towers" in model.assumptions


def test_a_part_that_names_no_type_reads_as_its_whole_takes_it() -> None:
    vision = {key: value for key, value in SO400M.items() if key != "model_type"}
    named = count_parameters(model_from_config(GEMMA)).towers
    for part in (vision, {**vision, "model_type": "gemma3"}):
        assert count_parameters(model_from_config({**GEMMA, "vision_config": part})).towers == named


@pytest.mark.parametrize(
    ("vision", "words"),
    [
        (3, "vision_config must be an object with fields, got 3"),
        ({"hidden_size": "wide"}, "vision_config: hidden_size"),
        ({"patch_size": 0}, "vision_config: "),
        ({"num_attention_heads": 7}, "vision_config: num_attention_heads = 7 does not divide hidden_size = 1152"),
    ],
)
def test_an_encoder_that_cannot_be_is_named(vision: Any, words: str) -> None:
    part = {**SO400M, **vision} if isinstance(vision, dict) else vision
    with pytest.raises(RooflineError) as caught:
        model_from_config({**GEMMA, "vision_config": part}, "config.json")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_declared_encoder_has_a_family_that_takes_in_what_it_says() -> None:
    for name, towers in table().items():
        for what, tower in towers.items():
            kind = load_family(tower.type).constants["kind"]
            assert kind == {"image": "vision", "sound": "audio"}[what], name


@pytest.mark.parametrize(("name", "cut"), [("llava_onevision", True), ("llava", False)])
def test_images_that_are_cut_into_tiles_are_said_to_be(name, cut):
    text = {"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 2}
    text |= {"intermediate_size": 64, "vocab_size": 100}
    said = " ".join(model_from_config({"model_type": name, "text_config": text}).assumptions)
    assert ("cut into tiles" in said) == cut


def of_type(name: str) -> ModelConfig:
    """The default configuration of a type, as recorded."""
    (config,) = (record["config"] for record in records("model_types.jsonl") if record["type"] == name)
    return model_from_config(config, name)


@pytest.mark.parametrize(
    ("name", "size", "tokens"),
    [
        ("qwen2_vl", 440, 16 * 16),  # 440 / 28 = 15.7: to the nearest two patches of 14
        ("qwen2_vl", 430, 15 * 15),
        ("qwen2_vl", 10, 1),
        ("mistral3", 500, 18 * 18),  # 500 / 28 = 17.9: up to the next
        ("mistral3", 510, 19 * 19),
        ("llava", 350, 25 * 25),  # what is left of a patch of 14 is cut off
        ("idefics2", 980, 64),  # queries, however large the image
        ("idefics2", 224, 64),
    ],
)
def test_tokens_of_an_image_are_those_of_its_processor(name: str, size: int, tokens: int) -> None:
    (tower,) = of_type(name).towers
    assert tower.rows(size) == tokens


def test_what_queries_attend_to_is_projected_for_every_token_of_the_encoder() -> None:
    (tower,) = of_type("idefics2").towers  # 7 x 7 patches
    found = {op.name: op.shape for op in count(of_type("idefics2"), seq_len=256).ops if op.phase == "forward"}
    assert tower.encoder.patches is not None
    assert found["image.gate"][:3] == (49, 14336, 768)
    assert found["image.query"] == (64, 16 * 96, 4096, 3)  # 64 queries in each of three layers


def test_a_pair_of_encoders_takes_an_image_in_beside_the_text() -> None:
    """SigLIP's text is shorter than an image has patches, which are no part of it."""
    (tower,) = of_type("siglip").towers
    assert not tower.in_sequence
    assert any(op.name.startswith("image.") for op in count(of_type("siglip")).ops)
