"""Fit one measured table to kernel timings through the timing model itself; report errors by regime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from roofline.hardware import Device

Array = NDArray[np.float64]
Range = tuple[float, float, float]  # start, lowest, highest


class Sample(NamedTuple):
    """Rows of one device: how to predict their seconds with given measured tables, and what was measured."""

    device: Device
    predict: Callable[[Device], Array]
    seconds: Array
    weight: Array
    regimes: Mapping[str, NDArray[np.bool_]]
    holdout: NDArray[np.bool_]
    sources: str


class Case(NamedTuple):
    """One table to fit: where it goes, the constants fitted (start, low, high), and the rows."""

    file: str
    table: str
    ranges: Mapping[str, Range]
    samples: list[Sample]
    checks: tuple[Sample, ...] = ()  # judged, never fitted


def with_table(device: Device, table: str, values: Mapping[str, Any]) -> Device:
    """The device with some constants of one measured table replaced."""
    measured = device.measured
    head, _, key = table.partition(".")
    current = getattr(measured, head)
    if key:
        new = {**current, key: msgspec.structs.replace(current[key], **values)}
    else:
        new = msgspec.structs.replace(current, **values)
    return msgspec.structs.replace(device, measured=msgspec.structs.replace(measured, **{head: new}))


def fit(case: Case) -> None:
    """Fit one table on all rows and, if some are held out, on the rest; print errors and the TOML table."""
    names = list(case.ranges)
    start, low, high = (np.array([case.ranges[name][i] for name in names]) for i in range(3))

    def errors(theta: Array, sample: Sample) -> Array:
        values = dict(zip(names, theta.tolist(), strict=True))
        return np.log(sample.predict(with_table(sample.device, case.table, values)) / sample.seconds)

    # Mean weight 1, so that the soft loss starts where it should: at errors of 10 %.
    unit = sum(s.weight.sum() for s in case.samples) / sum(len(s.weight) for s in case.samples)

    def solve(keep: Callable[[Sample], NDArray[np.bool_]]) -> Array:
        def residuals(theta: Array) -> Array:
            return np.concatenate([(errors(theta, s) * np.sqrt(s.weight / unit))[keep(s)] for s in case.samples])

        scale = np.maximum(np.abs(start), 0.1)
        best = least_squares(
            residuals, start, bounds=(low, high), loss="soft_l1", f_scale=0.1, x_scale=scale, diff_step=1e-3
        )
        return np.asarray(best.x)

    everything = solve(lambda s: np.ones(len(s.seconds), bool))
    held = any(s.holdout.any() for s in case.samples)
    judged = solve(lambda s: ~s.holdout) if held else everything
    print(f"\n# {case.file}: measured.{case.table}")
    for sample in case.samples:
        if sample.holdout.any():
            report(sample, errors(judged, sample), sample.holdout, "held out")
        else:
            report(sample, errors(everything, sample), np.ones(len(sample.seconds), bool), "fitted")
    for sample in case.checks:
        report(sample, errors(everything, sample), np.ones(len(sample.seconds), bool), "not fitted")
    total = np.concatenate([np.abs(np.expm1(errors(everything, s))) for s in case.samples])
    focus = [s.regimes.get("train", s.regimes.get("large", np.ones(len(s.seconds), bool))) for s in case.samples]
    mape = total[np.concatenate(focus)].mean() * 100
    print(f"[measured.{case.table}]")
    for name, value in zip(names, everything, strict=True):
        print(f"{name} = {float(f'{value:.3g}')}")
    print(f'source = "{"; ".join(dict.fromkeys(s.sources for s in case.samples))}"')
    print(f"rows = {len(total)}\nmape = {mape:.1f}")


def report(sample: Sample, log_error: Array, rows: NDArray[np.bool_], how: str) -> None:
    """Print one line of errors by regime, in percent, over the chosen rows."""
    error = np.expm1(log_error) * 100
    cells = [
        f"{k} {np.abs(error[rows & mask]).mean():.1f}" for k, mask in sample.regimes.items() if (rows & mask).any()
    ]
    big = rows & sample.regimes.get("train", sample.regimes.get("large", rows))
    low, middle, high = np.percentile(error[big if big.any() else rows], (10, 50, 90))
    print(
        f"# {sample.device.id}, {sample.sources}: {rows.sum()} of {len(error)} rows {how}:",
        f"MAPE {np.abs(error[rows]).mean():.1f};",
        *cells,
        f"| 10, 50, 90 % of large: {low:+.1f} {middle:+.1f} {high:+.1f}",
    )


def held_out(*columns: pd.Series[Any]) -> NDArray[np.bool_]:
    """A third of the distinct shapes, the same ones in every run."""
    key = pd.util.hash_pandas_object(pd.concat(columns, axis=1), index=False).to_numpy()
    return np.asarray(key % 3 == 0)
