"""Draws MFU and memory, and step time, against micro batch or sequence length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..units import format_time
from ..view.colours import RED
from .data import Curve, CurveData
from .key import block_of, flow
from .labels import Box, place
from .names import leader
from .style import (
    EDGE,
    FAINT,
    GREY,
    INK,
    PLATE,
    SERIES,
    Style,
    box_of,
    head_of,
    line_of,
    page_of,
    percent,
    plain_number,
    subject,
    subject_height,
    text_width,
    wrapped,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GIB = 2**30
AXIS_WORDS = {
    "micro_batch": "micro batch (sequences per device and pass)",
    "seq_len": "sequence length (tokens)",
}


BORDERLINE: Style = {"facecolor": "#f2f2f2", "edgecolor": FAINT, "linewidth": 0}
BEYOND: Style = {"facecolor": "#f2f2f2", "edgecolor": FAINT, "linewidth": 0, "hatch": "///"}


def draw_curves(figure: Figure, data: CurveData) -> None:
    """Draw MFU with its 10 to 90 % band over memory, and step time where sequences grow; mark what does not fit."""
    several, curves, measures = len(data.curves) > 1, data.curves, page_of(figure)
    width, left = measures.width, measures.scaled(0.72)
    last = max(value for curve in curves for value in curve.values)
    right = max(EDGE, text_width(plain_number(last), measures.normal) / 2)  # its label stands centred under it
    ratios = (3, 2) if data.over == "micro_batch" else (3, 2, 2)
    varied = AXIS_WORDS[data.over].split(" (")[0]
    what = "MFU and memory" if len(ratios) == 2 else "MFU, step time and memory"
    name = f"{what} against {varied}" if several else curves[0].name
    inches = width - left - right
    head = head_of(measures, [(name, "")], inches)
    key = flow(figure, [block_of(figure, _handles(data), inches, most=4)], inches)
    bottom, height = measures.scaled(0.47), max(min(width / 9, 0.8), measures.scaled(0.52)) * sum(ratios)
    top = subject_height(measures, data.title, left) + head.height + key.height + 0.06
    total = top + height + bottom
    figure.set_size_inches(width, total)
    panels = list(figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios))
    margins = {"left": left / width, "right": 1 - right / width, "bottom": bottom / total, "top": 1 - top / total}
    figure.subplots_adjust(**margins, hspace=0.1)
    subject(figure, data.title, left)
    key.put(figure, left, bottom + height + key.height + 0.06)
    _frame(panels, data)
    for index, curve in enumerate(curves):
        wide = 1.2 + 1.5 * (len(curves) - 1 - index)  # of memory: curves that coincide show one inside the other
        _draw_curve(panels, curve, SERIES[index % len(SERIES)], line_of(index), several=several, width=wide)
    above, below = panels[0], panels[-1]
    above.set_ylim(0, 1.12 * above.get_ylim()[1])
    _bound_memory(below, curves)
    _heading(above, name, key.height + 0.02)
    if several:
        _name_capacities(below, curves)
    else:
        _shade_beyond(panels, curves[0], varied)
    _name_largest(above, curves, "" if several else f"{varied} ")


def _heading(axes: Axes, name: str, above: float) -> None:
    """What is shown, `above` inches over the axes: over the key."""
    measures, inches = page_of(axes.figure), axes.get_window_extent().width / axes.figure.dpi
    lines = "\n".join(wrapped(name, inches, measures.large, bold=True))
    write(axes, lines, (0, 1), (0, 72 * above + 4), of="axes fraction", fontsize=measures.large, fontweight="bold")


def _handles(data: CurveData) -> list[Any]:
    """The entries of the key: what a line, a band, pale lines and dashes are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    curves, handles = data.curves, list[Any]()
    several = len(curves) > 1
    for index, curve in enumerate(curves):
        style: Style = {"color": SERIES[index % len(SERIES)], "linestyle": line_of(index), "linewidth": 1.5}
        if several:
            name = curve.name if curve.fitting else f"{curve.name}: none fits"
            handles.append(Line2D([], [], label=name, **style))
        elif curve.fitting:
            handles.append(Patch(facecolor=style["color"], alpha=0.15, label="10th to 90th percentile"))
            name = "expected MFU" if data.over == "micro_batch" else "expected"
            handles.append(Line2D([], [], label=name, marker="o", markersize=3, **style))
    marks = [("white", "largest that surely fits")] if several and any(curve.unsure for curve in curves) else []
    marks += [(GREY, "largest likelier than not to fit")] if several and any(curve.fitting for curve in curves) else []
    for face, words in marks:
        handles.append(Line2D([], [], label=words, linestyle="", **_mark(GREY, face)))
    if any(curve.fitting < len(curve.values) for curve in curves):
        pale = GREY if several else SERIES[0]
        handles.append(Line2D([], [], color=pale, linewidth=0.7, alpha=0.6, label="likelier not to fit"))
    if several:
        handles.append(Line2D([], [], color=GREY, linewidth=0.9, linestyle="--", label="capacity"))
    elif "borderline" in curves[0].verdicts:
        handles.append(Patch(label="borderline: may fit", **BORDERLINE))
    return handles


