"""JSON files beside a model's config, or that describe one in another library's words: named for what they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..errors import RooflineError, shown

_VIT = re.compile(r"(?:deit|vit)_(tiny|small|base|large|huge)_patch(\d{1,9})_(?:\w+_)?(\d{1,9})")
_VIT_SIZES = {  # width, layers, heads (arXiv:2010.11929, table 1; arXiv:2012.12877, table 1)
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}
_TRACE = "a model of any other library is traced from Python: 'roofline estimate file.py:build -d DEVICE'"


def check(config: Mapping[str, Any], where: str) -> None:
    """Refuse a file that describes no model, with its name.

    Raises:
        RooflineError: It is a tokenizer's, a processor's, a scheduler's, a pipeline's, ...
    """
    kind = _kind(config)
    if isinstance(config.get("peft_type"), str):
        kind = f"an adapter ({config['peft_type']})"
    if kind:
        raise RooflineError(f"{where}: {kind}, not the config of a model: pass the config.json of the model itself")
    name = config.get("_class_name")
    if isinstance(name, str):
        raise RooflineError(f"{where}: {name} of diffusers, whose classes are not read: {_TRACE}")


def _kind(config: Mapping[str, Any]) -> str:
    """What a file without a model is; "" where it may be a model's."""
    name = config.get("_class_name")
    if isinstance(name, str) and name.endswith("Scheduler"):
        return f"the noise schedule of a diffusion model ({name})"
    if isinstance(name, str) and name.endswith("Pipeline"):
        return f"a diffusers pipeline of several models ({name})"
    if config.keys() & _SIZES:
        return ""
    for needed, kind in _SIGNS.items():
        if all(key in config for key in needed.split()):
            return kind
    if config and all(type(value) is int for value in config.values()):
        ids = sorted(config.values())
        if ids == list(range(ids[0], ids[0] + len(ids))):
            return "the vocabulary of a tokenizer (vocab.json, added_tokens.json)"
    return (
        ""
        if not config or any(_SIZE.search(key) for key in config)
        else "a file without a size of a model (hidden_size, ...)"
    )


_SIZES = {"model_type", "_class_name", "hidden_size", "num_hidden_layers", "d_model", "n_embd", "n_layer"}  # of a model
_SIGNS = {  # the fields that tell, and what has them
    "weight_map": "the index of a checkpoint's files",
    "added_tokens model": "a tokenizer (tokenizer.json)",
    "added_tokens_decoder": "a tokenizer's settings (tokenizer_config.json)",
    "tokenizer_class": "a tokenizer's settings (tokenizer_config.json)",
    "image_processor_type": "an image processor's settings",
    "video_processor_type": "a video processor's settings",
    "image_mean": "an image processor's settings (preprocessor_config.json)",
    "do_resize": "an image processor's settings (preprocessor_config.json)",
    "min_pixels max_pixels": "an image processor's settings (preprocessor_config.json)",
    "sampling_rate": "a feature extractor's settings (preprocessor_config.json)",
    "model_cfg": "a file of OpenCLIP",
    "pooling_mode_mean_tokens": "the pooling of a sentence-transformers model (1_Pooling/config.json)",
    "__version__": "settings of a sentence-transformers model (config_sentence_transformers.json)",
    "max_seq_length do_lower_case": "settings of a sentence-transformers model (sentence_bert_config.json)",
    "in_features out_features": "a dense layer of a sentence-transformers model (2_Dense/config.json)",
    "per_device_train_batch_size": "a trainer's arguments",
    "chat_template": "a chat template (chat_template.json)",
    "unk_token": "the special tokens of a tokenizer (special_tokens_map.json)",
    "eos_token": "the special tokens of a tokenizer (special_tokens_map.json)",
    "additional_special_tokens": "the special tokens of a tokenizer (special_tokens_map.json)",
    "feature_extractor_type": "a feature extractor's settings",
    "processor_class": "a processor's settings",
    "zero_optimization": "a DeepSpeed configuration",
    "train_micro_batch_size_per_gpu": "a DeepSpeed configuration",
    "log_history": "a trainer's state",
    "compute_environment": "settings of accelerate",
    "general.architecture": "the metadata of a GGUF file",
    "bits group_size": "the settings of a quantisation (quantize_config.json)",
    "producer quantization": "the settings of a quantisation (hf_quant_config.json)",
    "lang_ids suppress_ids": "settings of CTranslate2",
    "n_audio_state n_text_state": "the sizes of an original Whisper checkpoint",
    "dim n_layers n_heads": "the params.json of an original Llama checkpoint",
    "bos_token_id eos_token_id transformers_version": "settings of text generation (generation_config.json)",
    "do_sample": "settings of text generation (generation_config.json)",
    "temperature": "settings of text generation (generation_config.json)",
    "top_p": "settings of text generation (generation_config.json)",
    "cache_implementation": "settings of text generation (generation_config.json)",
}
_SIZE = re.compile(r"(^|_)(layers?|heads?|hidden|embd|emb|dim|width|depth|vocab|d_model|experts?|channels)(_|$)")


_CLASS_ENDINGS = re.compile(r"(For[A-Z]\w*|LMHead\w*|DoubleHeads\w*|Model|PreTrainedModel)$")


