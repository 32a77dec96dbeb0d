"""Names of models on the Hugging Face Hub: as presets, by a source's id or the name without endings, or as configs.

Of models without a preset ``hub.toml`` has what sizes anything in their config.json. Nothing is fetched.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from ..reading import packaged, read_packaged
from .presets import model_ids, preset_sources

# endings of a name that change neither depth nor width: fine-tunes, dates, formats, copies
_ENDINGS = re.compile(
    r"[-_.](hf|instruct|chat|base|it|pt|sft|dpo|full|qlora|lora|thinking|beta|\d{4}|awq|gptq|int4|int8|bnb|4bit|8bit|fp8|bf16|"
    r"nf4|quantized|dequantized|unquantized|gguf|mxfp4|unsloth|checkpoints?|preview|4k|8k|16k|128k|step\w*|w4a16|v1|v1\.\d)$"
)
_BEFORE_VERSION = re.compile(r"[-_](instruct|chat|base|it|hf|sft|dpo)(?=[-_]v\d)")
_VERSION = re.compile(r"[-_]v0\.\d$")
_SIZE_KEYS = (("hidden_size", "num_hidden_layers"), ("n_embd", "n_layer"))  # width and depth, as configs call them
_SIZED = re.compile(r"\d(\.\d+)?[bm](-|$)")  # a name that says how large the model is


@lru_cache(maxsize=4096)
def versioned_name(name: str) -> str:
    """A name without its owner, letter case, and the endings that do not change the shape; a version stays.

    >>> versioned_name("mistralai/Mistral-7B-Instruct-v0.3")
    'mistral-7b-v0.3'
    """
    text = name.rstrip("/").rsplit("/", 1)[-1].lower().replace("_", "-").removeprefix("meta-")
    text = _BEFORE_VERSION.sub("", text)
    while (shorter := _ENDINGS.sub("", text)) != text:
        text = shorter
    return text


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """A name without its version as well.

    >>> plain_name("meta-llama/Meta-Llama-3.1-8B-Instruct"), plain_name("Qwen/Qwen3-30B-A3B-Instruct-2507")
    ('llama-3.1-8b', 'qwen3-30b-a3b')
    >>> plain_name("mistralai/Mistral-7B-v0.1")
    'mistral-7b'
    """
    text = versioned_name(name)
    while (shorter := _ENDINGS.sub("", _VERSION.sub("", text))) != text:
        text = shorter
    return text


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    """The table of names, and of models without a preset."""
    return read_packaged(packaged(__name__) / "hub.toml", dict[str, Any])


@lru_cache(maxsize=1)
def _table() -> dict[str, str]:
    """Names in plain form, with the preset of each."""
    return {plain_name(name): preset for name, preset in {**_file()["names"], **_file()["language_models"]}.items()}


@lru_cache(maxsize=1)
def _with_towers() -> frozenset[str]:
    """The names of models that see or hear, in plain form."""
    return frozenset(map(plain_name, _file()["language_models"]))


def config_of(name: str) -> dict[str, Any] | None:
    """The config.json of a model without a preset, as far as it sizes anything; None where it is not known."""
    for known, config in _file()["configs"].items():
        if versioned_name(known) == versioned_name(name):
            return {key: value for key, value in config.items() if key != "source"}
    return None


def names_of_size(d_model: int, n_layers: int) -> tuple[str, ...]:
    """The models without a preset of this width and depth."""
    sizes = [dict(zip(keys, (d_model, n_layers), strict=True)) for keys in _SIZE_KEYS]
    configs = _file()["configs"].items()
    return tuple(name for name, config in configs if any(size.items() <= config.items() for size in sizes))


@lru_cache(maxsize=1)
def _by_source() -> dict[str, str]:
    """The ids in the presets' sources."""
    found: dict[str, str] = {}
    for preset, source in preset_sources().items():
        for owner, name in re.findall(r"huggingface\.co/([\w.-]+)/([\w.-]+)", source):
            found.setdefault(f"{owner}/{name}".lower(), preset)
            if _SIZED.search(plain := plain_name(name)):  # not "t5", of t5-base
                found.setdefault(plain, preset)
    return found


def preset_of(name: str) -> tuple[str | None, str | None]:
    """The preset of a Hub id (or of a plain name), and a sentence where the id is another's.

    >>> preset_of("mistralai/Mistral-7B-v0.1")
    ('mistral-7b', None)
    """
    lowered = name.strip().lower()
    known = set(model_ids())
    exact = _by_source().get(lowered) or (lowered if lowered in known else None)
    if exact is not None:
        return exact, None
    plain = plain_name(name)
    preset = plain if plain in known else _table().get(plain) or _by_source().get(plain) or _within(plain, known)
    if preset is None:
        return None, None
    if plain in _with_towers():
        return (
            preset,
            f"{name} is taken as its language model, {preset}: what turns images or sound to tokens is left out",
        )
    same = plain == preset or plain_name(preset) == plain
    return preset, None if same else f"{name} is taken as {preset}, by its name"


def _within(plain: str, known: set[str]) -> str | None:
    """The preset a name begins or ends with, its size included: fine-tunes are named after what they were made from."""
    names = {
        name: preset
        for name, preset in {**_table(), **{model: model for model in known}}.items()
        if _SIZED.search(name)
    }
    first = [name for name in names if plain.startswith(f"{name}-")]
    last = [name for name in names if plain.endswith(f"-{name}")]
    found = first or last
    return names[max(found, key=len)] if found else None
