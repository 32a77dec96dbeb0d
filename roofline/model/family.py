"""Families of models: what the fields of a model type's ``config.json`` mean, declared in data.

``families/<model_type>.toml`` holds the fields of `Family`. A type whose declaration is one line is a row of
``types.toml``: of ``[same_as]`` (its ``base``), of ``[language_model_of]`` (likewise, with a note that its other towers
are not counted) or of ``[refused]``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import NotDescribedError, nearest, shown
from ..reading import packaged, read_packaged
from .expressions import names_in

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_LANGUAGE_MODEL = "counts the language model alone, not the image (and audio) encoders"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The declarations of a model type, those of its bases included.

    Attributes:
        base: One or several families whose declarations it takes over.
        source: Where the meaning of the fields comes from, where that is not the class in transformers.
        refused: Why models of this type are not counted.
        refused_when: An expression that gives the reason for some of them, or is false.
        read_as: An expression over the config's fields that names the type whose declarations hold for some of them, or
            is false; not taken over from a base.
        note: A sentence on what the counts leave out, for the output.
        defaults: What the family assumes for fields that a config may omit.
        nested_defaults: Likewise, in a ``text_config`` alone: multimodal configs leave out what equals the defaults of
            the family's configuration class.
        derived: Values computed first, in order, for use in the rest.
        fields: For each flat key (see `keys`) an expression over the config's fields.
        constants: Flat keys that are the same for the whole family.
        required: Flat keys that a config must state, with the smallest value each may have.
        words: For lists with an entry per layer the words allowed, where not those that the expressions name.
        silent: Fields whose absence is no assumption, where the field named beside each is stated ("": always).
        ignored: Fields that look like a size and decide none.
        variations: The layers that differ: ``layers`` is a condition on the index `i`, the rest are flat keys.
    """

    base: str | list[str] = []
    source: str = ""
    refused: str = ""
    refused_when: str = ""
    read_as: str = ""
    note: str = ""
    defaults: dict[str, Any] = {}
    nested_defaults: dict[str, Any] = {}
    derived: dict[str, str] = {}
    fields: dict[str, str] = {}
    constants: dict[str, Any] = {}
    required: dict[str, int] = {}
    words: dict[str, list[str]] = {}
    silent: dict[str, str] = {}
    ignored: list[str] = []
    variations: list[dict[str, Any]] = []


class Types(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model types that are declared in one line.

    Attributes:
        same_as: They read as another does, or as several declarations together.
        language_model_of: Likewise, where their other towers are not counted.
        refused: Why they are not counted.
        wrappers: Types whose config holds that of a language model, which is counted alone and said to be.
    """

    same_as: dict[str, str | list[str]]
    language_model_of: dict[str, str]
    refused: dict[str, str]
    wrappers: list[str] = []


def _data() -> Traversable:
    """Where the family files and the table of types are."""
    return packaged(__name__)


@cache
def _types() -> Types:
    """The table of types."""
    return read_packaged(_data() / "types.toml", Types)


@cache
def _class_defaults() -> dict[str, dict[str, Any]]:
    """The table of what configuration classes take."""
    return read_packaged(_data() / "class_defaults.toml", dict[str, dict[str, Any]])


def class_defaults(model_type: str) -> Mapping[str, Any]:
    """What the configuration class of transformers takes for fields that a config leaves out (a null is no such)."""
    return _class_defaults().get(model_type, {})


@cache
def _not_null() -> dict[str, list[str]]:
    """The table of fields that a class builds nothing from where they are null."""
    return read_packaged(_data() / "not_null.toml", dict[str, list[str]])


def not_null(model_type: str, nulls: Collection[str]) -> list[str]:
    """Those of the fields, stated as null, that a model type must have a value for."""
    return [name for name in _not_null().get(model_type, ()) if name in nulls] if nulls else []


def known_types() -> list[str]:
    """The model types that have a family, refused ones among them, sorted."""
    names = [entry.name for entry in (_data() / "families").iterdir()]
    files = [name.removesuffix(".toml") for name in names if name.endswith(".toml") and not name.startswith("_")]
    return sorted({*files, *_types().same_as, *_types().language_model_of, *_types().refused})


def wrappers() -> frozenset[str]:
    """The types whose config holds a language model beside encoders that are not described (see `towers`)."""
    types = _types()
    return frozenset((*types.wrappers, *types.language_model_of, *types.same_as))


def family_ids(*, refused: bool = False) -> list[str]:
    """The model types that are counted, or those refused by name."""
    return [name for name in known_types() if bool(load_family(name).refused) == refused]


@lru_cache(maxsize=256)
def load_family(model_type: str) -> Family:
    """The declarations for `model_type`.

    Raises:
        RooflineError: No such family, or its file is malformed (file and key are named).
    """
    if not _NAME.fullmatch(model_type):
        raise _unknown_type(model_type)
    own = _declared(model_type)
    merged = Family()
    for base in [own.base] if isinstance(own.base, str) else own.base:
        merged = _merge(merged, load_family(base))
    return _merge(merged, own)


def _declared(model_type: str) -> Family:
    """What a type's own row or file declares."""
    types = _types()
    if model_type in types.same_as:
        return Family(base=types.same_as[model_type])
    if model_type in types.language_model_of:
        return Family(base=types.language_model_of[model_type], note=_LANGUAGE_MODEL)
    if model_type in types.refused:
        return Family(refused=types.refused[model_type])
    try:
        return read_packaged(_data() / "families" / f"{model_type}.toml", Family)
    except FileNotFoundError:
        raise _unknown_type(model_type) from None


def recognised_fields(model_type: str) -> frozenset[str]:
    """The fields of a ``config.json`` that decide the counts of this model type."""
    family = load_family(model_type)
    texts = [*family.fields.values(), *family.derived.values(), *filter(None, [family.refused_when])]
    for item in family.variations:
        texts += [value for value in item.values() if isinstance(value, str)]
    names = frozenset().union(*(names_in(text) for text in texts))
    overridable = {name for name, text in family.derived.items() if name in names_in(text)}
    return names - (family.derived.keys() - overridable) - {"i"} | {"per_layer_config"}


def _merge(base: Family, own: Family) -> Family:
    """`own` on top of `base`; it may turn a field into a constant, or a constant into a field."""
    fields = {key: value for key, value in base.fields.items() if key not in own.constants}
    constants = {key: value for key, value in base.constants.items() if key not in own.fields}
    return Family(
        source=own.source or base.source,
        refused=own.refused or base.refused,
        refused_when=own.refused_when or base.refused_when,
        read_as=own.read_as,
        note=own.note or base.note,
        defaults={**base.defaults, **own.defaults},
        nested_defaults={**base.nested_defaults, **own.nested_defaults},
        derived={**base.derived, **own.derived},
        fields={**fields, **own.fields},
        constants={**constants, **own.constants},
        required={**base.required, **own.required},
        words={**base.words, **own.words},
        silent={**base.silent, **own.silent},
        ignored=[*base.ignored, *own.ignored],
        variations=[*base.variations, *own.variations],
    )


def _unknown_type(model_type: str) -> NotDescribedError:
    """The error for a model type without a family file."""
    known = known_types()
    close = nearest(model_type, known)
    hint = f"nearest: {', '.join(close)}; " if close else ""
    return NotDescribedError(
        f"unknown model_type {shown(model_type, 80)}: {hint}'roofline models --types' lists {len(known)}; "
        "a .toml with n_layers, d_model, n_heads, d_ff, vocab_size describes any other decoder, and a size "
        "such as 7B in its place a Llama-like one of about that many parameters"
    )
