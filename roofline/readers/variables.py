"""Variables in the values of a run file: filled in where the file sets them, marked where nothing does."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import RooflineError, shown
from .values import Unresolved, scalar

_ENVIRONMENT = re.compile(r"(?:oc\.)?env:\s*(\w+)\s*(?:,\s*(.+))?")  # of OmegaConf
_VARIABLE = re.compile(r"\$\{([^{}$]*)\}|\$([A-Za-z_]\w*)|\{\{\s*([\w.]+)\s*\}\}|<([A-Z_]{3,})>")
_FUNCTION = re.compile(r"(multiply|divide_ceil|divide_floor|divide|sum):\s*(-?\d{1,15})\s*,\s*(-?\d{1,15})\s*")
_COMPUTE: dict[str, Callable[[int, int], int]] = {
    "multiply": operator.mul,
    "sum": operator.add,
    "divide_ceil": lambda a, b: -(-a // b),
    "divide_floor": operator.floordiv,
    "divide": operator.floordiv,
}
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

    def walk(self, value: Any, depth: int = 0, at: tuple[str, ...] = ()) -> Any:
        """A value with the variables in it filled in; `at` is the table it stands in."""
        if isinstance(value, dict):
            return {
                key: self.walk(each, depth, (*at, key) if isinstance(each, dict) else at) for key, each in value.items()
            }
        if isinstance(value, list):
            return [self.walk(each, depth, at) for each in value]
        if isinstance(value, str) and any(mark in value for mark in ("$", "{{", "<")):
            return self.fill(value, depth, at)
        return value

    def fill(self, text: str, depth: int, at: tuple[str, ...]) -> Any:
        """Text with its variables filled in; unresolved where one has no value."""
        if depth > DEEPEST or len(text) > MOST_LETTERS:
            raise RooflineError(f"{self.where}: the variables in {shown(text)} go round in circles")
        whole = _VARIABLE.fullmatch(text)
        if whole is not None:
            return self.one(whole, text, depth, at)
        missing: list[Unresolved] = []

        def part(match: re.Match[str]) -> str:
            value = self.one(match, match.group(), depth, at)
            if isinstance(value, Unresolved):
                missing.append(value)
            return str(value)

        result = _VARIABLE.sub(part, text)
        if missing:
            return Unresolved(text=text[:80], name=missing[0].name)
        nested = result != text and _VARIABLE.search(result) is not None  # ${A:-${B}}: the outer one is left
        return self.fill(result, depth + 1, at) if nested else result

    def one(self, match: re.Match[str], text: str, depth: int, at: tuple[str, ...]) -> Any:
        """The value of one variable: set, computed, another key of the file, its default, or none."""
        name = next(group for group in match.groups() if group is not None)
        computed = _computed(name)
        if computed is not None:
            return computed
        places = [_beside(name, at)] if name.startswith(".") else [f"{section}{name}" for section in self.sections]
        found = ((place, _path(self.values, place)) for place in places)
        place, value = next(((place, each) for place, each in found if each is not None), ("", None))
        if name in self.variables:
            place, value = "", self.variables[name]
        if value is not None and not isinstance(value, Unresolved) and value != text:
            return self.walk(value, depth + 1, tuple(place.split(".")[:-1]))
        of_env = _ENVIRONMENT.fullmatch(name)
        default = _DEFAULT.fullmatch(name if of_env is None else ":".join(filter(None, of_env.groups())))
        if default is not None and match.group(1) is not None:
            known = self.variables.get(default.group(1))
            return scalar(default.group(2).strip("\"'")) if known is None else self.walk(known, depth + 1)
        return Unresolved(text=text[:80], name=(name.split(":", 1)[0] if of_env is None else of_env[1])[:60])


def _beside(name: str, at: tuple[str, ...]) -> str:
    """The path that a relative name means: ``.width`` stands in the same table, ``..width`` in the one around it.

    >>> _beside(".width", ("model", "encoder")), _beside("..width", ("model", "encoder"))
    ('model.encoder.width', 'model.width')
    """
    bare = name.lstrip(".")
    up = len(name) - len(bare) - 1
    return ".".join((*at[: len(at) - up], bare))


def _computed(call: str) -> int | None:
    """What one of the functions that NeMo's launcher adds to OmegaConf gives of two whole numbers.

    >>> _computed("multiply:4, 512"), _computed("divide_ceil:9,4"), _computed("GBS:9"), _computed("divide:9,0")
    (2048, 3, None, None)
    """
    match = _FUNCTION.fullmatch(call)
    if match is None:
        return None
    function, *values = match.groups()
    try:
        return _COMPUTE[function](*(int(value) for value in values))
    except ZeroDivisionError:
        return None


def _path(values: Mapping[str, Any], name: str) -> Any:
    """The value at a dotted path of the file (OmegaConf's ``${model.hidden_size}``); None where there is none."""
    value: Any = values
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if isinstance(value, Mapping) else value
