"""JSON files that are no model's config: served where they name a model, else named for what they are."""

import json
from pathlib import Path
from typing import Any

import pytest

from roofline.errors import RooflineError
from roofline.model.huggingface import model_from_config
from roofline.model.load import load_model
from roofline.model.parameters import count_parameters


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"tokenizer_class": "LlamaTokenizer", "model_max_length": 4096}, "a tokenizer's settings"),
        ({"version": "1.0", "added_tokens": [], "model": {}}, r"a tokenizer \(tokenizer.json\)"),
        ({"weight_map": {}, "metadata": {}}, "the index of a checkpoint's files"),
        ({"do_sample": True, "temperature": 0.6}, "settings of text generation"),
        ({"bos_token_id": 1, "eos_token_id": 2, "transformers_version": "4.57"}, "settings of text generation"),
        ({"image_processor_type": "CLIPImageProcessor"}, "an image processor's settings"),
        ({"do_resize": True, "image_mean": [0.5], "size": 224}, "an image processor's settings"),
        ({"do_normalize": True, "sampling_rate": 16000, "feature_size": 1}, "a feature extractor's settings"),
        ({"bos_token": "<s>", "unk_token": "<unk>"}, "the special tokens of a tokenizer"),
        ({"<s>": 0, "</s>": 1, "a": 2}, "the vocabulary of a tokenizer"),
        ({"__version__": {"pytorch": "2.0"}}, "settings of a sentence-transformers model"),
        ({"max_seq_length": 256, "do_lower_case": False}, "settings of a sentence-transformers model"),
        ({"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True}, "the pooling of a sentence-transformers"),
        ({"model_cfg": {"embed_dim": 512}, "preprocess_cfg": {}}, "a file of OpenCLIP"),
        ({"output_dir": "x", "per_device_train_batch_size": 8}, "a trainer's arguments"),
        ({"zero_optimization": {"stage": 3}}, "a DeepSpeed configuration"),
        ({"_class_name": "DDPMScheduler"}, "the noise schedule of a diffusion model"),
        ({"_class_name": "FluxPipeline", "vae": ["diffusers", "X"]}, "a diffusers pipeline of several models"),
        ({"_class_name": "UNet2DConditionModel", "in_channels": 4}, "UNet2DConditionModel of diffusers"),
        ({"architecture": "resnet50", "num_classes": 1000}, "'resnet50' of timm"),
        ({"peft_type": "LORA", "base_model_name_or_path": "some/model"}, r"an adapter \(LORA\)"),
        ({"dim": 4096, "n_layers": 32, "n_heads": 32, "multiple_of": 256}, "an original Llama checkpoint"),
        ({"eos_token": "</s>", "additional_special_tokens": []}, "the special tokens of a tokenizer"),
        ({"bos_token": "<s>", "added_tokens_decoder": {}, "model_max_length": 4096}, "a tokenizer's settings"),
        ({"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14}, "an image processor's settings"),
        ({"temperature": 0.6, "top_p": 0.9, "max_length": 4096}, "settings of text generation"),
        ({"general.architecture": "llama", "llama.block_count": 32}, "the metadata of a GGUF file"),
        ({"bits": 4, "group_size": 128, "sym": True}, "the settings of a quantisation"),
        ({"n_mels": 80, "n_audio_state": 384, "n_text_state": 384}, "the sizes of an original Whisper checkpoint"),
        ({"chat_template": "{{ messages }}"}, "a chat template"),
        ({"backend": "nccl", "seed": 3}, "a file without a size of a model"),
    ],
)
def test_what_is_no_model_is_named(config: dict[str, Any], name: str) -> None:
    with pytest.raises(RooflineError, match=name) as error:
        model_from_config(config, "x.json")
    assert str(error.value).startswith("x.json: ")
    assert "\n" not in str(error.value)
    assert 'llama"' not in str(error.value)


@pytest.mark.parametrize(
    ("checkpoint", "total"),
    [  # totals of the models' own pages
        (  # 2/3 of 4 * 4096, times 1.3, in multiples of 1024: 14336
            {"n_kv_heads": 8, "vocab_size": 128256, "multiple_of": 1024, "ffn_dim_multiplier": 1.3, "rope_theta": 5e5},
            8_030_261_248,
        ),
        ({"n_kv_heads": 8, "vocab_size": 32000, "hidden_dim": 14336, "head_dim": 128}, 7_241_732_096),
        (
            {
                "n_kv_heads": 8,
                "vocab_size": 32000,
                "hidden_dim": 14336,
                "moe": {"num_experts": 8, "num_experts_per_tok": 2},
            },
            46_702_792_704,
        ),
    ],
)
def test_the_sizes_of_an_original_checkpoint_are_read(checkpoint: dict[str, Any], total: int) -> None:
    model = model_from_config(
        {"dim": 4096, "n_layers": 32, "n_heads": 32, "norm_eps": 1e-5, **checkpoint}, "params.json"
    )
    assert count_parameters(model).total == total
    assert any("original checkpoint" in sentence for sentence in model.assumptions)


@pytest.mark.parametrize("more", [{"vocab_size": -1}, {"vocab_size": 32000, "vision_chunk_size": 448}])
def test_what_an_original_checkpoint_leaves_to_others_is_not_read(more: dict[str, Any]) -> None:
    with pytest.raises(RooflineError, match="an original Llama checkpoint"):
        model_from_config({"dim": 4096, "n_layers": 32, "n_heads": 32, "multiple_of": 256, **more})


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ({"peft_type": "LORA", "r": 8}, "names no base model"),
        (
            {"peft_type": "LORA", "base_model_name_or_path": "some/model"},
            "an adapter of 'some/model': no file or preset",
        ),
    ],
)
def test_an_adapter_of_no_known_model_says_so(adapter: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    with pytest.raises(RooflineError, match=message):
        load_model(tmp_path)


def test_an_adapter_is_its_base_model_with_the_options_that_train_it(tmp_path: Path) -> None:
    adapter = {
        "base_model_name_or_path": "meta-llama/Llama-3.1-8B",
        "peft_type": "LORA",
        "r": 16,
        "target_modules": ["q_proj", "v_proj"],
    }
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(adapter))
    model = load_model(tmp_path)
    assert count_parameters(model) == count_parameters(load_model("llama-3.1-8b"))
    assert model.assumptions[-1] == (
        f"{path} is an adapter (LORA) of meta-llama/Llama-3.1-8B: counts its base model; train it with "
        "--train lora --lora-rank 16 --lora-modules q_proj,v_proj"
    )
    assert load_model(path, overrides={"n_layers": 2}).n_layers == 2


