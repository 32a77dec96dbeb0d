"""Reads a Hugging Face ``config.json``: its model type's family (see `family`) says what a field means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..errors import NotDescribedError, RooflineError, shown
from ..reading import Work, parse_json
from . import quantization, recognise
from .build import build
from .config_fields import (
    UNRECORDED,
    assumptions,
    check_kinds,
    check_layer_lists,
    check_nulls,
    check_numbers,
    check_sizes,
    explain,
    field_names,
    require,
)
from .expressions import Scope, evaluate
from .family import Family, class_defaults, known_types, load_family, recognised_fields, wrappers
from .keys import MODEL_KEYS, Flat, overridden
from .spec import ModelConfig, Quantization, Tower
from .towers import read_towers
from .towers import table as towers
from .unread import holds_other_models, unread_sizes

NESTED = ("text_config", "llm_config", "language_config", "thinker_config")
TRACED = "; with transformers (pip install 'roofline[torch]') 'estimate' and 'models' take it as that builds it"
_MAX_DEPTH = 4  # of nested configs: thinker_config -> text_config


def model_from_config_json(
    text: str, where: str = "config.json", overrides: Mapping[str, object] | None = None
) -> ModelConfig:
    """The model that the text of a ``config.json`` describes.

    Raises:
        RooflineError: Not a config, an unknown or refused model type, or a value that cannot be.
    """
    return model_from_config(decode(text, where), where, overrides)


def model_from_config(
    config: Mapping[str, Any], where: str = "config", overrides: Mapping[str, object] | None = None
) -> ModelConfig:
    """The model that a decoded ``config.json`` describes."""
    other = recognise.of_other_library(config, where)
    if other is not None:
        model = model_from_config(other.config, where, overrides)
        return msgspec.structs.replace(model, assumptions=(*model.assumptions, other.note))
    reading = read_config(config, where)
    values = overridden(reading.values, overrides or {})
    flat = Flat(values, names=reading.names, where=where)
    require(reading.family, flat, reading.model_type, reading.stated)
    for sentence in [
        *reading.assumptions,
        *unread_sizes(*_text_config(config, where, []), where, flat.text("ignore", "")),
    ]:
        flat.assume(sentence)
    model = msgspec.structs.replace(build(flat), quantization=reading.quantization)
    return _with_towers(model, reading.wholes, where)


def _with_towers(model: ModelConfig, wholes: Sequence[Mapping[str, Any]], where: str) -> ModelConfig:
    """A language model with the encoders of the models around it; where one is not described it says so."""
    towers: list[Tower] = []
    alone = ""
    for whole in wholes:
        found = read_towers(whole, model.d_model, where, model_from_config)
        towers += found or ()
        if found is None and not alone:
            alone = str(whole.get("model_type") or where)
    own = {sentence: None for tower in towers for sentence in tower.encoder.assumptions}
    model = msgspec.structs.replace(model, assumptions=(*model.assumptions, *own))
    if not alone:
        return msgspec.structs.replace(model, towers=tuple(towers))
    note = f"counts the language model of {alone} alone, not its other towers"
    if towers:
        note = f"of {alone} counts the language model and its encoders alone"
    told = {"name": f"language model of {model.name}", "assumptions": (note, *model.assumptions)}
    return msgspec.structs.replace(model, towers=tuple(towers), **told)


def unused_fields(text: str, where: str = "config.json") -> tuple[list[str], list[str]]:
    """The fields of a ``config.json`` that decide the counts, and those that do not."""
    config = decode(text, where)
    if recognise.adapter(config, where) or recognise.of_other_library(config, where):
        return [], []
    model_type, config = _text_config(config, where, [])
    parts = {tower.config for tower in towers().get(model_type, {}).values()}
    known = recognised_fields(model_type) | {"model_type", "quantization_config"} | parts
    return sorted(known & config.keys()), sorted(config.keys() - known)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a config states: flat keys, what the config calls each, and what its family assumes for the rest."""

    model_type: str
    family: Family
    values: dict[str, Any]
    names: dict[str, str]
    assumptions: list[str]
    stated: frozenset[str]
    quantization: Quantization | None
    wholes: tuple[Mapping[str, Any], ...]  # the configs around the language model's, outermost first


