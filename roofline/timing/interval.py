"""How sure an expected step time is: each term's spread, and what the evidence behind it adds.

The spreads are standard deviations of log(measured / predicted) by cause, fitted to the residuals of published runs;
terms err independently, the software's own spread (`Stack.spread`) is shared by the whole step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..arrays import Number, exp
from ..counting.step import Step
from .power import clock_share
from .schedule import TERMS, Schedule

if TYPE_CHECKING:
    from ..hardware import Device

Z80 = 1.2816  # half-width of the central 80 % of a normal distribution, in standard deviations

SPREAD = {
    "matmul": 0.03,
    "attention": 0.12,
    "memory_bound": 0.15,
    "recompute": 0.04,
    "tensor_parallel": 0.30,
    "context_parallel": 0.40,
    "expert_parallel": 0.60,
    "pipeline_bubble": 0.25,
    "pipeline_transfer": 0.50,
    "data_parallel": 0.50,
    "launch": 0.30,
    "optimizer": 0.30,
    "offload": 0.50,
}
# What a lack of evidence adds to the software's spread; "assumed" are figures that nobody measured on such a chip.
EVIDENCE = {"device": 0.0, "architecture": 0.0, "assumed": 0.09, "default": 0.12}
LOW_PRECISION = 0.06  # fp8 and fp4 recipes differ in what they cast and when
POWER = 0.25  # of what a power limit is expected to cost
OVER_LINKS = frozenset({"tensor_parallel", "context_parallel", "expert_parallel", "pipeline_transfer", "data_parallel"})
EXPERTS = 0.22  # load imbalance and grouped kernels: repeats differ by 35 to 60 %

# What two layouts do not share in a term of theirs: kernels of other shapes, whose fits are right to about 5 % one by
# one, half a dozen of which make most of a step.
SHAPES = 0.02


def evidence(device: Device) -> str:
    """What stands behind a device's matrix kernels: measurements of it, of its architecture, an assumption, or neither.

    A source that begins with "assumes" is an assumption, wherever it stands (CONTRIBUTING, Facts).
    """
    gemm = device.measured.gemm
    return "assumed" if gemm.origin != "default" and gemm.source.lstrip().startswith("assumes") else gemm.origin


def spread(step: Step, device: Device, times: Schedule[Any]) -> Number:
    """Standard deviation of the logarithm of the step time."""
    variance: Number = (step.stack.spread + EVIDENCE[evidence(device)]) ** 2
    if step.train.recipe is not None:
        variance = variance + LOW_PRECISION**2
    if any(weight.expert for weight in step.weights):
        variance = variance + EXPERTS**2
    variance = variance + (device.spread or 0.0) ** 2
    variance = variance + (POWER * (1 - clock_share(device))) ** 2
    for term in TERMS:
        share = getattr(times, term) / times.total
        variance = variance + (SPREAD[term] ** 2 + _of_host(term, device)) * share**2
    return variance**0.5


def _of_host(term: str, device: Device) -> float:
    """What not knowing the host adds to the variance of a term of communication."""
    return device.between.spread**2 if device.between is not None and term in OVER_LINKS else 0.0


def interval(step: Step, device: Device, times: Schedule[Any], floor: Number) -> tuple[Number, Number]:
    """The 10th and 90th percentile of the step time, never below its ideal."""
    from ..arrays import maximum

    width = Z80 * spread(step, device, times)
    return maximum(times.total * exp(-width), floor), times.total * exp(width)


def ratio_spread(first: Schedule[Any], other: Schedule[Any], device: Device) -> Number:
    """Standard deviation of the logarithm of the ratio of two step times of one model, device and software.

    What errs in both alike cancels: a term that is some per cent off moves the ratio by the difference of its shares.
    To first order d log(T'/T) = sum over terms of e (T'_i/T' - T_i/T); the shapes of kernels err in each by itself.
    """
    variance: Number = 0.0
    for term in TERMS:
        share, others = getattr(first, term) / first.total, getattr(other, term) / other.total
        variance = variance + (SPREAD[term] ** 2 + _of_host(term, device)) * (others - share) ** 2
        variance = variance + SHAPES**2 * (others**2 + share**2)
    return variance**0.5
