"""Ranges of plausible figures, and what a figure outside its range usually is."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """A rule that a file breaks: which key, which value, which rule."""

    key: str
    value: object
    rule: str

    def __str__(self) -> str:
        """Key, value and rule on one line."""
        value = f"{self.value:.15g}" if isinstance(self.value, float) else repr(self.value)
        return f"{self.key} = {value}: {self.rule}"


SAME = 0.006  # relative difference below which two printed figures are the same figure
_RANGES: dict[str, tuple[float, float, str, str]] = {
    "tflops": (0.001, 1e5, "a dense peak in TFLOP/s is at least 0.001", "is it in FLOP/s or GFLOP/s? give TFLOP/s"),
    "memory.capacity.mib": (128, 2**24, "is it in GiB? give MiB", "is it in bytes or KiB? give MiB"),
    "gib": (0.125, 2**14, "give the unit, such as 80GiB", "give the unit, such as 80GiB"),
    "gb_per_s": (1, 1e6, "is it in TB/s? give GB/s", "is it in bytes/s or MB/s? give GB/s"),
    "mhz": (50, 50_000, "is it in GHz? give MHz", "is it in Hz or kHz? give MHz"),
    "mt_per_s": (100, 100_000, "is it in GT/s? give MT/s", "is it in T/s? give MT/s"),
    "tdp_w": (1, 20_000, "is it in kW? give W", "is it in mW? give W"),
    "gbit_per_s": (0.1, 10_000, "is it in Tbit/s? give Gbit/s", "is it in Mbit/s? give Gbit/s"),
    "mib": (0.01, 2**20, "give MiB", "is it in bytes or KiB? give MiB"),
    "kib": (1, 2**30, "give KiB", "is it in bytes? give KiB"),
    "bus_bits": (8, 65_536, "is it in bytes? give bits", "too many"),
    "year": (1990, 2100, "give the year in four digits", "give the year in four digits"),
    "count": (1, 10**7, "at least 1", "too many"),
}


def is_same(figure: float, other: float) -> bool:
    """Whether two printed figures are the same but for rounding."""
    return abs(figure / other - 1) < SAME


def in_range(kind: str, key: str, value: float | None) -> Iterator[Problem]:
    """A problem if `value` is no plausible figure of its kind."""
    if value is None:
        return
    low, high, too_small, too_large = _RANGES[kind]
    if not math.isfinite(value) or value <= 0:
        yield Problem(key, value, "must be a positive number")
    elif value < low:
        yield Problem(key, value, f"too small ({too_small})")
    elif value > high:
        yield Problem(key, value, f"too large ({too_large})")


class Interval(msgspec.Struct, frozen=True):
    """Allowed values from `low` to `high`; `open_low` and `open_high` leave the bound itself out."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether `value` is inside; nan is not."""
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        """The rule in words.

        >>> str(Interval(0, 1, open_low=True))
        'must be above 0 and at most 1'
        """
        low = "above" if self.open_low else "at least"
        high = "below" if self.open_high else "at most"
        return f"must be {low} {self.low:g} and {high} {self.high:g}"


_SHARE = Interval(0, 1, open_low=True)
_TIME_US = Interval(0, 1e6)
_SLOWER = Interval(1, 1000)
# A CPU's caches serve the later passes of a kernel over one operand: faster than memory, up to their bandwidth.
CACHED = Interval(0, 20, open_low=True)

# Every number of the [measured] tables, whatever table it is in (`roofline/hardware/measured.py` says what each means).
MEASURED: dict[str, Interval] = {
    **dict.fromkeys(("cap", "cap_backward", "bandwidth", "eta", "eta_pairs", "switch_eta"), _SHARE),
    **dict.fromkeys(("compute", "compute_16bit"), _SHARE),
    **dict.fromkeys(("t0_us", "tile_us", "tile_backward_us", "eager_us", "compiled_us", "graph_us"), _TIME_US),
    **dict.fromkeys(("alpha_us", "alpha_rank_us", "alpha_step_us", "ramp_us", "ramp_rank_us"), _TIME_US),
    "slowdown": _SLOWER,
    **dict.fromkeys(("wgrad", "misaligned", "misaligned_odd", "misaligned_batch"), _SLOWER),
    "p": Interval(1, 20),  # (compute^p + memory^p) underflows beyond
    "k_half": Interval(0, 1e6),
    "rows_half": Interval(0, 1e6),
    "tile": Interval(1, 4096),
    "quantisation": Interval(0, 1),
    "small_tile": Interval(0, 10),
    "softmax_dim": Interval(0, 1e4),
    "head_multiple": Interval(1, 4096),
    "few_ranks": Interval(0, 2, open_high=True),  # eta (1 - few_ranks / n) is positive from two ranks on
    "mesh": Interval(2, 1e4),
    "shared": Interval(0, 10),
    "gb_per_s": Interval(0, 1e5, open_low=True),
    "ramp_mb": Interval(0, 1e6, open_low=True),
    "rows": Interval(1, 1e9),
    "mape": Interval(0, 1000),
}
