"""Variables in the values of a run file: filled in where the file sets them, marked where nothing does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import RooflineError
from .values import Unresolved, scalar

_VARIABLE = re.compile(r"\$\{([^{}$]*)\}|\$([A-Za-z_]\w*)|\{\{\s*([\w.]+)\s*\}\}|<([A-Z_]{3,})>")
_DEFAULT = re.compile(r"(\w+)(?::-|:)(.*)", re.DOTALL)
DEEPEST = 20  # variables inside variables
MOST_LETTERS = 10_000


def resolve(values: dict[str, Any], variables: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`values` with every variable filled in, from `variables`, the file's own keys or its default.

    Raises:
        RooflineError: Variables that go round in circles.
    """

    def walk(value: Any, depth: int = 0) -> Any:
        if isinstance(value, dict):
            return {key: walk(each, depth) for key, each in value.items()}
        if isinstance(value, list):
            return [walk(each, depth) for each in value]
        if isinstance(value, str) and ("$" in value or "{{" in value or "<" in value):
            return fill(value, depth)
        return value

    def fill(text: str, depth: int) -> Any:
        if depth > DEEPEST or len(text) > MOST_LETTERS:
            raise RooflineError(f"{where}: the variables in {text[:60]!r} go round in circles")
        whole = _VARIABLE.fullmatch(text)
        if whole is not None:
            return one(whole, text, depth)
        missing: list[Unresolved] = []

        def part(match: re.Match[str]) -> str:
            value = one(match, match.group(), depth)
            if isinstance(value, Unresolved):
                missing.append(value)
            return str(value)

        result = _VARIABLE.sub(part, text)
        return Unresolved(text=text[:80], name=missing[0].name) if missing else result

    def one(match: re.Match[str], text: str, depth: int) -> Any:
        name = next(group for group in match.groups() if group is not None)
        value = variables.get(name, _path(values, name))
        if value is not None and not isinstance(value, Unresolved) and value != text:
            return walk(value, depth + 1)
        name_only = name.split(":", 1)[0]
        default = _DEFAULT.fullmatch(name)
        if default is not None and match.group(1) is not None:
            set_one = variables.get(default.group(1))
            return walk(set_one, depth + 1) if set_one is not None else scalar(default.group(2).strip("\"'"))
        return Unresolved(text=text[:80], name=name_only[:60])

    return {key: walk(value) for key, value in values.items()}


def _path(values: Mapping[str, Any], name: str) -> Any:
    """The value at a dotted path of the file (OmegaConf's ``${model.hidden_size}``); None where there is none."""
    value: Any = values
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if isinstance(value, Mapping) else value
