"""Fit what the allocator loses, what stands beside it, and how sure figures of memory are; report on tables left out.

    python scripts/maintain/fit_memory.py

Read are the packaged tables of memory and of our own runs. Fitted are the constants of `footprint/allocator.py` to what
drivers show of runs that ran, and to which runs ran and which ran out (log loss); then the spreads of outcomes. A table
is what one source published of one kind of run. Printed are all constants fitted to everything, what each table misses
by under constants fitted to the others, and the spreads of `footprint/spreads.py`, which hold 80 % of what is left out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

from roofline.config.base import base_dtype
from roofline.counting.step import Step, build_step
from roofline.errors import RooflineError
from roofline.footprint import allocator
from roofline.footprint.activations import GIB
from roofline.footprint.parts import memory_for
from roofline.footprint.spreads import Z80
from roofline.validation.memory import NOT_A_PEAK, as_run, figures_of, usable_bytes
from roofline.validation.row_config import config_of
from roofline.validation.row_model import model_of
from roofline.validation.rows import number, read_table
from roofline.validation.runs import data_file

GRIDS = {
    "working": (0.12, 0.15, 0.18),
    "cut": (0.275, 0.3, 0.325),
    "full": (0.7, 0.8, 0.9),
    "first": (0.25, 0.5, 0.75),
    "context": (1.0, 1.1, 1.2),
    "communicators": (1.4, 1.6, 1.8),
}
TABLES = (None, "measured")  # published, and our own
OUTCOMES = (0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1)
MOST = 0.3  # that one figure counts as a miss
MISREPORTED = 0.02  # of outcomes: what ran out, or ran, for reasons that a row does not say


class Fitted(NamedTuple):
    """Constants of the allocator, as `constants.toml` describes them."""

    working: float
    cut: float
    full: float
    first: float
    context: float
    communicators: float

    def take_effect(self) -> None:
        """In this process."""
        allocator.WORKING, allocator.CUT, allocator.FULL = self.working, self.cut, self.full
        allocator.FIRST = self.first
        allocator.CONTEXT_BYTES, allocator.NCCL_BYTES = self.context * GIB, self.communicators * GIB


OPTIONS = [Fitted(*values) for values in product(*GRIDS.values())]


class Case(NamedTuple):
    """A row in GiB, with what the driver shows and what is needed under each of the `OPTIONS`."""

    table: str
    regime: str
    capacity: float
    shown: float | None
    ran: bool | None
    predicted: dict[Fitted, tuple[float, float]]

    def miss(self, fitted: Fitted) -> float:
        """The logarithm of the driver's figure as predicted over as measured."""
        return math.log(self.predicted[fitted][0] / (self.shown or math.nan))

    def needed(self, fitted: Fitted) -> float:
        """What the run cannot do without."""
        return self.predicted[fitted][1]

    def surprise(self, fitted: Fitted, spread: float) -> float:
        """Of the outcome."""
        likely = 0.5 * (1 + math.erf(math.log(self.capacity / self.needed(fitted)) / spread / math.sqrt(2)))
        said = likely if self.ran else 1 - likely
        return -math.log((1 - MISREPORTED) * said + MISREPORTED * (1 - said))


def cases() -> list[Case]:
    """Every row with a figure of the driver or an outcome that we predict: the smallest demand of its candidates."""
    found: list[tuple[Step, Case]] = []
    for given in TABLES:
        for row in read_table(data_file("memory", given)):
            kind = (row.get("memory_kind") or "").lower()
            capacity = number(row, "device_memory_gib")
            if capacity is None or any(word in kind for word in (*NOT_A_PEAK, "only")):
                continue
            run = as_run(row)
            try:
                model = model_of(run)
                steps = [build_step(model, train) for train in config_of(run, model).candidates]
            except RooflineError:
                continue
            step = min(steps, key=lambda each: memory_for(each, usable_bytes(capacity)).total_bytes)
            train, fits = step.train, number(row, "fits")
            regime = "alone" if train.num_devices == 1 else "split" if train.tp * train.pp > 1 else "sharded"
            case = Case(
                table=f"{row['source'].partition(' @')[0].rpartition('/')[2][:30]} {row.get('workload') or ''}",
                regime="quantised" if base_dtype(train.base_dtype) else regime,
                capacity=usable_bytes(capacity) / GIB,
                shown=figures_of(row, kind).get("driver"),
                ran=None if fits is None else bool(fits),
                predicted={},
            )
            found.append((step, case))
    for fitted in OPTIONS:
        fitted.take_effect()
        for step, case in found:
            memory = memory_for(step, case.capacity * GIB)
            case.predicted[fitted] = memory.total_bytes / GIB, memory.needed_bytes / GIB
    return [case for _, case in found]


def by_table(rows: Iterable[Case]) -> dict[str, list[Case]]:
    """Cases of each table."""
    found: dict[str, list[Case]] = {}
    for case in rows:
        found.setdefault(case.table, []).append(case)
    return found


def mean(values: Sequence[float]) -> float:
    """Arithmetic."""
    return sum(values) / len(values)


def fit(rows: Sequence[Case]) -> tuple[Fitted, dict[bool, float]]:
    """The constants of the allocator, and the spreads of outcomes of runs that split a model and of others."""
    shown = [case for case in rows if case.shown]
    known = [case for case in rows if case.ran is not None]

    def widths(fitted: Fitted) -> dict[bool, tuple[float, float]]:
        kinds = {split: [case for case in known if (case.regime == "split") == split] for split in (True, False)}
        return {
            split: min((sum(case.surprise(fitted, width) for case in some), width) for width in OUTCOMES)
            for split, some in kinds.items()
        }

    def cost(fitted: Fitted) -> float:
        missed = mean([min(abs(case.miss(fitted)), MOST) for case in shown])
        return missed + sum(total for total, _ in widths(fitted).values()) / len(known)

    best = min(OPTIONS, key=cost)
    return best, {split: width for split, (_, width) in widths(best).items()}


def spread(misses: Iterable[float]) -> float:
    """The standard deviation of a normal distribution of which 80 % are within what 80 % of the misses are."""
    ordered = sorted(map(abs, misses))
    return ordered[math.ceil(0.8 * len(ordered)) - 1] / Z80


def main() -> None:
    """Print everything."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rows = cases()
    fitted, outcome = fit(rows)
    print(f"all: {fitted}, outcomes of split models {outcome[True]}, of others {outcome[False]}")
    missed: dict[str, list[float]] = {}
    right = known = 0
    for table, left in by_table(rows).items():
        others, _ = fit([case for case in rows if case.table != table])
        figures, outcomes = [case for case in left if case.shown], [case for case in left if case.ran is not None]
        words = f"{table:50s}"
        for case in figures:
            missed.setdefault(case.regime, []).append(case.miss(others))
        if figures:
            misses = sorted(abs(case.miss(others)) for case in figures)
            words += f" driver of {len(figures):3d}: median {misses[len(misses) // 2]:.1%}, mean {mean(misses):.1%}"
        if outcomes:
            correct = sum((case.needed(others) <= case.capacity) == case.ran for case in outcomes)
            right, known = right + correct, known + len(outcomes)
            words += f" outcomes {correct} of {len(outcomes)}"
        print(words)
    print("spreads: " + ", ".join(f"{regime} {spread(found):.3f}" for regime, found in sorted(missed.items())))
    every = [abs(miss) for found in missed.values() for miss in found]
    print(f"left out: drivers' figures miss by {mean(every):.1%} in the mean, {right / known:.1%} of outcomes right")


if __name__ == "__main__":
    main()
