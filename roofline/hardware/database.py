"""Where the facts lie (``hardware/`` of a checkout, ``facts`` of a wheel) and how their files are read."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ..reading import OnDisk, read_packaged, read_text
from .architecture import Architecture, Defaults
from .errors import HardwareError, RooflineError, nearest, quoted

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

T = TypeVar("T", bound=msgspec.Struct)


@lru_cache(maxsize=1)
def facts() -> Traversable:
    """The folder of facts (devices, architectures, measurements): ``facts`` in a wheel, ``hardware`` in a checkout."""
    here = os.path.dirname(__file__)
    for folder in (os.path.join(here, "facts"), os.path.join(os.path.dirname(os.path.dirname(here)), "hardware")):
        if os.path.isdir(os.path.join(folder, "devices")):  # importlib.resources costs as much as reading ten devices
            return OnDisk(folder)
    from importlib.resources import files

    return files("roofline.hardware") / "facts"


def ids(folder: str) -> tuple[str, ...]:
    """Names, without their ending, of the TOML files of a folder of facts, sorted."""
    names = (entry.name for entry in (facts() / folder).iterdir())
    return tuple(sorted(name[:-5] for name in names if name.endswith(".toml")))


def read_head(resource: Traversable) -> dict[str, Any]:
    """The keys of a packaged TOML file before its first table: ten times as fast as the whole."""
    import tomllib

    return tomllib.loads(read_text(resource).partition("\n[")[0])


def read_csv(path: str | os.PathLike[str] | Traversable) -> list[dict[str, str]]:
    """The rows of a CSV file by column; an empty cell has no key.

    Raises:
        HardwareError: the file cannot be read, or a row has more cells than the heading.
    """
    import csv

    try:
        rows = csv.DictReader(read_text(path, "table").splitlines())
    except RooflineError as error:
        raise HardwareError(str(error)) from None
    found = []
    try:
        for row in rows:
            if None in row:
                raise HardwareError(f"{path}: row {rows.line_num}: more cells than the heading has columns")
            found.append({column: cell.strip() for column, cell in row.items() if cell and cell.strip()})
    except csv.Error as error:
        raise HardwareError(f"{path}: row {rows.line_num}: {error}") from error
    return found


def from_row(row: dict[str, str], schema: type[T], place: str) -> T:
    """What the cells of a row say; `place` names the file, and the row's first cell the row.

    Raises:
        HardwareError: an unknown or missing column, or a cell of the wrong type (file, row, column).
    """
    try:
        return msgspec.convert(row, schema, strict=False)
    except msgspec.ValidationError as error:
        from .schema import from_text, mistake

        said = mistake(from_text(row, schema), schema) or str(error)
        raise HardwareError(f"{place}, row {row.get(schema.__struct_fields__[0], '?')}: {said}") from error


@lru_cache(maxsize=1)
def architecture_ids() -> tuple[str, ...]:
    """Keys of the architecture files, sorted; without ``default``, the fallback of all."""
    return tuple(name for name in ids("architectures") if name != "default")


@lru_cache(maxsize=64)
def load_architecture(key: str) -> Architecture:
    """The architecture file `key`.

    Raises:
        HardwareError: no such architecture.
    """
    if key not in architecture_ids():
        close = nearest(key, architecture_ids())
        raise HardwareError(
            f"unknown architecture '{key}'{': did you mean ' + quoted(close) + '?' if close else ''} "
            f"(allowed: {', '.join(architecture_ids())})"
        )
    return read_packaged(facts() / "architectures" / f"{key}.toml", Architecture)


@lru_cache(maxsize=1)
def default_measured() -> dict[str, Any]:
    """Measured efficiencies of an architecture that has none of its own."""
    return read_packaged(facts() / "architectures" / "default.toml", Defaults).measured
