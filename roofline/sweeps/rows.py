"""Cases of a sweep as columns: those that differ in numbers alone are worked out together, as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from .. import units
from ..answers.comparison import Case
from ..answers.estimate import estimate
from ..arrays import HELD
from ..config.options import NUMBERS, WORDS
from ..config.run import LARGEST, TrainConfig
from ..config.values import flag, overlap, probability
from ..counting.keys import nearby_keys
from ..errors import RooflineError
from ..model.spec import ModelConfig
from ..result import plain
from ..view.estimate import FIGURES, MEMORY, record

_TYPES = {units.positive_int: int, units.sequence_length: int, flag: bool, overlap: float, probability: float}
_WORDS = ("mfu_rule", "bound")
BATCH = frozenset({"micro_batch", "global_batch"})
LAYOUT = frozenset({"num_devices", "tp", "pp", "dp", "cp"})
MOST = 2**11  # cases worked out together: 50 MB


def _type_of(field: str) -> type:
    """The one type that a field of `TrainConfig` has in a file."""
    return _TYPES.get({**NUMBERS, **WORDS}.get(field), float if field in NUMBERS else str)  # type: ignore[arg-type]


COLUMNS: dict[str, type] = {  # as of `view.estimate.record`
    "model": str,
    "device": str,
    **{name: _type_of(name) for name in TrainConfig.__struct_fields__},
    **{name: str if name in _WORDS else float for name in FIGURES},
    **{f"memory_{name}": float for name in MEMORY},
    "fits": bool,
}


class Rows(msgspec.Struct):
    """Cases as columns.

    Attributes:
        columns: Values of those that can be, by column, in their order; None where one is missing.
        refused: How many cannot be.
        reason: Why not the first of those.
    """

    columns: dict[str, list[Any]]
    refused: int
    reason: str

    @property
    def written(self) -> int:
        """How many can be."""
        return len(self.columns["model"])


def rows_of(cases: Sequence[Case]) -> Rows:
    """Work out cases, each by itself or with those that differ in numbers alone."""
    table = {name: np.empty(len(cases), dtype=object) for name in COLUMNS}
    can = np.ones(len(cases), dtype=bool)
    for places in _together(cases):
        _fill(table, can, cases, places)
    refused = np.flatnonzero(~can).tolist()
    columns = {name: column[can].tolist() for name, column in table.items()}
    return Rows(columns, len(refused), _reason(cases[refused[0]]) if refused else "")


def _reason(case: Case) -> str:
    """Why a case cannot be, as it is said of the one."""
    try:
        estimate(case.model, case.device, **case.options)
    except RooflineError as error:
        return str(error)
    raise AssertionError(f"{case.options} can be")


def _together(cases: Sequence[Case]) -> list[Any]:
    """Places of cases that are worked out together, in the order of their first: arrays."""
    groups: dict[Any, list[int]] = {}
    for place, case in enumerate(cases):
        groups.setdefault(_alike(case, place), []).append(place)
    return [np.array(group[i : i + MOST]) for group in groups.values() for i in range(0, len(group), MOST)]


def _alike(case: Case, place: int) -> Any:
    """What cases share that are worked out together: all but some numbers, and what defaults rest on.

    Defaults are one for all: they rest on whether a degree is one, and whether there is data parallelism
    (`config.defaults`). Expert parallelism is checked of numbers alone (`config.settle.resolve`), a micro batch that
    nobody says is chosen for each case, and a module is traced for each.
    """
    options = case.options
    if not isinstance(case.model, ModelConfig) or case.model.recorded is not None or "micro_batch" not in options:
        return place
    along = BATCH if {"ep", "etp"} & options.keys() else BATCH | LAYOUT
    along = along | {"seq_len"} if _of_any_length(case.model) else along
    tp, pp, cp, dp = (options.get(name, 1) for name in ("tp", "pp", "cp", "dp"))
    devices = options.get("num_devices", tp * pp * cp)
    ranks = dp * cp if "dp" in options else devices / (tp * pp)
    ones = (tp == 1, pp == 1, cp == 1, dp == 1, devices == 1, ranks <= 1)
    return id(case.model), id(case.device), tuple(each for each in options.items() if each[0] not in along), ones


def _of_any_length(model: ModelConfig) -> bool:
    """Whether all that is said of a model is the same whatever the length of a sequence: no windows, no images."""
    windows = any(group.attention and nearby_keys(group.attention, LARGEST) < LARGEST for group in model.groups)
    return not model.towers and not windows


def _fill(table: dict[str, Any], can: Any, cases: Sequence[Case], places: Any) -> None:
    """Work out cases that are alike, without those that cannot be.

    Args:
        table: Gets their figures, by column: [cases].
        can: Gets False for what cannot be: [cases].
        cases: All cases of the part.
        places: Those that are alike.
    """
    first = cases[places[0]]
    HELD.set(None)
    try:
        found = record(estimate(first.model, first.device, **_options([cases[place] for place in places])))
    except RooflineError:
        held = True if len(places) == 1 else HELD.get()
        if held is None:  # whatever is not checked element by element
            parts = np.array_split(places, 2)
        else:
            refused = np.broadcast_to(held, places.shape) != 0
            can[places[refused]] = False
            parts = [places[~refused]]
        for part in parts:
            if part.size:
                _fill(table, can, cases, part)
        return
    for name, value in found.items():
        table[name][places] = _typed(value, COLUMNS[name])


def _options(cases: Sequence[Case]) -> dict[str, Any]:
    """The options of cases that are alike: numbers that differ as arrays: [cases]."""
    options = dict(cases[0].options)
    for name in (BATCH | LAYOUT | {"seq_len"}) & options.keys():
        values = [case.options[name] for case in cases]
        if any(value != values[0] for value in values):
            options[name] = np.array(values, dtype=np.float64)
    return options


def _typed(value: Any, kind: type) -> Any:
    """A value, or an array of them, as its column has it; None where it is missing or no finite number."""
    if hasattr(value, "shape"):
        listed = np.asarray(value).astype(kind).astype(object)
        if kind is float:
            listed[~np.isfinite(value)] = None
        return listed
    if value is None or isinstance(value, kind):
        return None if isinstance(value, float) and not math.isfinite(value) else value
    if kind is str:
        return str(plain(value))
    return kind(value)
