"""The model of a run file: by the name it gives, or by the sizes that stand in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RooflineError, shown
from ..model.load import hub_model, load_model, model_from_flat
from ..model.spec import ModelConfig
from .files import look_up
from .framework import Config
from .keys import Table
from .rules import Rules

LONGEST = 200  # letters of a name that may be a folder


def model_of(rules: Rules, wanted: str | None, overrides: Mapping[str, object]) -> tuple[ModelConfig | None, list[str]]:
    """The model of a run, None where its files name none; and a sentence where it stands in for another.

    Raises:
        RooflineError: A name that is not known offline, or sizes that cannot be.
    """
    words = rules.framework.model
    changes = rules.table(rules.framework.changes, "model")
    if wanted is not None:
        return load_model(wanted, overrides), []
    for config in rules.framework.configs:
        if rules.value(config.when, "model"):
            return _of_fields(rules, config, overrides), []
    if "sized" in words and rules.value(words["sized"], "model"):
        return _of_sizes(rules, overrides), []
    table = rules.value(words["config"], "model") if "config" in words else None
    if isinstance(table, Table) and len(table):
        return _of_table(rules, table, overrides), []
    name = rules.value(words["name"], "model") if "name" in words else None
    if name is None or isinstance(name, (Mapping, list)) or not str(name).strip():
        return None, []
    return _named(rules, str(name), {**changes, **overrides})


def _of_sizes(rules: Rules, overrides: Mapping[str, object]) -> ModelConfig:
    """The model whose sizes stand in the file, in flat keys."""
    flat = rules.table(rules.framework.sizes, "model")
    try:
        return model_from_flat({"name": f"the model of {rules.path.name}", **flat}, overrides)
    except RooflineError as error:
        raise RooflineError(f"{rules.where}: the model's sizes: {error}") from None


def _of_table(rules: Rules, table: Table, overrides: Mapping[str, object]) -> ModelConfig:
    """The model that a table in the words of a config.json describes."""
    from ..model.huggingface import model_from_config

    config: dict[str, Any] = table.plain()
    model_type = rules.value(rules.framework.model["model_type"], "model")
    config = {"model_type": model_type, **{key: value for key, value in config.items() if value is not None}}
    return model_from_config(config, f"{rules.where}: {table.path}", overrides)


def _of_fields(rules: Rules, config: Config, overrides: Mapping[str, object]) -> ModelConfig:
    """The model whose sizes the file states in its framework's words, as a config.json would."""
    from ..model.huggingface import model_from_config

    fields = rules.table(config.fields, "model")
    model_type = rules.value(config.model_type, "model")
    return model_from_config({"model_type": model_type, **fields}, rules.where, overrides)


def _named(rules: Rules, name: str, overrides: Mapping[str, object]) -> tuple[ModelConfig, list[str]]:
    """The model of a name: a folder beside the file, a preset, a Hub id, or the framework's own word."""
    config = look_up(f"{name}/config.json", rules.path, []) if len(name) < LONGEST and ".." not in name else None
    if config is not None and config.parent.name == Path(name).name:
        return load_model(config, overrides), []
    own = rules.framework.names.get(name.lower())
    if isinstance(own, dict):
        return model_from_flat({"name": name, **own}, overrides), []
    if own is not None:
        return load_model(own, overrides), []
    found = hub_model(name, overrides)
    if found is None:
        raise RooflineError(
            f"{rules.where}: the model {shown(name, 100)} is not among the presets ('roofline models' lists all), and "
            "nothing is fetched: name it first, as a preset or with its config.json "
            f"(roofline COMMAND MODEL --with {rules.path.name})"
        )
    model, note = found
    return model, [] if note is None else [note]