def test_a_model_without_its_type_is_no_tokenizer() -> None:
    old = {"n_embd": 768, "n_layer": 12, "tokenizer_class": "GPT2Tokenizer", "bos_token_id": 1, "eos_token_id": 2}
    with pytest.raises(RooflineError, match="no model_type"):
        model_from_config({**old, "transformers_version": "4.0"})


def test_a_plain_vision_transformer_of_timm_is_read_from_its_name() -> None:
    model = model_from_config({"architecture": "vit_base_patch16_224", "num_classes": 1000})
    assert count_parameters(model) == count_parameters(load_model("vit-b16"))


def test_the_models_command_takes_an_adapter(tmp_path: Path, printed) -> None:
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "gpt2"}))
    assert "adapter (LORA) of gpt2" in " ".join(printed("models", str(path)).split())


def test_a_model_type_that_is_not_stated_is_that_of_the_class() -> None:
    vit = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    parts = {
        "text_config": {"model_type": "clip_text_model", **vit, "vocab_size": 50, "max_position_embeddings": 12},
        "vision_config": {"model_type": "clip_vision_model", **vit, "image_size": 32, "patch_size": 8},
        "projection_dim": 8,
    }
    named, unnamed = ({**parts, **more} for more in ({"model_type": "clip"}, {"architectures": ["CLIPModel"]}))
    found = model_from_config(unnamed, "x.json")
    assert count_parameters(found) == count_parameters(model_from_config(named, "x.json"))
    assert any("model_type is not stated: clip" in note for note in found.assumptions)
    with pytest.raises(RooflineError, match="no model_type"):
        model_from_config({**vit, "architectures": ["NobodyForCausalLM"]}, "x.json")
