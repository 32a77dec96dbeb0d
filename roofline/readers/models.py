"""The model of a run file: by the name it gives, or by the sizes that stand in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RooflineError
from ..model.load import load_model, model_from_flat
from ..model.spec import ModelConfig
from .framework import Config
from .gather import look_up
from .hub import preset_of
from .keys import Table

if TYPE_CHECKING:
    from .read import _Reading


def model_of(reading: _Reading, wanted: str | None, overrides: Mapping[str, object]) -> ModelConfig | None:
    """The model of a run; None where its files name none.

    Raises:
        RooflineError: A name that is not known offline, or sizes that cannot be.
    """
    rules = reading.rules.model
    changes = {key: reading.value(text, "model") for key, text in reading.rules.changes.items()}
    changes = {key: value for key, value in changes.items() if value is not None}
    if wanted is not None:
        return load_model(wanted, overrides)
    for config in reading.rules.configs:
        if reading.value(config.when, "model"):
            return _of_fields(reading, config, overrides)
    if "sized" in rules and reading.value(rules["sized"], "model"):
        flat = {key: reading.value(text, "model") for key, text in reading.rules.sizes.items()}
        flat = {key: value for key, value in flat.items() if value is not None}
        try:
            return model_from_flat({"name": _title(reading), **flat}, overrides)
        except RooflineError as error:
            raise RooflineError(f"{reading.where}: the model's sizes: {error}") from None
    table = reading.value(rules["config"], "model") if "config" in rules else None
    if isinstance(table, Table) and len(table):
        return _of_config(reading, table, overrides)
    name = reading.value(rules["name"], "model") if "name" in rules else None
    if name is None or not str(name).strip():
        return None
    return _named(reading, str(name), {**changes, **overrides})


def _title(reading: _Reading) -> str:
    """What a model without a name is called."""
    return f"the model of {Path(reading.files.documents[0].path).name}"


def _of_config(reading: _Reading, table: Table, overrides: Mapping[str, object]) -> ModelConfig:
    """The model that a table in the words of a config.json describes."""
    from ..model.huggingface import model_from_config

    config: dict[str, Any] = table.plain()
    model_type = reading.value(reading.rules.model["model_type"], "model")
    config = {"model_type": model_type, **{key: value for key, value in config.items() if value is not None}}
    return model_from_config(config, f"{reading.where}: {table.path}", overrides)


def _of_fields(reading: _Reading, config: Config, overrides: Mapping[str, object]) -> ModelConfig:
    """The model whose sizes the file states in its framework's words."""
    from ..model.huggingface import model_from_config

    fields = {name: reading.value(text, "model") for name, text in config.fields.items()}
    fields = {name: value for name, value in fields.items() if value is not None}
    model_type = reading.value(config.model_type, "model")
    return model_from_config({"model_type": model_type, **fields}, reading.where, overrides)


def _named(reading: _Reading, name: str, overrides: Mapping[str, object]) -> ModelConfig:
    """The model of a name: a folder beside the file, a preset, a Hub id, or the framework's own word."""
    first = Path(reading.files.documents[0].path)
    config = look_up(f"{name}/config.json", first, []) if len(name) < 200 and ".." not in name else None
    if config is not None and config.parent.name == Path(name).name:
        return load_model(config, overrides)
    own = reading.rules.names.get(name.lower())
    if isinstance(own, dict):
        return model_from_flat({"name": name, **own}, overrides)
    preset, note = (own, None) if own is not None else preset_of(name)
    if preset is None:
        raise RooflineError(
            f"{reading.where}: the model {name!r:.100} is not among the presets ('roofline models' lists all), and nothing is "
            f"fetched: name it first, as a preset or with its config.json (roofline COMMAND MODEL --with {first.name})"
        )
    if note is not None:
        reading.notes.append(note)
    return load_model(preset, overrides)
