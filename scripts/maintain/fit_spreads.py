"""Fit the spreads behind the intervals, so that 80 % of measurements fall inside; report on sources left out.

    python scripts/maintain/fit_spreads.py RUNS.csv

Scaled are the spreads of `CAUSES`: what software does that no term explains (`spread.software` of `constants.toml`),
the terms of the step (`timing/terms.py`), experts (`spread.experts`) and a source's blanks (`spread.blanks`).
Evidence, power limits and hosts are not: too few rows show them. The loss is the interval score of the central 80 %
range (Gneiting and Raftery 2007, eq. 43), which is least for the true quantiles: its width, and ten times what a
measurement lies outside, both as logarithms; a source weighs at most as 20 rows. Printed are coverage and the median
of high over low: as they are, fitted to all, and with each source, each house (several sources of the same people) and
each device predicted by spreads fitted to the others. The noisiest source is left out, as in `fit_training.py`.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from fit_training import NOISY, house_of

from roofline.timing.interval import Z80
from roofline.validation.rows import read_rows
from roofline.validation.runs import Prediction, predict_runs, predicted, regime_of, source_of

CAUSES = ("software", "terms", "experts", "blanks")
GRID = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6, 2.0)
OUTSIDE = 2 / 0.2  # what the interval score charges beyond an interval that leaves out a fifth
MOST_ROWS = 20  # that a source counts as
Factors = Mapping[str, float]


class Row(NamedTuple):
    """A prediction, the logarithm of what it missed by, and how much it weighs."""

    of: Prediction
    miss: float
    weight: float


def half_width(row: Row, factors: Factors) -> float:
    """Of the interval, as a logarithm, with each cause's spread times its factor."""
    return Z80 * math.sqrt(sum(v * factors.get(cause, 1.0) ** 2 for cause, v in row.of.variances.items()))


def interval_score(rows: Sequence[Row], factors: Factors) -> float:
    """The weighted mean interval score of the logarithm of the step time."""
    total = 0.0
    for row in rows:
        half = half_width(row, factors)
        total += row.weight * (2 * half + OUTSIDE * max(row.miss - half, 0.0))
    return total / sum(row.weight for row in rows)


def fitted(rows: Sequence[Row], sweeps: int = 4) -> dict[str, float]:
    """The factor of each cause, by coordinate descent over the grid."""
    factors = dict.fromkeys(CAUSES, 1.0)
    for _ in range(sweeps):
        for cause in CAUSES:
            scores = {value: interval_score(rows, {**factors, cause: value}) for value in GRID}
            least = min(scores.values())
            # what no row shows stays as it is
            factors[cause] = min((v for v in GRID if scores[v] <= least), key=lambda value: abs(value - 1))
    return factors


def left_out(rows: Sequence[Row], group: Callable[[Row], str]) -> dict[str, dict[str, float]]:
    """For each group, the factors fitted to the others."""
    return {name: fitted([row for row in rows if group(row) != name]) for name in sorted({group(row) for row in rows})}


def report(how: str, rows: Sequence[Row], factors_of: Callable[[Row], Factors]) -> None:
    """Coverage of rows, coverage with sources weighted as in the fit, and the median of high over low, by regime."""
    for regime in ("dense", "experts"):
        mine = [row for row in rows if regime_of(row.of) == regime]
        if not mine:
            continue
        halves = [half_width(row, factors_of(row)) for row in mine]
        inside = [row.miss <= half for row, half in zip(mine, halves, strict=True)]
        weighted = sum(row.weight for row, held in zip(mine, inside, strict=True) if held)
        width = math.exp(2 * sorted(halves)[len(halves) // 2])
        print(
            f"{how:<20} {regime:<8} {sum(inside) / len(mine):>6.1%} of {len(mine):,} rows inside, "
            f"{weighted / sum(row.weight for row in mine):.1%} by source; median high / low {width:.2f}"
        )


def main() -> int:
    """Fit, and print what the fit does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs")
    args = parser.parse_args()
    done = [p for p in predicted(predict_runs(read_rows(args.runs))) if source_of(p) not in NOISY]
    counts = Counter(map(source_of, done))
    rows = [Row(p, abs(p.log_error), min(1.0, MOST_ROWS / counts[source_of(p)])) for p in done]
    groups: dict[str, Callable[[Row], str]] = {
        "source left out": lambda row: source_of(row.of),
        "house left out": lambda row: house_of(source_of(row.of)),
        "device left out": lambda row: row.of.row["device"],
    }
    report("as it is", rows, lambda _: {})
    factors = fitted(rows)
    report("fitted to all", rows, lambda _: factors)
    for how, group in groups.items():
        others = left_out(rows, group)
        report(how, rows, lambda row, group=group, others=others: others[group(row)])
    print("factors on the spreads:", ", ".join(f"{cause} {factor:g}" for cause, factor in factors.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
