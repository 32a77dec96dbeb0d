"""Draws rooflines: ceilings, slopes and ridge points with their names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .data import Ceiling, Panel, Roof, RooflineData
from .key import Key, block_of, flow, note_lines, roofline_key
from .labels import Box, spread
from .points import draw_points, name_points
from .style import (
    EDGE,
    FAINT,
    GREY,
    INK,
    LINES,
    PLATE,
    SERIES,
    TERA,
    WIDTH,
    Head,
    Page,
    Style,
    bandwidth,
    box_of,
    head_of,
    heading,
    line_of,
    page_of,
    pixels,
    plain_number,
    subject,
    subject_height,
    text_width,
    thousands,
    three_digits,
    wrapped,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ABOVE, BELOW = 1, -1
UPWARD = tuple(1.25**step for step in range(30))  # how much further up its line the name of a bandwidth may stand
PIECES = 10  # boxes that stand for the letters of a slanted name
LABEL_ROOM = 0.23  # of the width, at least: kept free of points, for the names of the ceilings
TWO_COLUMNS = 1.6 * WIDTH  # inches
INTENSITY = "arithmetic intensity (FLOP per byte of device memory)"
Limits = tuple[float, float, float, float]


def natural_width(data: RooflineData) -> float:
    """Inches for panels in one column, or in two where there are many."""
    return TWO_COLUMNS if len(data.panels) > 3 and any(panel.points for panel in data.panels) else WIDTH


def draw_rooflines(figure: Figure, data: RooflineData) -> None:
    """Draw one panel per device; devices without a model share one."""
    measures = page_of(figure)
    if len(data.panels) > 1 and not any(panel.points for panel in data.panels):
        _draw_overlay(figure, measures, [panel.roof for panel in data.panels])
        return
    left = measures.scaled(0.6)
    key, note = None, []
    if any(panel.points for panel in data.panels):
        key = roofline_key(figure, data, measures.width - left - EDGE)
        note = note_lines(measures, data, left)
    below = EDGE + measures.lines(len(note), measures.small)  # the note's upper end
    bottom = below + (key.height + 0.08 if key else 0) + measures.scaled(0.4)
    grid, head = _layout(figure, measures, data, left, bottom)
    count, columns = len(data.panels), len(grid[0])
    cells = [axes for row in grid for axes in row]
    limits = limits_of(data.panels, _label_room(cells[0], data.panels))
    for axes, panel in zip(cells, data.panels, strict=False):
        draw_panel(axes, panel, limits, head)
    for axes in cells[count:]:
        axes.remove()
    for row in grid:
        row[0].set_ylabel("TFLOP/s")
    for axes in cells[max(count - columns, 0) : count]:
        axes.set_xlabel(_x_label(axes))
        axes.xaxis.set_tick_params(labelbottom=True)
    subject(figure, data.title, left)
    if key:
        key.put(figure, left, below + 0.08 + key.height)
        words: Style = {"fontsize": measures.small, "color": GREY, "va": "bottom"}
        figure.text(left / measures.width, EDGE / figure.get_figheight(), "\n".join(note), **words)


def _x_label(axes: Axes) -> str:
    """The whole name of the axis, or a short one where it is wider than the panel."""
    measures = page_of(axes.figure)
    inches = axes.get_window_extent().width / axes.figure.dpi
    return INTENSITY if text_width(INTENSITY, measures.normal + 0.5) <= inches else "arithmetic intensity (FLOP/byte)"


def _layout(
    figure: Figure, measures: Page, data: RooflineData, left: float, bottom: float
) -> tuple[list[list[Axes]], Head]:
    """Size the figure and make its axes, row by row; returns them and what stands above each."""
    count, width, right = len(data.panels), measures.width, 0.22 if not measures.narrow else EDGE
    columns = 2 if count > 3 and width / measures.normal > 1.3 * WIDTH / 7.5 else 1
    rows = math.ceil(count / columns)
    inches = (width - left - right) / columns
    head = head_of(measures, [(panel.roof.name, panel.caption) for panel in data.panels], 0.96 * inches)
    top = subject_height(measures, data.title, left) + head.height
    gap = head.height + measures.scaled(0.28)
    height = max(min(inches * (0.52 if count > 1 else 0.61), 3.9), measures.scaled(2.4))
    total = top + bottom + rows * (height + gap) - gap
    figure.set_size_inches(width, total)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    margins = {"left": left / width, "right": 1 - right / width, "bottom": bottom / total, "top": 1 - top / total}
    figure.subplots_adjust(**margins, wspace=0.06, hspace=gap / height)
    return [list(row) for row in grid], head


def _label_room(axes: Axes, panels: Sequence[Panel]) -> float:
    """Share of a panel's width that the names of the ceilings take."""
    measures, inches = page_of(axes.figure), axes.get_window_extent().width / axes.figure.dpi
    names = [_ceiling_name(c, measures) for panel in panels for c in panel.roof.ceilings]
    widest = max(text_width(name, measures.small, bold=True) for name in names)
    return min(max(LABEL_ROOM, (widest + 0.05) / inches), 0.45)


