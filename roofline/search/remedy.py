"""What makes a training fit in memory where no layout does: fewer restrictions, or how many devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import RooflineError
from ..footprint.allocator import FRAGMENTATION
from ..footprint.parts import Memory
from ..hardware.errors import HardwareError
from ..model.spec import ModelConfig
from ..units import format_bytes
from .layout import Layout, SearchResult
from .search import search

if TYPE_CHECKING:
    from ..hardware import Device

MOST_TRIED = 2**13  # devices
RESTRICTIONS = (
    "sharding",
    "recompute",
    "micro_batch",
    "sequence_parallel",
    "tp",
    "pp",
    "vp",
    "cp",
    "ep",
    "dp",
)


def shortage(found: SearchResult) -> str:
    """What the smallest layout needs, and what holds it."""
    memory = found.smallest_memory
    if memory is None:
        return "no layout was found"
    return (
        f"it needs {format_bytes(float(memory.total_bytes))} per device at least, "
        f"{format_bytes(_states(memory))} of it weights, gradients and optimizer state"
    )


def remedy(model: ModelConfig, device: Device, found: SearchResult, num_devices: int, options: dict[str, Any]) -> str:
    """What would make it fit, each tried out.

    Args:
        model: The model.
        device: The device.
        found: A search without a layout that fits.
        num_devices: Devices searched for.
        options: Its other options.
    """
    ways = [
        _freed(model, device, num_devices, options),
        _more_devices(model, device, num_devices, options),
        _adapters(model, device, num_devices, options),
        "a shorter --seq-len" if _shorter_helps(found) else "",
    ]
    ways = [way for way in ways if way] or [f"no number of devices up to {MOST_TRIED:,} holds it"]
    return f"{', '.join(ways[:-1])} or {ways[-1]}" if len(ways) > 1 else ways[0]


def _states(memory: Memory) -> float:
    return float(memory.weights_bytes + memory.gradients_bytes + memory.optimizer_bytes)


def _shorter_helps(found: SearchResult) -> bool:
    """Whether what does not grow with the sequence fits."""
    memory = found.smallest_memory
    if memory is None:
        return False
    grows = (1 + FRAGMENTATION) * (memory.activations_bytes + memory.logits_bytes)
    return bool(memory.total_bytes - grows < memory.capacity_bytes)


def _adapters(model: ModelConfig, device: Device, num_devices: int, options: dict[str, Any]) -> str:
    """Whether adapters alone fit."""
    if options.get("train") == "lora":
        return ""
    layout = _first(model, device, num_devices, {**options, "train": "lora", "lora_rank": 16})
    return "" if layout is None else f"--train lora --lora-rank 16 ({_words(layout)})"


def _words(layout: Layout) -> str:
    """The layout in a few words."""
    from ..config.words import layout_words

    recompute = "" if layout.recompute == "none" else f", {layout.recompute} recompute"
    words = layout_words(layout.train).rpartition(": ")[2]
    return f"{words}{recompute}, micro batch {layout.micro_batch}: {format_bytes(layout.memory_bytes)}"


def _freed(model: ModelConfig, device: Device, num_devices: int, options: dict[str, Any]) -> str:
    """The layout that fits on the same devices if the restrictions are lifted."""
    given = [name for name in RESTRICTIONS if options.get(name) is not None]
    if not given:
        return ""
    freed = {name: value for name, value in options.items() if name not in given}
    layout = _first(model, device, num_devices, freed)
    names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
    return "" if layout is None else f"leave {names} out ({_words(layout)})"


def _more_devices(model: ModelConfig, device: Device, num_devices: int, options: dict[str, Any]) -> str:
    """The fewest devices, of those doubled or of whole nodes, that hold the model."""
    node = device.devices_per_node
    count = num_devices
    while count < MOST_TRIED:
        # within a node powers of two, then nodes by half as many more
        count = count * 2 if count < node else -(-count * 5 // (4 * node)) * node
        try:
            layout = _first(model, device, count, options)
        except HardwareError as error:  # no figure for what joins so many
            return f"more than {device.devices_per_node} devices ({error})"
        if layout is not None:
            return f"use {count:,} devices ({_words(layout)})"
    return ""


def _first(model: ModelConfig, device: Device, num_devices: int, options: dict[str, Any]) -> Layout | None:
    """The simplest good layout; None where there is none.

    Raises:
        HardwareError: No figure for the links between devices.
    """
    asked = {**options, "num_devices": num_devices, "top": 1, "front": False}
    try:
        return search(model, device, **asked).simplest
    except HardwareError:
        raise
    except RooflineError:
        return None
