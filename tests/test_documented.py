"""Every attribute of an answer, and of what it holds, has its line: a meaning, with its unit."""

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator

import msgspec
import pytest

import roofline
from roofline.result import Result

FACTS = ("roofline.model.", "roofline.hardware.")  # described where they stand: in files and their schemas


def answers() -> list[type]:
    """All types of answers."""
    for module in pkgutil.walk_packages(roofline.__path__, "roofline."):
        if "integrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: list[type] = []
    for kind in Result.__subclasses__():
        found += [kind, *kind.__subclasses__()]
    return found


def held_by(kind: type) -> Iterator[type]:
    """The Structs that its annotations name."""
    for owner in kind.__mro__:
        scope = vars(sys.modules[owner.__module__])
        for annotation in inspect.get_annotations(owner).values():
            for word in re.findall(r"[A-Z]\w+", str(annotation)):
                part = scope.get(word)
                if isinstance(part, type) and issubclass(part, msgspec.Struct):
                    yield part


def everything() -> list[type]:
    """Answers, and what they hold, at any depth."""
    left, found = answers(), {}
    while left:
        kind = left.pop()
        if kind.__qualname__ not in found:
            found[kind.__qualname__] = kind
            left += [part for part in held_by(kind) if not part.__module__.startswith(FACTS)]
    return [found[name] for name in sorted(found)]


def lines_of(kind: type) -> dict[str, str]:
    """Attribute -> its line, those of the types it extends included."""
    found: dict[str, str] = {}
    for owner in kind.__mro__:
        section = inspect.cleandoc(vars(owner).get("__doc__") or "").partition("Attributes:\n")[2]
        for names, line in re.findall(r"^    ([a-z_0-9, ]+): (.+)$", section, re.MULTILINE):
            found |= {name.strip(): line for name in names.split(",")}
    return found


@pytest.mark.parametrize("kind", everything(), ids=lambda kind: kind.__qualname__)
def test_every_attribute_has_its_line(kind: type) -> None:
    lines = lines_of(kind)
    fields = set(kind.__struct_fields__)  # type: ignore[attr-defined]
    assert fields <= set(lines), f"{kind.__qualname__}: {sorted(fields - set(lines))}"
    properties = {name for name, value in inspect.getmembers(kind) if isinstance(value, property)}
    assert set(lines) <= fields | properties, (
        f"{kind.__qualname__}: {sorted(set(lines) - fields - properties)} are gone"
    )
    for name in properties:
        if not name.startswith("_"):
            assert inspect.getdoc(getattr(kind, name))


def test_answers_and_their_parts_are_found() -> None:
    names = {kind.__qualname__ for kind in everything()}
    assert {"Estimate", "OpTime", "WaterfallStep", "Schedule", "Memory", "Phase", "Layout", "Run", "Fix"} <= names
    assert len(answers()) >= 12
