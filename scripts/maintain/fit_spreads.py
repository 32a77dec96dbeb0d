"""How wide intervals have to be, per regime, for 80 % of measurements to fall inside; on sources left out of the fit.

    python scripts/maintain/fit_spreads.py RUNS.csv [--folds 5]

A regime is dense models or mixtures of experts. For each the factor on the logarithm of the intervals is fitted on the
sources of the other folds, a source weighing at most as 20 rows, and tried on those left out: coverage and the median
of high over low before and after. `timing/interval.py` holds the spreads that the factors are of.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence

from roofline.validation.rows import read_rows
from roofline.validation.runs import Prediction, predict_runs, predicted, regime_of, source_of

AIM = 0.80
MOST_ROWS = 20  # that a source counts as


def needed(p: Prediction) -> float:
    """The factor on the interval's logarithm from which it holds the measurement."""
    assert p.measured
    assert p.predicted
    assert p.low
    assert p.high
    miss = math.log(p.measured / p.predicted)
    half = math.log(p.high / p.predicted) if miss > 0 else math.log(p.predicted / p.low)
    return abs(miss) / half


def fitted(rows: Iterable[Prediction]) -> float:
    """The factor that the aim asks for: a weighted quantile of those needed."""
    by_source: dict[str, list[float]] = {}
    for p in rows:
        by_source.setdefault(source_of(p), []).append(needed(p))
    weighted = sorted((factor, min(len(mine), MOST_ROWS) / len(mine)) for mine in by_source.values() for factor in mine)
    left = AIM * sum(weight for _, weight in weighted)
    for factor, weight in weighted:
        left -= weight
        if left <= 0:
            return factor
    return weighted[-1][0]


def words(rows: Sequence[Prediction], factors: dict[str, float] | None = None) -> str:
    """Coverage and the median of high over low, with the factor of each row's fold."""
    of = factors or {}
    inside = [needed(p) <= of.get(source_of(p), 1.0) for p in rows]
    widths = sorted(math.log((p.high or 1) / (p.low or 1)) * of.get(source_of(p), 1.0) for p in rows)
    return f"{sum(inside) / len(rows):.0%} inside, median high/low {math.exp(widths[len(widths) // 2]):.2f}"


def main() -> int:
    """Print what every regime has, and what it would have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs")
    parser.add_argument("--folds", type=int, default=5)
    args = parser.parse_args()
    done = predicted(predict_runs(read_rows(args.runs)))
    for regime in ("dense", "experts"):
        rows = [p for p in done if regime_of(p) == regime]
        sources = sorted({source_of(p) for p in rows})
        held: dict[str, float] = {}
        for fold in range(args.folds):
            out = sources[fold :: args.folds]
            rest = [p for p in rows if source_of(p) not in out]
            held.update(dict.fromkeys(out, fitted(rest) if rest else 1.0))
        print(f"{regime}: {len(rows)} rows of {len(sources)} sources, {words(rows)}")
        print(f"  factor {fitted(rows):.2f} on all; on sources left out: {words(rows, held)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
