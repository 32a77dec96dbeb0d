"""Does again to other numbers what formulas did to a few: a recording of the arithmetic, run as straight-line code.

`record` calls a function with numbers that remember what is done to them. What they decided on the way (an ``if``, the
larger of two kinds of peak) is kept as a condition: a recording holds for the numbers that decide the same, and says
None for others, for which the function is called anew. There is one set of formulas; a recording is made from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any

import msgspec

_CONSTANT = (int, float)
_TEMPLATES = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "truediv": "{0} / {1}",
    "floordiv": "{0} // {1}",
    "mod": "{0} % {1}",
    "pow": "{0} ** {1}",
    "neg": "-{0}",
    "abs": "abs({0})",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "invert": "not {0}",
    "maximum": "{1} if {1} > {0} else {0}",  # as Python's max: the first of equals
    "minimum": "{1} if {1} < {0} else {0}",
    "where": "{1} if {0} else {2}",
    "ceil": "ceil({0})",
    "exp": "exp({0})",
    "log": "log({0})",
    "log2": "log2({0})",
    "divide": "divide({0}, {1})",
}
# NumPy's names of the same operations: a NumPy number on the left asks by them.
_UFUNCS = {
    "subtract": "sub",
    "multiply": "mul",
    "divide": "truediv",
    "true_divide": "truediv",
    "floor_divide": "floordiv",
    "remainder": "mod",
    "power": "pow",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "equal": "eq",
    "not_equal": "ne",
    "bitwise_and": "and",
    "bitwise_or": "or",
}
_MOST_VARIANTS = 4  # recordings of one function: more decisions than that, and it is called each time
_MOST_FUNCTIONS = 64
_WORTH_IT = 16  # calls after which a recording, which costs as much as about thirty, is made


class NotReplayable(Exception):  # noqa: N818  (no error: the function is called each time instead)
    """The function does something to its numbers that no recording can hold."""


class Figure:
    """A number that remembers how it came about; beside it, its value in the call that is recorded."""

    __array_priority__ = 1000.0
    __slots__ = ("name", "recording", "value")

    def __init__(self, recording: Recording, name: str, value: Any) -> None:
        self.recording = recording
        self.name = name
        self.value = value

    def __bool__(self) -> bool:
        """What it decides, which is noted."""
        return self.recording.decide(self)

    def any(self) -> bool:
        """As of an array."""
        return bool(self)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **_options: Any) -> Any:
        """NumPy's function of it: where a NumPy number stands on the left."""
        operation = _UFUNCS.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or operation not in _TEMPLATES:
            raise NotReplayable(operation)
        return self.recording.note(operation, *inputs)

    def __array_function__(self, function: Any, _types: Any, args: Any, _options: Any) -> Any:
        """NumPy's choice by it."""
        if function.__name__ != "where":
            raise NotReplayable(function.__name__)
        return self.recording.note("where", *args)

    def _refuse(self, *_: Any) -> Any:
        raise NotReplayable(self.name)

    __int__ = __float__ = __index__ = __round__ = __hash__ = __iter__ = _refuse
    __format__ = __str__ = __repr__ = _refuse


def _forward(operation: str) -> Any:
    return lambda self, other: self.recording.note(operation, self, other)


def _reflected(operation: str) -> Any:
    return lambda self, other: self.recording.note(operation, other, self)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or"):
    setattr(Figure, f"__{_name}__", _forward(_name))
    setattr(Figure, f"__r{_name}__", _reflected(_name))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Figure, f"__{_name}__", _forward(_name))
for _name in ("neg", "abs", "invert"):
    setattr(Figure, f"__{_name}__", lambda self, operation=_name: self.recording.note(operation, self))


def divide(numerator: Any, denominator: Any) -> Any:
    """The quotient, an exact integer where it is one."""
    if isinstance(numerator, int) and isinstance(denominator, int) and numerator % denominator == 0:
        return numerator // denominator
    return numerator / denominator


def log(value: Any) -> float:
    """The natural logarithm; minus infinity of zero."""
    return math.log(value) if value > 0 else -math.inf


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ceil": math.ceil,
    "exp": math.exp,
    "log": log,
    "log2": math.log2,
    "divide": divide,
}


