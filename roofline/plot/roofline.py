"""Draws rooflines: ceilings, slopes and ridge points with their names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .data import Ceiling, Panel, Roof, RooflineData
from .key import draw_key, key_top
from .labels import Box, spread
from .points import draw_points, name_points
from .style import (
    BOLD_LETTER,
    FAINT,
    GREY,
    INK,
    LETTER,
    LINES,
    NORMAL,
    PLATE,
    SERIES,
    SMALL,
    TERA,
    WIDTH,
    Style,
    bandwidth,
    box_of,
    caption_lines,
    heading,
    line_of,
    pixels,
    plain_number,
    subject,
    thousands,
    three_digits,
    wrapped,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UPWARD = (1, 2, 4, 8, 16)  # how much further up its line the name of a bandwidth may stand
LABEL_ROOM = 0.23  # of the width: kept free of points, for the names of the ceilings
INTENSITY = "arithmetic intensity (FLOP per byte of device memory)"
Limits = tuple[float, float, float, float]


def draw_rooflines(figure: Figure, data: RooflineData) -> None:
    """Draw one panel per device; devices without a model share one."""
    if len(data.panels) > 1 and not any(panel.points for panel in data.panels):
        _draw_overlay(figure, [panel.roof for panel in data.panels])
        return
    grid, left, lines = _layout(figure, data)
    limits = limits_of(data.panels)
    count, columns = len(data.panels), len(grid[0])
    cells = [axes for row in grid for axes in row]
    for axes, panel in zip(cells, data.panels, strict=False):
        draw_panel(axes, panel, limits, lines)
    for axes in cells[count:]:
        axes.remove()
    for row in grid:
        row[0].set_ylabel("TFLOP/s")
    for axes in cells[max(count - columns, 0) : count]:
        axes.set_xlabel(INTENSITY)
        axes.xaxis.set_tick_params(labelbottom=True)
    subject(figure, data.title, left)
    if any(panel.points for panel in data.panels):
        draw_key(figure, data)


def _layout(figure: Figure, data: RooflineData) -> tuple[list[list[Axes]], float, int]:
    """Size the figure and make its axes, row by row.

    Returns them, the left margin in inches, and the lines that captions take under the headings: none where each
    has room behind its heading.
    """
    count = len(data.panels)
    columns = 1 if count <= 3 else 2
    rows = math.ceil(count / columns)
    left, right, width = 0.6, 0.22, WIDTH * (1.6 if columns == 2 else 1)
    lines = _lines_below(data.panels, 0.96 * (width - left - right) / columns)
    top = 0.38 + 0.16 * lines + (0.05 + 0.13 * len(wrapped(data.title)) if data.title else 0)
    bottom = key_top(data, width) + 0.45 if any(panel.points for panel in data.panels) else 0.5
    gap, height = 0.42 + 0.16 * lines, 3.3 if count > 1 else 3.9
    total = top + bottom + rows * (height + gap) - gap
    figure.set_size_inches(width, total)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    margins = {
        "left": left / width,
        "right": 1 - right / width,
        "bottom": bottom / total,
        "top": 1 - top / total,
    }
    figure.subplots_adjust(**margins, wspace=0.06, hspace=gap / height)
    return [list(row) for row in grid], left, lines


def _lines_below(panels: Sequence[Panel], inches: float) -> int:
    """Lines that captions need under their headings in panels of that width; 0 where each has room behind its own."""
    if all(BOLD_LETTER * len(p.roof.name) + LETTER * (len(p.caption) + 3) <= inches for p in panels):
        return 0
    return max(len(caption_lines(inches, panel.caption)) for panel in panels)


def limits_of(panels: Sequence[Panel]) -> Limits:
    """Axis limits (FLOP/byte, TFLOP/s) that hold all points, ceilings and names of ceilings."""
    points = [point for panel in panels for point in panel.points]
    ceilings = [ceiling for panel in panels for ceiling in panel.roof.ceilings]
    slopes = [slope.bytes_per_s for panel in panels for slope in panel.roof.slopes]
    x0 = min([p.intensity for p in points] or [min(c.ridge for c in ceilings) / 5]) / 2
    right = max([p.intensity for p in points] + [c.ridge for c in ceilings])
    x1 = x0 * (2 * right / x0) ** (1 / (1 - LABEL_ROOM))
    lowest = [p.flops_per_s for p in points] or [min(slopes) * x0]
    y0 = min(*lowest, *(c.flops_per_s for c in ceilings)) / 2.5
    return x0, x1, y0 / TERA, 2.2 * max(c.flops_per_s for c in ceilings) / TERA


def draw_panel(axes: Axes, panel: Panel, limits: Limits, lines: int = 0) -> None:
    """Draw one device's roofline and its points, its caption in `lines` under its name."""
    _frame(axes, limits)
    heading(axes, panel.roof.name, panel.caption, below=lines)
    texts = _draw_roof(axes, panel.roof, limits)
    markers = draw_points(axes, panel.points)
    name_points(axes, panel, markers, texts)


