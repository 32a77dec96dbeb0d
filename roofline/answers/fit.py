"""Whether a step fits in memory, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..arrays import is_scalar
from ..units import format_bytes

if TYPE_CHECKING:
    from ..footprint.parts import Memory
    from .inference import InferenceMemory


def fit_words(memory: Memory[Any, Any]) -> str:
    """Total against capacity, what is left or missing, and what lives elsewhere."""
    places = (("in the memory of each host", memory.host_bytes), ("on the drives of each host", memory.nvme_bytes))
    elsewhere = [f"{format_bytes(float(held))} {where}" for where, held in places if is_scalar(held) and held]
    return "; ".join([total_words(memory), *elsewhere])


def total_words(memory: Memory[Any, Any] | InferenceMemory) -> str:
    """What is needed against the capacity, and what is left or missing; how sure, where that is no matter of course."""
    least: Any = memory.needed_bytes  # of one configuration: a number
    there: Any = memory.capacity_bytes
    if there is None:
        return f"{format_bytes(memory.total_bytes)} per device; name a --device to see whether that fits"
    needed, capacity = format_bytes(least), format_bytes(there)
    difference = format_bytes(abs(there - least))
    if memory.verdict == "borderline":
        sure = f"{100 * float(memory.fit_probability):.0f} % sure"
        spare = "to spare" if memory.fits else "short"
        return f"borderline: {needed} needed, {capacity} there: {difference} {spare}; {sure} to fit"
    if memory.fits:
        return f"fits: {needed} needed, {capacity} there: {difference} to spare"
    return f"DOES NOT FIT: {needed} needed, {capacity} there: {difference} short per device"
