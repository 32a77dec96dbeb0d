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


def test_states_of_a_pipeline_are_those_of_a_mean_device():
    row = {"id": "a", "source": "b", "model": "megatron-gpt", "n_layers": "105", "d_model": "20480", "n_heads": "128"}
    row |= {"vocab_size": "51200", "tied_embeddings": "1", "n_devices": "280", "tp": "8", "pp": "35", "dp": "1"}
    row |= {"device_memory_gib": "80", "micro_batch_sequences": "1", "global_batch_sequences": "280", "dtype": "bf16"}
    row |= {"memory_kind": "parameters+gradients+optimizer state only", "peak_memory_gib": "31.64", "recompute": "none"}
    [found] = validate_memory.predict_memory([row])
    parameters = 105 * (12 * 20480**2 + 13 * 20480) + (51200 + 2048) * 20480
    assert found.kind == "states"
    assert found.predicted_bytes == pytest.approx(18 * parameters / 280, rel=2e-3)
