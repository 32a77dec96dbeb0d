"""Fit how much of what one run misses by others of its cluster miss by too; report on sources left out.

    python scripts/maintain/fit_shared.py RUNS.csv

A cluster is the rows of one source on one device and software, six or more. Each row in turn is the one that was
measured, and moves the others by a part of the logarithm of measured over predicted (`shared_error` of
`constants.toml`). Printed are the mean errors over sources of the others: as they are, moved by the part fitted to the
other sources, and by the whole; and how many of them the interval holds, before and after it is narrowed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

from fit_training import NOISY

from roofline.config.stack import family_of
from roofline.timing.interval import Z80
from roofline.validation.rows import read_rows
from roofline.validation.runs import Prediction, predict_runs, predicted, source_of

FEWEST_ROWS = 6
GRID = [0.05 * step for step in range(21)]


class Pair(NamedTuple):
    """What a run that was measured missed by, what another one missed by, and that one's spread; as logarithms."""

    seen: float
    other: float
    spread: float

    def miss(self, part: float) -> float:
        """Of the other one, once it is moved."""
        return abs(self.other - part * self.seen)

    def inside(self, part: float) -> bool:
        """Whether the narrowed interval holds it."""
        return self.miss(part) <= Z80 * self.spread * math.sqrt(1 - part**2)


def pairs_by_source(rows: Sequence[Prediction]) -> dict[str, list[Pair]]:
    """Ordered pairs of rows of one cluster."""
    clusters: dict[tuple[str, str, str], list[Prediction]] = {}
    for row in rows:
        clusters.setdefault((source_of(row), row.row["device"], family_of(row.stack)), []).append(row)
    found: dict[str, list[Pair]] = {}
    for (source, *_), mine in clusters.items():
        if len(mine) >= FEWEST_ROWS:
            found.setdefault(source, []).extend(
                Pair(a.log_error, b.log_error, math.sqrt(sum(b.variances.values()))) for a, b in permutations(mine, 2)
            )
    return found


def mean_miss(pairs: dict[str, list[Pair]], part: float) -> float:
    """The mean over sources of the mean error of the runs that were not measured."""
    return sum(sum(pair.miss(part) for pair in mine) / len(mine) for mine in pairs.values()) / len(pairs)


def fitted(pairs: dict[str, list[Pair]]) -> float:
    """The part that leaves the least error."""
    return min(GRID, key=lambda part: mean_miss(pairs, part))


def main() -> int:
    """Fit, and print what it does to sources left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs")
    args = parser.parse_args()
    pairs = pairs_by_source([p for p in predicted(predict_runs(read_rows(args.runs))) if source_of(p) not in NOISY])
    totals = [0.0] * 5
    parts = []
    for source, mine in pairs.items():
        part = fitted({name: other for name, other in pairs.items() if name != source})
        parts.append(part)
        missed = [mean_miss({source: mine}, each) for each in (0.0, part, 1.0)]
        inside = [sum(pair.inside(each) for pair in mine) / len(mine) for each in (0.0, part)]
        totals = [a + b / len(pairs) for a, b in zip(totals, (*missed, *inside), strict=True)]
        print(f"{source:<10} {missed[0]:.1%} -> {missed[1]:.1%} (part {part:.2f}); by the whole {missed[2]:.1%}")
    print(
        f"{len(pairs)} sources: {totals[0]:.2%} -> {totals[1]:.2%}, by the whole {totals[2]:.2%}; inside "
        f"{totals[3]:.1%} -> {totals[4]:.1%}; fitted to all {fitted(pairs):.2f}, to the others {min(parts):.2f} to "
        f"{max(parts):.2f}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
