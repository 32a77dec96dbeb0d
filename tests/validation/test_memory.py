"""Peak memory of published runs beside ours."""

import math

import pytest

from roofline.validation import memory as validate_memory
from roofline.validation.rows import Skipped


def test_memory_summary_by_hand():
    rows = [
        validate_memory.MemoryPrediction(row={"id": "m-1"}, measured_bytes=10, predicted_bytes=11, spread=0.12),
        validate_memory.MemoryPrediction(
            row={"id": "m-2"}, measured_bytes=10, predicted_bytes=8, spread=0.12, ran=True, fit_probability=0.9
        ),
        validate_memory.MemoryPrediction(row={"id": "m-3"}, ran=False, fit_probability=0.6),
    ]
    total = validate_memory.summarise("all", rows)
    assert (total.rows, total.bytes_rows, total.decision_rows) == (3, 2, 2)
    assert total.mape == pytest.approx(0.15)
    assert total.bias == pytest.approx(math.sqrt(1.1 * 0.8) - 1)
    assert total.decisions_right == 0.5
    assert (total.median_ape, total.coverage) == (pytest.approx(0.2), 0.5)  # 20 % is beyond 1.28 x 12 %


def test_memory_of_nothing_was_not_measured():
    row = {"id": "a", "memory_kind": "peak", "peak_memory_gib": "0"}
    with pytest.raises(Skipped, match="measured memory of 0 GiB"):
        validate_memory.figures_of(row, "peak")
