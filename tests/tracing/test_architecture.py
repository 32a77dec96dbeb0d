"""A config.json built with transformers' own classes and traced: skipped where torch or transformers is missing."""

import json
from pathlib import Path
from typing import Any

import pytest

from roofline.errors import NotDescribedError, RooflineError
from roofline.model.huggingface import model_from_config
from roofline.tracing import architecture

needs_transformers = pytest.mark.skipif(not architecture.available(), reason="torch and transformers are not installed")
VIT = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
CLIP: dict[str, Any] = {
    "model_type": "clip",
    "projection_dim": 8,
    "text_config": {**VIT, "vocab_size": 50, "max_position_embeddings": 12},
    "vision_config": {**VIT, "image_size": 32, "patch_size": 8},
}


@pytest.mark.parametrize(
    "config",
    [
        CLIP,
        {"model_type": "mgp-str"},
        {"model_type": "xlnet"},
        {"model_type": "grounding-dino", "text_config": {"model_type": "bert"}},
    ],
)
def test_a_model_nobody_described_says_what_would_take_it(config: dict[str, Any]) -> None:
    with pytest.raises(NotDescribedError, match=r"pip install 'roofline\[torch\]'"):
        model_from_config(config, "config.json")


def test_without_transformers_the_commands_say_what_to_install(
    tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(architecture, "available", lambda: False)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CLIP))
    for command in (("models", str(path)), ("estimate", str(tmp_path), "-d", "h100-sxm-80gb")):
        result = run(*command)
        assert result.status == 2
        assert "pip install 'roofline[torch]'" in result.err
        assert result.err.count("\n") == 1


def test_a_file_or_the_config_of_a_folder_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CLIP))
    assert architecture.read(str(tmp_path)) == architecture.read(str(path)) == (CLIP, str(path))


@needs_transformers
def test_parameters_of_both_towers_by_hand() -> None:
    built = architecture.build(CLIP, "config.json")
    layer = 4 * (16 * 16 + 16) + 2 * 16 * 24 + 24 + 16 + 4 * 16  # q, k, v, out with biases; up and down; two LayerNorms
    text = 50 * 16 + 12 * 16 + 2 * layer + 2 * 16
    vision = 16 + 3 * 64 * 16 + 17 * 16 + 2 * layer + 4 * 16  # class token, patches, positions, layers, norms
    assert built.parameters == text + vision + 2 * 16 * 8 + 1
    assert sum(built.by_module.values()) == built.parameters
    assert {name: list(value.shape) for name, value in built.choices[0].items() if hasattr(value, "shape")} == {
        "pixel_values": [1, 3, 32, 32],
        "input_ids": [1, 12],
    }


@needs_transformers
def test_the_commands_take_it(tmp_path: Path, run, printed) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CLIP))
    assert "Parameters of CLIPModel of transformers" in printed("models", str(path))
    options = ("-d", "h100-sxm-80gb", "--micro-batch", "4", "--format", "json")
    result = run("estimate", str(path), *options)
    assert result.status == 0
    assert json.loads(result.out)["step_time_s"] > 0


@needs_transformers
def test_a_part_without_a_model_of_its_own_is_the_module_beside_its_configuration() -> None:
    sizes = {
        "hidden_size": 8,
        "mlp_dim": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "iou_head_hidden_dim": 8,
    }
    built = architecture.build({"model_type": "sam_mask_decoder", **sizes}, "config.json")
    assert built.source.startswith("SamMaskDecoder of transformers")
    assert dict(built.module.named_parameters())["iou_token.weight"].shape == (1, 8)


@needs_transformers
def test_inputs_are_tried_until_the_class_takes_them_and_what_they_leave_out_is_said(tmp_path: Path, printed) -> None:
    sound = {"model_type": "audio-spectrogram-transformer", **VIT, "max_length": 64, "num_mel_bins": 32}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(sound))
    assert "with input_values [1, 64, 32]" in " ".join(printed("estimate", str(path), "-d", "h100-sxm-80gb").split())
    reads_alone = {"model_type": "git", **VIT, "vocab_size": 50, "vision_config": {**VIT, "image_size": 32}}
    path.write_text(json.dumps(reads_alone))
    out = " ".join(printed("estimate", str(path), "-d", "h100-sxm-80gb").split())
    assert "take no part with these inputs: they cost memory, and no time" in out
    assert "parameters (git.image_encoder" in out


@needs_transformers
def test_a_type_that_transformers_lacks_or_cannot_build_says_so() -> None:
    with pytest.raises(RooflineError, match="has no models of type 'nothing'"):
        architecture.build({"model_type": "nothing"}, "config.json")
    with pytest.raises(RooflineError, match="config.json: transformers cannot build it: ") as error:
        architecture.build({**CLIP, "text_config": {"hidden_size": 15, "num_attention_heads": 4}}, "config.json")
    assert len(str(error.value)) < 300
