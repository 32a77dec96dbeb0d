"""Fits the constants of the time model to measured kernels: a grid search on the logarithm of the error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from numpy.typing import NDArray


class GemmFit(msgspec.Struct, frozen=True, kw_only=True):
    """Constants of ``t0 + ((FLOPs / (cap peak))^p + (bytes / (bandwidth BW))^p)^(1/p)`` and their error."""

    cap: float
    bandwidth: float
    t0_us: float
    p: float
    mape: float


class AttentionFit(msgspec.Struct, frozen=True, kw_only=True):
    """Constants of ``FLOPs / (cap peak) + tiles * tile time``."""

    cap: float
    tile_us: float
    mape: float


def fit_gemm(
    flops: Sequence[float], moved: Sequence[float], seconds: Sequence[float], *, peak: float, bandwidth: float
) -> GemmFit:
    """The constants with the smallest mean error over matrix products.

    The cap is searched from the best rate seen upwards, so that no measurement is above the model's ceiling.
    """
    import numpy as np

    f, b, t = (np.asarray(values, dtype=float) for values in (flops, moved, seconds))
    best = float(min((f / t).max() / peak, 1.0))
    caps = np.minimum(np.linspace(best, 1.15 * best, 7), 1.0)
    bandwidths = np.geomspace(0.05, 1.0, 16)
    powers = np.array([1.0, 1.4, 2.0, 3.0, 8.0])
    starts = np.concatenate([[0.0], np.geomspace(0.2e-6, max(float(t.min()), 0.3e-6), 13)])
    # axes: cap, bandwidth, p, t0, sample
    compute = f / (caps[:, None, None, None, None] * peak)
    memory = b / (bandwidths[None, :, None, None, None] * bandwidth)
    p = powers[None, None, :, None, None]
    predicted = starts[None, None, None, :, None] + (compute**p + memory**p) ** (1 / p)
    error = np.abs(np.log(predicted / t)).mean(axis=-1)
    i, j, k, m = np.unravel_index(int(error.argmin()), error.shape)
    mape = float(np.abs(predicted[i, j, k, m] / t - 1).mean())
    return GemmFit(
        cap=_round(caps[i]),
        bandwidth=_round(bandwidths[j]),
        t0_us=_round(starts[m] * 1e6),
        p=float(powers[k]),
        mape=round(100 * mape, 1),
    )


def fit_attention(
    flops: Sequence[float], tiles: Sequence[float], seconds: Sequence[float], *, peak: float
) -> AttentionFit:
    """Cap and time per tile of fused attention with the smallest mean error."""
    import numpy as np

    f, n, t = (np.asarray(values, dtype=float) for values in (flops, tiles, seconds))
    best = float(min((f / t).max() / peak, 1.0))
    caps = np.minimum(np.geomspace(best, 3 * best, 111), 1.0)
    tile = np.concatenate([[0.0], np.geomspace(1e-8, max(float((t / n).max()), 2e-8), 160)])
    predicted = f / (caps[:, None, None] * peak) + n * tile[None, :, None]
    error = np.abs(np.log(predicted / t)).mean(axis=-1)
    i, j = np.unravel_index(int(error.argmin()), error.shape)
    mape = float(np.abs(predicted[i, j] / t - 1).mean())
    return AttentionFit(cap=_round(caps[i]), tile_us=_round(tile[j] * 1e6), mape=round(100 * mape, 1))


def spread(rounds: NDArray[Any] | Sequence[float]) -> float:
    """Largest minus smallest over the median of repeated measurements."""
    import numpy as np

    values = np.asarray(rounds, dtype=float)
    return float((values.max() - values.min()) / np.median(values))


def _round(value: float) -> float:
    """Four significant digits.

    >>> _round(0.123456)
    0.1235
    """
    return float(f"{value:.4g}")
