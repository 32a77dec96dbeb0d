"""What makes a training fit in memory where no layout does: fewer restrictions, or how many devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..answers.changes import LAYOUTS, Change, changes
from ..config.recompute import recompute_words
from ..config.settle import Run
from ..config.words import layout_words
from ..errors import RooflineError
from ..hardware.errors import HardwareError
from ..model.spec import ModelConfig
from ..units import format_bytes, format_number
from .layout import Layout, SearchResult, unsure
from .search import search

if TYPE_CHECKING:
    from ..hardware import Device

MOST_TRIED = 2**13  # devices


def shortage(found: SearchResult) -> str:
    """What the smallest layout needs, and what holds it."""
    memory = found.smallest_memory
    if memory is None:
        return "no layout was found"
    return (
        f"it needs {format_bytes(float(memory.needed_bytes))} per device at least, "
        f"{format_bytes(float(memory.kept_bytes))} of it weights, gradients and optimizer state"
    )


def remedy(model: ModelConfig, device: Device, found: SearchResult, num_devices: int, options: dict[str, Any]) -> str:
    """What would make it fit, the least of each kind of change, each tried out.

    Args:
        model: The model.
        device: The device.
        found: A search without a layout that fits.
        num_devices: Devices searched for.
        options: Its other options.
    """
    ways = []
    if found.smallest is not None:
        train = msgspec.structs.replace(found.smallest.train, num_devices=num_devices)
        run = Run(model=model, device=device, options=options, train=train)
        ways = [way for each in changes(LAYOUTS, run).values() if (way := _way(run, each))]
    ways = ways or [f"no number of devices up to {MOST_TRIED:,} holds it"]
    return f"{', '.join(ways[:-1])} or {ways[-1]}" if len(ways) > 1 else ways[0]


def _way(run: Run, each: list[Change]) -> str:
    """The first of the changes with which a layout fits, and that layout; empty where none does."""
    for change in each:
        number = change.options.get("num_devices", run.train.num_devices)
        if number > MOST_TRIED:
            break
        try:
            layout = _first(run, {**run.options, "num_devices": number, **change.options})
        except HardwareError as error:  # no figure for what joins so many
            return f"more than {format_number(run.device.devices_per_node, 'device')} ({error})"
        if layout is not None:
            use = "use " if change.kind == "num_devices" else ""
            return f"{use}{change.what} ({_words(layout)})"
    return ""


def _words(layout: Layout) -> str:
    """The layout in a few words."""
    recompute = "" if layout.recompute == "none" else f", {recompute_words(layout.train)}"
    words = layout_words(layout.train).rpartition(": ")[2]
    sure = f", {unsure(layout)}" if unsure(layout) else ""
    return f"{words}{recompute}, micro batch {layout.micro_batch}: {format_bytes(layout.memory_bytes)}{sure}"


def _first(run: Run, options: dict[str, Any]) -> Layout | None:
    """The simplest good layout; None where there is none.

    Raises:
        HardwareError: No figure for the links between devices.
    """
    try:
        return search(run.model, run.device, top=1, front=False, **options).simplest
    except HardwareError:
        raise
    except RooflineError:
        return None
