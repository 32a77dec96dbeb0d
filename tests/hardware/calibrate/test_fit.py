"""Fits recover the constants of the model they are fitted to."""

import pytest

from roofline.hardware.calibrate.fit import fit_attention, fit_gemm, spread
from roofline.hardware.calibrate.kernels import CPU_SHAPES

PEAK, BANDWIDTH = 200e9, 20e9


def model_seconds(flops: float, moved: float, cap: float, share: float, t0: float, p: float) -> float:
    compute, memory = flops / (cap * PEAK), moved / (share * BANDWIDTH)
    return t0 + float((compute**p + memory**p) ** (1 / p))


def test_gemm_fit_recovers_the_constants_of_the_model() -> None:
    flops = [2.0 * m * n * k for m, n, k in CPU_SHAPES]
    moved = [4.0 * (m * k + k * n + m * n) for m, n, k in CPU_SHAPES]
    times = [model_seconds(f, b, 0.9, 0.5, 5e-6, 2.0) for f, b in zip(flops, moved, strict=True)]
    fit = fit_gemm(flops, moved, times, peak=PEAK, bandwidth=BANDWIDTH)
    assert fit.mape < 2.0
    assert fit.cap == pytest.approx(0.9, rel=0.03)
    predicted = [
        model_seconds(f, b, fit.cap, fit.bandwidth, fit.t0_us * 1e-6, fit.p) for f, b in zip(flops, moved, strict=True)
    ]
    assert predicted == pytest.approx(times, rel=0.1)


def test_no_fit_is_above_its_peak() -> None:
    fit = fit_gemm([1e9], [1e6], [1e-3], peak=PEAK, bandwidth=BANDWIDTH)  # 1 TFLOP/s on a peak of 0.2
    assert fit.cap == 1.0


def test_attention_fit_recovers_cap_and_tile_time() -> None:
    flops, tiles = [1e8, 4e8, 1.6e9, 6.4e9], [8.0, 16.0, 32.0, 64.0]
    times = [f / (0.4 * PEAK) + n * 20e-6 for f, n in zip(flops, tiles, strict=True)]
    fit = fit_attention(flops, tiles, times, peak=PEAK)
    assert fit.cap == pytest.approx(0.4, rel=0.1)
    assert fit.tile_us == pytest.approx(20, rel=0.2)
    assert fit.mape < 5


def test_spread_is_the_range_over_the_median() -> None:
    assert spread([1.0, 2.0, 4.0]) == 1.5  # (4 - 1) / 2
