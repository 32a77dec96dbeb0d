"""A calibrated device held against the step of a small model that ran on it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from ..answers.estimate import Estimate, estimate
from ..hardware.calibrate.step import HEADS, LAYERS, SEQUENCE, VOCABULARY, WIDTH, StepTime
from ..model.load import model_from_flat
from ..timing.interval import Z80

if TYPE_CHECKING:
    from ..hardware import Device

MODEL = {
    "name": "a GPT of 4 layers",
    "n_layers": LAYERS,
    "d_model": WIDTH,
    "n_heads": HEADS,
    "d_ff": 4 * WIDTH,
    "vocab_size": VOCABULARY,
    "max_seq_len": SEQUENCE,
    "learned_positions": SEQUENCE,
    "tied_embeddings": True,
    "gated_mlp": False,
    "activation": "gelu",
    "norm": "layer",
    "biases": True,
}


FAR = 0.25  # outside the interval by more than any spread between rounds of a quiet machine


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The estimate of the step that ran, and the device whose interval holds what it missed by."""

    device: Device
    expected_s: float
    measured_s: float
    outside: float  # of the interval, as a logarithm: 0 where it holds the measured step

    @property
    def far(self) -> bool:
        """Whether the step is so far outside that the machine was not quiet, or the device is not what it seems."""
        return self.outside > FAR

    @property
    def error(self) -> float:
        """Expected over measured, less one."""
        return self.expected_s / self.measured_s - 1

    @property
    def words(self) -> str:
        """The comparison on one line."""
        return (
            f"a step of a small model: {1e3 * self.measured_s:.3g} ms measured, {1e3 * self.expected_s:.3g} ms "
            f"expected ({100 * self.error:+.0f} %)"
        )


def expected_step(device: Device, step: StepTime) -> Estimate:
    """The estimate of the step that calibration times: eager PyTorch, AdamW, no recompute."""
    options: dict[str, Any] = {"micro_batch": step.micro_batch, "seq_len": SEQUENCE, "dtype": step.dtype}
    return estimate(model_from_flat(MODEL), device, stack="eager", **options)


def hold(device: Device, step: StepTime) -> Held:
    """Compare, and widen the device's interval so far that it holds the step that ran."""
    result = expected_step(device, step)
    measured, expected, high = step.seconds, float(result.step_time_s), float(result.step_time_high_s)
    missed, width = abs(math.log(measured / expected)), math.log(high / expected)
    outside = max(missed - width, 0.0)
    if outside:  # variances add, and the interval's half-width is Z80 standard deviations
        spread = math.hypot(device.spread or 0.0, math.sqrt(missed**2 - width**2) / Z80)
        device = msgspec.structs.replace(device, spread=_up(spread))
    return Held(device=device, expected_s=expected, measured_s=measured, outside=outside)


def _up(value: float) -> float:
    """Three digits, rounded up."""
    return math.ceil(value * 1000) / 1000
