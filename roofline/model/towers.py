"""What a model of several towers has beside its language model: parameters of the image encoder and what joins them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from ..errors import RooflineError
from .expressions import evaluate

_LARGEST = 10_000_000  # of a size


class Encoder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image encoder: what its class assumes, and its parameters as expressions over its config.

    In them h is the width, i that of the feed-forward layer, m the width of the patches that are merged.
    """

    defaults: dict[str, Any]
    layer: str
    rest: str


class Joined(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of several towers: its encoder where the config names none, what joins it to the language model."""

    encoder: str
    joins: str
    defaults: dict[str, Any] = {}


class Towers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table of encoders and of models that have one."""

    encoders: dict[str, Encoder]
    models: dict[str, Joined]


@cache
def table() -> Towers:
    """The encoders and models that are described."""
    file = Path(__file__).parent / "towers.toml"
    if not file.exists():  # from a zip
        from importlib.resources import files

        return msgspec.convert(tomllib.loads((files("roofline.model") / "towers.toml").read_text("utf-8")), Towers)
    return msgspec.convert(tomllib.loads(file.read_text("utf-8")), Towers)


def parameters_beside(config: Mapping[str, Any], text_width: int) -> int | None:
    """Parameters of a model beside its language model of width `text_width`; None where they are not described."""
    model, vision = table().models.get(str(config.get("model_type"))), config.get("vision_config")
    if model is None or not isinstance(vision, Mapping):
        return None
    encoder = table().encoders.get(str(vision.get("model_type"))) or table().encoders[model.encoder]
    stated = {key: value for key, value in vision.items() if value is not None}
    fields = {**encoder.defaults, **model.defaults, **stated}
    fields["in_channels"] = stated.get("in_channels") or stated.get("in_chans") or fields.get("in_channels")
    fields["patch_size"] = _first(fields.get("patch_size"))
    sizes = {
        "h": fields["hidden_size"],
        "i": fields["intermediate_size"],
        "merge": fields.get("spatial_merge_size") or 1,
        "side": _first(fields.get("image_size")) or 1,
        "patch_side": fields["patch_size"],
        "layers": fields.get("num_hidden_layers") or fields.get("depth"),
        "text": text_width,
    }
    if not all(type(size) is int and 0 < size < _LARGEST for size in sizes.values()):
        return None
    scope = {**fields, **sizes, "m": sizes["h"] * sizes["merge"] ** 2}
    try:
        each, rest, joins = (evaluate(text, scope) for text in (encoder.layer, encoder.rest, model.joins))
        return int(sizes["layers"] * each + rest + joins)
    except (RooflineError, TypeError):  # a field that is none of these encoders'
        return None


def _first(size: Any) -> Any:
    """The side of a square that may be stated twice."""
    return size[0] if isinstance(size, list) and size else size
