"""Reads a Hugging Face ``config.json``: its model type's family (see `family`) says what a field means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .architecture import build
from .errors import RooflineError
from .expressions import evaluate, names_in
from .family import Family, load_family, recognised_fields
from .flat import MODEL_KEYS, Flat
from .model import ModelConfig
from .presets import overridden

_NESTED = ("text_config", "llm_config", "language_config", "thinker_config")
# fields whose name says layers, heads, widths, windows or experts; those below do not decide a shape
_SHAPE = re.compile(
    r"(^|_)(layers?|heads?|size|dim|window|experts?|rank|width|ffn|mlp|intermediate|kv|conv)(_|$)"
)
_NO_SHAPE = frozenset(
    {
        "vocab_size",
        "type_vocab_size",
        "chunk_size",
        "max_window_layers",
        "attn_window_size",
        "cache_layers",
        "image_size",
    }
)
_MAX_DEPTH = 4  # of nested configs: thinker_config -> text_config


def model_from_config_json(
    content: bytes, where: str = "config.json", overrides: Mapping[str, object] | None = None
) -> ModelConfig:
    """The model that the bytes of a ``config.json`` describe.

    Raises:
        RooflineError: Not a config, an unknown or refused model type, or a value that cannot be.
    """
    return model_from_config(_decode(content, where), where, overrides)


def model_from_config(
    config: Mapping[str, Any], where: str = "config", overrides: Mapping[str, object] | None = None
) -> ModelConfig:
    """The model that a decoded ``config.json`` describes."""
    values, names, assumptions = flat_values(config, where)
    assumptions += _unused_shape(config, where)
    flat = Flat(overridden(values, overrides or {}), names=names, where=where)
    for sentence in assumptions:
        flat.assume(sentence)
    return build(flat)


def unused_fields(content: bytes, where: str = "config.json") -> tuple[list[str], list[str]]:
    """The fields of a ``config.json`` that decide the counts, and those that do not."""
    model_type, config = _text_config(_decode(content, where), where, [])
    known = recognised_fields(model_type) | {"model_type"}
    return sorted(known & config.keys()), sorted(config.keys() - known)


def _unused_shape(config: Mapping[str, Any], where: str) -> list[str]:
    """A sentence on the fields that look like part of the shape and that this model type does not read."""
    model_type, config = _text_config(config, where, [])
    odd = [
        name
        for name in sorted(config.keys() - recognised_fields(model_type))
        if _SHAPE.search(name) and name not in _NO_SHAPE and _is_size(config[name])
    ]
    shown = ", ".join(f"{name} = {config[name]}" for name in odd)
    return [f"not used, though it looks like a part of the shape ({model_type}): {shown}"] if odd else []


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1


def flat_values(
    config: Mapping[str, Any], where: str = "config"
) -> tuple[dict[str, object], dict[str, str], list[str]]:
    """What a config states in flat keys: (values, the config's name of each key, assumptions).

    Raises:
        RooflineError: An unknown or refused model type, or a field that cannot be computed with.
    """
    assumptions: list[str] = []
    whole = config
    model_type, config = _text_config(config, where, assumptions)
    family = load_family(model_type)
    defaults = family.defaults if config is whole else {**family.defaults, **family.nested_defaults}
    scope: dict[str, Any] = {**defaults, **{key: v for key, v in config.items() if v is not None}}
    reason = family.refused or (family.refused_when and evaluate(family.refused_when, scope))
    if reason:
        raise RooflineError(
            f"{where}: models of type {model_type!r} are not counted: {reason} "
            "('roofline models --types' lists those that are; a .toml of flat keys describes any other decoder, "
            "a size such as 7B a Llama-like one)"
        )
    assumptions += [family.note] if family.note else []
    for key in family.fields.values():
        if key in defaults and key not in config:
            assumptions.append(f"{key} is not stated: assumes {defaults[key]} (usual for {model_type})")
    try:
        for name, expression in family.derived.items():
            scope[name] = evaluate(expression, scope)
        values = _evaluate_all(family.constants, family.fields, scope)
        names = {key: _first_name(text) for key, text in family.fields.items()}
        n_layers = Flat(values, names=names, where=where).integer("n_layers")
        variations = [
            _per_layer(family, values, i, here) for i, here in _layer_fields(scope, n_layers).items()
        ]
        variations += [v for item in family.variations for v in _variation(item, n_layers, scope)]
    except RooflineError as error:
        message = _field_message(str(error), family, model_type)
        raise RooflineError(message if message.startswith(where) else f"{where}: {message}") from None
    if variations:
        values["variations"] = variations
    known_as = config.get("_name_or_path")
    name = known_as.rstrip("/").rsplit("/", 1)[-1] if isinstance(known_as, str) else ""
    values = {"name": name or where, "source": where, **values}
    return values, names, assumptions


def _field_message(message: str, family: Family, model_type: str) -> str:
    """What is wrong with the config's own fields, for an expression of the family that cannot be computed."""
    match = re.fullmatch(r"cannot compute '(.*)': (.*)", message)
    if match is None:
        return message
    expression, problem = match.groups()
    missing = re.fullmatch(r"(\w+) is missing", problem)
    if missing:
        name = _first_name(family.derived.get(missing[1], missing[1]))
        return f"{name} is missing, and models of type {model_type!r} need it: add it"
    names = ", ".join(sorted(names_in(expression) - family.derived.keys()))
    return f"the value of {names or 'a field'} cannot be used ({problem}): correct it"


def _evaluate_all(
    constants: Mapping[str, Any], fields: Mapping[str, str], scope: Mapping[str, Any]
) -> dict[str, Any]:
    """Flat keys from constants and expressions; an expression that gives None states nothing."""
    values = dict(constants)
    for key, expression in fields.items():
        value = evaluate(expression, scope)
        if value is not None:
            values[key] = value
    return values


def _variation(item: Mapping[str, Any], n_layers: int, scope: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The layers of one variation with the flat keys that differ there, gathered by equal values."""
    fields = {key: value for key, value in item.items() if isinstance(value, str) and key != "layers"}
    constants = {key: value for key, value in item.items() if not isinstance(value, str)}
    own = _layer_fields(scope, n_layers)
    gathered: list[dict[str, Any]] = []
    for i in range(n_layers):
        here = {**own.get(i, scope), "i": i}
        if not evaluate(item["layers"], here):
            continue
        values = _evaluate_all(constants, fields, here)
        for known in gathered:
            if {key: value for key, value in known.items() if key != "layers"} == values:
                known["layers"].append(i)
                break
        else:
            gathered.append({"layers": [i], **values})
    return gathered


def _layer_fields(scope: Mapping[str, Any], n_layers: int) -> dict[int, dict[str, Any]]:
    """For the layers that have fields of their own (``per_layer_config``): the fields they see."""
    table = scope.get("per_layer_config")
    if not isinstance(table, Mapping):
        return {}
    own = {
        str(key).lstrip("0") or "0": fields for key, fields in table.items() if isinstance(fields, Mapping)
    }
    return {i: {**scope, **own[str(i)]} for i in range(n_layers) if str(i) in own}


def _per_layer(family: Family, values: Mapping[str, Any], i: int, here: Mapping[str, Any]) -> dict[str, Any]:
    """A variation of one layer: the flat keys whose value differs under that layer's own fields."""
    own = _evaluate_all({}, {key: text for key, text in family.fields.items() if key not in MODEL_KEYS}, here)
    return {"layers": [i], **{key: value for key, value in own.items() if values.get(key) != value}}


def _first_name(expression: str) -> str:
    """The field an error message should name for an expression: its first name.

    >>> _first_name("n_inner or 4 * n_embd"), _first_name("4 * n_embd")
    ('n_inner', 'n_embd')
    """
    for word in expression.replace("(", " ").replace(")", " ").replace("[", " ").split():
        if word.replace("_", "a").replace(".", "a").isalnum() and not word[0].isdigit():
            return word
    return expression


def _text_config(
    config: Mapping[str, Any], where: str, assumptions: list[str], depth: int = 0
) -> tuple[str, Mapping[str, Any]]:
    """The part of a config that describes the language model, and its model type."""
    for key in _NESTED:
        nested = config.get(key)
        if isinstance(nested, Mapping) and nested and depth < _MAX_DEPTH:
            outer = str(config.get("model_type", ""))
            assumptions.append(
                f"counts the language model of {outer or where} ({key}) alone, not its other towers"
            )
            if "tie_word_embeddings" not in nested and "tie_word_embeddings" in config:
                nested = {**nested, "tie_word_embeddings": config["tie_word_embeddings"]}
            if "model_type" not in nested:
                nested = {**nested, "model_type": outer}
            return _text_config(nested, where, assumptions, depth + 1)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type or model_type.startswith("_"):
        raise RooflineError(
            f'{where}: no model_type, so the meaning of its fields is unknown: add "model_type": "llama" '
            "(or the family it belongs to; 'roofline models --types' lists them)"
        )
    return model_type, config


def _decode(content: bytes, where: str) -> Mapping[str, Any]:
    """The object in a JSON file; NaN and Infinity are accepted, as Python writes them."""
    import json

    head = content[:200].lstrip().lower()
    first = content[:40].decode("utf-8", "replace").split("\n")[0]
    remedy = "pass a local config.json"
    if not content.strip():
        raise RooflineError(f"{where}: the file is empty; {remedy}")
    if head.startswith(b"version https://git-lfs"):
        raise RooflineError(
            f"{where}: a Git LFS pointer ({first!r}), not the file itself: run 'git lfs pull', or {remedy}"
        )
    if head.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise RooflineError(
            f"{where}: a web page ({first!r}), not JSON: is the repository gated? Log in, download it, "
            f"and {remedy}"
        )
    try:
        config = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise RooflineError(f"{where}: not JSON ({error}); it begins with {first!r}; {remedy}") from None
    if not isinstance(config, dict):
        raise RooflineError(f"{where}: holds a {type(config).__name__}, not an object with fields; {remedy}")
    return config
