"""The factors of practice of `planning/fleets.toml`: what whole trainings took over their steps and overhead.

    python scripts/maintain/fit_practice.py BUDGETS.csv

`own` is over software and layout as they ran, or are taken to have run; `best` over the best layout on Megatron-LM's
profile, of trainings whose software nobody names.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from roofline.hardware import load_device
from roofline.validation.budgets import BudgetPrediction, predict_budgets, with_layout
from roofline.validation.row_config import named_stack
from roofline.validation.rows import read_table


def several_nodes(predictions: Sequence[BudgetPrediction]) -> list[BudgetPrediction]:
    """Those predicted that ran on more than a node."""
    return [one for one in predictions if not one.skipped_reason and one.doublings]


def report(name: str, predictions: Sequence[BudgetPrediction]) -> None:
    """Print the 10th, 50th and 90th percentile."""
    low, usual, high = np.quantile([one.beyond for one in predictions], (0.1, 0.5, 0.9))
    sources = len({one.row["source"] for one in predictions})
    print(f"{name:<5} {low:.2f} {usual:.2f} {high:.2f}: {len(predictions)} trainings of {sources} sources")


def main() -> int:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("budgets")
    own = several_nodes(predict_budgets(read_table(parser.parse_args().budgets)))
    report("own", own)
    rows = [with_layout(one.row) for one in own]
    unnamed = [row for row in rows if named_stack(row) is None and load_device(row["hardware"]).kind == "gpu"]
    report("best", several_nodes(predict_budgets(unnamed, "megatron")))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
