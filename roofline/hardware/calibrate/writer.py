"""Writes a device file: TOML text, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..device import Device, Figures
from ..errors import HardwareError

_INLINE = ("peak", "links", "memory", "sources")  # tables whose entries read best on one line


def to_toml(device: Device, *, heading: str = "") -> str:
    """The file that describes a device, as `load_device` reads it back."""
    figures = Figures(**{name: getattr(device, name) for name in Figures.__struct_fields__})
    data = _without_none(msgspec.to_builtins(figures))
    lines = [f"# {line}" for line in heading.splitlines()]
    lines += [f"{key} = {_value(value)}" for key, value in data.items() if not _is_table(value)]
    for key, value in data.items():
        if isinstance(value, Mapping):
            lines += ["", *_table(key, value, inline=key in _INLINE)]
        elif _is_table(value):
            for entry in value:
                lines += ["", f"[[{key}]]", *(f"{name} = {_value(item)}" for name, item in entry.items())]
    return "\n".join(lines) + "\n"


def _without_none(value: Any) -> Any:
    """`value` without entries that are None: TOML has no word for them."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)
    )


def _table(name: str, table: Mapping[str, Any], *, inline: bool) -> Iterator[str]:
    plain = {key: value for key, value in table.items() if inline or not isinstance(value, Mapping)}
    if plain or not table:
        yield f"[{name}]"
        for key, value in plain.items():
            yield f"{key} = {_value(value)}"
    for key, value in table.items():
        if key not in plain:
            if plain or key != next(iter(table)):
                yield ""
            yield from _table(f"{name}.{key}", value, inline=False)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)  # TOML basic strings escape as JSON's do


def write_device(path: str, text: str) -> None:
    """Write `text` to `path` whole or not at all: a temporary file beside it, then a rename.

    Raises:
        HardwareError: the folder cannot be made or written.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        raise HardwareError(f"cannot write {path}: {error.strerror or error}; choose another --output") from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
