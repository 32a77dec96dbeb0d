"""Families of models: what the fields of a model type's ``config.json`` mean, declared in data.

``families/<model_type>.toml`` holds:

- ``base``: one or several families whose declarations it takes over;
- ``[defaults]``: what the family assumes for fields that a config may omit;
- ``[nested_defaults]``: likewise, in a ``text_config`` alone: multimodal configs leave out what equals the defaults
  of the family's configuration class;
- ``[derived]``: values computed first, in order, for use in the rest;
- ``[fields]``: for each flat key (see `keys`) an expression over the config's fields;
- ``[constants]``: flat keys that are the same for the whole family;
- ``[required]``: flat keys that a config must state, with the smallest value each may have;
- ``[words]``: for lists with an entry per layer the words allowed, where not those that the expressions name;
- ``[silent]``: fields whose absence is no assumption, where the field named beside each is stated ("": always);
- ``[[variations]]``: the layers that differ: ``layers`` is a condition on the index `i`;
- ``refused``: why models of this type are not counted;
- ``refused_when``: an expression that gives the reason for some of them, or is false;
- ``note``: a sentence on what the counts leave out, for the output.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import RooflineError, nearest
from .expressions import names_in

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The declarations of a model type, those of its bases included."""

    base: str | list[str] = []
    source: str = ""
    refused: str = ""
    refused_when: str = ""
    note: str = ""
    defaults: dict[str, Any] = {}
    nested_defaults: dict[str, Any] = {}
    derived: dict[str, str] = {}
    fields: dict[str, str] = {}
    constants: dict[str, Any] = {}
    required: dict[str, int] = {}
    words: dict[str, list[str]] = {}
    silent: dict[str, str] = {}
    variations: list[dict[str, Any]] = []


def _folder() -> Traversable:
    """Where the family files are."""
    file = Path(__file__)
    if file.exists():  # an ordinary installation: importlib.resources costs 15 ms
        return file.parent / "families"
    from importlib.resources import files

    return files("roofline.model") / "families"


def family_ids(*, refused: bool = False) -> list[str]:
    """The model types that are counted, or those refused by name."""
    names = sorted(
        entry.name.removesuffix(".toml")
        for entry in _folder().iterdir()
        if entry.name.endswith(".toml") and not entry.name.startswith("_")
    )
    return [name for name in names if bool(load_family(name).refused) == refused]


@lru_cache(maxsize=256)
def load_family(model_type: str) -> Family:
    """The declarations for `model_type`.

    Raises:
        RooflineError: No such family, or its file is malformed (file and key are named).
    """
    if not _NAME.fullmatch(model_type):
        raise _unknown_type(model_type)
    resource = _folder() / f"{model_type}.toml"
    try:
        text = resource.read_text(encoding="utf-8")
        own = msgspec.convert(tomllib.loads(text), Family)
    except FileNotFoundError:
        raise _unknown_type(model_type) from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise RooflineError(f"families/{model_type}.toml: {error}") from None
    merged = Family()
    for base in [own.base] if isinstance(own.base, str) else own.base:
        merged = _merge(merged, load_family(base))
    return _merge(merged, own)


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
        note=own.note or base.note,
        defaults={**base.defaults, **own.defaults},
        nested_defaults={**base.nested_defaults, **own.nested_defaults},
        derived={**base.derived, **own.derived},
        fields={**fields, **own.fields},
        constants={**constants, **own.constants},
        required={**base.required, **own.required},
        words={**base.words, **own.words},
        silent={**base.silent, **own.silent},
        variations=[*base.variations, *own.variations],
    )


def _unknown_type(model_type: str) -> RooflineError:
    """The error for a model type without a family file."""
    known = [e.name.removesuffix(".toml") for e in _folder().iterdir() if not e.name.startswith("_")]
    close = nearest(model_type, known)
    hint = f"nearest: {', '.join(close)}; " if close else ""
    return RooflineError(
        f"unknown model_type {model_type!r:.80}: {hint}'roofline models --types' lists {len(known)}; "
        "a .toml with n_layers, d_model, n_heads, d_ff, vocab_size describes any other decoder, and a size "
        "such as 7B in its place a Llama-like one of about that many parameters"
    )
