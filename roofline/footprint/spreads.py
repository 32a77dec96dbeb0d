"""How sure figures of memory are: their spreads, how likely a run fits, and in which words that is said.

Standard deviations of log(measured / predicted), from what 80 % of published figures miss by at most
(`scripts/maintain/fit_memory.py`, which also predicts each table by the others).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..arrays import Number, exp, log, maximum, minimum, where
from ..config.base import base_dtype
from ..config.run import TrainConfig
from ..constants import constant

Z80 = 1.2816  # of the 10th and 90th percentile
LIVE = constant("memory_spread.live")
ALONE = constant("memory_spread.alone")  # of what the driver shows: see `spread_of`
SHARDED = constant("memory_spread.sharded")
SPLIT = constant("memory_spread.split")
QUANTISED = constant("memory_spread.quantised")
OUTCOME = constant("memory_spread.outcome")
SPLIT_OUTCOME = constant("memory_spread.split_outcome")
SURE = 0.9  # probability from which "fits" is said; below 1 - SURE "does not fit"


def spread_of(train: TrainConfig) -> Number:
    """Of the driver's figure: of one device, of several that share or repeat the model, or split it; quantised."""
    if base_dtype(train.base_dtype) is not None:
        return QUANTISED
    return where(train.tp * train.pp > 1, SPLIT, where(train.num_devices > 1, SHARDED, ALONE))


def outcome_spread(train: TrainConfig) -> Number:
    """Of what a run cannot do without, against the capacity."""
    return where(train.tp * train.pp > 1, SPLIT_OUTCOME, OUTCOME)


def verdict(probability: Any) -> Any:
    """``fits``, ``borderline`` or ``does not fit``.

    >>> verdict(0.95), verdict(0.5), verdict(0.05)
    ('fits', 'borderline', 'does not fit')
    """
    return where(probability >= SURE, "fits", where(probability < 1 - SURE, "does not fit", "borderline"))


def fit_probability(total: Number, capacity: Number, spread: Number = OUTCOME) -> Number:
    """How likely a log-normal total of this `spread` is within the capacity.

    The normal distribution in closed form, to 3e-4: Phi(x) = 1 / (1 + exp(-1.5958 (x + 0.044715 x^3))).

    >>> fit_probability(80.0, 80.0), fit_probability(60.0, 80.0) > 0.95, fit_probability(100.0, 80.0) < 0.05
    (0.5, True, True)
    """
    x = maximum(minimum(log(capacity / total) / spread, _FAR), -_FAR)
    return 1 / (1 + exp(-1.5957691 * (x + 0.044715 * x**3)))


@lru_cache(maxsize=64)
def sure_bytes(capacity: float, spread: float = OUTCOME) -> float:
    """The largest total of this `spread` that surely fits: where `fit_probability` reaches `SURE`.

    >>> bool(fit_probability(sure_bytes(80.0), 80.0) >= SURE > fit_probability(sure_bytes(80.0) + 0.01, 80.0))
    True
    """
    low, high = 0.0, capacity  # halved until no float lies between
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if fit_probability(middle, capacity, spread) >= SURE else (low, middle)
    return low


_FAR = 8.0  # standard deviations: beyond it the probability is 0 or 1
