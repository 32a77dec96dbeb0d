"""The gate of exported functions: an argument of the wrong type, or of no such name, is one clear error.

Options of a run have their own readers (`config/options.py`); what is gated here are the other arguments.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import msgspec

from .arrays import number
from .errors import RooflineError, shown, unknown

P = ParamSpec("P")
R = TypeVar("R")
_MORE_BY_PLACE, _MORE_BY_NAME = 0x04, 0x08  # of a code object's flags: it takes *args, **keywords


class Kind(msgspec.Struct, frozen=True):
    """What an argument may be: in words, and whether a value is."""

    words: str
    holds: Callable[[Any], bool]


def _is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str)


def _is_number(value: Any) -> bool:
    one = number(value)
    try:
        return isinstance(one, int | float) and isinstance(float(one), float)
    except OverflowError:  # an integer beyond what a float holds
        return False


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_figures(value: Any) -> bool:
    return _is_mapping(value) and all(map(_is_number, value.values()))


def _is_paths(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_path, value))


def _takes_two(value: Any) -> bool:
    """Whether it can be called with two arguments; of a function that does not say what it takes nobody knows."""
    import inspect

    if not callable(value):
        return False
    try:
        inspect.signature(value).bind(0, 1)
    except TypeError:
        return False
    except ValueError:  # no signature
        return True
    return True


PATH = Kind("a path", _is_path)
PATHS = Kind("a list of paths", _is_paths)
TEXT = Kind("text", lambda value: isinstance(value, str))
NUMBER = Kind("a number", _is_number)
MAPPING = Kind("a mapping of names", _is_mapping)
FIGURES = Kind("a mapping of names to numbers", _is_figures)
FUNCTION = Kind("a function", callable)
OF_TWO = Kind("a function of two numbers", _takes_two)


def instance(words: str, kind: type) -> Kind:
    """Of a class."""
    return Kind(words, lambda value: isinstance(value, kind))


def gated(**kinds: Kind) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a function refuse unknown, missing and doubled arguments, and those that are not of their kind.

    None passes where it is the default.

    >>> @gated(path=PATH)
    ... def read(path, *, most=None): ...
    >>> read(1)
    Traceback (most recent call last):
    roofline.errors.RooflineError: read: path must be a path, got 1
    >>> read("a", mots=2)
    Traceback (most recent call last):
    roofline.errors.RooflineError: unknown argument of read: 'mots': did you mean 'most'? (allowed: path, most)
    """

    def gate(function: Callable[P, R]) -> Callable[P, R]:
        plain: Any = getattr(function, "__wrapped__", function)  # of one whose answers are kept
        code = plain.__code__
        places = code.co_varnames[: code.co_argcount]
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        by_place = dict(zip(reversed(places), reversed(plain.__defaults__ or ()), strict=False))
        defaults = by_place | (plain.__kwdefaults__ or {})
        title = plain.__qualname__.removesuffix(".__init__")
        own = [name for name in names if name != "self"]
        closed = not code.co_flags & _MORE_BY_NAME
        most = math.inf if code.co_flags & _MORE_BY_PLACE else len(places)

        @wraps(function)
        def call(*args: P.args, **keywords: P.kwargs) -> R:
            if len(args) > most:
                raise RooflineError(f"{title} takes {', '.join(places)} by place, got {len(args)} arguments")
            given = dict(zip(places, args, strict=False))
            for name in keywords:
                if name in given:
                    raise RooflineError(f"{title}: {name} is given twice: by place and by name")
                if closed and name not in own:
                    raise unknown(f"argument of {title}:", name, own)
            given |= keywords
            if missing := [name for name in own if name not in given and name not in defaults]:
                raise RooflineError(f"{title} needs {' and '.join(missing)} as well")
            _check(title, given, kinds, defaults)
            return function(*args, **keywords)

        return call

    return gate


def _check(title: str, given: Mapping[str, Any], kinds: Mapping[str, Kind], defaults: Mapping[str, Any]) -> None:
    for name, kind in kinds.items():
        value = given.get(name)
        optional = name in defaults and defaults[name] is None
        if name in given and not (value is None and optional) and not kind.holds(value):
            raise RooflineError(f"{title}: {name} must be {kind.words}, got {shown(value)}")
