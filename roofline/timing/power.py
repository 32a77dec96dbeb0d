"""Clock of matrix kernels under a power limit: what the mix of a step's work leaves of it.

At full clock a chip in large matrix products draws ``peak (static + watts)``; at the share f of that clock
``peak (static + watts f^3)``, because dynamic power goes with frequency and the square of voltage, which falls with
frequency. A step draws the mean over its kernels: matrix engines by the FLOPs they do, kernels that stream memory a
part of it whatever the clock. The driver holds the mean to the limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..arrays import Number, maximum, minimum

if TYPE_CHECKING:
    from ..hardware import Device

# Of the default limit where no curve is known: leakage, memory and links, which the clock does not change.
STATIC_POWER = 0.25
_LEAST_DYNAMIC = 0.02  # limits below the static power cannot be set: the lowest clocks remain
# Dynamic power relative to large matrix products at full clock: assumptions, no measurement is known.
ATTENTION, STREAM = 0.7, 0.6
_ROUNDS = 4


class Work(NamedTuple):
    """Seconds of a step's kernels at full clock.

    Attributes:
        matmul: Matrix products in 16 bits.
        narrow: Matrix products in 8 and 4 bits.
        attention: Fused attention.
        stream: Kernels that stream memory.
    """

    matmul: Number = 1.0
    narrow: Number = 0.0
    attention: Number = 0.0
    stream: Number = 0.0


PURE = Work()  # large matrix products alone


def clock(device: Device, work: Work = PURE, limit_w: float | None = None) -> Number:
    """Clock of the matrix engines relative to that of short benchmarks, in (0, 1]; 1 where no curve is known.

    Args:
        device: The device, with its limit and the curve of its architecture.
        work: The mix of a step.
        limit_w: Watts; default the limit in force.

    Solves ``static + watts (engines f^2 + STREAM stream) / (compute / f + stream) = limit / peak`` for f, where engines
    are the seconds of `compute` weighted by what they draw: in a time t / f, a power of f^3.
    """
    curve, power = device.measured.sustained, device.power
    peak = device.peaks.get("bf16") or device.peaks.get("fp16")
    if curve.watts is None or power is None or not peak:
        return 1.0
    limit = limit_w or power.limit_w or power.tdp_w
    budget = max((limit / (peak / 1e12) - curve.static_watts) / curve.watts, _LEAST_DYNAMIC)
    compute = work.matmul + work.narrow + work.attention
    engines = maximum(work.matmul + curve.narrow * work.narrow + ATTENTION * work.attention, 1e-30)
    share: Number = 1.0
    for _ in range(_ROUNDS):
        seconds = compute / share + work.stream
        spare = maximum(budget * seconds - STREAM * work.stream, 1e-3 * engines)
        share = minimum(1.0, (share * spare / engines) ** (1 / 3))  # exact at once where nothing else runs
    return share


def clock_share(device: Device) -> float:
    """Clock under large matrix products at the limit in force, relative to that at the default limit; 1 without one.

    Where no curve is known, assumes a quarter static: an A100 of 300 W then reaches 0.87 of one of 400 W, and measured
    ones 0.88 (large bf16 products, github:MooreThreads/SimuMax a100_pcie and github:ai-dynamo/aiconfigurator a100_sxm).

    >>> from roofline.hardware import load_device, override
    >>> round(clock_share(override(load_device("h100-sxm-80gb"), power_limit_w=350)), 2)
    0.69
    """
    power = device.power
    if power is None or power.limit_w is None or power.limit_w >= power.tdp_w:
        return 1.0
    if device.measured.sustained.watts is not None:
        return float(clock(device) / clock(device, limit_w=power.tdp_w))
    dynamic = max(power.limit_w / power.tdp_w - STATIC_POWER, _LEAST_DYNAMIC)
    return float((dynamic / (1 - STATIC_POWER)) ** (1 / 3))
