"""The step of a small model that an estimate is held against."""

import pytest

from roofline.hardware.calibrate.step import LAYERS, SEQUENCE, VOCABULARY, WIDTH, StepTime, _gpt, time_step


def test_the_middle_step_counts() -> None:
    assert StepTime(micro_batch=2, dtype="fp32", rounds=(3.0, 1.0, 2.0)).seconds == 2.0


def test_the_model_is_gpt_2s_block_with_a_tied_head() -> None:
    torch = pytest.importorskip("torch")
    parameters = sum(weight.numel() for weight in _gpt(torch).parameters())
    layer = 12 * WIDTH**2 + 13 * WIDTH  # four matrices of 3, 1, 4 and 4 d^2, their biases of 9 d, two norms of 2 d
    assert parameters == LAYERS * layer + VOCABULARY * WIDTH + SEQUENCE * WIDTH + 2 * WIDTH


def test_steps_are_timed_within_a_budget() -> None:
    torch = pytest.importorskip("torch")
    found = time_step(torch, "cpu", "fp32", budget_s=30.0)
    assert found is not None
    assert 1 <= len(found.rounds) <= 5
    assert all(seconds > 0 for seconds in found.rounds)
    assert time_step(torch, "cpu", "fp32", budget_s=0.0) is None
