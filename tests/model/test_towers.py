"""What a model has beside its language model, against transformers' classes (recorded) and published totals."""

from __future__ import annotations

from typing import Any

import pytest

from roofline.model.huggingface import model_from_config
from roofline.model.parameters import count_parameters
from roofline.model.towers import parameters_beside, table

# compare_towers.py, transformers 5.24: what each class builds by default, and the width of its text model
RECORDED = {
    "gemma3": (94_654_464, 2304, {}),
    "internvl": (337_509_376, 4096, {"image_size": [448, 448], "patch_size": [14, 14]}),
    "llava": (324_487_168, 4096, {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}),
    "qwen2_5_vl": (3_083_025_152, 8192, {}),
    "qwen3_5": (453_650_672, 4096, {}),
    "qwen3_vl": (566_949_104, 4096, {}),
}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_default_towers_are_those_of_transformers(name: str) -> None:
    expected, width, vision = RECORDED[name]
    if name == "llava":
        vision = {**vision, "image_size": 336, "patch_size": 14}
    assert parameters_beside({"model_type": name, "vision_config": vision}, width) == expected


# google/gemma-3-4b-pt: 4,300,079,472 parameters in its checkpoint
SO400M = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
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


def test_the_first_line_says_what_the_language_model_is_of_the_whole() -> None:
    model = model_from_config({"model_type": "gemma3", "text_config": TEXT, "vision_config": SO400M}, "config.json")
    assert count_parameters(model).total + model.beside_params == 4_300_079_472
    assert model.name == "language model of config.json: 3.88B of 4.3B"


def test_a_model_that_is_not_described_leaves_the_total_out() -> None:
    outer = {"model_type": "idefics3", "text_config": TEXT, "vision_config": {}}
    assert parameters_beside(outer, 2560) is None
    assert model_from_config(outer, "config.json").name == "language model of config.json"


@pytest.mark.parametrize("vision", [None, {"hidden_size": "wide"}, {"hidden_size": [1]}, {"patch_size": 0}])
def test_an_encoder_that_cannot_be_leaves_the_total_out(vision: Any) -> None:
    assert parameters_beside({"model_type": "gemma3", "vision_config": vision}, 2560) is None


def test_every_model_has_an_encoder_that_is_described() -> None:
    assert {model.encoder for model in table().models.values()} <= table().encoders.keys()
