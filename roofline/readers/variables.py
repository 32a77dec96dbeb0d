"""Variables in the values of a run file: filled in where the file sets them, marked where nothing does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import RooflineError
from .values import Unresolved, scalar

_VARIABLE = re.compile(r"\$\{([^{}$]*)\}|\$([A-Za-z_]\w*)|\{\{\s*([\w.]+)\s*\}\}|<([A-Z_]{3,})>")
_DEFAULT = re.compile(r"(\w+)(?::-|:)(.*)", re.DOTALL)
DEEPEST = 20  # variables inside variables
MOST_LETTERS = 10_000


def resolve(
    values: dict[str, Any], variables: Mapping[str, Any], where: str, sections: Sequence[str] = ()
) -> dict[str, Any]:
    """`values` with every variable filled in: of `variables`, the file's own keys (also in `sections`) or its default.

    Raises:
        RooflineError: Variables that go round in circles.
    """
    return _Resolver(values, variables, where, sections).walk(values)


class _Resolver:
    """Fills in the variables of one file."""

    def __init__(
        self, values: dict[str, Any], variables: Mapping[str, Any], where: str, sections: Sequence[str]
    ) -> None:
        self.values, self.variables, self.where = values, variables, where
        self.sections = ["", *(f"{section}." for section in sections)]

    def walk(self, value: Any, depth: int = 0) -> Any:
        """A value with the variables in it filled in."""
        if isinstance(value, dict):
            return {key: self.walk(each, depth) for key, each in value.items()}
        if isinstance(value, list):
            return [self.walk(each, depth) for each in value]
        if isinstance(value, str) and any(mark in value for mark in ("$", "{{", "<")):
            return self.fill(value, depth)
        return value

    def fill(self, text: str, depth: int) -> Any:
        """Text with its variables filled in; unresolved where one has no value."""
        if depth > DEEPEST or len(text) > MOST_LETTERS:
            raise RooflineError(f"{self.where}: the variables in {text[:60]!r} go round in circles")
        whole = _VARIABLE.fullmatch(text)
        if whole is not None:
            return self.one(whole, text, depth)
        missing: list[Unresolved] = []

        def part(match: re.Match[str]) -> str:
            value = self.one(match, match.group(), depth)
            if isinstance(value, Unresolved):
                missing.append(value)
            return str(value)

        result = _VARIABLE.sub(part, text)
        return Unresolved(text=text[:80], name=missing[0].name) if missing else result

    def one(self, match: re.Match[str], text: str, depth: int) -> Any:
        """The value of one variable: set, another key of the file, its default, or none."""
        name = next(group for group in match.groups() if group is not None)
        own = (_path(self.values, f"{section}{name}") for section in self.sections)
        value = self.variables.get(name, next((each for each in own if each is not None), None))
        if value is not None and not isinstance(value, Unresolved) and value != text:
            return self.walk(value, depth + 1)
        default = _DEFAULT.fullmatch(name)
        if default is not None and match.group(1) is not None:
            known = self.variables.get(default.group(1))
            return scalar(default.group(2).strip("\"'")) if known is None else self.walk(known, depth + 1)
        return Unresolved(text=text[:80], name=name.split(":", 1)[0][:60])


def _path(values: Mapping[str, Any], name: str) -> Any:
    """The value at a dotted path of the file (OmegaConf's ``${model.hidden_size}``); None where there is none."""
    value: Any = values
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if isinstance(value, Mapping) else value