def _frame(panels: Sequence[Axes], data: CurveData) -> None:
    """Scales, labels and grids of MFU, step time (where there are three panels) and memory."""
    from matplotlib.ticker import LogLocator, NullLocator

    values = [value for curve in data.curves for value in curve.values]
    above, *middle, below = panels
    above.set_xscale("log", base=2)
    above.set_xlim(min(values) / 1.06, max(values) * 1.06)
    measures, inches = page_of(above.figure), above.get_window_extent().width / above.figure.dpi
    widest = max(text_width(plain_number(value), measures.normal) for value in values)
    doublings = math.log2(max(values) / min(values)) + 1
    every = math.ceil(doublings * (widest + 0.08) / inches)  # ticks whose labels keep apart
    above.xaxis.set_major_locator(LogLocator(base=2.0**every))
    above.xaxis.set_minor_locator(NullLocator())
    above.xaxis.set_major_formatter(plain_number)
    above.set_ylabel(f"MFU ({data.mfu_rule.split(':')[0]})")
    above.yaxis.set_major_formatter(percent)
    times = [time for curve in data.curves for time in (*curve.step_time_low_s, *curve.step_time_high_s)]
    for axes in middle:
        axes.set_yscale("log")
        axes.set_ylabel("step time")
        axes.yaxis.set_major_locator(LogLocator(subs=_steps(axes, max(times) / min(times))))
        axes.yaxis.set_major_formatter(_time)
        axes.yaxis.set_minor_locator(NullLocator())
    below.set(ylabel="memory (GiB)", xlabel=AXIS_WORDS[data.over])
    for axes in panels:
        axes.grid(color=FAINT, linewidth=0.4)
    for axes in panels:  # one under the other, whatever the tick labels take
        axes.yaxis.set_label_coords(-measures.scaled(0.55) / inches, 0.5)


def _steps(axes: Axes, ratio: float) -> Sequence[float]:
    """Which multiples of powers of ten have a label, of values `ratio` apart: as many as keep clear of each other."""
    decade = axes.get_window_extent().height / axes.figure.dpi / (1.1 * math.log10(max(ratio, 1.01)))
    line = page_of(axes.figure).lines(1)
    for steps in (range(1, 10), (1, 1.5, 2, 3, 4, 5, 7), (1, 2, 3, 5), (1, 2, 5), (1, 3)):
        if decade * min(math.log10(b / a) for a, b in pairwise([*steps, 10])) >= line:
            return steps
    return (1,)


def _time(value: float, _position: object = None) -> str:
    """A tick label of a duration."""
    return format_time(value)