class Recording:
    """The arithmetic of one call, as lines of Python."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, tuple[str, ...]]] = []  # name, template, what is in it; a decision: "" name
        self.known: dict[tuple[str, tuple[str, ...]], Figure] = {}
        self.decided: dict[str, bool] = {}
        self.constants: dict[int, tuple[str, Any]] = {}  # by the id of the value, which is kept alive

    def argument(self, value: Any) -> Figure:
        """One of the numbers that vary."""
        name = f"x{len(self.known)}"
        figure = self.known[name, ()] = Figure(self, name, value)
        return figure

    def note(self, operation: str, *inputs: Any) -> Any:
        """The result of an operation, noted; what takes part in nothing that varies is a constant."""
        simple = _simplified(operation, inputs)
        if simple is not None:
            return simple
        names = tuple(self.written(each) for each in inputs)
        found = self.known.get((operation, names))
        if found is None:
            values = [each.value if isinstance(each, Figure) else each for each in inputs]
            value = _evaluator(operation)(*values)
            found = self.known[operation, names] = Figure(self, f"v{len(self.known)}", value)
            self.lines.append((found.name, _TEMPLATES[operation], names))
        return found

    def decide(self, figure: Figure) -> bool:
        """What the figure decides in this call, which every replay must decide alike."""
        truth = bool(figure.value)
        if figure.name not in self.decided:
            self.decided[figure.name] = truth
            self.lines.append(("", f"if {'not ' if truth else ''}{{0}}: return None", (figure.name,)))
        return truth

    def written(self, value: Any) -> str:
        """A value as an expression of the code."""
        if isinstance(value, Figure):
            return value.name
        if type(value) in _CONSTANT and math.isfinite(value):
            text = repr(value)
            return f"({text})" if text[0] == "-" else text
        return self.constants.setdefault(id(value), (f"c{len(self.constants)}", value))[0]

    def built(self, value: Any) -> tuple[str, bool]:
        """The expression that makes a result again, and whether anything in it varies."""
        if isinstance(value, Figure):
            return value.name, True
        if isinstance(value, msgspec.Struct):
            names = type(value).__struct_fields__
            fields = [(name, *self.built(getattr(value, name))) for name in names]
            if any(varies for _, _, varies in fields):
                inside = ", ".join(f"{name}={text}" for name, text, _ in fields)
                return f"{self.written(type(value))}({inside})", True
        elif type(value) in {list, tuple}:
            items = [self.built(each) for each in value]
            if any(varies for _, varies in items):
                inside = "".join(f"{text}, " for text, _ in items)
                return (f"[{inside}]" if isinstance(value, list) else f"({inside})"), True
        elif type(value) is dict:
            items = [self.built(each) for each in value.values()]
            if any(varies for _, varies in items):
                pairs = zip(value, items, strict=True)
                return "{" + ", ".join(f"{self.written(key)}: {text}" for key, (text, _) in pairs) + "}", True
        return self.written(value), False

    def compiled(self, arguments: list[Figure], result: Any) -> Callable[..., Any]:
        """A function of the numbers that vary; None where they decide otherwise.

        A name takes the place of one that nothing reads any more: 2,000 numbers that lived to the end would be fetched
        from far away.
        """
        text, _ = self.built(result)
        lasting = set(_names(text))
        places = {name: name for name in lasting}
        left: list[str] = []
        body = []
        for name, template, inputs in reversed(self.lines):
            if name and name not in places:
                continue  # nothing behind it reads it
            if name and name not in lasting:
                left.append(places[name])
            for each in inputs:
                if each[:1] == "v" and each not in places:  # its last reader
                    places[each] = left.pop() if left else f"r{len(places)}"
            line = template.format(*(places.get(each, each) for each in inputs))
            body.append(f"    {places[name]} = {line}" if name else f"    {line}")
        heading = f"def replayed({', '.join(figure.name for figure in arguments)}):"
        code = "\n".join([heading, *reversed(body), f"    return ({text},)"])
        scope: dict[str, Any] = {**_FUNCTIONS, **dict(self.constants.values())}
        exec(compile(code, "<replay>", "exec"), scope)  # noqa: S102  (of names and numbers written above)
        function: Callable[..., Any] = scope["replayed"]
        return function


def _names(text: str) -> list[str]:
    import re

    return re.findall(r"\bv\d+\b", text)


def _simplified(operation: str, inputs: tuple[Any, ...]) -> Any:
    """The result where it is one of the inputs as it stands (a count over one stays a count); None where it is not."""
    if operation in {"add", "sub"} and _is(inputs[1], 0):
        return inputs[0]
    if operation == "add" and _is(inputs[0], 0):
        return inputs[1]
    if operation in {"mul", "truediv"} and _is(inputs[1], 1):
        return inputs[0]
    if operation == "mul" and _is(inputs[0], 1):
        return inputs[1]
    return None


def _is(value: Any, number: int) -> bool:
    """Whether it is the integer itself: 1.0 would turn a count into a float."""
    return type(value) is int and value == number


@cache
def _evaluator(operation: str) -> Callable[..., Any]:
    """The operation on plain numbers, as its template says."""
    template = _TEMPLATES[operation]
    names = [f"a{place}" for place in range(3) if f"{{{place}}}" in template]
    function: Callable[..., Any] = eval(f"lambda {', '.join(names)}: {template.format(*names)}", dict(_FUNCTIONS))  # noqa: S307  (the table above)
    return function


def apply(operation: str, *inputs: Any) -> Any:
    """An operation on plain numbers, or noted where one of them is recorded.

    >>> apply("divide", 8, 2), apply("where", 2 > 1, "a", "b")
    (4, 'a')
    """
    for value in inputs:
        if isinstance(value, Figure):
            return value.recording.note(operation, *inputs)
    return _evaluator(operation)(*inputs)


def record(function: Callable[..., Any], *numbers: Any) -> Callable[..., Any]:
    """A recording of ``function(*numbers)`` as a function of its numbers.

    It returns a tuple of the one result, or None for numbers that decide otherwise on the way.

    Raises:
        NotReplayable: The function does what no recording holds.

    >>> replayed = record(lambda a, b: {"area": a * b, "wide": a > b}, 3, 2)
    >>> replayed(5, 7)
    ({'area': 35, 'wide': False},)
    """
    recording = Recording()
    arguments = [recording.argument(number) for number in numbers]
    return recording.compiled(arguments, function(*arguments))


class _Kept(msgspec.Struct):
    """What is known of one function: how often it was called, and its recordings."""

    owners: tuple[Any, ...]  # kept alive: their ids are in the key
    calls: int = 0
    recordings: list[Callable[..., Any]] = []
    refused: bool = False


class Replays:
    """Recordings of functions by what they close over, the least used forgotten first."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Kept] = {}

    def call(
        self, key: Hashable, owners: tuple[Any, ...], function: Callable[..., Any], numbers: tuple[Any, ...]
    ) -> Any:
        """``function(*numbers)``: called the first times, replayed from then on.

        Args:
            key: What tells `function` from others, hashable: no two that differ in anything but `numbers` share one.
            owners: Objects whose ids are part of the key.
            function: A function of numbers, of no effect beside its result.
            numbers: Python numbers.
        """
        kept = self._of(key, owners)
        for recording in kept.recordings:
            found = recording(*numbers)
            if found is not None:
                return found[0]
        if kept.calls < _WORTH_IT or kept.refused:
            return function(*numbers)
        try:
            recording = record(function, *numbers)
        except (NotReplayable, TypeError):
            kept.refused = True
            return function(*numbers)
        kept.recordings.append(recording)
        kept.refused = len(kept.recordings) == _MOST_VARIANTS
        return recording(*numbers)[0]

    def _of(self, key: Hashable, owners: tuple[Any, ...]) -> _Kept:
        kept = self._kept.pop(key, None) or _Kept(owners)
        self._kept[key] = kept  # the last used stands last
        if len(self._kept) > _MOST_FUNCTIONS:
            self._kept.pop(next(iter(self._kept)), None)
        kept.calls += 1
        return kept
