"""Fit how much of what one run misses by others of its cluster miss by too; report on sources left out.

    python scripts/maintain/fit_shared.py RUNS.csv

A cluster is the rows of one source on one device and software. Each row in turn is the one that was measured, and moves
the others by a part of the logarithm of measured over predicted (`shared_error` of `constants.toml`), by what is the
same: the layout, the model, or the software alone. Sources with six or more such pairs count. Printed are the mean
errors over sources of the others: as they are, moved by the part fitted to the other sources, and by the whole; and how
many of them the interval holds, before and after it is narrowed.
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
from roofline.timing.seen import remaining
from roofline.validation.rows import read_rows
from roofline.validation.runs import Prediction, predict_runs, predicted, source_of

FEWEST_PAIRS = 6
GRID = [0.05 * step for step in range(21)]
MODEL = ("model", "n_layers", "d_model", "workload")
LAYOUT = ("n_devices", "tp", "pp", "cp", "ep", "sharding", "seq_len", "dtype")


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
        return self.miss(part) <= Z80 * math.sqrt(remaining(self.spread**2, part))


def nearness(one: Prediction, other: Prediction) -> str:
    """What two rows of one cluster have in common."""
    if any(one.row[name] != other.row[name] for name in MODEL):
        return "software"
    return "model" if any(one.row[name] != other.row[name] for name in LAYOUT) else "layout"


def pairs_by_source(rows: Sequence[Prediction], near: str) -> dict[str, list[Pair]]:
    """Ordered pairs of rows of one cluster that have just that in common."""
    clusters: dict[tuple[str, str, str], list[Prediction]] = {}
    for row in rows:
        clusters.setdefault((source_of(row), row.row["device"], family_of(row.stack)), []).append(row)
    found: dict[str, list[Pair]] = {}
    for (source, *_), mine in clusters.items():
        for a, b in permutations(mine, 2):
            if nearness(a, b) == near:
                spread = math.sqrt(sum(b.variances.values()))
                found.setdefault(source, []).append(Pair(a.log_error, b.log_error, spread))
    return {source: pairs for source, pairs in found.items() if len(pairs) >= FEWEST_PAIRS}


def mean_miss(pairs: dict[str, list[Pair]], part: float) -> float:
    """The mean over sources of the mean error of the runs that were not measured."""
    return sum(sum(pair.miss(part) for pair in mine) / len(mine) for mine in pairs.values()) / len(pairs)


def fitted(pairs: dict[str, list[Pair]]) -> float:
    """The part that leaves the least error."""
    return min(GRID, key=lambda part: mean_miss(pairs, part))


def report(near: str, pairs: dict[str, list[Pair]]) -> None:
    """Print what the part fitted to the other sources does to each."""
    totals = [0.0] * 5
    parts = []
    for source, mine in pairs.items():
        part = fitted({name: other for name, other in pairs.items() if name != source})
        parts.append(part)
        missed = [mean_miss({source: mine}, each) for each in (0.0, part, 1.0)]
        inside = [sum(pair.inside(each) for pair in mine) / len(mine) for each in (0.0, part)]
        totals = [a + b / len(pairs) for a, b in zip(totals, (*missed, *inside), strict=True)]
    before, after, whole, held, still = totals
    print(
        f"same {near}: {len(pairs)} sources, {sum(map(len, pairs.values()))} pairs: {before:.1%} -> {after:.1%}, "
        f"by the whole {whole:.1%}; inside {held:.1%} -> {still:.1%}; "
        f"part {fitted(pairs):.2f} of all, {min(parts):.2f} to {max(parts):.2f} of the others"
    )


def main() -> int:
    """Fit, and print what it does to sources left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs")
    args = parser.parse_args()
    rows = [p for p in predicted(predict_runs(read_rows(args.runs))) if source_of(p) not in NOISY]
    for near in ("layout", "model", "software"):
        report(near, pairs_by_source(rows, near))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
