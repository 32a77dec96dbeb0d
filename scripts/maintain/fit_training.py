"""Fit the few constants that only whole training runs show, and report errors on sources left out of the fit.

Sources of one house (the same people, who now and then publish the same measurement twice) are left out together.

    python scripts/maintain/fit_training.py RUNS.csv [--folds 4]

Constants: sustained matrix rate per architecture, efficiency of the software profiles that have one, the host time of
dealing tokens out to experts, and the slowdown of compute beside communication. The loss is the mean over sources of
the mean absolute log error, so that a source with many rows weighs no more than one with few; rows of LoRA, and of
sources that call themselves noisy, are left out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from roofline.config.stack import load_stack, stack_names
from roofline.hardware import load_device
from roofline.timing import schedule
from roofline.validation.rows import read_rows
from roofline.validation.runs import Prediction, predict_runs, predicted, source_of

NOISY = {"bsv100", "msl"}
HOUSES = (
    {"mbr", "nemo", "mzoo", "fold"},
    {"mlperf31", "mlperf50", "mlperf51"},
    {"meg20", "mlm", "korth22"},
    {"bs176", "bs104", "bsv100", "bloom"},
    {"fms", "fmsacc"},
    {"fa2", "flash"},
    {"tt", "ao", "tune"},
    {"tr", "mt", "iw"},
    {"pax", "jaxtb"},
    {"llama1", "llama3"},
    {"neox", "pythia"},
)
GRID = {
    "compute": [0.70, 0.74, 0.78, 0.82, 0.85, 0.88, 0.91, 0.94, 0.97, 1.0],
    "efficiency": [0.80, 0.84, 0.87, 0.90, 0.93, 0.96, 1.0],
    "dispatch_us": [1000.0, 2000.0, 3000.0, 4000.0, 5000.0, 6000.0],
    "interference": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
}


def sustained_entries(rows: Sequence[dict[str, str]]) -> dict[str, list[Any]]:
    """The `Sustained` entries in use, by architecture."""
    entries: dict[str, list[Any]] = {}
    for name in sorted({row["device"] for row in rows}):
        device = load_device(name)
        entries.setdefault(device.architecture, []).append(device.measured.sustained)
    return entries


def variants(rows: Sequence[dict[str, str]]) -> list[str]:
    """All profiles, and those as of a release that rows run on."""
    return sorted({*stack_names(), *(p.stack for p in predicted(predict_runs(rows)))})


def parameters(entries: dict[str, list[Any]], names: Sequence[str]) -> dict[str, tuple[str, Callable[[float], None]]]:
    """Name -> (grid, setter) of every free constant."""

    def setter(targets: list[Any], field: str) -> Callable[[float], None]:
        def assign(value: float) -> None:
            for target in targets:
                msgspec.structs.force_setattr(target, field, value)

        return assign

    def interference(value: float) -> None:
        schedule.INTERFERENCE = value

    free = {f"compute.{name}": ("compute", setter(group, "compute")) for name, group in entries.items()}
    for name in names:
        if load_stack(name).efficiency < 1:
            free[f"efficiency.{name}"] = ("efficiency", setter([load_stack(name)], "efficiency"))
    waiting = [stack for stack in map(load_stack, names) if stack.dispatch_us]
    free["dispatch_us"] = ("dispatch_us", setter(waiting, "dispatch_us"))
    free["interference"] = ("interference", interference)
    return free


def house_of(source: str) -> str:
    """The people behind a source, by the first of their sources."""
    return min(next((house for house in HOUSES if source in house), {source}))


def errors_by_source(predictions: Sequence[Prediction]) -> dict[str, list[float]]:
    """Log errors of each source."""
    errors: dict[str, list[float]] = {}
    for p in predicted(predictions):
        errors.setdefault(source_of(p), []).append(p.log_error)
    return errors


def loss(rows: Sequence[dict[str, str]]) -> float:
    """Mean over sources of the mean absolute log error, each source weighing at most as 20 rows."""
    groups = errors_by_source(predict_runs(rows))
    weights = {name: min(len(errors), 20) ** 0.5 for name, errors in groups.items()}
    total = sum(weights[name] * sum(map(abs, errors)) / len(errors) for name, errors in groups.items())
    return total / max(sum(weights.values()), 1e-9)


def touched(name: str, rows: Sequence[dict[str, str]], stacks: dict[str, str]) -> Sequence[dict[str, str]]:
    """The rows that a constant of this name bears on; `stacks`: the profile of each row."""
    kind, _, of = name.partition(".")
    if kind == "compute":
        return [row for row in rows if load_device(row["device"]).architecture == of]
    if kind == "efficiency":
        return [row for row in rows if stacks.get(row["id"]) == of]
    if kind == "dispatch_us":
        return [row for row in rows if row["n_experts"]]
    return rows


def fit(rows: Sequence[dict[str, str]], sweeps: int = 2) -> dict[str, float]:
    """Coordinate descent over the grids."""
    stacks = {p.id: p.stack for p in predicted(predict_runs(rows))}
    free = parameters(sustained_entries(rows), variants(rows))
    best = {
        name: 0.9 if grid in {"compute", "efficiency"} else GRID[grid][len(GRID[grid]) // 2]
        for name, (grid, _) in free.items()
    }
    for name, (_, assign) in free.items():
        assign(best[name])
    for _ in range(sweeps):
        for name, (grid, assign) in free.items():
            mine = touched(name, rows, stacks)
            if not mine:  # what no row shows stays where it starts
                continue
            scores = {}
            for value in GRID[grid]:
                assign(value)
                scores[value] = loss(mine)
            best[name] = min(scores, key=lambda value: scores[value])
            assign(best[name])
    return best


def main() -> int:
    """Fit on everything, then fold by fold with whole sources left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--most", type=int, default=60, help="rows of one source used in the fit")
    args = parser.parse_args()
    rows = [
        row for row in read_rows(args.runs) if row["workload"] == "pretrain" and row["id"].split("-")[0] not in NOISY
    ]
    sources: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        sources.setdefault(row["id"].split("-")[0], []).append(row)
    sampled = {name: mine[:: max(1, len(mine) // args.most)] for name, mine in sources.items()}
    flat = [row for mine in sampled.values() for row in mine]
    best = fit(flat)
    print("all sources:", {name: round(value, 2) for name, value in best.items()}, f"loss {loss(flat):.3f}")
    names = sorted(sampled, key=lambda name: -len(sources[name]))
    houses = list(dict.fromkeys(map(house_of, names)))
    held: dict[str, list[float]] = {}
    for fold in range(args.folds):
        out = {name for name in names if house_of(name) in houses[fold :: args.folds]}
        fit([row for name in names if name not in out for row in sampled[name]])
        held.update(errors_by_source(predict_runs([row for name in out for row in sources[name]])))
    print("held out, by source: rows, MAPE")
    macro = []
    for name in names:
        if name in held:
            mape = sum(abs(math.exp(error) - 1) for error in held[name]) / len(held[name])
            macro.append(mape)
            print(f"  {name:14s} {len(held[name]):5d} {mape:7.1%}")
    print(f"macro over held-out sources: {sum(macro) / len(macro):.1%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