def _frame(axes: Axes, limits: Limits) -> None:
    x0, x1, y0, y1 = limits
    axes.set(xscale="log", yscale="log", xlim=(x0, x1), ylim=(y0, y1))
    axes.xaxis.set_major_formatter(thousands)
    axes.yaxis.set_major_formatter(plain_number)
    axes.grid(which="major", color=FAINT, linewidth=0.4)
    axes.tick_params(which="minor", length=1.5, width=0.4)


# --- the roof ---------------------------------------------------------------------------------------------


def _draw_roof(axes: Axes, roof: Roof, limits: Limits) -> list[Box]:
    """Slopes, ceilings and ridge points with their names; returns the boxes of the names."""
    x0, x1, y0, _ = limits
    memory = roof.slopes[0].bytes_per_s / TERA
    top = roof.ceilings[0].flops_per_s / TERA
    for index, slope in enumerate(roof.slopes):
        rate = slope.bytes_per_s / TERA
        style: Style = {"linestyle": LINES[index], "zorder": 2.3 if index == 0 else 2.0}
        axes.plot([x0, top / rate], [rate * x0, top], color=GREY, linewidth=0.9, **style)
    for ceiling in roof.ceilings:
        peak, colour = ceiling.flops_per_s / TERA, INK if ceiling.used else GREY
        width = 1.1 if ceiling.used else 0.7
        axes.plot([ceiling.ridge, x1], [peak, peak], color=colour, linewidth=width, zorder=2.3)
        axes.plot(ceiling.ridge, peak, "o", markersize=2.6, color=colour, zorder=3)
    ridge, peak = roof.main.ridge, roof.main.flops_per_s / TERA
    axes.plot([x0, ridge, x1], [memory * x0, peak, peak], color=INK, linewidth=1.5, zorder=2.5)
    axes.plot([ridge, ridge], [y0, peak], color=GREY, linewidth=0.7, linestyle=":", zorder=1)
    texts = _name_ceilings(axes, roof, x1)
    for slope in roof.slopes:
        texts.append(_name_slope(axes, slope.level, slope.bytes_per_s / TERA, limits, texts))
    return texts + _name_regions(axes, ridge)


def _name_ceilings(axes: Axes, roof: Roof, x1: float) -> list[Box]:
    """Names at the right end and ridge points at the left, one text for ceilings too close for two."""
    boxes = []
    for group in _close_together(axes, roof.ceilings):
        highest = group[0]
        y = highest.flops_per_s / TERA
        used = any(ceiling.used for ceiling in group)
        style: Style = {"color": INK, "fontweight": "bold"} if used else {"color": GREY}
        names = ";  ".join(f"{', '.join(c.dtypes)}  {three_digits(c.flops_per_s / TERA)}" for c in group)
        text = write(axes, f"{names} {_unit(group)}", (x1, y), (-2, 1.5), ha="right", zorder=6, **style)
        boxes.append(box_of(text))
        ridges = ", ".join(dict.fromkeys(three_digits(c.ridge) for c in group))
        words = f"ridge {ridges} FLOP/byte" if used else ridges
        place = {
            "ha": "right",
            "va": "center",
            "bbox": PLATE,
            "zorder": 2.2,
        }  # over cache slopes, under the roof
        boxes.append(box_of(write(axes, words, (highest.ridge, y), (-4, 1), **place, **style)))
    return boxes


def _unit(group: Sequence[Ceiling]) -> str:
    """Integers are no FLOPs."""
    dtypes = {dtype for ceiling in group for dtype in ceiling.dtypes}
    if "int8" not in dtypes:
        return "TFLOP/s"
    return "TOP/s" if dtypes == {"int8"} else "TFLOP/s (int8: TOP/s)"


def _close_together(axes: Axes, ceilings: Sequence[Ceiling]) -> list[list[Ceiling]]:
    """Ceilings (highest first) grouped where their names would overlap."""
    least = 1.25 * SMALL * axes.figure.dpi / 72
    groups: list[list[Ceiling]] = []
    for ceiling in ceilings:
        above = pixels(axes, 1, groups[-1][0].flops_per_s)[1] if groups else math.inf
        if above - pixels(axes, 1, ceiling.flops_per_s)[1] < least:
            groups[-1].append(ceiling)
        else:
            groups.append([ceiling])
    return groups


