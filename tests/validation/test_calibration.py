"""A calibrated device held against a step that ran on it."""

import pytest

from roofline.hardware import load_device
from roofline.hardware.calibrate.step import StepTime
from roofline.model.load import model_from_flat
from roofline.model.parameters import count_parameters
from roofline.validation.calibration import MODEL, expected_step, hold


def step(seconds: float, dtype: str = "bf16") -> StepTime:
    return StepTime(micro_batch=8, dtype=dtype, rounds=(seconds,))


def test_a_step_within_the_interval_changes_nothing() -> None:
    device = load_device("h100-sxm-80gb")
    expected = float(expected_step(device, step(1.0)).step_time_s)
    held = hold(device, step(1.02 * expected))
    assert held.device is device
    assert (held.outside, held.far) == (0, False)
    assert "ms measured" in held.words
    assert held.error == pytest.approx(1 / 1.02 - 1)


def test_a_step_outside_widens_the_interval_until_it_holds_it() -> None:
    device = load_device("h100-sxm-80gb")
    result = expected_step(device, step(1.0))
    measured = 1.2 * float(result.step_time_high_s)
    held = hold(device, step(measured))
    assert held.outside == pytest.approx(0.182, abs=0.001)  # ln 1.2
    assert not held.far
    assert float(expected_step(held.device, step(1.0)).step_time_high_s) >= measured
    assert hold(device, step(10 * measured)).far


def test_the_model_estimated_is_the_one_that_runs() -> None:
    # four matrices of 3, 1, 4 and 4 d^2 a layer, their biases of 9 d, two norms of 2 d; embeddings; the last norm
    layer = 12 * 512**2 + 13 * 512
    assert count_parameters(model_from_flat(MODEL)).total == 4 * layer + (8192 + 256) * 512 + 2 * 512
