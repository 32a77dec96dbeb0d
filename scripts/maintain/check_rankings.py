"""Check our ranking of layouts against published sweeps: is our best theirs, and what does our choice cost?

    python scripts/maintain/check_rankings.py published_runs.csv
    python scripts/maintain/check_rankings.py published_runs.csv --sources vtrain-multi,ie --groups

Rows of one source, model, device, number of devices and sequence length form a group; its layouts differ. The
columns are those of `roofline validate runs`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from statistics import mean, median

from roofline.validation.rows import read_rows
from roofline.validation.runs import Prediction, predict_runs

SOURCES = ("aa", "bs176", "ie", "vtrain-multi", "vtrain-single")
SAME = ("model", "device", "n_devices", "seq_len", "dtype", "workload")
LEAST = 3  # layouts that make a ranking


def source_of(row_id: str, sources: list[str]) -> str | None:
    """The source that an id starts with."""
    return next((source for source in sources if row_id.startswith(f"{source}-")), None)


def ranks(values: list[float]) -> list[float]:
    """Ranks from 0, ties sharing their mean."""
    order = sorted(values)
    return [order.index(value) + (order.count(value) - 1) / 2 for value in values]


def correlation(first: list[float], second: list[float]) -> float:
    """Spearman's rank correlation; 0 where all of one are equal."""
    a, b = ranks(first), ranks(second)
    mean_a, mean_b = mean(a), mean(b)
    above = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    below = (sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b)) ** 0.5
    return above / below if below else 0.0


def judge(group: list[Prediction]) -> tuple[float, float, float, float]:
    """Whether our best is theirs, the regret of our choice, that of a random one, and the rank correlation.

    Where several rows look the same to us, our choice is all of them: the regret is that of their mean.
    """
    measured = [float(p.measured or 0) for p in group]
    predicted = [float(p.predicted or 0) for p in group]
    best = max(measured)
    top = max(predicted)
    chosen = [m for m, p in zip(measured, predicted, strict=True) if p > top * (1 - 1e-9)]
    return (
        chosen.count(best) / len(chosen),
        best / mean(chosen) - 1,
        best / mean(measured) - 1,
        correlation(measured, predicted),
    )


def main() -> None:
    """Print one line per source, and with --groups one per group."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", help="published runs")
    parser.add_argument("--sources", default=",".join(SOURCES), help="short names, joined with commas")
    parser.add_argument("--groups", action="store_true", help="print every group")
    arguments = parser.parse_args()
    sources = arguments.sources.split(",")
    rows = [row for row in read_rows(arguments.csv) if source_of(row["id"], sources)]
    groups: dict[tuple[str, ...], list[Prediction]] = defaultdict(list)
    for prediction in predict_runs(rows):
        if prediction.predicted is not None:
            row = prediction.row
            groups[source_of(row["id"], sources) or "", *(row.get(key) or "" for key in SAME)].append(prediction)
    kept = {key: group for key, group in groups.items() if len(group) >= LEAST}
    print("source          groups  rows  our best is theirs  regret median/mean/max  random  rank correlation")
    for source in sources:
        judged = {key: judge(group) for key, group in kept.items() if key[0] == source}
        if not judged:
            print(f"{source:<14} no group of {LEAST} layouts or more")
            continue
        hits, regrets, chance, correlations = (list(column) for column in zip(*judged.values(), strict=True))
        size = sum(len(kept[key]) for key in judged)
        regret = f"{100 * median(regrets):.1f} / {100 * mean(regrets):.1f} / {100 * max(regrets):.1f} %"
        print(
            f"{source:<14} {len(judged):6d} {size:5d}  {100 * mean(hits):17.0f} %  {regret:>22}  "
            f"{100 * mean(chance):4.1f} %  {median(correlations):7.2f}"
        )
        for key, (hit, lost, random, rho) in judged.items() if arguments.groups else ():
            name, found = ", ".join(key[1:5]), f"best {100 * hit:.0f} %"
            print(f"    {name}: {len(kept[key])} layouts, {found}, regret {100 * lost:.1f} %, ", end="")
            print(f"random {100 * random:.1f} %, correlation {rho:.2f}")


if __name__ == "__main__":
    main()
