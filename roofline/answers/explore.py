"""One run with other micro batches, sequences and numbers of devices: every combination, in one call over arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import msgspec

from ..arrays import maximum
from ..config.run import COUNTS, TrainConfig
from ..config.settle import Run
from ..errors import RooflineError
from ..footprint.parts import PARTS
from .estimate import Estimate, estimate_run

AXES = ("micro_batch", "seq_len", "num_devices")
STEPS = 3  # doublings and halvings around what was asked
LEAST = 5  # values of an axis where they exist


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One combination: the figures of an estimate, or why there is none.

    Attributes:
        refused: Why no such run is possible; empty where it is.
        figures: Fields of `Estimate` and `Memory` by name.
        lost: Share of the peak lost, by term of the waterfall.
        parts: Bytes by part of the memory.
    """

    refused: str = ""
    figures: Mapping[str, float] = {}
    lost: Mapping[str, float] = {}
    parts: Mapping[str, float] = {}


class Explored(msgspec.Struct, frozen=True, kw_only=True):
    """Values of each axis, and a case for each combination in their order (the last axis varies fastest)."""

    axes: Mapping[str, tuple[int, ...]]
    cases: tuple[Case, ...]


FIGURES = ("step_time_s", "step_time_low_s", "step_time_high_s", "tokens_per_s", "mfu")
MEMORY = ("needed_bytes", "capacity_bytes", "fit_probability")


def explore(run: Run) -> Explored:
    """The run and its neighbours along each axis; a global batch that was said stays.

    Raises:
        RooflineError: `run` is an array of runs.
    """
    run.alone("what is explored")
    axes = {name: values(run, name) for name in AXES}
    cases: list[Case | None] = []
    alike: dict[tuple[Any, ...], list[tuple[int, tuple[int, ...]]]] = {}
    for place, chosen in enumerate(product(*axes.values())):
        try:
            train = _changed(run, chosen).train
        except RooflineError as error:
            cases.append(Case(refused=str(error)))
            continue
        cases.append(None)
        alike.setdefault(_words(train), []).append((place, chosen))
    for members in alike.values():
        places, chosen_ones = zip(*members, strict=True)
        for place, case in zip(places, _cases(run, chosen_ones), strict=True):
            cases[place] = case
    return Explored(axes=axes, cases=tuple(case for case in cases if case is not None))


def values(run: Run, name: str) -> tuple[int, ...]:
    """Doublings and halvings around what the run has, as far as they are possible: of devices whole groups of ranks."""
    train = run.train
    own = int(getattr(train, name) or 0)
    least = int(train.tp * train.pp * train.cp) if name == "num_devices" else 128 if name == "seq_len" else 1
    below = [own >> step for step in range(STEPS, 0, -1) if own % (1 << step) == 0 and own >> step >= least]
    above = max(STEPS, LEAST - 1 - len(below))
    longest = run.model.learned_positions if name == "seq_len" else 0
    grown = [own << step for step in range(above + 1)]
    return (*below, *(value for value in grown if not longest or value <= max(longest, own)))


def _changed(run: Run, chosen: Sequence[Any]) -> Run:
    """The run with other values on the axes; how many data-parallel ranks there are follows from the devices."""
    ranks = {"dp": None} if "dp" in run.options else {}
    return run.changed(**dict(zip(AXES, chosen, strict=True)), **ranks)


def _words(train: TrainConfig) -> tuple[Any, ...]:
    """All of a configuration but its numbers: runs that agree in it are one array."""
    return tuple(getattr(train, name) for name in train.__struct_fields__ if name not in COUNTS)


def _cases(run: Run, chosen: Sequence[tuple[int, ...]]) -> list[Case]:
    """Estimates of runs alike, from one call; where the device lacks a figure that some need, from halves of them."""
    import numpy as np

    count = len(chosen)
    try:
        found = estimate_run(_changed(run, [np.array(each, dtype=float) for each in zip(*chosen, strict=True)]))
    except RooflineError as error:
        if count == 1:
            return [Case(refused=str(error))]
        return _cases(run, chosen[: count // 2]) + _cases(run, chosen[count // 2 :])

    def column(value: Any) -> list[float]:
        listed: list[float] = np.broadcast_to(np.asarray(value, dtype=float), count).tolist()
        return listed

    return _by_case(found, column, count)


def _by_case(found: Estimate, column: Any, count: int) -> list[Case]:
    figures = {name: column(getattr(found, name)) for name in FIGURES}
    figures |= {name: column(getattr(found.memory, name)) for name in MEMORY}
    lost = {step.term: column(maximum(step.lost, 0)) for step in found.waterfall}
    parts = {name: column(getattr(found.memory, name)) for name in PARTS}

    def at(columns: Mapping[str, list[float]], index: int) -> dict[str, float]:
        return {name: values[index] for name, values in columns.items()}

    return [Case(figures=at(figures, i), lost=at(lost, i), parts=at(parts, i)) for i in range(count)]