def read_config(config: Mapping[str, Any], where: str = "config") -> Reading:
    """What a config states in flat keys.

    Raises:
        RooflineError: An unknown or refused model type, or a field that cannot be computed with.
    """
    wholes: list[Mapping[str, Any]] = []
    whole = config
    model_type, config = _text_config(config, where, wholes)
    family = _family(model_type, where)
    defaults = family.defaults if config is whole else {**family.defaults, **family.nested_defaults}
    usual = {key: value for key, value in class_defaults(model_type).items() if key not in config}
    defaults = {**defaults, **usual}
    unstated = {key for key in defaults if config.get(key) is None}
    scope = Scope({**config, **{key: defaults[key] for key in unstated}}, unstated)
    names = field_names(family, config)
    try:
        values = _values(family, scope, config, names, model_type, where)
        for part in (whole, config):
            check_kinds(part)
    except RooflineError as error:
        message = explain(error, family, model_type)
        raise RooflineError(message if message.startswith(where) else f"{where}: {message}") from None
    name = _name(whole) or _name(config) or where
    flat = Flat(values, names=names, where=where)
    notes = [family.note] if family.note else []
    outermost = wholes[0] if wholes else config
    if not whole.get("model_type") and "architectures" in whole and outermost.get("model_type"):
        notes.append(f"model_type is not stated: {outermost['model_type']}, after which its class is named")
    if not wholes and model_type in towers():  # the language model has no part of its own
        parts = [tower.config for tower in towers()[model_type].values()]
        if any(config.get(part) is not None for part in parts):
            wholes, notes = [whole], []
        else:
            notes = [f"counts the language model of {model_type} alone: {' and '.join(parts)} is not stated"]
    elif not wholes and not family.note and holds_other_models(config, model_type):
        wholes = [whole]
    return Reading(
        model_type=model_type,
        family=family,
        values={"name": name, "source": where, **values},
        names=names,
        assumptions=notes + assumptions(scope, family, config, flat, model_type),
        stated=frozenset(key for key, value in config.items() if value is not None),
        wholes=tuple(wholes),
        quantization=quantization.read(config if config.get("quantization_config") else whole, where),
    )


def _name(config: Mapping[str, Any]) -> str:
    """The last part of the name that a config states; "" where it states none."""
    known_as = config.get("_name_or_path")
    return known_as.rstrip("/").rsplit("/", 1)[-1] if isinstance(known_as, str) else ""


def _family(model_type: str, where: str) -> Family:
    """The family of a model type that is counted.

    Raises:
        RooflineError: There is none, or it is refused by name.
    """
    try:
        family = load_family(model_type)
    except NotDescribedError as error:
        raise NotDescribedError(f"{where}: {error}{TRACED}") from None
    if family.refused:
        raise _refusal(model_type, family.refused, where)
    return family


def _refusal(model_type: str, reason: str, where: str) -> NotDescribedError:
    return NotDescribedError(
        f"{where}: models of type {model_type!r} are not counted: {reason} "
        "('roofline models --types' lists those that are; a .toml of flat keys describes any other decoder, "
        f"a size such as 7B a Llama-like one){TRACED}"
    )


def _values(
    family: Family, scope: Scope, config: Mapping[str, Any], names: Mapping[str, str], model_type: str, where: str
) -> dict[str, Any]:
    """The flat keys of the whole model, and the variations of its layers."""
    known = recognised_fields(model_type)
    check_nulls(config, model_type)
    check_numbers(config, family, known)
    reason = family.refused_when and evaluate(family.refused_when, dict(scope))
    if reason:
        raise _refusal(model_type, reason, where)
    for name, expression in family.derived.items():
        scope[name] = evaluate(expression, scope)
        check_sizes(expression, scope[name], scope)
    silent = {key: text for key, text in family.fields.items() if key in UNRECORDED}
    values = _evaluate_all(family.constants, silent, dict(scope))
    values = _evaluate_all(values, {key: text for key, text in family.fields.items() if key not in silent}, scope)
    n_layers = Flat(values, names=names, where=where).integer("n_layers")
    check_layer_lists(config, family, known, n_layers)
    variations = [_per_layer(family, values, i, here) for i, here in _layer_fields(scope, n_layers).items()]
    variations += [v for item in family.variations for v in _variation(item, n_layers, scope)]
    return {**values, "variations": variations} if variations else values


def _evaluate_all(constants: Mapping[str, Any], fields: Mapping[str, str], scope: Mapping[str, Any]) -> dict[str, Any]:
    """Flat keys from constants and expressions; an expression that gives None states nothing."""
    values = dict(constants)
    for key, expression in fields.items():
        value = evaluate(expression, scope)
        check_sizes(expression, value, scope)
        if value is not None:
            values[key] = value
    return values


def _variation(item: Mapping[str, Any], n_layers: int, scope: Scope) -> list[dict[str, Any]]:
    """The layers of one variation with the flat keys that differ there, gathered by equal values."""
    fields = {key: value for key, value in item.items() if isinstance(value, str) and key != "layers"}
    constants = {key: value for key, value in item.items() if not isinstance(value, str)}
    own = _layer_fields(scope, n_layers)
    gathered: list[dict[str, Any]] = []
    work = Work()
    for i in range(n_layers):
        here = own.get(i, scope).with_values({"i": i})
        if not evaluate(item["layers"], here, work):
            continue
        values = _evaluate_all(constants, fields, here)
        for known in gathered:
            if {key: value for key, value in known.items() if key != "layers"} == values:
                known["layers"].append(i)
                break
        else:
            gathered.append({"layers": [i], **values})
    return gathered


