"""Clock of matrix kernels under a power limit below the device's default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..constants import constant

if TYPE_CHECKING:
    from ..hardware import Device

STATIC_POWER = constant("static_power")
_LEAST_DYNAMIC = 0.02  # limits below the static power cannot be set: the lowest clocks remain


def clock_share(device: Device) -> float:
    """Clock under matrix products at the power limit in force, relative to that at the default limit; 1 without one.

    Dynamic power goes with frequency and the square of voltage, which falls with frequency: ``P - static ~ f^3``.
    The static part is the constant ``static_power``, with its evidence.

    >>> from roofline.hardware import load_device, override
    >>> round(clock_share(override(load_device("h100-sxm-80gb"), power_limit_w=350)), 2)
    0.69
    """
    power = device.power
    if power is None or power.limit_w is None:
        return 1.0
    dynamic = max(min(power.limit_w / power.tdp_w, 1.0) - STATIC_POWER, _LEAST_DYNAMIC)
    return float((dynamic / (1 - STATIC_POWER)) ** (1 / 3))
