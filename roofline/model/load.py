"""Named models, and the one door through which every model comes in: `load_model`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from ..errors import RooflineError, shown
from ..gate import gated
from ..reading import read_packaged, read_text, read_toml
from .build import build
from .keys import Flat, join, overridden
from .presets import PRESET, folder, preset_sources, unknown_model
from .spec import ModelConfig

_ON_HUB = r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?"  # a repository, or its bare name


@gated()
def load_model(
    spec: str | os.PathLike[str] | ModelConfig, overrides: Mapping[str, object] | None = None
) -> ModelConfig:
    """The model that a preset's name, a ``.toml``, a ``config.json`` or a folder with one describes.

    Args:
        spec: What the model is; a `ModelConfig` passes through. A preset may be spelt as people do (``Llama-3-8B``), or
            by its repository on the Hub (``Qwen/Qwen3-8B``). A size such as ``7B`` is a plain Llama-like decoder of
            about that many parameters.
        overrides: Flat keys to replace, e.g. ``{"n_layers": 12}``.

    Raises:
        RooflineError: Unknown id, unreadable file, or a value that cannot be; the message says what would do.
    """
    overrides = {} if overrides is None else overrides
    if isinstance(spec, ModelConfig):
        if overrides:
            raise RooflineError(
                "overrides apply to a preset or a file, not to a ModelConfig object: replace its fields"
            )
        return spec
    if not isinstance(spec, (str, os.PathLike)) or not isinstance(os.fspath(spec), str):
        raise RooflineError(f"a model is a preset id, a path or a ModelConfig, got {shown(spec)}")
    if not isinstance(overrides, Mapping) or not all(isinstance(key, str) for key in overrides):
        raise RooflineError(f"overrides are keys of a model with their values, got {shown(overrides)}")
    text = os.fspath(spec)
    if not text.strip():
        raise RooflineError("no model given: name a preset ('roofline models' lists all), a .toml or a config.json")
    if names_function(text):
        raise RooflineError(
            f"{text!r} is a function that builds a PyTorch module: estimate, memory, count, mfu, plan, layouts and "
            "compare trace one; give a preset, a config.json or a .toml here"
        )
    if PRESET.fullmatch(text):
        preset = _from_preset(text, overrides) if overrides else _preset(text)
        if preset is not None:
            return _noting_shadow(preset, text)
    from .size import is_size

    if is_size(text) and not _exists(text):
        return _of_size(text, overrides)
    a_path = text.startswith((".", "/", "~")) or text.endswith((".json", ".toml"))
    named = text.isprintable() and not a_path and not _exists(text)
    found = _of_name(text, overrides) if named else None
    return _from_path(text, overrides) if found is None else found


@lru_cache(maxsize=64)
def _preset(model_id: str) -> ModelConfig | None:
    """The preset as it is packaged; None where there is none of that name."""
    return _from_preset(model_id, {})


def _from_preset(model_id: str, overrides: Mapping[str, object]) -> ModelConfig | None:
    resource = folder() / f"{model_id}.toml"
    if not resource.is_file():
        return None
    return _from_values(read_packaged(resource, dict[str, Any]), model_id, overrides)


class OnNumbers(str):
    """``path/to/file.py:function`` whose module runs on numbers of its own, however large it is."""

    __slots__ = ()


def names_function(spec: object) -> bool:
    """Whether something names a function that builds a PyTorch module: ``path/to/file.py:function``.

    >>> names_function("models/unet.py:build"), names_function("gpt2-xl")
    (True, False)
    """
    path, colon, function = spec.rpartition(":") if isinstance(spec, str) else ("", "", "")
    return bool(colon and function) and path.endswith(".py")


def _exists(text: str) -> bool:
    """Whether `text` names a file or folder."""
    try:
        return os.path.exists(text)
    except (OSError, ValueError):  # too long, or a null byte
        return False


def _of_name(text: str, overrides: Mapping[str, object]) -> ModelConfig | None:
    """The model that a name means: a preset spelt otherwise, or a repository on the Hub; None where it is neither."""
    if model_id := _read_name(text):
        return _named(model_id, text, overrides)
    found = hub_model(text, overrides) if re.fullmatch(_ON_HUB, text) else None
    return found and noting(*found)


def hub_model(name: str, overrides: Mapping[str, object]) -> tuple[ModelConfig, str | None] | None:
    """The model that a name on the Hub means, and a sentence where it is taken for another; None where it is not known.

    Raises:
        RooflineError: A value of `overrides` that cannot be.
    """
    from .hub import config_of, preset_of, versioned_name

    known = config_of(name)
    if known is not None:
        from .huggingface import model_from_config

        model = model_from_config(known, name, overrides)
        return msgspec.structs.replace(model, name=versioned_name(name), assumptions=()), None
    preset, note = preset_of(name)
    found = _from_preset(preset, overrides) if preset is not None else None
    return None if found is None else (found, note)


def noting(model: ModelConfig, note: str | None) -> ModelConfig:
    """`model` with one more assumption."""
    return model if note is None else msgspec.structs.replace(model, assumptions=(*model.assumptions, note))


def _read_name(text: str) -> str | None:
    """The preset that a name as people type it means, or the id of a repository on the Hub; None where none does.

    Raises:
        RooflineError: It can mean several.
    """
    from .names import readings

    found = readings(text, preset_sources())
    if len(found) > 1:
        raise RooflineError(f"model {shown(text, 200)} can be {join(map(repr, found))}: name one")
    return found[0] if found else None


def _named(model_id: str, text: str, overrides: Mapping[str, object]) -> ModelConfig:
    """A preset under a name of another spelling, which is said unless it is the repository the preset is of."""
    from .names import hub_id

    preset = _from_preset(model_id, overrides)
    assert preset is not None  # its name is from the list
    if hub_id(preset.source) == text:
        return preset
    return noting(preset, f"{text!r} is read as preset {model_id!r}")


def _of_size(text: str, overrides: Mapping[str, object]) -> ModelConfig:
    """The Llama-like decoder of about as many parameters as `text` says."""
    from .size import assumption, flat_of_size

    values = overridden(flat_of_size(text), overrides)
    flat = Flat(values, where=text)
    flat.assume(assumption(values, text))
    return build(flat)


def _noting_shadow(preset: ModelConfig, name: str) -> ModelConfig:
    """`preset`, with a note where a folder of that name holds a model as well."""
    if not os.path.isfile(os.path.join(name, "config.json")):
        return preset
    return noting(preset, f"this is the preset {name!r}; './{name}' takes the folder of that name")


def model_from_flat(flat: Mapping[str, object], overrides: Mapping[str, object] | None = None) -> ModelConfig:
    """The model that flat keys describe (a preset file, or the model columns of a table of runs).

    Keys that are None, NaN or empty count as absent. Where the norm, biases and positions are not stated, a
    gated feed-forward layer implies Llama's (RMSNorm, rotary, no biases) and a plain one GPT-2's (LayerNorm,
    learned positions, biases); `ModelConfig.assumptions` says so.

    >>> model = model_from_flat({"n_layers": 2, "d_model": 64, "n_heads": 4, "d_ff": 256, "vocab_size": 100,
    ...                          "gated_mlp": False})
    >>> model.assumptions[0]
    'assumes LayerNorm, biases, 2048 learned positions (usual with a plain feed-forward layer)'

    Raises:
        RooflineError: A key that does not exist, or a value that cannot be.
    """
    return build(Flat(overridden(flat, overrides or {})))


def _from_values(values: Mapping[str, object], name: str, overrides: Mapping[str, object]) -> ModelConfig:
    """The model of a TOML file's tables."""
    return build(Flat({"name": name, **overridden(values, overrides)}, where=name))