def limits_of(panels: Sequence[Panel], room: float = LABEL_ROOM) -> Limits:
    """Axis limits (FLOP/byte, TFLOP/s) that hold all points, ceilings and names of ceilings in `room` of the width."""
    points = [point for panel in panels for point in panel.points]
    ceilings = [ceiling for panel in panels for ceiling in panel.roof.ceilings]
    slopes = [slope.bytes_per_s for panel in panels for slope in panel.roof.slopes]
    x0 = min([p.intensity for p in points] or [min(c.ridge for c in ceilings) / 5]) / 2
    right = max([p.intensity for p in points] + [c.ridge for c in ceilings])
    x1 = x0 * (2 * right / x0) ** (1 / (1 - room))
    lowest = [p.flops_per_s for p in points] or [min(slopes) * x0]
    y0 = min(*lowest, *(c.flops_per_s for c in ceilings)) / 2.5
    return x0, x1, y0 / TERA, 2.2 * max(c.flops_per_s for c in ceilings) / TERA


def draw_panel(axes: Axes, panel: Panel, limits: Limits, head: Head) -> None:
    """Draw one device's roofline and its points, under its name and caption."""
    _frame(axes, limits)
    heading(axes, panel.roof.name, panel.caption, head)
    markers = draw_points(axes, panel.points)
    texts = _draw_roof(axes, panel.roof, limits, markers)
    name_points(axes, panel, markers, texts)


def _frame(axes: Axes, limits: Limits) -> None:
    x0, x1, y0, y1 = limits
    axes.set(xscale="log", yscale="log", xlim=(x0, x1), ylim=(y0, y1))
    axes.xaxis.set_major_formatter(thousands)
    axes.yaxis.set_major_formatter(plain_number)
    axes.grid(which="major", color=FAINT, linewidth=0.4)
    axes.tick_params(which="minor", length=1.5, width=0.4)


# --- the roof ---------------------------------------------------------------------------------------------


def _draw_roof(axes: Axes, roof: Roof, limits: Limits, markers: Sequence[Box]) -> list[Box]:
    """Slopes, ceilings and ridge points with their names, clear of `markers`; returns the boxes of the names."""
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
    ceilings = [
        Box(*pixels(axes, ceiling.ridge, ceiling.flops_per_s), *pixels(axes, x1, ceiling.flops_per_s)).padded(1)
        for ceiling in roof.ceilings
    ]
    for slope in roof.slopes:
        texts += _name_slope(axes, slope.level, slope.bytes_per_s / TERA, limits, [*texts, *markers, *ceilings])
    return texts + _name_regions(axes, ridge)


def _name_ceilings(axes: Axes, roof: Roof, x1: float) -> list[Box]:
    """Names at the right end and ridge points at the left, one text for ceilings too close for two."""
    boxes: list[Box] = []
    measures = page_of(axes.figure)
    for group in _close_together(axes, roof.ceilings):
        highest = group[0]
        y = highest.flops_per_s / TERA
        used = any(ceiling.used for ceiling in group)
        style: Style = {"color": INK, "fontweight": "bold"} if used else {"color": GREY}
        names = ";  ".join(_ceiling_name(ceiling, measures) for ceiling in group)
        unit = "" if measures.narrow and _unit(group) == "TFLOP/s" else f" {_unit(group)}"  # the axis says it
        text = write(axes, f"{names}{unit}", (x1, y), (-2, 1.5), ha="right", zorder=6, **style)
        boxes.append(box_of(text))
        named = next((ceiling for ceiling in group if ceiling.used), highest)  # the others' stand too close
        words = f"ridge {three_digits(named.ridge)} FLOP/byte" if used else three_digits(named.ridge)
        place = {"ha": "right", "va": "center", "bbox": PLATE, "zorder": 2.2}  # over cache slopes, under the roof
        ridge = write(axes, words, (named.ridge, named.flops_per_s / TERA), (-4, 1), **place, **style)
        if used or not any(box_of(ridge).overlap(box) for box in boxes):
            boxes.append(box_of(ridge))
        else:
            ridge.remove()
    return boxes