def _bound_memory(axes: Axes, curves: Sequence[Curve]) -> None:
    """From zero to well above the capacity, and at least to the first value of each device."""
    highest = max(curve.capacity_bytes for curve in curves) / GIB
    first = max(curve.memory_bytes[0] for curve in curves) / GIB
    most = max(1.05 * max(value for curve in curves for value in curve.memory_bytes) / GIB, 1.2 * highest)
    axes.set_ylim(0, min(max(1.6 * highest, 1.6 * first), most))


def _draw_curve(panels: Sequence[Axes], curve: Curve, colour: str, line: Any, *, several: bool, width: float) -> None:
    """One device: solid (or its own dashes) as far as it fits, thin and pale beyond; its memory `width` points wide."""
    from matplotlib.patheffects import Normal, Stroke

    values, fitting = curve.values, curve.fitting
    above, *middle, below = panels
    bands = [(above, curve.mfu_low, curve.mfu_high)]
    bands += [(axes, curve.step_time_low_s, curve.step_time_high_s) for axes in middle]
    for axes, low, high in bands:
        band = values[:fitting], low[:fitting], high[:fitting]
        axes.fill_between(*band, color=colour, alpha=0.15, linewidth=0)
    solid: Style = {"linestyle": line, "linewidth": 1.5, "markersize": 3}
    solid["marker"] = "o" if len(values) <= 16 else ""
    pale: Style = {"linestyle": line if several else "-", "linewidth": 0.7, "alpha": 0.6}
    beyond = slice(max(fitting - 1, 0), None)
    memory = tuple(value / GIB for value in curve.memory_bytes)
    series = (curve.mfu, *(curve.step_time_s for _ in middle), memory)
    for axes, figures in zip(panels, series, strict=True):
        if several and axes is below:
            solid |= {"linewidth": width, "markersize": width + 1.5}
            pale |= {"linewidth": 0.6 * width, "alpha": 1.0}  # colours of curves that coincide would mix
            for style in (solid, pale):  # a white edge tells them apart in grey
                edge = Stroke(linewidth=style["linewidth"] + 0.9, foreground="white")
                style["path_effects"] = [edge, Normal()]
        axes.plot(values[:fitting], figures[:fitting], color=colour, label=curve.name, **solid)
        axes.plot(values[beyond], figures[beyond], color=colour, **pale)
        if several and curve.unsure and curve.sure:
            axes.plot(values[curve.sure - 1], figures[curve.sure - 1], **_mark(colour, "white"))
        if fitting:
            axes.plot(values[fitting - 1], figures[fitting - 1], **_mark(colour, colour))
    below.axhline(curve.capacity_bytes / GIB, color=colour if several else INK, linewidth=0.9, linestyle="--")


def _mark(colour: str, face: str) -> Style:
    """A disc, or a ring where its face is white."""
    return {"marker": "o", "markersize": 4.5, "color": colour, "markerfacecolor": face, "zorder": 3}


def _name_capacities(axes: Axes, curves: Sequence[Curve]) -> None:
    """Which devices have which capacity: one name for those whose lines leave no room for two."""
    measures, high = page_of(axes.figure), axes.get_ylim()[1]
    inches = axes.get_window_extent().height / axes.figure.dpi
    least = measures.lines(1, measures.small) / inches * high
    groups: list[list[Curve]] = []
    for curve in sorted(curves, key=lambda each: each.capacity_bytes):
        if groups and (curve.capacity_bytes - groups[-1][0].capacity_bytes) / GIB < least:
            groups[-1].append(curve)
        else:
            groups.append([curve])
    across = axes.get_window_extent().width / axes.figure.dpi
    for group in groups:
        capacities = dict.fromkeys(f"{curve.capacity_bytes / GIB:.0f}" for curve in group)
        words = f"{', '.join(curve.device for curve in group)}: {', '.join(capacities)} GiB"
        words = "\n".join(wrapped(words, 0.97 * across, measures.small))
        write(
            axes,
            words,
            (0.995, group[-1].capacity_bytes / GIB),
            (0, 1.5),
            of=("axes fraction", "data"),
            ha="right",
            bbox={**PLATE, "alpha": 0.6},
            zorder=5,
        )