def _from_path(text: str, overrides: Mapping[str, object]) -> ModelConfig:
    """The model of a ``.toml``, a ``config.json``, or a folder that holds one."""
    from pathlib import Path

    path = Path(text)
    try:
        if path.is_dir():
            adapter = path / "adapter_config.json"
            path = adapter if adapter.exists() and not (path / "config.json").exists() else path / "config.json"
        there = path.exists()
    except (OSError, ValueError):  # a name too long, or with a null byte
        there = False
    if not there:
        raise unknown_model(str(path))
    if path.suffix == ".toml":
        return _from_values(read_toml(path, "model"), str(path), overrides)
    return _from_json(read_text(path, "model"), str(path), overrides)


def _from_json(text: str, where: str, overrides: Mapping[str, object]) -> ModelConfig:
    """The model of a ``config.json``, or the base model that an adapter's file names."""
    from . import recognise
    from .huggingface import decode, model_from_config

    config = decode(text, where)
    adapter = recognise.adapter(config, where)
    if adapter is None:
        return model_from_config(config, where, overrides)
    try:
        model = load_model(adapter.base, overrides)
    except RooflineError as error:
        raise RooflineError(f"{where}: an adapter of {shown(adapter.base, 100)}: {error}") from None
    return noting(model, adapter.note)
