"""The fields of a ``config.json`` against what its family needs: what is missing, impossible, or assumed."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from ..errors import RooflineError, shown, unknown
from .expressions import ExpressionError, Scope, fields_in, names_in
from .family import Family, not_null
from .keys import Flat, join

_LAYER_LISTS = {"layer_types": ("full_attention", "attention"), "mlp_layer_types": ("dense", "sparse")}
# Fields to which configuration classes of all types give one kind of value (annotations of transformers 5.24); null is
# "not stated". A list of rotary bases, one per layer, is what some checkpoints hold.
_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "text": ((str,), "torch_dtype dtype expert_dtype"),
    "a list": ((list,), "architectures layer_types mlp_layer_types"),
    "an object with fields": ((dict,), "rope_scaling rope_parameters quantization_config auto_map"),
    "a number": (
        (int, float),
        "rms_norm_eps layer_norm_eps layer_norm_epsilon norm_eps initializer_range routed_scaling_factor",
    ),
    "a number, or a list of them": ((int, float, list), "rope_theta partial_rotary_factor"),
    "a number from 0 to 1": (
        (int, float),
        """attention_dropout hidden_dropout hidden_dropout_prob attention_probs_dropout_prob attn_pdrop resid_pdrop
        embd_pdrop dropout activation_dropout attn_dropout""",
    ),
    "a whole number": (
        (int,),
        "sliding_window num_experts num_local_experts num_experts_per_tok n_routed_experts pretraining_tp",
    ),
    "true or false": ((bool,), "use_cache use_sliding_window"),
}
# fields whose name says that they count something; not those of a share, a factor or an index
_COUNTS = re.compile(r"(^|_)(num|n|layers?|heads?|size|dim|window|experts?|rank|width|kv|replace|step|buckets)(_|$)")
_FACTORS = re.compile(
    r"ratio|factor|mult|scale|theta|eps|prob|dropout|value|init|id$|std|range|rate|coef|weight|loss|norm|time|frame|stride|confidence"
)
_EXPERTS = frozenset({"experts_per_token", "d_ff_expert"})  # not needed where there are no experts
# where these are missing an error or another sentence says so, or no count depends on them
UNRECORDED = frozenset({"activation", "max_seq_len", "d_model", "n_heads", "n_layers", "vocab_size", "d_ff", "softcap"})


def check_kinds(config: Mapping[str, Any]) -> None:
    """Refuse values of a kind that the field never has, whether or not a count depends on it."""
    for name, value in config.items():
        if kind := _kind_by_name(name, value):
            raise RooflineError(
                f"{name} must be {kind}, or null where it is not stated, got {shown(value)}: correct it"
            )
    for kind, (types, names) in _KINDS.items():
        for name in names.split():
            value = config.get(name)
            if value is None:
                continue
            right = isinstance(value, types) and (bool in types or not isinstance(value, bool))
            right = right or (type(value) is float and value.is_integer() and int in types)
            if not right or (kind.endswith("to 1") and not 0 <= value <= 1):
                raise RooflineError(
                    f"{name} must be {kind}, or null where it is not stated, got {shown(value)}: correct it"
                )


def check_nulls(config: Mapping[str, Any], model_type: str) -> None:
    """Refuse a null where the classes of a model type need a value: what is left out has their default, a null none."""
    nulls = ", ".join(not_null(model_type, [name for name, value in config.items() if value is None]))
    if nulls:
        raise RooflineError(
            f"{nulls} must not be null in models of type {model_type!r}: give a value, or leave the field out"
        )


def _kind_by_name(name: str, value: object) -> str:
    """What a value should be by its field's name: truths in words, and counts with a fraction or in words, are none."""
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return "true or false"
    if not _COUNTS.search(name) or _FACTORS.search(name):
        return ""
    fraction = isinstance(value, float) and math.isfinite(value) and not value.is_integer()
    return "a whole number" if fraction or (isinstance(value, str) and value.isdigit()) else ""


