"""A flat record of one answer as rows: one, or one for each case where what was asked are arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..config.run import COUNTS, TrainConfig
from .table import Cell, Table

WHOLE = {*COUNTS, "tokens"}  # columns of whole numbers


def trained(train: TrainConfig) -> dict[str, Any]:
    """The fields of a configuration, as columns."""
    return {name: getattr(train, name) for name in train.__struct_fields__}


def cases(record: Mapping[str, Any]) -> Table:
    """A row of `record`; where values are arrays a row for each of their elements, in order, the others repeated.

    What counts things stays a whole number.
    """
    shapes = [value.shape for value in record.values() if hasattr(value, "shape")]
    if not shapes:
        return Table("", list(record), [list(record.values())])
    import numpy as np

    shape = np.broadcast_shapes(*shapes)

    def column(name: str, value: Any) -> list[Any]:
        if not hasattr(value, "shape"):
            return [value] * int(np.prod(shape))
        listed: list[Any] = np.broadcast_to(value, shape).reshape(-1).tolist()
        return [int(each) for each in listed] if name in WHOLE else listed

    columns = [column(name, value) for name, value in record.items()]
    return Table("", list(record), [list(row) for row in zip(*columns, strict=True)])


def sweep(title: str, train: TrainConfig, figures: Mapping[str, tuple[Any, Callable[[Any], Cell | str]]]) -> Table:
    """The options that are arrays and some figures of them, a row a case; each figure with how it is written."""
    varied: dict[str, Any] = {}
    for name, value in trained(train).items():  # what follows another field is that field's array
        if hasattr(value, "shape") and not any(value is other for other in varied.values()):
            varied[name] = value
    found = cases({**varied, **{name: value for name, (value, _) in figures.items()}})
    forms = [None] * len(varied) + [form for _, form in figures.values()]
    rows = [[cell if form is None else form(cell) for cell, form in zip(row, forms, strict=True)] for row in found.rows]
    columns = [*(name.replace("_", " ") for name in varied), *figures]
    return Table(title, columns, rows, align="r" * len(columns))
