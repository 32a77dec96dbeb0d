"""Why a run is as fast as it is, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..answers.estimate import estimate_step
from ..config.recompute import RECOMPUTES
from ..config.words import layout_words
from ..counting.step import build_step
from ..model.spec import ModelConfig
from ..search.layout import Layout
from ..timing.terms import words_of
from ..units import format_share, format_time

if TYPE_CHECKING:
    from ..hardware import Device


def relief(before: Layout, after: Layout) -> str:
    """What the layout of twice the devices does without or more of, as less of the model lies on each."""
    changes = []
    if RECOMPUTES.index(after.recompute) < RECOMPUTES.index(before.recompute):
        changes.append(f"recompute {after.recompute} instead of {before.recompute}")
    if after.micro_batch > before.micro_batch:
        changes.append(f"micro batch {after.micro_batch} instead of {before.micro_batch}")
    changes += [
        f"{name} {getattr(after, name)} instead of {getattr(before, name)}"
        for name in ("tp", "pp", "cp", "ep")
        if getattr(after, name) < getattr(before, name)
    ]
    if after.sharding != before.sharding:
        changes.append(f"sharding {after.sharding} instead of {before.sharding}")
    return ", ".join(changes)


def faster_words(passed: Mapping[str, Layout], tolerance: float) -> str:
    """The layouts that were passed over for simpler ones, by where they would run: "" here, or such as "on fsdp"."""
    each = [
        f"{where} {format_time(fast.step_time_s)} a step ({layout_words(fast.train)}; {fast.stack} software)".lstrip()
        for where, fast in passed.items()
    ]
    return f"layouts are the simplest within {100 * tolerance:g} % of the fastest, which takes {'; '.join(each)}"


def largest_term(model: ModelConfig, device: Device, layout: Layout) -> str:
    """What keeps a layout from the peak most, and how much of the peak is lost to it."""
    waterfall = estimate_step(build_step(model, layout.train), device).waterfall
    worst = max(waterfall, key=lambda step: float(step.lost))
    return f"{format_share(float(worst.lost))} of the peak lost to {words_of(worst.term)}"
