"""The encoders that a model of several towers has beside its language model, and what joins them to it.

``towers.toml`` says for each type of such a model which part of its config describes which encoder, and the projections
between the two; the encoder itself reads as a model of its own type does (`huggingface`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec

from ..errors import NotDescribedError, RooflineError, shown
from ..reading import packaged, read_packaged
from .expressions import ExpressionError, evaluate
from .family import class_defaults, load_family
from .keys import Flat
from .read_layers import read_linears
from .spec import ModelConfig, Tower

_TILES = "an image may be cut into tiles, and a small copy of it: each counts as an image (--images-per-sample)"
Read = Callable[[Mapping[str, Any], str], ModelConfig]


class Declared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One encoder of a type of models.

    The expressions see the fields of the whole config, `tower` (those of the encoder's part), `width` (the encoder's),
    `text` (the language model's) and `merge`.

    Attributes:
        config: The part of the config that describes it.
        type: The model type of that part where it names none that is described.
        merge: Tokens of its that make one of the language model's; 0: all of an image.
        reads: The projections of each of its tokens, each as in the flat key `linears`.
        joins: Those of its output: of merged tokens, or of queries.
        queries: How many learned queries attend to its tokens, and are handed on instead; 0: none do.
        extra: Norms and vectors of these.
        tiles: Whether an image is cut into several that run through it one by one.
        defaults: What the whole model's class takes for fields that the part leaves out.
    """

    config: str = "vision_config"
    type: str
    merge: str = "1"
    reads: str = "[]"
    joins: str = "[]"
    queries: str = "0"
    extra: str = "0"
    tiles: bool = False
    defaults: dict[str, Any] = {}


@cache
def table() -> Mapping[str, Mapping[str, Declared]]:
    """The encoders of every type that has some, by what they take in (image, sound)."""
    return read_packaged(packaged(__name__) / "towers.toml", dict[str, dict[str, Declared]])


def read_towers(config: Mapping[str, Any], text: int, where: str, read: Read) -> tuple[Tower, ...] | None:
    """The encoders that a config describes beside its language model of width `text`; None where none is declared.

    Args:
        config: The fields of the whole model.
        text: Width of the language model.
        where: The file, for messages.
        read: Reads the config of an encoder.

    Raises:
        RooflineError: A part that cannot be.
    """
    declared = table().get(str(config.get("model_type")))
    if declared is None:
        return None
    return tuple(_tower(name, one, config, text, where, read) for name, one in declared.items())


def _tower(name: str, declared: Declared, config: Mapping[str, Any], text: int, where: str, read: Read) -> Tower:
    """One encoder."""
    here = f"{where}: {declared.config}"
    given = config.get(declared.config)
    if not isinstance(given, Mapping | None):
        raise RooflineError(f"{here} must be an object with fields, got {shown(given)}: correct it")
    stated = {key: value for key, value in (given or {}).items() if value is not None}
    part: dict[str, Any] = {**declared.defaults, **stated}
    if not _takes_in(part.get("model_type")):  # none, or the whole model's
        part["model_type"] = declared.type
    encoder = read(part, here)
    if declared.tiles:
        encoder = msgspec.structs.replace(encoder, assumptions=(*encoder.assumptions, _TILES))
    fields = {**load_family(part["model_type"]).defaults, **class_defaults(part["model_type"]), **part}
    scope: dict[str, Any] = {**config, "tower": fields, "width": encoder.d_model, "text": text, "merge": 1}
    try:
        merge = scope["merge"] = evaluate(declared.merge, scope)
        flats = [Flat({"linears": evaluate(text, scope)}, where=here) for text in (declared.reads, declared.joins)]
        extra, queries = evaluate(declared.extra, scope), evaluate(declared.queries, scope)
    except ExpressionError as error:
        raise RooflineError(f"{here}: what joins it to the language model is not stated ({error.problem})") from None
    patches = encoder.patches
    if patches is not None and merge == 0:
        merge = patches.number()
    elif patches is not None and patches.fit != "cut":  # a square of tokens merges
        patches = msgspec.structs.replace(patches, multiple=math.isqrt(merge))
        encoder = msgspec.structs.replace(encoder, patches=patches)
    reads, joins = (read_linears(flat, "linears") for flat in flats)
    return Tower(name=name, encoder=encoder, reads=reads, joins=joins, merge=merge, queries=queries, extra_params=extra)


def _takes_in(model_type: object) -> bool:
    """Whether models of a type take in images or sound, and their tokens are known."""
    try:
        family = load_family(str(model_type))
    except NotDescribedError:
        return False
    return family.constants.get("kind") in {"vision", "audio"} and "image_size" in family.fields