def check_numbers(config: Mapping[str, Any], family: Family, known: frozenset[str]) -> None:
    """Refuse NaN, infinity and negative numbers under the names the config gives them."""
    plain = set(family.fields.values())  # checked when they are read, with their range
    for name in sorted(known & config.keys()):
        value = config[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if not math.isfinite(value):
            raise RooflineError(f"{name} must be a number, got {value!r}: correct it")
        if value < 0 and value != family.defaults.get(name) and name not in plain and not name.endswith("_index"):
            raise RooflineError(f"{name} must not be negative, got {value!r}: correct it")


def check_layer_lists(config: Mapping[str, Any], family: Family, known: frozenset[str], n_layers: int) -> None:
    """Check the lists that state each layer's type: their length, and their words."""
    for name, usual in _LAYER_LISTS.items():
        value = config.get(name)
        if name not in known or value is None:
            continue
        if not isinstance(value, list) or len(value) != n_layers:
            got = f"{len(value)} of them" if isinstance(value, list) else shown(value)
            raise RooflineError(f"{name} must be a list of {n_layers} words, one per layer, got {got}")
        allowed = family.words.get(name) or sorted({*usual, *_words_beside(name, family)})
        for word in value:
            if word not in allowed:
                raise unknown(f"word in {name}:", word, allowed)


def _words_beside(name: str, family: Family) -> set[str]:
    """The words that a family's expressions compare a list's entries with."""
    texts = [*family.derived.values(), *family.fields.values()]
    texts += [text for item in family.variations for text in item.values() if isinstance(text, str)]
    return {
        node.value
        for text in texts
        if name in names_in(text)
        for node in ast.walk(ast.parse(text.strip(), mode="eval"))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def require(family: Family, flat: Flat, model_type: str, stated: Collection[str]) -> None:
    """Refuse a description without what models of this type cannot do without: experts, ranks, position tables.

    Raises:
        RooflineError: Missing or too small; the field is named as the config spells it.
    """
    for key, least in family.required.items():
        if key not in family.fields or (key in _EXPERTS and flat.values.get("n_experts") == 0):
            continue
        if key not in flat:
            flat.fail(
                f"{_missing_name(family.fields[key], stated)} is missing, and models of type {model_type!r} need it: "
                f"add it, or pass --set {key}=..."
            )
        if (value := flat.integer(key)) < least:
            flat.fail(f"{flat.name(key)} must be at least {least} in models of type {model_type!r}, got {value}")
    if "d_ff" in family.fields and not flat.values.get("n_experts") and flat.values.get("d_ff") == 0:
        flat.fail(f"{flat.name('d_ff')} must be at least 1 in models of type {model_type!r}, got 0")


def field_names(family: Family, config: Mapping[str, Any]) -> dict[str, str]:
    """What messages call each flat key: the field of the config that states it, or all that could."""
    texts = dict(family.fields)
    for item in family.variations:
        for key, text in item.items():
            if key != "layers" and isinstance(text, str):
                texts.setdefault(key, text)
    return {key: _field_name(text, family, config) for key, text in texts.items()}


def _field_name(text: str, family: Family, config: Mapping[str, Any]) -> str:
    """The field that decides an expression."""
    names = [
        inner
        for name in fields_in(text)
        for inner in (fields_in(family.derived[name]) if name in family.derived else [name])
    ] or [text]
    for name in names:
        if config.get(name.split(".")[0]) is not None:
            return name
    return join(names) if text == " or ".join(names) else names[0]


def _missing_name(text: str, stated: Collection[str]) -> str:
    """The field to add for an expression that gives nothing: any of those it chooses from."""
    names = [name for name in fields_in(text) if name not in stated] or fields_in(text)
    return join(names) if text == " or ".join(names) else names[0]


def check_sizes(expression: str, value: object, scope: Mapping[str, Any]) -> None:
    """Refuse projections (see `blocks.read_linears`) whose sizes come from fields that are missing.

    Raises:
        ExpressionError: One is missing.
    """
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, list) and entry and isinstance(entry[0], str) and None in [*entry[1:3], *entry[4:]]:
            missing = [name for name in fields_in(expression) if scope.get(name) is None]
            names = [name for name in missing if not name.endswith("bias")] or ["a size"]
            raise ExpressionError(expression, f"{names[0]} is missing")


def explain(error: RooflineError, family: Family, model_type: str) -> str:
    """What is wrong with the config's own fields, where an expression of the family cannot be computed."""
    if not isinstance(error, ExpressionError):
        return str(error)
    words = error.problem.split(" is missing")
    if len(words) == 2 and words[0].isidentifier():
        name = words[0]
        name = _missing_name(family.derived[name], ()) if name in family.derived else name
        return f"{name} is missing, and models of type {model_type!r} need it: add it"
    computed = {name for name, text in family.derived.items() if name not in names_in(text)}  # no field of that name
    names = ", ".join(sorted(names_in(error.expression) - computed))
    return f"the value of {names or 'a field'} cannot be used ({error.problem}): correct it"


def assumptions(scope: Scope, family: Family, config: Mapping[str, Any], flat: Flat, model_type: str) -> list[str]:
    """Sentences on the fields that the counts needed and the config does not state."""
    from .spec import DEFAULT_SEQ_LEN

    direct = [key for key in family.fields.values() if key in scope.defaults]
    sentences = [f"{key} is not stated: assumes {scope[key]} (usual for {model_type})" for key in direct]
    kv_heads = flat.name("n_kv_heads") if "n_kv_heads" not in flat else ""
    skipped = {*direct, *family.derived.keys() - config.keys(), kv_heads, "per_layer_config", "i"}
    skipped |= {name for name, other in family.silent.items() if not other or other in config}
    own = {name for name, text in family.derived.items() if name in names_in(text)}
    missing = {
        name: value
        for name, value in scope.unstated.items()
        if (name not in skipped or name in own) and name and not name.startswith("_")
    }
    if "head_dim" in missing and "head_dim" not in flat:
        missing["head_dim"] = f"{flat.name('d_model')} / {flat.name('n_heads')}"
    if missing:
        shown = ", ".join(_stand_in(name, value) for name, value in missing.items())
        sentences.append(f"not stated, taken as usual for {model_type}: {shown}")
    if (
        "max_seq_len" in family.fields
        and "max_seq_len" not in flat
        and flat.values.get("kind") not in {"vision", "audio"}
    ):
        name = flat.name("max_seq_len")
        sentences.append(f"{name} is not stated: sequences are {DEFAULT_SEQ_LEN:,} tokens where --seq-len is not given")
    return sentences


def _stand_in(name: str, value: object) -> str:
    """A missing field with what stands in for it; a list is the family's pattern.

    >>> _stand_in("attention_bias", False), _stand_in("layer_types", ["full_attention"])
    ('attention_bias = false', 'layer_types')
    """
    if value is None or isinstance(value, (list, Mapping)):
        return name
    return f"{name} = {value if isinstance(value, str) else json.dumps(value)}"
