"""How sure an expected step time is: each term's spread, and what the evidence behind it adds.

The spreads are standard deviations of log(measured / predicted) by cause, independent of each other, fitted to the
residuals of published runs by `scripts/maintain/fit_spreads.py`, which tries them on sources left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..arrays import Number, exp, log
from ..constants import constant
from ..counting.step import Step
from .power import clock_share
from .ranks import PricedOp, assumes_network, price, with_network_of
from .schedule import Schedule, schedule
from .seen import left, pull
from .terms import TERMS, Term

if TYPE_CHECKING:
    from ..hardware import Device

Z80 = 1.2816  # half-width of the central 80 % of a normal distribution, in standard deviations

# What a lack of evidence adds to the software's spread; "assumed" are figures that nobody measured on such a chip.
EVIDENCE = {
    "device": 0.0,
    "architecture": 0.0,
    "assumed": constant("spread.assumed_kernels"),
    "default": constant("spread.default_kernels"),
}
POWER = constant("spread.power")
EXPERTS = constant("spread.experts")
SHAPES = constant("spread.shapes")
NETWORK = constant("spread.network")


def evidence(device: Device) -> str:
    """What stands behind a device's matrix kernels: measurements of it, of its architecture, an assumption, or neither.

    A source that begins with "assumes" is an assumption, wherever it stands (CONTRIBUTING, Facts).
    """
    gemm = device.measured.gemm
    return "assumed" if gemm.origin != "default" and gemm.source.lstrip().startswith("assumes") else gemm.origin


def variances(
    step: Step, device: Device, times: Schedule[Any], priced: Sequence[PricedOp] | None = None
) -> dict[str, Number]:
    """The variance of the logarithm of the step time, by cause; `priced`: its ops, where they are at hand."""
    terms: Number = 0.0
    host: Number = 0.0
    for name, term in TERMS.items():
        share = getattr(times, name) / times.total
        terms = terms + term.spread**2 * share**2
        host = host + _of_host(term, device) * share**2
    return {
        "software": step.stack.spread**2,
        "terms": terms,
        "experts": EXPERTS**2 if any(weight.expert for weight in step.weights) else 0.0,
        "evidence": EVIDENCE[evidence(device)] ** 2,
        "device": (device.spread or 0.0) ** 2 + device.family.spread**2 + (POWER * (1 - clock_share(device))) ** 2,
        "host": host,
        "network": (NETWORK * _network_weight(step, device, times, priced)) ** 2,
    }


def spread(step: Step, device: Device, times: Schedule[Any], priced: Sequence[PricedOp] | None = None) -> Number:
    """Standard deviation of the logarithm of the step time; arguments as `variances`."""
    variance: Number = left(step, device, sum(variances(step, device, times, priced).values()))
    return variance**0.5


def _of_host(term: Term, device: Device) -> float:
    """What not knowing the host adds to the variance of a term of communication."""
    return device.between.spread**2 if device.between is not None and term.waits == "links" else 0.0


def _network_weight(step: Step, device: Device, times: Schedule[Any], priced: Sequence[PricedOp] | None) -> Number:
    """-d log(step time) / d log(bandwidth) over a halving of a network that nobody stated; 0 where it is stated."""
    train = step.train
    if not assumes_network(train, device):
        return 0.0
    ops = price(step, device) if priced is None else list(priced)
    half = msgspec.structs.replace(train, network_gbit_per_s=device.network_bytes_per_s * 8 / 1e9 / 2)
    slower = msgspec.structs.replace(step, train=half)
    bare = msgspec.structs.replace(device, seen=None)  # what was seen of a step moves it whatever its network
    ratio = schedule(slower, bare, with_network_of(slower, bare, ops)).total * pull(step, device) / times.total
    return log(ratio) / log(2.0)


def interval(
    step: Step, device: Device, times: Schedule[Any], floor: Number, priced: Sequence[PricedOp] | None = None
) -> tuple[Number, Number]:
    """The 10th and 90th percentile of the step time, never below its ideal; arguments as `variances`."""
    from ..arrays import maximum

    width = Z80 * spread(step, device, times, priced)
    return maximum(times.total * exp(-width), floor), times.total * exp(width)


def ratio_spread(first: Schedule[Any], other: Schedule[Any], device: Device) -> Number:
    """Standard deviation of the logarithm of the ratio of two step times of one model, device and software.

    What errs in both alike cancels: a term that is some per cent off moves the ratio by the difference of its shares.
    To first order d log(T'/T) = sum over terms of e (T'_i/T' - T_i/T); the shapes of kernels err in each by itself.
    """
    variance: Number = 0.0
    for name, term in TERMS.items():
        share, others = getattr(first, name) / first.total, getattr(other, name) / other.total
        variance = variance + (term.spread**2 + _of_host(term, device)) * (others - share) ** 2
        variance = variance + SHAPES**2 * (others**2 + share**2)
    return variance**0.5
