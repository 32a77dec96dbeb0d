"""Draws MFU and memory, and step time, against micro batch or sequence length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..units import format_time
from ..view.colours import RED
from .data import Curve, CurveData
from .style import (
    FAINT,
    GREY,
    INK,
    LARGE,
    LETTER,
    NORMAL,
    PLATE,
    SERIES,
    WIDTH,
    Style,
    line_of,
    percent,
    plain_number,
    subject,
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
LEFT = 0.1  # of the width


def draw_curves(figure: Figure, data: CurveData) -> None:
    """Draw MFU with its 10 to 90 % band over memory, and step time where sequences grow; mark what does not fit."""
    several, curves = len(data.curves) > 1, data.curves
    columns = _key_columns(curves) if several else 4
    keys = math.ceil((len(curves) + 2 if several else 3) / columns)  # rows of the key
    ratios = (3, 2) if data.over == "micro_batch" else (3, 2, 2)
    top, bottom, height = 0.52 + 0.13 * len(wrapped(data.title)) + 0.17 * keys, 0.47, 0.8 * sum(ratios)
    total = top + height + bottom
    figure.set_size_inches(WIDTH, total)
    panels = list(figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios))
    figure.subplots_adjust(left=LEFT, right=0.975, bottom=bottom / total, top=1 - top / total, hspace=0.1)
    subject(figure, data.title, LEFT * WIDTH)
    varied = AXIS_WORDS[data.over].split(" (")[0]
    what = "MFU and memory" if len(ratios) == 2 else "MFU, step time and memory"
    name = f"{what} against {varied}; marked: the largest that fits" if several else curves[0].name
    at = 1 - (top - 0.24 - 0.17 * keys) / total
    figure.text(LEFT, at, name, va="center", fontsize=LARGE, fontweight="bold")
    _frame(panels, data)
    for index, curve in enumerate(curves):
        width = 1.2 + 1.5 * (len(curves) - 1 - index)  # of memory: curves that coincide show one inside the other
        _draw_curve(panels, curve, SERIES[index % len(SERIES)], line_of(index), several=several, width=width)
        if curve.fitting:
            _name_largest(panels[0], curve, "" if several else f"{varied} ")
    if several:
        _name_capacities(panels[-1], curves)
    else:
        _shade_beyond(panels, curves[0], varied)
    above, below = panels[0], panels[-1]
    above.set_ylim(0, None)
    _bound_memory(below, curves)
    handles: list[Any] = above.get_legend_handles_labels()[0]
    beyond = any(curve.fitting < len(curve.values) for curve in curves)
    pale = GREY if several else SERIES[0]
    handles += above.plot([], [], color=pale, linewidth=0.7, alpha=0.6, label="beyond memory") if beyond else []
    dashes: Style = {"linewidth": 0.9, "linestyle": "--", "label": "capacity"}
    handles += below.plot([], [], color=GREY, **dashes) if several else []
    place: Style = {
        "loc": "upper left",
        "bbox_to_anchor": (LEFT - 0.005, 1 - (top - 0.08 - 0.17 * keys) / total),
        "ncols": columns,
    }
    figure.legend(handles=handles, **place, borderpad=0.1, columnspacing=1.4)


def _key_columns(curves: Sequence[Curve]) -> int:
    """Entries of the key that stand side by side in the width of the picture."""
    longest = max(len(curve.name) + (0 if curve.fitting else len(": none fits")) for curve in curves)
    return max(min(int((0.97 - LEFT) * WIDTH / (0.45 + LETTER * longest)), 4), 1)


def _frame(panels: Sequence[Axes], data: CurveData) -> None:
    """Scales, labels and grids of MFU, step time (where there are three panels) and memory."""
    from matplotlib.ticker import LogLocator, NullLocator

    values = [value for curve in data.curves for value in curve.values]
    above, *middle, below = panels
    above.set_xscale("log", base=2)
    above.set_xlim(min(values) / 1.06, max(values) * 1.06)
    above.xaxis.set_major_formatter(plain_number)
    above.set_ylabel(f"MFU ({data.mfu_rule.split(':')[0]})")
    above.yaxis.set_major_formatter(percent)
    times = [time for curve in data.curves for time in (*curve.step_time_low_s, *curve.step_time_high_s)]
    for axes in middle:
        axes.set_yscale("log")
        axes.set_ylabel("step time")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(times) > 8 * min(times) else range(1, 10)))
        axes.yaxis.set_major_formatter(_time)
        axes.yaxis.set_minor_locator(NullLocator())
    below.set(ylabel="memory (GiB)", xlabel=AXIS_WORDS[data.over])
    for axes in panels:
        axes.grid(color=FAINT, linewidth=0.4)
    for axes in panels:  # one under the other, whatever the tick labels take
        axes.yaxis.set_label_coords(-0.08, 0.5)


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
    values, fitting = curve.values, curve.fitting
    above, *middle, below = panels
    bands = [(above, curve.mfu_low, curve.mfu_high)]
    bands += [(axes, curve.step_time_low_s, curve.step_time_high_s) for axes in middle]
    for axes, low, high in bands:
        label = None if several or not fitting else "10th to 90th percentile"
        band = values[:fitting], low[:fitting], high[:fitting]
        axes.fill_between(*band, color=colour, alpha=0.15, linewidth=0, label=label)
    solid: Style = {"linestyle": line, "linewidth": 1.5, "markersize": 3}
    solid["marker"] = "o" if len(values) <= 16 else ""
    beyond = slice(max(fitting - 1, 0), None)
    memory = tuple(value / GIB for value in curve.memory_bytes)
    name: str | None = curve.name if several else "expected MFU" if len(panels) == 2 else "expected"
    if not fitting:
        name = f"{curve.name}: none fits" if several else None
    series = (curve.mfu, *(curve.step_time_s for _ in middle), memory)
    for axes, figures in zip(panels, series, strict=True):
        if several and axes is below:
            solid |= {"linestyle": "-", "linewidth": width, "markersize": width + 1.5}
        axes.plot(values[:fitting], figures[:fitting], color=colour, label=name, **solid)
        axes.plot(values[beyond], figures[beyond], color=colour, linewidth=0.7, alpha=0.6)
        if fitting:
            axes.plot(values[fitting - 1], figures[fitting - 1], "o", markersize=4.5, color=colour)
    below.axhline(curve.capacity_bytes / GIB, color=colour if several else INK, linewidth=0.9, linestyle="--")


def _name_capacities(axes: Axes, curves: Sequence[Curve]) -> None:
    """Which devices have which capacity: one name for those that have nearly the same."""
    groups: list[list[Curve]] = []
    for curve in sorted(curves, key=lambda each: each.capacity_bytes):
        if groups and curve.capacity_bytes < 1.03 * groups[-1][0].capacity_bytes:
            groups[-1].append(curve)
        else:
            groups.append([curve])
    for group in groups:
        words = f"{', '.join(curve.device for curve in group)}: {group[-1].capacity_bytes / GIB:.0f} GiB"
        write(axes, words, (0.995, group[-1].capacity_bytes / GIB), (0, 1.5), of=("axes fraction", "data"), ha="right")


def _name_largest(axes: Axes, curve: Curve, varied: str) -> None:
    """The MFU at the largest value that fits."""
    at = curve.values[curve.fitting - 1], curve.mfu[curve.fitting - 1]
    left = curve.fitting > len(curve.values) / 4 or curve.fitting == len(curve.values)
    place: Style = {"ha": "right"} if left else {"ha": "left"}
    words = f"{varied}{at[0]:,}: {100 * at[1]:.1f} %"
    if not varied:  # another curve may run through
        place["bbox"] = {**PLATE, "alpha": 0.6}
    write(axes, words, at, (-5 if left else 0, 7), fontsize=NORMAL, fontweight="bold", **place)


def _shade_beyond(panels: Sequence[Axes], curve: Curve, varied: str) -> None:
    """The region where one device runs out of memory."""
    first, end, capacity = curve.values[0], curve.values[-1], curve.capacity_bytes / GIB
    write(panels[-1], f"capacity {capacity:.1f} GiB", (first, capacity), (3, 2), fontsize=NORMAL)
    if curve.fitting == len(curve.values):
        return
    words, edge = f"out of memory: no {varied} fits", first / 1.06
    if curve.fitting:
        words, start = "out of memory", curve.values[curve.fitting]
        edge = math.sqrt(start * max(curve.largest, curve.values[curve.fitting - 1]))
    for axes in panels:
        shade: Style = {"facecolor": "#f2f2f2", "edgecolor": FAINT, "hatch": "///", "linewidth": 0}
        axes.axvspan(edge, end * 1.2, zorder=0, **shade)
    style: Style = {"of": ("data", "axes fraction"), "fontsize": NORMAL, "color": RED, "fontweight": "bold"}
    write(panels[0], words, (edge, 0), (6, 6), **style)