def _ceiling_name(ceiling: Ceiling, measures: Page) -> str:
    """The dtypes that share a ceiling and its figure; of many the first, where there is little room."""
    dtypes = ", ".join(ceiling.dtypes if not measures.narrow else ceiling.dtypes[-2:])
    return f"{dtypes}  {three_digits(ceiling.flops_per_s / TERA)}"


def _unit(group: Sequence[Ceiling]) -> str:
    """Integers are no FLOPs."""
    dtypes = {dtype for ceiling in group for dtype in ceiling.dtypes}
    if "int8" not in dtypes:
        return "TFLOP/s"
    return "TOP/s" if dtypes == {"int8"} else "TFLOP/s, TOP/s"


def _close_together(axes: Axes, ceilings: Sequence[Ceiling]) -> list[list[Ceiling]]:
    """Ceilings (highest first) grouped where a name would reach the line above it."""
    least = 1.45 * page_of(axes.figure).small * axes.figure.dpi / 72
    groups: list[list[Ceiling]] = []
    for ceiling in ceilings:
        above = pixels(axes, 1, groups[-1][-1].flops_per_s)[1] if groups else math.inf
        if above - pixels(axes, 1, ceiling.flops_per_s)[1] < least:
            groups[-1].append(ceiling)
        else:
            groups.append([ceiling])
    return groups


def _name_slope(axes: Axes, level: str, rate: float, limits: Limits, taken: Sequence[Box]) -> list[Box]:
    """The bandwidth, written along its line near the lower left; further up, or below it, where names or marks are."""
    x0, x1, y0, y1 = limits
    box = axes.get_window_extent()
    angle = math.atan2(box.height / math.log(y1 / y0), box.width / math.log(x1 / x0))
    lowest = max(x0, y0 / rate) * (x1 / x0) ** (0.15 * axes.figure.dpi / box.width)  # 0.15 in from the axis
    words = f"{level} {bandwidth(rate)}"
    flat = write(axes, words, (0, 0), of="figure pixels")
    extent = box_of(flat)
    flat.remove()
    length, height = extent.x1 - extent.x0, extent.y1 - extent.y0

    def along(x: float, side: int) -> list[Box]:
        """The boxes of its letters, more or less: one box around slanted text would be mostly empty."""
        px, py = pixels(axes, x, rate * x * TERA)
        px, py = px - side * 0.8 * height * math.sin(angle), py + side * 0.8 * height * math.cos(angle)
        steps = [(n + 0.5) * length / PIECES for n in range(PIECES)]
        centres = [(px + step * math.cos(angle), py + step * math.sin(angle)) for step in steps]
        return [Box(cx - height / 2, cy - height / 2, cx + height / 2, cy + height / 2) for cx, cy in centres]

    def covered(place: tuple[float, int]) -> float:
        return sum(letter.overlap(each) for letter in along(*place) for each in taken)

    places = [(lowest * factor, side) for side in (ABOVE, BELOW) for factor in UPWARD]
    fits = [place for place in places if along(*place)[-1].inside(Box(*box.extents))] or places[:1]
    best, side = min(fits, key=covered)
    style: Style = {
        "rotation": math.degrees(angle),
        "rotation_mode": "anchor",
        "va": "bottom" if side == ABOVE else "top",
    }
    write(axes, words, (best, rate * best), (-2 * side, 2.5 * side), **style)
    return along(best, side)


def _name_regions(axes: Axes, ridge: float) -> list[Box]:
    """What bounds an op on either side of the ridge."""
    style: Style = {"of": ("data", "axes fraction"), "color": GREY, "style": "italic"}
    left = write(axes, "memory-bound", (ridge, 0), (-4, 3), ha="right", **style)
    right = write(axes, "compute-bound", (ridge, 0), (4, 3), **style)
    return [box_of(left), box_of(right)]


# --- devices alone ----------------------------------------------------------------------------------------


