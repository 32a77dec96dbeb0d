"""Draws the waterfall from peak to MFU, memory against capacity, and MFU and memory against micro batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from .plot_data import BatchCurve, BatchData, MemoryBar, MemoryData, Waterfall, WaterfallData
from .plot_style import (
    BLUE,
    CAUSE_COLOURS,
    CAUSE_HATCHES,
    FAINT,
    GREEN,
    GREY,
    INK,
    LARGE,
    NORMAL,
    ORANGE,
    PINK,
    RED,
    SERIES,
    SKY,
    WIDTH,
    Style,
    heading,
    line_of,
    percent,
    plain_number,
    subject,
    wrapped,
    write,
)
from .report import TERM_WORDS, VISIBLE
from .report_memory import MEMORY_PARTS
from .units import format_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GIB = 2**30
BESIDE: Style = {"fontsize": NORMAL, "va": "center"}
NO_EDGE: Style = {"edgecolor": "white", "linewidth": 0}
PART_STYLE = {  # colour and hatch: neighbours in the stack differ in lightness or hatch
    "weights_bytes": (BLUE, ""),
    "gradients_bytes": (SKY, "////"),
    "optimizer_bytes": (GREEN, ""),
    "activations_bytes": (ORANGE, ""),
    "logits_bytes": (PINK, "...."),
    "communication_bytes": (RED, "xxxx"),
    "context_bytes": ("#bdbdbd", ""),
}


# --- waterfall --------------------------------------------------------------------------------------------


def draw_waterfalls(figure: Figure, data: WaterfallData) -> None:
    """Draw one waterfall per device, side by side over the same causes."""
    count = len(data.panels)
    columns = min(count, 3)
    lines = math.ceil(count / columns)
    terms = visible_terms(data.panels)
    height, left = 0.27 * (len(terms) + 2) + 0.1, 2.6
    gap, top, bottom = 0.75, 0.62 + 0.13 * len(wrapped(data.title)), 0.78
    width, total = max(WIDTH, left + 2.4 * columns), top + bottom + lines * height + (lines - 1) * gap
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
        draw_waterfall(axes, panel, terms, narrow=columns > 1)
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


def draw_waterfall(axes: Axes, panel: Waterfall, terms: Sequence[str], *, narrow: bool = False) -> None:
    """Draw the dense peak, what each cause takes, and the MFU with its interval, from top to bottom."""
    heading(axes, panel.name, panel.caption, below=True)
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
    width, height = max(WIDTH, 2.9 + 0.8 * count), 3.9 + 0.13 * len(wrapped(data.title))
    figure.set_size_inches(width, height)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.6 / width, right=1 - 2.1 / width, bottom=0.5 / height, top=3.55 / height)
    heading(axes, "Memory of the fullest device")
    subject(figure, data.title, 0.6)
    parts = [name for name in MEMORY_PARTS if any(bar.parts.get(name, 0) > 0 for bar in data.bars)]
    top = max(max(bar.total_bytes, bar.capacity_bytes) for bar in data.bars) / GIB
    for position, bar in enumerate(data.bars):
        _draw_bar(axes, position, bar, parts, top)
    axes.set(ylabel="GiB", xlim=(-0.6, count - 0.4), ylim=(0, 1.12 * top))
    labels = [_two_lines(bar.label) if data.axis == "device" else bar.label for bar in data.bars]
    axes.set_xticks(range(count), labels)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=FAINT, linewidth=0.4)
    axes.set_xlabel("" if data.axis == "device" else _batch_words(data))
    handles: list[Any] = [
        axes.bar(0, 0, color=colour, hatch=hatch, label=fill(MEMORY_PARTS[name], 24), **NO_EDGE)
        for name, (colour, hatch) in ((name, PART_STYLE[name]) for name in reversed(parts))
    ]
    handles += axes.plot([], [], color=INK, linewidth=1.3, linestyle="--", label="capacity")
    place: Style = {"loc": "upper left", "bbox_to_anchor": (1 - 2.05 / width, 3.55 / height)}
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


def _draw_bar(axes: Axes, position: int, bar: MemoryBar, parts: Sequence[str], top: float) -> None:
    """One stack, paler where it does not fit, with its total above and its capacity across."""
    bottom = 0.0
    for name in parts:
        colour, hatch = PART_STYLE[name]
        value = bar.parts.get(name, 0.0) / GIB
        style: Style = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}
        axes.bar(position, value, bottom=bottom, width=0.66, alpha=1.0 if bar.fits else 0.45, **style)
        bottom += value
    capacity = bar.capacity_bytes / GIB
    axes.plot(
        [position - 0.5, position + 0.5], [capacity, capacity], color=INK, linewidth=1.3, linestyle="--"
    )
    text = f"{bottom:.1f}" if bar.fits else f"{bottom:.1f}\ndoes not fit"
    covered = bar.fits and 0 < capacity - bottom < 0.09 * top  # the line would run through the figure
    at, colour = (position, capacity if covered else bottom), INK if bar.fits else RED
    write(axes, text, at, (0, 2), ha="center", fontsize=NORMAL, color=colour, fontweight="bold")


# --- micro batch ------------------------------------------------------------------------------------------


def draw_batch(figure: Figure, data: BatchData) -> None:
    """Draw MFU with its 10 to 90 % band over memory, against micro batch; what does not fit is marked."""
    several = len(data.curves) > 1
    keys = math.ceil((len(data.curves) + 2 if several else 3) / 4)  # rows of the key
    top, bottom, height = 0.52 + 0.13 * len(wrapped(data.title)) + 0.17 * keys, 0.47, 4.0
    total = top + height + bottom
    figure.set_size_inches(WIDTH, total)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    figure.subplots_adjust(left=0.085, right=0.975, bottom=bottom / total, top=1 - top / total, hspace=0.1)
    subject(figure, data.title, 0.085 * WIDTH)
    name = "MFU and memory against micro batch" if several else data.curves[0].name
    at = 1 - (top - 0.24 - 0.17 * keys) / total
    figure.text(0.085, at, name, va="center", fontsize=LARGE, fontweight="bold")
    for index, curve in enumerate(data.curves):
        _draw_curve(above, below, curve, SERIES[index % len(SERIES)], line_of(index), several=several)
    if not several:
        _shade_beyond(above, below, data.curves[0])
    batches = [batch for curve in data.curves for batch in curve.micro_batch]
    above.set(ylabel=f"MFU ({data.mfu_rule.split(':')[0]})", ylim=(0, None))
    above.set_xscale("log", base=2)
    above.set_xlim(min(batches) / 1.06, max(batches) * 1.06)
    above.xaxis.set_major_formatter(plain_number)
    above.yaxis.set_major_formatter(percent)
    below.set(ylabel="memory (GiB)", xlabel="micro batch (sequences per device and pass)")
    highest = max(curve.capacity_bytes for curve in data.curves) / GIB
    most = max(max(*curve.memory_bytes, curve.capacity_bytes) for curve in data.curves) / GIB
    below.set_ylim(0, min(1.6 * highest, 1.05 * most))
    for axes in (above, below):
        axes.grid(color=FAINT, linewidth=0.4)
    handles: list[Any] = above.get_legend_handles_labels()[0]
    handles += above.plot([], [], color=GREY, linewidth=0.7, label="beyond memory")
    handles += (
        below.plot([], [], color=GREY, linewidth=0.9, linestyle="--", label="capacity") if several else []
    )
    place: Style = {
        "loc": "upper left",
        "bbox_to_anchor": (0.08, 1 - (top - 0.08 - 0.17 * keys) / total),
        "ncols": 4,
    }
    figure.legend(handles=handles, **place, borderpad=0.1, columnspacing=1.4)


def _draw_curve(
    above: Axes, below: Axes, curve: BatchCurve, colour: str, line: Any, *, several: bool
) -> None:
    """One device: solid (or its own dashes) as far as it fits, thin and pale beyond."""
    batches, fitting = curve.micro_batch, sum(batch <= curve.largest for batch in curve.micro_batch)
    band = (batches[:fitting], curve.mfu_low[:fitting], curve.mfu_high[:fitting])
    label = None if several else "10th to 90th percentile"
    above.fill_between(*band, color=colour, alpha=0.15, linewidth=0, label=label)
    solid = {
        "linestyle": line,
        "linewidth": 1.5,
        "marker": "o" if len(batches) <= 16 else "",
        "markersize": 3,
    }
    beyond = slice(max(fitting - 1, 0), None)
    memory = [value / GIB for value in curve.memory_bytes]
    for axes, values in ((above, list(curve.mfu)), (below, memory)):
        name = curve.name if several else "expected MFU"
        axes.plot(batches[:fitting], values[:fitting], color=colour, label=name, **solid)
        axes.plot(batches[beyond], values[beyond], color=colour, linewidth=0.7, alpha=0.6)
        if fitting:
            axes.plot(batches[fitting - 1], values[fitting - 1], "o", markersize=4.5, color=colour)
    below.axhline(curve.capacity_bytes / GIB, color=colour if several else INK, linewidth=0.9, linestyle="--")
    if fitting:
        at = batches[fitting - 1], curve.mfu[fitting - 1]
        words = f"micro batch {at[0]:,}: {100 * at[1]:.1f} %"
        write(above, words, at, (-5, 7), ha="right", fontsize=NORMAL, fontweight="bold")


def _shade_beyond(above: Axes, below: Axes, curve: BatchCurve) -> None:
    """The region where one device runs out of memory."""
    end, capacity = curve.micro_batch[-1], curve.capacity_bytes / GIB
    start = next((batch for batch in curve.micro_batch if batch > curve.largest), None)
    write(below, f"capacity {capacity:.1f} GiB", (curve.micro_batch[0], capacity), (3, 2), fontsize=NORMAL)
    if start is None:
        return
    edge = math.sqrt(start * max(curve.largest, start / 2))
    for axes in (above, below):
        shade: Style = {"facecolor": "#f2f2f2", "edgecolor": FAINT, "hatch": "///", "linewidth": 0}
        axes.axvspan(edge, end * 1.2, zorder=0, **shade)
    words: Style = {"of": ("data", "axes fraction"), "fontsize": NORMAL, "color": RED, "fontweight": "bold"}
    write(above, "out of memory", (edge, 0), (6, 6), **words)
