"""YAML as plain values, from the parser's events: bounded in size, depth and repetition; no tag makes an object."""

from __future__ import annotations

import re
from typing import Any

from ..errors import RooflineError, shown
from .values import scalar

MOST_VALUES = 200_000  # after anchors are filled in: a "bomb" of anchors ends here
DEEPEST = 40
_PLAIN = ("tag:yaml.org,2002:", "!!")
_KNOWN_TAGS = frozenset({"str", "int", "float", "bool", "null", "map", "seq", "timestamp"})
_TEMPLATE = re.compile(r"[._]|x-|(?i:.*(anchor|default|template|common|shared))")
_YES_NO = {"yes": True, "on": True, "no": False, "off": False, "": None}


class _Open:
    """A mapping or sequence that is still being filled."""

    def __init__(self, value: Any, anchor: str | None, line: int) -> None:
        self.value, self.anchor, self.line = value, anchor, line
        self.key: str | None = None
        self.has_key = False
        self.merges: list[Any] = []


def parse_yaml(text: str, where: str) -> tuple[list[Any], list[str]]:
    """The documents of a YAML text, and what was passed over in it, as sentences.

    Raises:
        RooflineError: Not YAML, a tag that would make an object, a key given twice, or too much of it.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(where)
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event, yaml)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f" line {mark.line + 1}:" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise RooflineError(f"{where}:{at} not YAML: {' '.join(str(problem).split())[:160]}") from None
    except RecursionError:
        raise RooflineError(f"{where}: values nested too deep (at most {DEEPEST} levels)") from None
    return builder.documents, builder.notes


class _Builder:
    """Builds values from events, without recursion."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.documents: list[Any] = []
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int]] = {}  # value, how many values it holds
        self.count = 0
        self.notes: list[str] = []
        self.merged: list[Any] = []

    def error(self, line: int, problem: str) -> RooflineError:
        """An error at a line."""
        return RooflineError(f"{self.where}: line {line + 1}: {problem}")

    def take(self, event: Any, yaml: Any) -> None:
        """One event of the parser."""
        line = event.start_mark.line
        if isinstance(event, yaml.DocumentStartEvent):
            self.anchors = {}
            self.documents.append(None)
        elif isinstance(event, yaml.AliasEvent):
            self.alias(event.anchor, line)
        elif isinstance(event, yaml.ScalarEvent):
            self.check_tag(event.tag, line)
            value = self.scalar(event)
            if event.anchor:
                self.anchors[event.anchor] = (value, 1)
            self.add(value, line, 1)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self.check_tag(event.tag, line)
            if len(self.stack) >= DEEPEST:
                raise self.error(line, f"values nested more than {DEEPEST} deep")
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
            self.stack.append(_Open(value, event.anchor, line))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self.close()

    def check_tag(self, tag: str | None, line: int) -> None:
        """Refuse tags that ask for an object."""
        if tag is None or tag == "!":
            return
        short = tag
        for prefix in _PLAIN:
            short = short.removeprefix(prefix)
        if short not in _KNOWN_TAGS:
            raise self.error(line, f"the tag {shown(tag)} asks for an object, and none is made from a file: remove it")

    def scalar(self, event: Any) -> Any:
        """The value of a word: plain words as numbers and flags, quoted ones as text."""
        text = str(event.value)
        if event.tag is not None and event.tag.endswith("str"):
            return text
        if not event.implicit[0]:
            return text
        lowered = text.lower()
        return _YES_NO[lowered] if lowered in _YES_NO else scalar(text)

    def alias(self, name: str, line: int) -> None:
        """The value of an anchor, filled in."""
        if name not in self.anchors:
            raise self.error(line, f"the anchor *{name[:40]} is not set, or stands inside itself")
        value, size = self.anchors[name]
        self.add(value, line, size)

    def add(self, value: Any, line: int, size: int) -> None:
        """Put a value where it belongs."""
        self.count += size
        if self.count > MOST_VALUES:
            raise self.error(line, f"more than {MOST_VALUES:,} values once anchors are filled in: not a run file")
        if not self.stack:
            self.documents[-1] = value
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif not top.has_key:
            if isinstance(value, (dict, list)):
                raise self.error(line, "a key that is a mapping or a list: keys are words here")
            top.key, top.has_key = str(value), True
        else:
            self.put(top, value, line)
            top.has_key = False

    def put(self, top: _Open, value: Any, line: int) -> None:
        """Set a key of a mapping; ``<<`` merges others under it."""
        key = top.key or ""
        if key == "<<":
            merged = value if isinstance(value, list) else [value]
            if not all(isinstance(each, dict) for each in merged):
                raise self.error(line, "'<<' takes a mapping")
            top.merges += merged
            self.merged += merged
        else:
            before = top.value.get(key)
            if before is not None and before != value:
                raise self.error(line, f"the key {shown(key)} stands twice in one table, with two values: keep one")
            if key in top.value:
                self.notes.append(f"line {line + 1}: the key {shown(key)} stands twice: the later one is read")
            top.value[key] = value

    def close(self) -> None:
        """End the innermost mapping or sequence."""
        done = self.stack.pop()
        for merged in done.merges:
            for key, value in merged.items():
                done.value.setdefault(key, value)
        if not self.stack:  # tables that only stand to be merged
            for key, value in list(done.value.items() if isinstance(done.value, dict) else []):
                if _TEMPLATE.match(key) and any(value is each for each in self.merged):
                    del done.value[key]
        if done.anchor:
            self.anchors[done.anchor] = (done.value, _size(done.value))
        self.add(done.value, done.line, 1 + sum(len(merged) for merged in done.merges))


def _size(value: Any) -> int:
    """How many values a value holds; stops counting past the limit."""
    total, rest = 0, [value]
    while rest and total <= MOST_VALUES:
        each = rest.pop()
        total += 1
        if isinstance(each, dict):
            rest += each.values()
        elif isinstance(each, list):
            rest += each
    return total
