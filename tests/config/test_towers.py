"""How much a model's encoders take in: one image a sample where nothing is said, and what cannot be."""

from typing import Any

import pytest

from roofline.answers.counts import count
from roofline.answers.estimate import estimate
from roofline.config.settle import settle
from roofline.errors import RooflineError
from roofline.model.huggingface import model_from_config

LLAVA = model_from_config(  # images of 336 x 336 pixels in patches of 14: 24 x 24 tokens
    {
        "model_type": "llava",
        "text_config": {
            "model_type": "llama",
            "hidden_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "intermediate_size": 512,
            "vocab_size": 1000,
            "max_position_embeddings": 4096,
        },
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "image_size": 336,
            "patch_size": 14,
            "projection_dim": 64,
        },
    },
    "llava",
)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"images_per_sample": 9}, "are 5,184 tokens of llava, and a sample has 2,048"),
        ({"images_per_sample": -1}, "images_per_sample: "),
        ({"clips_per_sample": 1}, "clips_per_sample 1: llava has no encoder of sounds: leave it out"),
        ({"image_size": 7}, "image_size must be a whole number of pixels from 14, one patch, got 7"),
    ],
)
def test_what_cannot_be_is_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RooflineError) as caught:
        count(LLAVA, **{"seq_len": 2048, **options})
    assert words in str(caught.value)


@pytest.mark.parametrize("option", [{"images_per_sample": 1}, {"image_size": 224}, {"freeze": "towers"}])
def test_a_model_without_encoders_takes_no_images(option: dict[str, Any]) -> None:
    with pytest.raises(RooflineError, match="leave it out"):
        count("gpt2", **option)


def test_what_is_assumed_of_images_is_said() -> None:
    found = estimate(LLAVA, "h100-sxm-80gb", seq_len=2048)
    sentence = (
        "assumed: 1 image of 336 x 336 per sample, 576 tokens of its encoder, 576 tokens of the sequence "
        "(--images-per-sample, --image-size)"
    )
    assert sentence in found.notes
    short = estimate(LLAVA, "h100-sxm-80gb", seq_len=256)
    assert "assumed: no image, whose tokens exceed the sequence (--images-per-sample)" in short.notes


def test_one_image_a_sample_where_its_tokens_fit() -> None:
    assert [settle(LLAVA, None, {"seq_len": length}).train.images_per_sample for length in (2048, 576, 575)] == [
        1,
        1,
        0,
    ]
    assert settle(LLAVA, None, {"seq_len": 2048, "images_per_sample": 3}).train.images_per_sample == 3
