"""Says in one line where tables of a TOML file break their schema: key, value, rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from .errors import nearest


def mistake(tables: Any, schema: type[msgspec.Struct], place: str = "") -> str | None:
    """The first key below `place` that `schema` does not allow, None where all are well.

    >>> from roofline.hardware.sections import Clock
    >>> mistake({"source": "x", "boost_hz": 1}, Clock, "clock")[:51]
    "clock.boost_hz: unknown key, did you mean 'boost_mh"
    """
    return next(_mistakes(tables, inspect.type_info(schema), place), None)


def from_text(row: Mapping[str, str], schema: type[msgspec.Struct]) -> dict[str, Any]:
    """Cells of a table as the numbers that `schema` wants, where they are numbers.

    >>> from roofline.hardware.boards import Board
    >>> from_text({"units": "34", "gb_per_s": "fast", "year": "2021.5"}, Board)
    {'units': 34, 'gb_per_s': 'fast', 'year': 2021.5}
    """
    wanted = {field.encode_name: field.type for field in inspect.type_info(schema).fields}  # type: ignore[attr-defined]
    return {column: _number(cell) if _is_number(wanted.get(column)) else cell for column, cell in row.items()}


def _is_number(kind: inspect.Type | None) -> bool:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return any(isinstance(item, inspect.FloatType | inspect.IntType) for item in kinds)


def _number(cell: str) -> int | float | str:
    for number in (int, float):
        try:
            return number(cell)
        except ValueError:
            continue
    return cell


def unknown_key(place: str, key: str, allowed: tuple[str, ...]) -> str:
    """The line for a key that is not allowed at a place, with the nearest that is."""
    close = nearest(key, allowed, 1)
    hint = f", did you mean '{close[0]}'?" if close else ""
    return f"{_join(place, key)}: unknown key{hint} (allowed: {', '.join(allowed)})"


def _join(place: str, key: str) -> str:
    return f"{place}.{key}".lstrip(".")


def _mistakes(value: Any, kind: inspect.Type, place: str) -> Iterator[str]:
    if isinstance(kind, inspect.UnionType):
        kinds = [item for item in kind.types if not isinstance(item, inspect.NoneType)]
        tables = [item for item in kinds if isinstance(item, inspect.StructType | inspect.DictType)]
        yield from _mistakes(value, (tables if tables and isinstance(value, Mapping) else kinds)[0], place)
    elif isinstance(kind, inspect.StructType):
        yield from _of_table(value, kind, place)
    elif isinstance(kind, inspect.DictType):
        yield from _of_mapping(value, kind, place)
    elif isinstance(kind, inspect.VarTupleType):
        if not isinstance(value, list | tuple):
            yield _wrong(place, value, "array")
            return
        for index, item in enumerate(value):
            yield from _mistakes(item, kind.item_type, f"{place}[{index}]")
    elif isinstance(kind, inspect.LiteralType):
        if value not in kind.values:
            allowed = [str(word) for word in kind.values]
            close = nearest(str(value), allowed, 1)
            hint = f", did you mean '{close[0]}'?" if close else ""
            yield f"{place} = {value!r}: invalid enum value{hint} (allowed: {', '.join(allowed)})"
    else:
        yield from _of_plain(value, kind, place)


def _of_table(value: Any, kind: inspect.StructType, place: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _wrong(place, value, "table")
        return
    fields = {field.encode_name: field for field in kind.fields}
    for key in value:
        if key not in fields:
            yield unknown_key(place, key, tuple(fields))
    for key, field in fields.items():
        if key in value:
            yield from _mistakes(value[key], field.type, _join(place, key))
        elif field.required:
            rule = "every figure names its source" if key in {"source", "sources"} else "required"
            yield f"{_join(place, key)}: missing ({rule})"


def _of_mapping(value: Any, kind: inspect.DictType, place: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _wrong(place, value, "table")
        return
    allowed = kind.key_type.values if isinstance(kind.key_type, inspect.LiteralType) else None
    for key, item in value.items():
        if allowed is not None and key not in allowed:
            yield unknown_key(place, key, tuple(map(str, allowed)))
        yield from _mistakes(item, kind.value_type, _join(place, key))


_PLAIN: dict[type[inspect.Type], tuple[str, tuple[type, ...]]] = {
    inspect.FloatType: ("float", (int, float)),
    inspect.IntType: ("int", (int,)),
    inspect.StrType: ("str", (str,)),
    inspect.BoolType: ("bool", (bool,)),
}


def _of_plain(value: Any, kind: inspect.Type, place: str) -> Iterator[str]:
    name, types = _PLAIN.get(type(kind), ("", (object,)))
    is_number = name in {"float", "int"}
    if not isinstance(value, types) or (is_number and isinstance(value, bool)):
        yield _wrong(place, value, name)


def _wrong(place: str, value: Any, expected: str) -> str:
    got = {"dict": "table", "list": "array"}.get(type(value).__name__, type(value).__name__)
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return f"{place or 'file'} = {shown}: expected `{expected}`, got `{got}`"
