"""Layouts by time and memory: those that no other beats in both, and which of them is recommended."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from ..errors import RooflineError
from ..search.layout import Layout, SearchResult
from ..view.colours import BLUE, RED
from ..view.layouts import layout_words
from ..view.words import model_words
from .data import Row
from .labels import Box
from .names import name_places
from .style import (
    EDGE,
    FAINT,
    GREY,
    head_of,
    heading,
    page_of,
    plain_number,
    subject,
    subject_height,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GIB = 2**30
TITLE = "Time against memory: no layout is both faster and smaller"
MOST_NAMES = 6


class FrontPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One layout."""

    name: str
    layout: str
    software: str
    step_time_s: float
    step_time_low_s: float
    step_time_high_s: float
    memory_bytes: float
    mfu: float
    recommended: bool = False


class FrontData(msgspec.Struct, frozen=True, kw_only=True):
    """Layouts by rising memory; none is both slower and larger than another, but for the recommended one."""

    title: str
    device: str
    capacity_bytes: float
    points: tuple[FrontPoint, ...]

    def rows(self) -> list[Row]:
        """One layout a row."""
        return [msgspec.structs.asdict(point) for point in self.points]


def front_data(result: SearchResult) -> FrontData:
    """The front of a search, and the layout it recommends: the simplest that is hardly worse than the best.

    Raises:
        RooflineError: No layout fits.
    """
    if not result.layouts:
        raise RooflineError("nothing to draw: no layout fits ('roofline layouts' says what would)")
    chosen = result.simplest or result.layouts[0]
    found = sorted({id(each): each for each in (*result.front, chosen)}.values(), key=lambda each: each.memory_bytes)
    points = [_point(each, recommended=each.train == chosen.train) for each in found]
    twice = [point for point in points if point.recommended][1:]
    stacks = {point.software for point in points}
    words = [
        model_words(result.model),
        f"{chosen.num_devices:,} x {result.device.name}",
        f"{result.global_batch:,} sequences of {chosen.train.sequence_length:,} tokens a step",
        chosen.train.dtype,
        chosen.train.optimizer,
        *(f"{stack} stack" for stack in sorted(stacks) if len(stacks) == 1),
        f"{result.fitting:,} of {result.evaluated:,} layouts fit",
    ]
    return FrontData(
        title=", ".join(words),
        device=result.device.id,
        capacity_bytes=float(result.device.memory_bytes),
        points=tuple(point for point in points if point not in twice),
    )


def _point(layout: Layout, *, recommended: bool) -> FrontPoint:
    times = {name: float(getattr(layout, name)) for name in ("step_time_s", "step_time_low_s", "step_time_high_s")}
    return FrontPoint(
        name=_short(layout),
        layout=layout_words(layout),
        software=layout.stack,
        memory_bytes=float(layout.memory_bytes),
        mfu=float(layout.mfu),
        recommended=recommended,
        **times,
    )


def _short(layout: Layout) -> str:
    """Degrees above 1, and what runs again: what tells neighbours on the front apart."""
    degrees = ("tp", "pp", "vp", "cp", "ep", "dp")
    words = " ".join(f"{name} {getattr(layout, name)}" for name in degrees if getattr(layout, name) > 1)
    recompute = "" if layout.recompute == "none" else f", {layout.recompute} recompute"
    return (words or "one device") + recompute


def draw_front(figure: Figure, data: FrontData) -> None:
    """Step time with its interval against memory: what the front gives for more memory, and the capacity."""
    measures = page_of(figure)
    width, left, right = measures.width, measures.scaled(0.62), EDGE if measures.narrow else 0.2
    bottom, tall = measures.scaled(0.47), max(min(0.46 * width, 3.3), measures.scaled(2.1))
    head = head_of(measures, [(TITLE, "")], width - left - right)
    top = subject_height(measures, data.title, left) + head.height
    height = top + tall + bottom
    figure.set_size_inches(width, height)
    axes = figure.subplots()
    figure.subplots_adjust(left=left / width, right=1 - right / width, bottom=bottom / height, top=1 - top / height)
    subject(figure, data.title, left)
    heading(axes, TITLE, "", head)
    memory = [point.memory_bytes / GIB for point in data.points]
    times = [point.step_time_s for point in data.points]
    front = [(m, t) for m, t, point in zip(memory, times, data.points, strict=True) if not _beaten(point, data.points)]
    axes.step([m for m, _ in front], [t for _, t in front], where="post", color=BLUE, linewidth=1.2)
    low, high = [p.step_time_low_s for p in data.points], [p.step_time_high_s for p in data.points]
    axes.vlines(memory, low, high, color=BLUE, linewidth=3, alpha=0.1)
    for m, t, point in zip(memory, times, data.points, strict=True):
        colour = RED if point.recommended else BLUE
        axes.plot(m, t, "D" if point.recommended else "o", color=colour, markersize=5 if point.recommended else 3.5)
    capacity = data.capacity_bytes / GIB
    axes.axvline(capacity, color=GREY, linewidth=0.9, linestyle="--")
    axes.set_xlim(min(0.9 * memory[0], memory[0] - 0.1 * (capacity - memory[0])), 1.02 * capacity)
    axes.set(yscale="log", ylim=(min(low) / 1.08, max(high) * 1.08))
    axes.set(xlabel="memory of the fullest device (GiB)", ylabel="s a step (log scale)")
    for axis in (axes.yaxis, axes.xaxis):
        axis.set_major_formatter(plain_number)
    axes.yaxis.set_minor_formatter(plain_number)
    axes.tick_params(which="minor", labelsize=measures.small)
    axes.grid(color=FAINT, linewidth=0.4)
    write(
        axes,
        f"capacity {capacity:.1f} GiB",
        (capacity, 1),
        (-3, -1.4 * measures.small),
        of=("data", "axes fraction"),
        ha="right",
    )
    _name(axes, data, front)


def _beaten(point: FrontPoint, points: Sequence[FrontPoint]) -> bool:
    """Whether another layout is faster and no larger."""
    return any(each.step_time_s < point.step_time_s and each.memory_bytes <= point.memory_bytes for each in points)


def _name(axes: Axes, data: FrontData, front: Sequence[tuple[float, float]]) -> None:
    """The recommended layout, the ends of the front, and some between, clear of each other."""
    points = data.points
    spare = [point for point in points if not point.recommended]
    step = -(-len(spare) // (MOST_NAMES - 1))
    named = [point for point in points if point.recommended] + spare[::-1][::step]
    pixel = axes.figure.dpi / 72
    words = [f"{'recommended: ' if point.recommended else ''}{point.name}" for point in named]
    whole = axes.get_window_extent()
    end = float(axes.transData.transform((data.capacity_bytes / GIB, 1))[0])
    every = [axes.transData.transform((p.memory_bytes / GIB, p.step_time_s)) for p in points]
    marks = [Box(x, y, x, y).padded(2.5 * pixel) for x, y in every]
    room = Box(whole.x0 + 3 * pixel, whole.y0, end - 3 * pixel, whole.y1 - 1.6 * page_of(axes.figure).small * pixel)
    steps = [tuple(axes.transData.transform(at)) for at in front]
    lines = [(one, (other[0], one[1])) for one, other in pairwise(steps)]
    lines += [((other[0], one[1]), other) for one, other in pairwise(steps)]
    at = [(point.memory_bytes / GIB, point.step_time_s) for point in named]
    name_places(axes, at, words, [point.recommended for point in named], room, obstacles=marks, barriers=lines)
