"""The packaged presets: their ids, their sources, their values as their files state them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import RooflineError, shown
from ..gate import gated
from ..reading import packaged, read_packaged

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

PRESET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}(?<!\.json)(?<!\.toml)")
_SOURCE = r'^source = "(.*)"$'


def folder() -> Traversable:
    """Where the packaged presets are."""
    return packaged(__name__, "presets")


@gated()
def model_ids() -> list[str]:
    """The ids of all presets, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in folder().iterdir() if entry.name.endswith(".toml"))


def preset_sources() -> dict[str, str]:
    """The source of every preset, without reading the rest of its file."""
    sources = {}
    for model_id in model_ids():
        source = re.search(_SOURCE, (folder() / f"{model_id}.toml").read_text(encoding="utf-8"), re.MULTILINE)
        sources[model_id] = source[1] if source else ""
    return sources


def load_preset_values(model_id: str) -> dict[str, object]:
    """The flat keys of a preset as its file states them."""
    resource = folder() / f"{model_id}.toml"
    if not PRESET.fullmatch(model_id) or not resource.is_file():
        raise unknown_model(model_id)
    return read_packaged(resource, dict[str, object])


def unknown_model(text: str) -> RooflineError:
    """The error for a model that is neither a preset nor a file."""
    from .names import suggestions

    close = suggestions(text, model_ids())
    hint = f": did you mean {', '.join(map(repr, close))}?" if close else ""
    if text.endswith((".json", ".toml")) or text.startswith((".", "/", "~")) or "\\" in text:
        return RooflineError(
            f"no model file {shown(text, 200)}: give a preset id ('roofline models' lists all), a .toml, or a "
            "config.json you have downloaded (nothing is fetched)"
        )
    if "/" in text:
        return RooflineError(
            f"no file or preset for {shown(text, 200)}{hint} ('roofline models' lists the presets; of any other "
            "repository download the config.json and give its path: nothing is fetched)"
        )
    return RooflineError(
        f"unknown model {shown(text, 200)}{hint} ('roofline models' lists all; a .toml or a config.json "
        "works too, and a size such as 7B for a Llama-like model)"
    )