def _name_slope(axes: Axes, level: str, rate: float, limits: Limits, taken: Sequence[Box]) -> Box:
    """The bandwidth, written along its line near the lower left, further up where a name is in the way."""
    x0, x1, y0, y1 = limits
    box = axes.get_window_extent()
    angle = math.degrees(math.atan2(box.height / math.log(y1 / y0), box.width / math.log(x1 / x0)))
    lowest = max(x0, y0 / rate) * 1.35
    words = f"{level} {bandwidth(rate)}"
    style: Style = {"rotation": angle, "rotation_mode": "anchor"}
    for x in (lowest * factor for factor in UPWARD):
        text = write(axes, words, (x, rate * x), (-2, 2.5), **style)
        if not any(box_of(text).overlap(box) for box in taken):
            return box_of(text)
        text.remove()
    return box_of(write(axes, words, (lowest, rate * lowest), (-2, 2.5), **style))


def _name_regions(axes: Axes, ridge: float) -> list[Box]:
    """What bounds an op on either side of the ridge."""
    style: Style = {"of": ("data", "axes fraction"), "color": GREY, "style": "italic"}
    left = write(axes, "memory-bound", (ridge, 0), (-4, 3), ha="right", **style)
    right = write(axes, "compute-bound", (ridge, 0), (4, 3), **style)
    return [box_of(left), box_of(right)]


# --- devices alone ----------------------------------------------------------------------------------------


def _draw_overlay(figure: Figure, roofs: Sequence[Roof]) -> None:
    """Several devices in one panel, each in its training dtype, named at the right."""
    height = max(4.2, 0.7 + 0.34 * len(roofs))
    figure.set_size_inches(WIDTH, height)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.08, right=0.66, bottom=0.45 / height, top=1 - 0.12 / height)
    ridges = [roof.main.ridge for roof in roofs]
    x0, x1 = min(ridges) / 30, max(ridges) * 12
    slowest = min(roof.slopes[0].bytes_per_s for roof in roofs) / TERA
    highest = max(roof.main.flops_per_s for roof in roofs) / TERA
    _frame(axes, (x0, x1, slowest * x0 / 1.5, 1.8 * highest))
    axes.set(xlabel=INTENSITY, ylabel="TFLOP/s")
    ordered = sorted(roofs, key=lambda roof: -roof.main.flops_per_s)
    for index, roof in enumerate(ordered):
        peak, rate = roof.main.flops_per_s / TERA, roof.slopes[0].bytes_per_s / TERA
        colour, line = SERIES[index % len(SERIES)], line_of(index)
        xs, ys = [x0, roof.main.ridge, x1], [rate * x0, peak, peak]
        axes.plot(xs, ys, color=colour, linestyle=line, linewidth=1.4, label=roof.device)
        axes.plot(roof.main.ridge, peak, "o", markersize=4, color=colour)
    _name_at_right(axes, ordered, x1)


def _name_at_right(axes: Axes, roofs: Sequence[Roof], x1: float) -> None:
    """Name, peak, bandwidth and ridge of each device (fastest first) beside the end of its line."""
    pixel = axes.figure.dpi / 72
    extent = axes.get_window_extent()
    ends = [pixels(axes, x1, roof.main.flops_per_s)[1] for roof in roofs]
    gap = 2.9 * SMALL * pixel
    places = spread(ends[::-1], gap, extent.y0 + gap / 2, extent.y1 - gap / 2)[::-1]
    for index, (roof, end, middle) in enumerate(zip(roofs, ends, places, strict=True)):
        peak, rate = roof.main.flops_per_s / TERA, roof.slopes[0].bytes_per_s / TERA
        at, shift = (x1, peak), (middle - end) / pixel
        figures = f"{roof.dtype} {three_digits(peak)} TFLOP/s, {bandwidth(rate)}"
        figures += f", ridge {three_digits(roof.main.ridge)}"
        write(axes, roof.name.split(" (")[0], at, (16, shift + 0.5), fontsize=NORMAL, fontweight="bold")
        write(axes, figures, at, (16, shift - 0.5), va="top", color=GREY)
        line = {"arrowstyle": "-", "color": SERIES[index % len(SERIES)], "shrinkA": 0, "shrinkB": 0}
        write(axes, "", at, (14, shift), arrowprops=line)