def _draw_overlay(figure: Figure, measures: Page, roofs: Sequence[Roof]) -> None:
    """Several devices in one panel, each in its training dtype, named at the right or, where it is narrow, below."""
    width, left = measures.width, measures.scaled(0.58)
    ordered = sorted(roofs, key=lambda roof: -roof.main.flops_per_s)
    key: Key | None = None
    bottom, right = measures.scaled(0.45), EDGE
    if measures.narrow:
        key = _overlay_key(figure, measures, ordered, width - 2 * EDGE)
        height = measures.scaled(2.3)
        bottom += key.height + 0.1
    else:
        words = [_overlay_words(roof) for roof in ordered]
        names = [text_width(name, measures.normal, bold=True) for name, _ in words]
        right += 0.25 + max(*names, *(text_width(figures, measures.small) for _, figures in words))
        height = max(3.6, measures.scaled(0.34) * len(roofs))
    total = bottom + height + 0.12
    figure.set_size_inches(width, total)
    axes = figure.subplots()
    figure.subplots_adjust(left=left / width, right=1 - right / width, bottom=bottom / total, top=1 - 0.12 / total)
    ridges = [roof.main.ridge for roof in roofs]
    x0, x1 = min(ridges) / 30, max(ridges) * 12
    slowest = min(roof.slopes[0].bytes_per_s for roof in roofs) / TERA
    highest = max(roof.main.flops_per_s for roof in roofs) / TERA
    _frame(axes, (x0, x1, slowest * x0 / 1.5, 1.8 * highest))
    axes.set(xlabel=_x_label(axes), ylabel="TFLOP/s")
    for index, roof in enumerate(ordered):
        peak, rate = roof.main.flops_per_s / TERA, roof.slopes[0].bytes_per_s / TERA
        style = _overlay_line(index)
        axes.plot([x0, roof.main.ridge, x1], [rate * x0, peak, peak], label=roof.device, **style)
        axes.plot(roof.main.ridge, peak, "o", markersize=4, color=style["color"])
    if key:
        key.put(figure, EDGE, 0.05 + key.height)
    else:
        _name_at_right(axes, ordered, x1)


def _overlay_line(index: int) -> Style:
    return {"color": SERIES[index % len(SERIES)], "linestyle": line_of(index), "linewidth": 1.4}


def _overlay_words(roof: Roof) -> tuple[str, str]:
    """A device's name, and its peak, bandwidth and ridge."""
    peak, rate = roof.main.flops_per_s / TERA, roof.slopes[0].bytes_per_s / TERA
    figures = f"{roof.dtype} {three_digits(peak)} TFLOP/s, {bandwidth(rate)}, ridge {three_digits(roof.main.ridge)}"
    return roof.name.split(" (")[0], figures


def _overlay_key(figure: Figure, measures: Page, roofs: Sequence[Roof], inches: float) -> Key:
    """The devices one under another, with the dashes of their lines."""
    from matplotlib.lines import Line2D

    lines = []
    for index, roof in enumerate(roofs):
        name, figures = _overlay_words(roof)
        words = wrapped(name, inches - measures.scaled(0.4), measures.normal)
        words += wrapped(figures, inches - measures.scaled(0.4), measures.normal)
        lines.append(Line2D([], [], label="\n".join(words), **_overlay_line(index)))
    return flow(figure, [block_of(figure, lines, inches)], inches)


def _name_at_right(axes: Axes, roofs: Sequence[Roof], x1: float) -> None:
    """Name, peak, bandwidth and ridge of each device (fastest first) beside the end of its line."""
    pixel, measures = axes.figure.dpi / 72, page_of(axes.figure)
    extent = axes.get_window_extent()
    ends = [pixels(axes, x1, roof.main.flops_per_s)[1] for roof in roofs]
    gap = 2.9 * measures.small * pixel
    places = spread(ends[::-1], gap, extent.y0 + gap / 2, extent.y1 - gap / 2)[::-1]
    for index, (roof, end, middle) in enumerate(zip(roofs, ends, places, strict=True)):
        at, shift = (x1, roof.main.flops_per_s / TERA), (middle - end) / pixel
        name, figures = _overlay_words(roof)
        write(axes, name, at, (16, shift + 0.5), fontsize=measures.normal, fontweight="bold")
        write(axes, figures, at, (16, shift - 0.5), va="top", color=GREY)
        line = {"arrowstyle": "-", "color": SERIES[index % len(SERIES)], "shrinkA": 0, "shrinkB": 0}
        write(axes, "", at, (14, shift), arrowprops=line)
