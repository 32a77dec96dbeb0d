"""The table of runs that their own repositories timed, in docs/your_run.md, is what the files give."""

import re
from pathlib import Path

import pytest

from roofline import estimate, read_run

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/your_run.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| \S+\.(yaml|py) \|", line)
]


def minutes(name: str, device: str, steps: float, **given: int) -> float:
    """How long a run takes, from its file alone."""
    run = read_run(ROOT / "docs/examples/runs" / name, given=given)
    return steps * estimate(run.model, device=device, **run.options).step_time_s / 60


def test_five_runs() -> None:
    assert len(ROWS) == 5


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row(row: list[str]) -> None:
    name, device, steps, ours, theirs, ratio, shorter = row
    measured = float(re.search(r"[\d.]+", theirs).group())  # type: ignore[union-attr]
    found = minutes(name, device, float(steps))
    assert found == pytest.approx(float(ours.split()[0]), rel=0.03)
    assert found / measured == pytest.approx(float(ratio), abs=0.05)
    if shorter:
        assert minutes(name, device, float(steps), seq_len=300) / measured == pytest.approx(float(shorter), abs=0.05)
