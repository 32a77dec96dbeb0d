"""What every answer can do: a JSON object, a frame, tables, a page in a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

if TYPE_CHECKING:
    import pandas as pd

LONGEST = 200  # letters of what `brief` shows


class Result:
    """An answer: a frozen Struct whose fields carry the names of the JSON keys.

    How it looks is said in `roofline.view`, in the module that `VIEW` names: it is found when it is first asked for,
    so that what computes an answer never depends on how it is shown.
    """

    __slots__ = ()
    VIEW: ClassVar[str]

    @property
    def notes(self) -> Sequence[str]:
        """What the command says below its tables, of answers that keep no assumptions of their own."""
        found: Sequence[str] = self._view().notes(self)
        return found

    def to_dict(self) -> dict[str, Any]:
        """The JSON object that the command prints with ``--format json``: plain values in base units."""
        view = self._view()
        found: dict[str, Any] = plain({"notes": view.notes(self), **view.data(self)})
        return found

    def to_frame(self) -> pd.DataFrame:
        """The answer as a pandas frame: the rows that the command prints with ``--format csv``."""
        import pandas as pd

        records = self._view().records(self)
        rows = [[getattr(cell, "value", cell) for cell in row] for row in records.rows]
        return pd.DataFrame(rows, columns=list(records.keys or records.columns))

    def tables(self) -> list[Any]:
        """The tables that the command prints, as `view.table.Table`."""
        found: list[Any] = self._view().tables(self)
        return found

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        page = import_module("roofline.view.html.page")
        found: str = page.html(self._view(), self)
        return found

    def _view(self) -> Any:
        return import_module(f"roofline.view.{self.VIEW}")


def plain(value: Any) -> Any:
    """Plain dicts, lists, strings and numbers from Structs, NumPy values, sets, sequences and paths."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, msgspec.Struct):
        value = {key: getattr(value, key) for key in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # NumPy arrays and scalars
        return plain(value.tolist())
    if isinstance(value, Iterable):
        items = [plain(item) for item in value]
        return sorted(items) if isinstance(value, set | frozenset) else items
    return str(value)


def brief(value: msgspec.Struct) -> str:
    """A Struct in one line: what differs from its defaults, arrays by their shape; dots for what is beyond a line.

    >>> from roofline.config.run import TrainConfig
    >>> brief(TrainConfig(micro_batch=8))
    'TrainConfig(micro_batch=8)'
    """
    shown = []
    for field in msgspec.structs.fields(value):
        found = getattr(value, field.name)
        if hasattr(found, "shape"):
            shown.append(f"{field.name}=<array {found.shape}>")
        elif found != field.default:
            shown.append(f"{field.name}={found!r}")
    while len(", ".join(shown)) > LONGEST:
        shown = [*shown[:-2], "..."]
    return f"{type(value).__name__}({', '.join(shown)})"