def _name_largest(axes: Axes, curves: Sequence[Curve], varied: str) -> None:
    """The MFU at the largest value that fits of each curve, clear of each other and of the lines."""
    measures, pixel = page_of(axes.figure), axes.figure.dpi / 72
    named = [curve for curve in curves if curve.fitting]
    ends = [(curve.values[curve.fitting - 1], curve.mfu[curve.fitting - 1]) for curve in named]
    words = [f"{varied}{value:,}: {100 * mfu:.1f} %" for value, mfu in ends]
    sizes = [
        (72 * text_width(text, measures.normal, bold=True) * pixel, 1.1 * measures.normal * pixel) for text in words
    ]
    points = [[_pixels(axes, at) for at in zip(curve.values, curve.mfu, strict=True)] for curve in curves]
    extent = axes.get_window_extent()
    boxes = place(
        [_pixels(axes, end) for end in ends],
        sizes,
        Box(extent.x0, extent.y0, extent.x1, extent.y1),
        obstacles=[Box(x, y, x, y).padded(3 * pixel) for x, y in (_pixels(axes, end) for end in ends)],
        fixed=[box_of(text) for text in axes.texts if text.get_text()],
        lines=[pair for each in points for pair in pairwise(each)],
        gap=1.5 * pixel,
    )
    for text, end, box in zip(words, ends, boxes, strict=True):
        if box is not None:
            x, y = _pixels(axes, end)
            offset = ((box.x0 - x) / pixel, (box.y0 - y) / pixel)
            style: Style = {
                "fontsize": measures.normal,
                "fontweight": "bold",
                "zorder": 6,
                "bbox": {**PLATE, "alpha": 0.6},
            }
            write(axes, text, end, offset, arrowprops=leader((x, y), box, 3.0, pixel), **style)


def _pixels(axes: Axes, at: tuple[float, float]) -> tuple[float, float]:
    x, y = axes.transData.transform(at)
    return float(x), float(y)


def _shade_beyond(panels: Sequence[Axes], curve: Curve, varied: str) -> None:
    """The regions where one device may, and where it does run out of memory."""
    first, last, capacity = curve.values[0], curve.values[-1], curve.capacity_bytes / GIB
    size = page_of(panels[0].figure).normal
    write(panels[-1], f"capacity {capacity:.1f} GiB", (first, capacity), (3, 2), fontsize=size)
    sure, possible = curve.sure, len(curve.values) - curve.verdicts.count("does not fit")
    unsure, edge = _start(curve, sure), _start(curve, possible, curve.largest)
    for axes in panels:
        if sure < possible:
            axes.axvspan(unsure, edge, zorder=0, **BORDERLINE)
        if possible < len(curve.values):
            axes.axvspan(edge, 1.2 * last, zorder=0, **BEYOND)
    if possible == len(curve.values):
        return
    words = "out of memory" if possible else f"out of memory: no {varied} fits"
    style: Style = {"fontsize": size, "color": RED, "fontweight": "bold"}
    extent, dpi = panels[0].get_window_extent(), panels[0].figure.dpi
    at = _pixels(panels[0], (edge, 0))[0] + 6 * dpi / 72
    if at + dpi * text_width(words, size, bold=True) < extent.x1:
        write(panels[0], words, (edge, 0), (6, 6), of=("data", "axes fraction"), **style)
    else:
        write(panels[0], words, (1, 0), (-2, 6), of="axes fraction", ha="right", bbox=PLATE, **style)


def _start(curve: Curve, index: int, least: float = 0) -> float:
    """Where the region of the values from `index` begins: between it and the one before, which is `least` or more."""
    if index == 0:
        return curve.values[0] / 1.06
    if index == len(curve.values):
        return 1.2 * curve.values[-1]
    return math.sqrt(curve.values[index] * max(least, curve.values[index - 1]))