def typed(config: Mapping[str, Any], types: Iterable[str]) -> Mapping[str, Any]:
    """A config with the model type that its class is named after, where it states none: CLIPModel is a ``clip``.

    >>> typed({"architectures": ["GPT2LMHeadModel"]}, ["gpt2", "clip"])["model_type"]
    'gpt2'
    """
    classes = config.get("architectures")
    if config.get("model_type") or not isinstance(classes, list) or not classes or not isinstance(classes[0], str):
        return config
    wanted = _CLASS_ENDINGS.sub("", classes[0]).lower()
    found = next((name for name in types if re.sub(r"\W|_", "", name) == wanted), None)
    return config if found is None else {**config, "model_type": found}


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """What an ``adapter_config.json`` of PEFT says: the base model it is trained on, and how."""

    base: str
    note: str


def adapter(config: Mapping[str, Any], where: str) -> Adapter | None:
    """The adapter that a file of PEFT describes; None for any other file.

    Raises:
        RooflineError: It names no base model.
    """
    kind = config.get("peft_type")
    if not isinstance(kind, str):
        return None
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise RooflineError(f"{where}: an adapter ({kind}) that names no base model: pass the base model's config.json")
    note = f"{where} is an adapter ({kind}) of {base}: counts its base model"
    if kind == "LORA":
        targets = config.get("target_modules")
        modules = f" --lora-modules {','.join(targets)}" if isinstance(targets, list) and targets else ""
        note += f"; train it with --train lora --lora-rank {config.get('r', 8)}{modules}"
    return Adapter(base=base, note=note)


class Other(msgspec.Struct, frozen=True):
    """What another library's file describes, in the fields of transformers, and a sentence on what was assumed."""

    config: dict[str, Any]
    note: str


def of_other_library(config: Mapping[str, Any], where: str) -> Other | None:
    """The model of timm, or of an original Llama or Mistral checkpoint, that a file describes; None for any other file.

    Raises:
        RooflineError: It names a model of timm that is not read.
    """
    if "model_type" in config:
        return None
    timm = _of_timm(config, where)
    if timm is not None:
        note = f"{timm['_name_or_path']} is a model of timm: assumes the sizes of its name, and counts no classifier"
        return Other(timm, note)
    sizes = _of_checkpoint(config)
    note = f"{where} is the params.json of an original checkpoint: assumes a head of its own"
    return None if sizes is None else Other(sizes, note)


# of Llama's and Mistral's own code (github:meta-llama/llama-models models/llama3/args.py;
# github:mistralai/mistral-inference src/mistral_inference/args.py)
_CHECKPOINT = {"dim", "n_layers", "n_heads", "vocab_size"}
_BESIDE = {"n_kv_heads", "multiple_of", "ffn_dim_multiplier", "norm_eps", "rope_theta", "use_scaled_rope", "head_dim"}
_BESIDE |= {"hidden_dim", "moe", "sliding_window", "max_seq_len"}


def _of_checkpoint(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields of a params.json; None where some are missing, negative or not known."""
    stated = {key: value for key, value in config.items() if value is not None}
    known = _CHECKPOINT <= stated.keys() <= _CHECKPOINT | _BESIDE
    numbers = [value for key, value in stated.items() if key != "moe"]
    if not known or not all(isinstance(value, (int, float)) and value >= 0 for value in numbers):
        return None
    hidden, multiple = stated.get("hidden_dim"), stated.get("multiple_of")
    if hidden is None and multiple:  # two thirds of four times the width, times a factor, in whole multiples
        hidden = int(stated.get("ffn_dim_multiplier", 1) * int(8 * stated["dim"] / 3))
        hidden = -(-hidden // multiple) * multiple
    if not hidden:
        return None
    fields = {
        "model_type": "llama",
        "hidden_size": stated["dim"],
        "num_hidden_layers": stated["n_layers"],
        "num_attention_heads": stated["n_heads"],
        "num_key_value_heads": stated.get("n_kv_heads", stated["n_heads"]),
        "head_dim": stated.get("head_dim"),
        "intermediate_size": hidden,
        "vocab_size": stated["vocab_size"],
        "tie_word_embeddings": False,
    }
    if stated.get("sliding_window") or stated.get("moe"):
        fields |= {"model_type": "mistral", "sliding_window": stated.get("sliding_window")}
    if isinstance(moe := stated.get("moe"), Mapping):
        experts = {"num_local_experts": moe.get("num_experts"), "num_experts_per_tok": moe.get("num_experts_per_tok")}
        fields |= {"model_type": "mixtral", **experts}
    return fields


def _of_timm(config: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """The config of a plain vision transformer that timm's file names; None for any other file."""
    name = config.get("architecture")
    if not isinstance(name, str):
        return None
    found = _VIT.fullmatch(name)
    if found is None:
        raise RooflineError(
            f"{where}: {shown(name, 80)} of timm: only its plain vision transformers are read; {_TRACE}"
        )
    width, layers, heads = _VIT_SIZES[found[1]]
    return {
        "model_type": "vit",
        "_name_or_path": name,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "patch_size": int(found[2]),
        "image_size": int(found[3]),
        "num_channels": 3,
        "qkv_bias": True,
        "num_labels": config.get("num_classes", 0),
    }
