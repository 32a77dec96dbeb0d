"""Record the error of every published run and memory figure that we predict, for the gate in the tests.

    python scripts/maintain/record_errors.py

Writes tests/data/run_errors.csv and tests/data/memory_errors.csv. A regression never becomes the baseline: where the
mean over rows that both predict has risen by more than the gate allows, or a row is no longer predicted, nothing is
written and the exit status is 1.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping
from pathlib import Path

from roofline.validation.memory import predict_memory
from roofline.validation.rows import read_rows, read_table
from roofline.validation.runs import data_file, predict_runs

FOLDER = Path(__file__).parents[2] / "tests" / "data"
POINTS, SHARE = 0.02, 0.10  # the mean may rise by this much, or by this share, whichever is more


def run_errors() -> dict[str, float]:
    """log(predicted / measured step time) of every run that we predict."""
    return {p.id: p.log_error for p in predict_runs(read_rows(data_file("runs"))) if not p.skipped_reason}


def memory_errors() -> dict[str, float]:
    """Relative error of every memory figure that we predict, by row and kind."""
    found = predict_memory(read_table(data_file("memory")))
    return {f"{p.id} {p.kind}": p.error for p in found if p.error is not None}


TABLES = {"run_errors.csv": run_errors, "memory_errors.csv": memory_errors}


def recorded(path: Path) -> dict[str, float]:
    """The errors on record; empty where there is no record."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["id"]: float(row["error"]) for row in csv.DictReader(file)}


def regressions(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    """What has become worse, as sentences; none where the gate is passed."""
    lost = sorted(set(before) - set(now))
    found = [f"{len(lost)} rows are no longer predicted: {', '.join(lost[:5])}"] if lost else []
    both = set(before) & set(now)
    if both:
        old, new = (sum(abs(errors[key]) for key in both) / len(both) for errors in (before, now))
        if new > old + POINTS and new > old * (1 + SHARE):
            found.append(f"the mean error over {len(both)} rows rose from {old:.3f} to {new:.3f}")
    return found


def main() -> int:
    """Write both tables, or say what has become worse."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    status = 0
    for name, errors in TABLES.items():
        before, now = recorded(FOLDER / name), errors()
        worse = regressions(before, now)
        for line in worse:
            print(f"{name}: {line}")
        if worse:
            status = 1
            continue
        with (FOLDER / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "error"])
            writer.writerows((key, f"{error:.4f}") for key, error in sorted(now.items()))
        print(f"{name}: {len(now)} rows")
    return status


if __name__ == "__main__":
    sys.exit(main())
