"""A layout in a framework's own keys: the other way round, from the ``[emit]`` table of its data file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..config.run import TrainConfig
from ..config.stack import load_stack
from ..counting.ownership import shard_degree
from ..errors import RooflineError
from ..model.expressions import evaluate
from .framework import Framework, framework_names, load_framework

SHORT = {"megatron": "megatron-lm"}  # as people type it


def emit_names() -> tuple[str, ...]:
    """The frameworks whose keys a layout can be printed in."""
    long = {name: short for short, name in SHORT.items()}
    return tuple(long.get(name, name) for name in framework_names() if load_framework(name).emit is not None)


def search_options(name: str) -> dict[str, Any]:
    """What a search for a framework is restricted to, where nothing else is asked: what it can run."""
    emit = load_framework(SHORT.get(name, name)).emit
    found = {} if emit is None else emit.search
    return {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}


def emit_layout(name: str, layouts: Sequence[TrainConfig], devices_per_node: int) -> tuple[str, int]:
    """The best of `layouts` that a framework can run, in its keys; and which one it is, counted from 0.

    Raises:
        RooflineError: It can run none of them; the reason is that of the best.
    """
    framework = load_framework(SHORT.get(name, name))
    problems = []
    for place, train in enumerate(layouts):
        values = _values(train, devices_per_node)
        problem = _problem(framework, values)
        if problem is None:
            return _text(framework, values), place
        problems.append(problem)
    raise RooflineError(f"--emit {name}: {framework.title} cannot run the best layout: {problems[0]}")


def _values(train: TrainConfig, devices_per_node: int) -> dict[str, Any]:
    """What the expressions of a framework look up."""
    values = {field: getattr(train, field) for field in TrainConfig.__struct_fields__}
    detail = train.recompute_detail or train.recompute
    form, _, number = ("" if detail == train.recompute else detail).partition(":")
    by_module = train.recompute == "selective" and form not in {"", "every", "matmuls"}
    values["recompute_modules"] = form.replace(",", " ") if by_module else None
    values |= {"recompute_form": form, "recompute_number": number or None}
    values |= {"etp": train.expert_tensor_parallel}
    values |= {"schedule": train.schedule or load_stack(train.stack).usual_schedule(train.vp)}
    train = msgspec.structs.replace(train, devices_per_node=train.devices_per_node or devices_per_node)
    return values | {"accumulation": train.accumulation, "dp_shard": shard_degree(train)}


def _problem(framework: Framework, values: Mapping[str, Any]) -> str | None:
    """Why a framework cannot run a layout; None where it can."""
    assert framework.emit is not None
    for rule in framework.emit.refuse:
        if evaluate(rule.when, values):
            return rule.say
    return None


def _text(framework: Framework, values: Mapping[str, Any]) -> str:
    """The keys of a layout, in the form of the framework's files; those that are None are left out."""
    assert framework.emit is not None
    keys = {key: evaluate(text, values) for key, text in framework.emit.keys.items()}
    keys = {key: value for key, value in keys.items() if value is not None}
    form = framework.emit.form
    if form == "flags":
        return " \\\n".join(f"--{key}" if value is True else f"--{key} {value}" for key, value in keys.items()) + "\n"
    table = _nested(keys)
    if form == "json":
        return json.dumps(table, indent=2) + "\n"
    return _toml(table) if form == "toml" else _yaml(table)


def _nested(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as tables in tables."""
    root: dict[str, Any] = {}
    for key, value in keys.items():
        *path, last = key.split(".")
        table = root
        for part in path:
            table = table.setdefault(part, {})
        table[last] = value
    return root


def _toml(table: Mapping[str, Any]) -> str:
    """Tables of one level as TOML."""
    parts = []
    for name, values in table.items():
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        parts.append("\n".join([f"[{name}]", *lines]) + "\n")
    return "\n".join(parts)


def _yaml(table: Mapping[str, Any], indent: str = "") -> str:
    """Tables as YAML: words are written as JSON writes them, which YAML reads as they are meant."""
    lines = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}:\n{_yaml(value, indent + '  ')}")
        else:
            text = value if isinstance(value, str) and value.replace("_", "").isalnum() else json.dumps(value)
            lines.append(f"{indent}{key}: {text}\n")
    return "".join(lines)