def _layer_fields(scope: Scope, n_layers: int) -> dict[int, Scope]:
    """For the layers that have fields of their own (``per_layer_config``): the fields they see."""
    table = scope.get("per_layer_config")
    if not isinstance(table, Mapping):
        return {}
    own = {str(key).lstrip("0") or "0": fields for key, fields in table.items() if isinstance(fields, Mapping)}
    return {i: scope.with_values(own[str(i)]) for i in range(n_layers) if str(i) in own}


def _per_layer(family: Family, values: Mapping[str, Any], i: int, here: Mapping[str, Any]) -> dict[str, Any]:
    """A variation of one layer: the flat keys whose value differs under that layer's own fields."""
    own = _evaluate_all({}, {key: text for key, text in family.fields.items() if key not in MODEL_KEYS}, here)
    return {"layers": [i], **{key: value for key, value in own.items() if values.get(key) != value}}


def _text_config(
    config: Mapping[str, Any], where: str, wholes: list[Mapping[str, Any]], depth: int = 0
) -> tuple[str, Mapping[str, Any]]:
    """The part of a config that describes the language model, and its model type; the parts around it to `wholes`."""
    if "model_type" not in config:
        config = recognise.typed(config, [*towers(), *known_types()])
    for key in NESTED:
        nested = config.get(key)
        if nested is not None and not isinstance(nested, Mapping):
            raise RooflineError(f"{where}: {key} must be an object with fields, got {shown(nested)}: correct it")
        if nested and depth < _MAX_DEPTH:
            outer = str(config.get("model_type", ""))
            _refuse_outer(outer, where)
            wholes.append(config)
            _check_wrapper(outer, str(nested.get("model_type", outer)), where)
            if "tie_word_embeddings" in config:  # the whole model's word counts, as in transformers 5
                nested = {**nested, "tie_word_embeddings": config["tie_word_embeddings"]}
            if "model_type" not in nested:
                nested = {**nested, "model_type": outer}
            return _text_config(nested, where, wholes, depth + 1)
    model_type, answer = config.get("model_type"), config.get("error")
    if model_type is None and isinstance(answer, str):
        raise RooflineError(
            f"{where}: not a config but a server's answer, {shown(answer, 80)}: the repository is gated, private or "
            "misspelt; log in, download its config.json, and pass that"
        )
    recognise.check(config, where)
    if not isinstance(model_type, str) or not model_type or model_type.startswith("_"):
        usual = "gpt2" if "n_embd" in config else "llama"
        raise RooflineError(
            f'{where}: no model_type, so the meaning of its fields is unknown: add "model_type": "{usual}" '
            "(or the family it belongs to; 'roofline models --types' lists them)"
        )
    return _read_as(model_type, config), config


def _read_as(model_type: str, config: Mapping[str, Any]) -> str:
    """The type whose declarations hold for a config: its own, or what its fields say where one name has several."""
    try:
        text = load_family(model_type).read_as
    except NotDescribedError:
        return model_type
    return (text and evaluate(text, dict(config))) or model_type


def _check_wrapper(outer: str, inner: str, where: str) -> None:
    """Refuse a config of several models that is not known to be a language model and its encoders.

    Raises:
        RooflineError: Nobody listed the outer type.
    """
    if outer and outer != inner and outer not in wrappers() and outer not in towers():
        raise NotDescribedError(
            f"{where}: models of type {shown(outer)} are not described as a whole; their {shown(inner)} alone is "
            f"another model ('roofline models --types' lists the types that are read){TRACED}"
        )


def _refuse_outer(model_type: str, where: str) -> None:
    """Refuse a model of several towers whose own type is refused by name, whatever its text model is."""
    try:
        family = load_family(model_type)
    except RooflineError:  # no such family: its language model is counted alone
        return
    if family.refused:
        raise _refusal(model_type, family.refused, where)


def decode(text: str, where: str) -> Mapping[str, Any]:
    """The object in a JSON file; NaN and Infinity are accepted, as Python writes them."""
    head = text[:200].lstrip().lower()
    first = text[:40].split("\n", maxsplit=1)[0]
    remedy = "pass a local config.json"
    if not text.strip():
        raise RooflineError(f"{where}: the file is empty; {remedy}")
    if head.startswith("version https://git-lfs"):
        raise RooflineError(
            f"{where}: a Git LFS pointer ({first!r}), not the file itself: run 'git lfs pull', or {remedy}"
        )
    if head.startswith(("<!doctype", "<html", "<?xml", "<head")):
        raise RooflineError(
            f"{where}: a web page ({first!r}), not JSON: is the repository gated? Log in, download it, and {remedy}"
        )
    try:
        config = parse_json(text, where)
    except RooflineError:
        raise
    except ValueError as error:
        raise RooflineError(f"{where}: not JSON ({error}); it begins with {first!r}; {remedy}") from None
    if not isinstance(config, dict):
        raise RooflineError(f"{where}: holds a {type(config).__name__}, not an object with fields; {remedy}")
    return config
