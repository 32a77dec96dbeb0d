"""Draws the waterfall from peak to MFU, and memory against capacity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from ..timing.terms import TERM_WORDS
from ..units import format_time
from ..view.colours import CAUSE_COLOURS, PART_COLOURS, RED
from ..view.estimate import VISIBLE
from ..view.memory import MEMORY_PARTS
from .data import MemoryBar, MemoryData, Waterfall, WaterfallData
from .style import (
    CAUSE_HATCHES,
    FAINT,
    GREY,
    INK,
    NORMAL,
    WIDTH,
    Style,
    caption_lines,
    heading,
    percent,
    subject,
    wrapped,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GIB = 2**30
BESIDE: Style = {"fontsize": NORMAL, "va": "center"}
NO_EDGE: Style = {"edgecolor": "white", "linewidth": 0}
PART_HATCHES = {"gradients_bytes": "////", "logits_bytes": "....", "communication_bytes": "xxxx"}


# --- waterfall --------------------------------------------------------------------------------------------


def draw_waterfalls(figure: Figure, data: WaterfallData) -> None:
    """Draw one waterfall per device, side by side over the same causes."""
    count = len(data.panels)
    columns = min(count, 3)
    lines = math.ceil(count / columns)
    terms = visible_terms(data.panels)
    height, left = 0.27 * (len(terms) + 2) + 0.1, 2.6
    width = max(WIDTH, left + 2.4 * columns)
    inches = (width - left - 0.1) / (columns + 0.08 * (columns - 1))
    captions = max(len(caption_lines(inches, panel.caption)) for panel in data.panels)
    gap, top, bottom = 0.59 + 0.16 * captions, 0.46 + 0.16 * captions + 0.13 * len(wrapped(data.title)), 0.78
    total = top + bottom + lines * height + (lines - 1) * gap
    figure.set_size_inches(width, total)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    margins = {
        "left": left / width,
        "right": 1 - 0.1 / width,
        "bottom": bottom / total,
        "top": 1 - top / total,
    }
    figure.subplots_adjust(**margins, wspace=0.08, hspace=gap / height)
    cells = list(grid.flat)
    for axes, panel in zip(cells, data.panels, strict=False):
        draw_waterfall(axes, panel, terms, captions, narrow=columns > 1)
    for axes in cells[count:]:
        axes.remove()
    subject(figure, data.title, 0.12)
    rule = f"share of the dense peak; MFU counts {data.panels[0].mfu_rule.split(':')[0]}"
    figure.text(left / width, 0.4 / total, rule, fontsize=8.0, va="center")
    causes = {term.cause for panel in data.panels for term in panel.terms if term.term in terms}
    handles = [
        cells[0].bar(0, 0, color=colour, hatch=CAUSE_HATCHES[cause], label=cause, **NO_EDGE)
        for cause, colour in CAUSE_COLOURS.items()
        if cause in causes
    ]
    place: Style = {"loc": "lower left", "bbox_to_anchor": (left / width, 0.02 / total)}
    figure.legend(handles=handles, **place, ncols=4, borderpad=0.1, columnspacing=1.2, handlelength=1.4)


def visible_terms(panels: Sequence[Waterfall]) -> list[str]:
    """Terms that take a visible share of the peak on some device, in order."""
    terms = (term for panel in panels for term in panel.terms)
    return list(dict.fromkeys(term.term for term in terms if abs(term.lost) >= VISIBLE))


def draw_waterfall(axes: Axes, panel: Waterfall, terms: Sequence[str], captions: int, *, narrow: bool = False) -> None:
    """Draw the dense peak, what each cause takes, and the MFU with its interval, under `captions` lines of caption."""
    heading(axes, panel.name, panel.caption, below=captions)
    last = len(terms) + 1
    axes.barh(0, 1.0, height=0.7, color=FAINT)
    previous = 1.0
    by_name = {term.term: term for term in panel.terms}
    for row, name in enumerate(terms, start=1):
        term = by_name[name]
        left, right = sorted((term.remaining, term.remaining + term.lost))
        style: Style = {"color": CAUSE_COLOURS[term.cause], "hatch": CAUSE_HATCHES[term.cause], **NO_EDGE}
        axes.barh(row, right - left, left=left, height=0.7, **style)
        axes.plot([previous, previous], [row - 0.65, row + 0.35], color=GREY, linewidth=0.6)
        sign = "−" if term.lost >= 0 else "+"
        time = "" if narrow else f"   {format_time(term.seconds)}"
        write(axes, f"{sign}{100 * abs(term.lost):.1f} %{time}", (right, row), (4, 0), **BESIDE)
        previous = term.remaining
    axes.plot([previous, previous], [last - 0.65, last + 0.35], color=GREY, linewidth=0.6)
    axes.barh(last, panel.mfu, height=0.7, color=INK)
    whisker: Style = {"linewidth": 1.4, "marker": "|", "markersize": 7}
    axes.plot([panel.mfu_low, panel.mfu_high], [last, last], color=RED, **whisker)
    interval = f"{100 * panel.mfu:.1f} %  ({100 * panel.mfu_low:.0f} to {100 * panel.mfu_high:.0f})"
    write(axes, interval, (panel.mfu_high, last), (4, 0), fontweight="bold", **BESIDE)
    words = [TERM_WORDS.get(name, name.replace("_", " ")) for name in terms]
    axes.set_yticks(range(last + 1), ["dense peak", *words, "MFU"])
    axes.set(xlim=(0, 1.42 if narrow else 1.3), ylim=(last + 0.55, -0.6))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.xaxis.set_major_formatter(percent)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.4)
    axes.spines["left"].set_visible(False)


# --- memory -----------------------------------------------------------------------------------------------


def draw_memory(figure: Figure, data: MemoryData) -> None:
    """Draw one stacked bar per micro batch or device, with the capacity as a line over it."""
    count = len(data.bars)
    bottom = 0.67 if data.axis == "device" else 0.5
    width, height = max(WIDTH, 2.9 + 0.9 * count), bottom + 3.4 + 0.13 * len(wrapped(data.title))
    figure.set_size_inches(width, height)
    axes = figure.subplots()
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 2.1 / width, bottom=bottom / height, top=(bottom + 3.05) / height
    )
    heading(axes, "Memory of the fullest device")
    subject(figure, data.title, 0.6)
    parts = [name for name in MEMORY_PARTS if any(bar.parts.get(name, 0) > 0 for bar in data.bars)]
    top = max(max(bar.total_bytes, bar.capacity_bytes) for bar in data.bars) / GIB
    for position, bar in enumerate(data.bars):
        _draw_bar(axes, position, bar, parts, top)
    capacities = [bar.capacity_bytes / GIB for bar in data.bars]
    _draw_capacities(axes, capacities)
    axes.set(ylabel="GiB", xlim=(-0.6, count - 0.4), ylim=(0, 1.12 * top))
    labels = [bar.label for bar in data.bars]
    if data.axis == "device":
        labels = [f"{_two_lines(each)}\n{there:.1f} GiB" for each, there in zip(labels, capacities, strict=True)]
    axes.set_xticks(range(count), labels)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=FAINT, linewidth=0.4)
    axes.set_xlabel("" if data.axis == "device" else _batch_words(data))
    handles: list[Any] = [
        axes.bar(0, 0, color=colour, hatch=hatch, label=fill(MEMORY_PARTS[name], 24), **NO_EDGE)
        for name, (colour, hatch) in ((name, _part_style(name)) for name in reversed(parts))
    ]
    handles += axes.plot([], [], color=INK, linewidth=1.3, linestyle="--", label=_capacity_words(capacities))
    place: Style = {"loc": "upper left", "bbox_to_anchor": (1 - 2.05 / width, (bottom + 3.05) / height)}
    figure.legend(handles=handles, **place, labelspacing=0.7, handlelength=1.5)


def _two_lines(device: str) -> str:
    """A device id broken at the hyphen nearest its middle.

    >>> _two_lines("h100-sxm-80gb").splitlines(), _two_lines("mi300x")
    (['h100-', 'sxm-80gb'], 'mi300x')
    """
    places = [index + 1 for index, letter in enumerate(device) if letter == "-"]
    if len(device) <= 9 or not places:
        return device
    at = min(places, key=lambda place: abs(place - len(device) / 2))
    return f"{device[:at]}\n{device[at:]}"


def _batch_words(data: MemoryData) -> str:
    words = "micro batch (sequences per device and pass)"
    if data.largest is None:
        return words
    return f"{words}; largest that fits: {data.largest:,}" if data.largest else f"{words}; none fits"


def _draw_capacities(axes: Axes, capacities: Sequence[float]) -> None:
    """One line over each run of bars that share a capacity."""
    start = 0
    for end in range(1, len(capacities) + 1):
        if end == len(capacities) or capacities[end] != capacities[start]:
            ends, level = [start - 0.48, end - 0.52], [capacities[start]] * 2
            axes.plot(ends, level, color=INK, linewidth=1.3, linestyle="--")
            start = end


def _capacity_words(capacities: Sequence[float]) -> str:
    """The capacity in figures, or where they are."""
    if len(set(capacities)) == 1:
        return f"capacity {capacities[0]:.1f} GiB"
    return fill("capacity: GiB below each device", 24)


def _part_style(name: str) -> tuple[str, str]:
    """Colour and hatch of a part of memory: neighbours in the stack differ in lightness or hatch."""
    return PART_COLOURS[name], PART_HATCHES.get(name, "")


def _draw_bar(axes: Axes, position: int, bar: MemoryBar, parts: Sequence[str], top: float) -> None:
    """One stack, paler where it does not fit, with its total above and its capacity across."""
    bottom = 0.0
    for name in parts:
        colour, hatch = _part_style(name)
        value = bar.parts.get(name, 0.0) / GIB
        style: Style = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}
        axes.bar(position, value, bottom=bottom, width=0.66, alpha=1.0 if bar.fits else 0.45, **style)
        bottom += value
    capacity = bar.capacity_bytes / GIB
    text = f"{bottom:.1f}" if bar.fits else f"{bottom:.1f}\ndoes not fit"
    covered = bar.fits and 0 < capacity - bottom < 0.09 * top  # the line would run through the figure
    at, colour = (position, capacity if covered else bottom), INK if bar.fits else RED
    write(axes, text, at, (0, 2), ha="center", fontsize=NORMAL, color=colour, fontweight="bold")
