"""Draws rooflines: ceilings, slopes and ridge points, and ops as points with the costly ones named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from .placement import Box, Segment, Xy, place, spread
from .plot_data import Ceiling, Panel, Point, Roof, RooflineData
from .plot_style import (
    FAINT,
    GREY,
    INK,
    KIND_COLOURS,
    LINES,
    NORMAL,
    PHASE_MARKERS,
    PLATE,
    SERIES,
    SMALL,
    WIDTH,
    bandwidth,
    box_of,
    heading,
    plain_number,
    subject,
    three_digits,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TERA = 1e12
AREA = 1600.0  # square points of a point that takes the whole step
SMALLEST = 7.0
NAMED_SHARE = 0.02  # of the step: ops that cost less are not named
MOST_NAMES = 12
LABEL_ROOM = 0.23  # of the width: kept free of points, for the names of the ceilings
Limits = tuple[float, float, float, float]


def draw_rooflines(figure: Figure, data: RooflineData) -> None:
    """Draw one panel per device; devices without a model share one."""
    if len(data.panels) > 1 and not any(panel.points for panel in data.panels):
        _draw_overlay(figure, [panel.roof for panel in data.panels])
        return
    limits = limits_of(data.panels)
    count = len(data.panels)
    columns = 1 if count <= 3 else 2
    rows = math.ceil(count / columns)
    has_points = any(panel.points for panel in data.panels)
    top = 0.38 + (0.05 + 0.13 * len(wrapped(data.title)) if data.title else 0)
    bottom, height = 1.35 if has_points else 0.5, 3.3 if count > 1 else 3.9
    width, total = WIDTH * (1.6 if columns == 2 else 1), top + bottom + rows * (height + 0.42) - 0.42
    figure.set_size_inches(width, total)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 0.12 / width, bottom=bottom / total, top=1 - top / total, wspace=0.06,
        hspace=0.42 / height,
    )  # fmt: skip
    cells = list(grid.flat)
    for axes, panel in zip(cells, data.panels, strict=False):
        draw_panel(axes, panel, limits)
    for axes in cells[count:]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel("TFLOP/s")
    for index, axes in enumerate(cells[:count]):
        if index + columns >= count:
            axes.set_xlabel("arithmetic intensity (FLOP per byte of device memory)")
            axes.xaxis.set_tick_params(labelbottom=True)
    subject(figure, data.title, 0.6)
    if has_points:
        _draw_legend(figure, data, 0.9 / total)


def limits_of(panels: Sequence[Panel]) -> Limits:
    """Axis limits that hold every point and ceiling, with room at the right for the ceilings' names (TFLOP/s)."""
    points = [point for panel in panels for point in panel.points]
    ceilings = [ceiling for panel in panels for ceiling in panel.roof.ceilings]
    slopes = [slope.bytes_per_s for panel in panels for slope in panel.roof.slopes]
    x0 = min([p.intensity for p in points] or [min(c.ridge for c in ceilings) / 5]) / 2
    right = max([p.intensity for p in points] + [c.ridge for c in ceilings])
    x1 = x0 * (2 * right / x0) ** (1 / (1 - LABEL_ROOM))
    lowest = min([p.flops_per_s for p in points] or [min(slopes) * x0])
    y0 = min(lowest, min(c.flops_per_s for c in ceilings)) / 2.5
    return x0, x1, y0 / TERA, 2.2 * max(c.flops_per_s for c in ceilings) / TERA


def draw_panel(axes: Axes, panel: Panel, limits: Limits) -> None:
    """Draw one device's roofline and its points."""
    _frame(axes, limits)
    heading(axes, panel.roof.name, panel.caption)
    texts = _draw_roof(axes, panel.roof, limits)
    markers = _draw_points(axes, panel.points)
    _name_points(axes, panel, markers, texts, limits)


def _frame(axes: Axes, limits: Limits) -> None:
    x0, x1, y0, y1 = limits
    axes.set(xscale="log", yscale="log", xlim=(x0, x1), ylim=(y0, y1))
    axes.xaxis.set_major_formatter(plain_number)
    axes.yaxis.set_major_formatter(plain_number)
    axes.grid(which="major", color=FAINT, linewidth=0.4)
    axes.tick_params(which="minor", length=1.5, width=0.4)


# --- the roof -------------------------------------------------------------------------------------------------------


def _draw_roof(axes: Axes, roof: Roof, limits: Limits) -> list[Box]:
    """Slopes, ceilings and ridge points with their names; returns the boxes of the names."""
    x0, x1, y0, _ = limits
    memory = roof.slopes[0].bytes_per_s / TERA
    top = roof.ceilings[0].flops_per_s / TERA
    for index, slope in enumerate(roof.slopes):
        rate = slope.bytes_per_s / TERA
        axes.plot(
            [x0, top / rate], [rate * x0, top], color=GREY, linewidth=0.9, linestyle=LINES[index], zorder=2.3 if index == 0 else 2
        )
    for ceiling in roof.ceilings:
        peak = ceiling.flops_per_s / TERA
        colour = INK if ceiling.used else GREY
        axes.plot([ceiling.ridge, x1], [peak, peak], color=colour, linewidth=1.1 if ceiling.used else 0.7, zorder=2.3)
        axes.plot(ceiling.ridge, peak, "o", markersize=2.6, color=colour, zorder=3)
    main = roof.main
    peak = main.flops_per_s / TERA
    axes.plot([x0, main.ridge, x1], [memory * x0, peak, peak], color=INK, linewidth=1.5, zorder=2.5)
    axes.plot([main.ridge, main.ridge], [y0, peak], color=GREY, linewidth=0.7, linestyle=":", zorder=1)
    boxes = _name_ceilings(axes, roof, x1)
    boxes += [_name_slope(axes, slope.level, slope.bytes_per_s / TERA, limits) for slope in roof.slopes]
    return boxes + _name_regions(axes, main.ridge)


def _name_ceilings(axes: Axes, roof: Roof, x1: float) -> list[Box]:
    """Names at the right end and ridge points at the left, one text for ceilings that lie too close for two."""
    boxes = []
    for group in _close_together(axes, roof.ceilings):
        highest = group[0]
        y = highest.flops_per_s / TERA
        used = any(ceiling.used for ceiling in group)
        style = {"color": INK, "fontweight": "bold"} if used else {"color": GREY}
        names = ";  ".join(f"{', '.join(c.dtypes)}  {three_digits(c.flops_per_s / TERA)}" for c in group)
        boxes.append(
            box_of(
                axes.annotate(
                    f"{names} TFLOP/s", (x1, y), xytext=(-2, 1.5), textcoords="offset points", ha="right",
                    va="bottom", fontsize=SMALL, zorder=6, **style,
                )  # fmt: skip
            )
        )
        ridges = ", ".join(dict.fromkeys(three_digits(c.ridge) for c in group))
        text = f"ridge {ridges} FLOP/byte" if used else ridges
        boxes.append(
            box_of(
                axes.annotate(
                    text, (highest.ridge, y), xytext=(-4, 1), textcoords="offset points", ha="right",
                    va="center", fontsize=SMALL, bbox=PLATE, zorder=2.2, **style,
                )  # fmt: skip
            )
        )
    return boxes


def _close_together(axes: Axes, ceilings: Sequence[Ceiling]) -> list[list[Ceiling]]:
    """Ceilings (highest first) grouped where their names would overlap."""
    pixel = axes.figure.dpi / 72
    groups: list[list[Ceiling]] = []
    for ceiling in ceilings:
        y = axes.transData.transform((1, ceiling.flops_per_s / TERA))[1]
        if groups:
            above = axes.transData.transform((1, groups[-1][0].flops_per_s / TERA))[1]
            if above - y < 1.25 * SMALL * pixel:
                groups[-1].append(ceiling)
                continue
        groups.append([ceiling])
    return groups


def _name_slope(axes: Axes, level: str, rate: float, limits: Limits) -> Box:
    """The bandwidth, written along its line near the lower left."""
    x0, x1, y0, y1 = limits
    box = axes.get_window_extent()
    angle = math.degrees(math.atan2(box.height / math.log(y1 / y0), box.width / math.log(x1 / x0)))
    x = max(x0, y0 / rate) * 1.35
    text = axes.annotate(
        f"{level} {bandwidth(rate)}",
        (x, rate * x), xytext=(-2, 2.5), textcoords="offset points", rotation=angle, rotation_mode="anchor",
        ha="left", va="bottom", fontsize=SMALL, color=INK,
    )  # fmt: skip
    return box_of(text)


def _name_regions(axes: Axes, ridge: float) -> list[Box]:
    """What bounds an op on either side of the ridge."""
    boxes = []
    for text, offset, side in (("memory-bound", -4, "right"), ("compute-bound", 4, "left")):
        boxes.append(
            box_of(
                axes.annotate(
                    text, (ridge, 0), xycoords=("data", "axes fraction"), xytext=(offset, 3),
                    textcoords="offset points", ha=side, va="bottom", fontsize=SMALL, color=GREY, style="italic",
                )  # fmt: skip
            )
        )
    return boxes


# --- the points -----------------------------------------------------------------------------------------------------


def _area(share: float) -> float:
    return max(AREA * share, SMALLEST)


def _draw_points(axes: Axes, points: Sequence[Point]) -> list[Box]:
    """Markers, the largest at the back, each with a stem up to what the roofline allows; returns their boxes."""
    boxes = []
    pixel = axes.figure.dpi / 72
    for order, point in enumerate(points):
        colour = KIND_COLOURS.get(point.kind, GREY)
        x, y, ideal = point.intensity, point.flops_per_s / TERA, point.ideal_flops_per_s / TERA
        axes.plot([x, x], [y, ideal], color=colour, linewidth=0.6, zorder=3)
        axes.plot(x, ideal, marker="_", markersize=4, color=colour, markeredgewidth=0.8, zorder=3)
        axes.scatter(
            x, y, s=_area(point.share), marker=PHASE_MARKERS.get(point.phase, "o"), facecolor=colour,
            edgecolor="white", linewidth=0.5, alpha=0.9, zorder=4 + order / (10 * len(points)),
        )  # fmt: skip
        px, py = axes.transData.transform((x, y))
        half = 0.5 * math.sqrt(_area(point.share)) * pixel
        boxes.append(Box(px - half, py - half, px + half, py + half))
    return boxes


def named_groups(points: Sequence[Point], pixels: Sequence[Xy], near: float) -> list[list[int]]:
    """Which points share a name: the phases of an op, and ops of one kind that lie within `near` pixels.

    Returns indices into `points` (the costliest first); the costliest group first, the costliest point of each first.
    """
    by_name: dict[tuple[str, str], list[int]] = {}
    for index, point in enumerate(points):
        by_name.setdefault((point.kind, point.name), []).append(index)
    groups: list[list[int]] = []
    for members in by_name.values():
        head = members[0]
        for group in groups:
            if points[group[0]].kind == points[head].kind and math.dist(pixels[group[0]], pixels[head]) < near:
                group += members
                break
        else:
            groups.append(members)
    return sorted(groups, key=lambda group: -sum(points[i].share for i in group))


def _name_points(axes: Axes, panel: Panel, markers: Sequence[Box], texts: Sequence[Box], limits: Limits) -> None:
    """Name the costly ops, with a leader line from each name to its point."""
    points, pixel = panel.points, axes.figure.dpi / 72
    pixels = [_pixels(axes, p.intensity, p.flops_per_s) for p in points]
    groups = named_groups(points, pixels, near=5 * pixel)
    shares = [sum(points[i].share for i in group) for group in groups]
    named = [pair for pair in zip(groups, shares, strict=True) if pair[1] >= NAMED_SHARE][:MOST_NAMES]
    names = [f"{_joined([points[i].name for i in group])}  {100 * share:.0f} %" for group, share in named]
    anchors = [pixels[group[0]] for group, _ in named]
    extent = axes.get_window_extent()
    boxes = place(
        anchors,
        [_size(axes, name) for name in names],
        Box(extent.x0, extent.y0, extent.x1, extent.y1),
        obstacles=markers,
        fixed=texts,
        lines=[*_roof_lines(axes, panel.roof, limits), *_stems(axes, points)],
        gap=1.5 * pixel,
    )
    for name, (group, _), anchor, box in zip(names, named, anchors, boxes, strict=True):
        if box is None:
            continue
        point, end = points[group[0]], box.nearest(anchor)
        axes.annotate(
            name,
            (point.intensity, point.flops_per_s / TERA),
            xytext=((box.x0 - anchor[0]) / pixel, (box.y0 - anchor[1]) / pixel),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=SMALL,
            zorder=7,
            arrowprops=_leader(anchor, box, end, _area(point.share), pixel),
        )


def _leader(anchor: Xy, box: Box, end: Xy, area: float, pixel: float) -> dict[str, Any] | None:
    """The line from a label's box to the edge of its marker; None where the label touches the marker."""
    radius = 0.45 * math.sqrt(area)
    if math.dist(anchor, end) / pixel < radius + 4:
        return None
    relative = (end[0] - box.x0) / (box.x1 - box.x0), (end[1] - box.y0) / (box.y1 - box.y0)
    return {"arrowstyle": "-", "linewidth": 0.5, "color": INK, "shrinkA": 0.5, "shrinkB": radius, "relpos": relative}


def _joined(names: Sequence[str]) -> str:
    """Names in order, each once; many in short.

    >>> _joined(["mlp.up", "mlp.down", "mlp.up"]), _joined([f"{name}.cast" for name in "abcd"])
    ('mlp.up, mlp.down', 'cast (4 ops)')
    """
    distinct = list(dict.fromkeys(names))
    if len(distinct) <= 3:
        return ", ".join(distinct)
    last = {name.rsplit(".", 1)[-1] for name in distinct}
    return f"{last.pop()} ({len(distinct)} ops)" if len(last) == 1 else f"{distinct[0]}, {distinct[1]} + {len(distinct) - 2} more"


def _pixels(axes: Axes, intensity: float, flops_per_s: float) -> Xy:
    x, y = axes.transData.transform((intensity, flops_per_s / TERA))
    return float(x), float(y)


def _size(axes: Axes, text: str) -> Xy:
    """Width and height of a label, in pixels."""
    label = axes.annotate(text, (0, 0), xycoords="figure pixels", fontsize=SMALL)
    box = box_of(label)
    label.remove()
    return box.x1 - box.x0, box.y1 - box.y0


def _roof_lines(axes: Axes, roof: Roof, limits: Limits) -> list[Segment]:
    """Every line of the roof, in pixels."""
    x0, x1, y0, _ = limits
    top, main = roof.ceilings[0].flops_per_s, roof.main
    lines = [(_pixels(axes, c.ridge, c.flops_per_s), _pixels(axes, x1, c.flops_per_s)) for c in roof.ceilings]
    for slope in roof.slopes:
        rate = slope.bytes_per_s
        lines.append((_pixels(axes, x0, rate * x0), _pixels(axes, top / rate, top)))
    lines.append((_pixels(axes, main.ridge, y0 * TERA), _pixels(axes, main.ridge, main.flops_per_s)))
    return lines


def _stems(axes: Axes, points: Sequence[Point]) -> list[Segment]:
    """The lines from points to what the roofline allows, in pixels."""
    return [
        (_pixels(axes, p.intensity, p.flops_per_s), _pixels(axes, p.intensity, p.ideal_flops_per_s)) for p in points
    ]


def _draw_legend(figure: Figure, data: RooflineData, top: float) -> None:
    """Kinds by colour, phases by mark, shares of the step by area: three keys below the panels."""
    points = [point for panel in data.panels for point in panel.points]
    axes = figure.axes[0]
    present = {point.kind for point in points}
    kinds = [
        axes.scatter([], [], s=34, marker="o", facecolor=colour, edgecolor="none", label=kind)
        for kind, colour in KIND_COLOURS.items()
        if kind in present
    ]
    phases = [
        axes.scatter([], [], s=30, marker=marker, facecolor="none", edgecolor=INK, linewidth=0.8, label=phase)
        for phase, marker in PHASE_MARKERS.items()
        if phase in {point.phase for point in points}
    ]
    shares = [
        axes.scatter([], [], s=_area(share), marker="o", facecolor=GREY, edgecolor="none", label=f"{100 * share:g} %")
        for share in (0.01, 0.05, 0.1)
    ]
    left = axes.get_position().x0
    keys = (("kind", kinds, left, 3), ("phase", phases, 0.5, 2), ("share of the step", shares, 0.745, 3))
    for title, handles, x, columns in keys:
        figure.legend(
            handles=handles, title=title, loc="upper left", bbox_to_anchor=(x, top), ncols=columns,
            alignment="left", columnspacing=1.0, handletextpad=0.3, labelspacing=0.5, borderpad=0,
        )  # fmt: skip
    rest = ", ".join(
        f"{100 * panel.rest:.0f} %" + (f" on {panel.roof.device}" if len(data.panels) > 1 else "")
        for panel in data.panels
    )
    note = (
        "Mark: expected rate. Tick above it: what the roofline allows. Not shown, having no FLOPs (look-ups, casts, "
        f"communication, waiting): {rest} of the step."
    )
    figure.text(left, 0.1 / figure.get_figheight(), fill(note, 118), fontsize=SMALL, color=GREY, va="bottom")


# --- devices alone --------------------------------------------------------------------------------------------------


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
    axes.set(xlabel="arithmetic intensity (FLOP per byte of device memory)", ylabel="TFLOP/s")
    ordered = sorted(roofs, key=lambda roof: -roof.main.flops_per_s)
    for index, roof in enumerate(ordered):
        peak, rate = roof.main.flops_per_s / TERA, roof.slopes[0].bytes_per_s / TERA
        style = {"color": SERIES[index % len(SERIES)], "linestyle": LINES[index % len(LINES)]}
        axes.plot(
            [x0, roof.main.ridge, x1], [rate * x0, peak, peak], linewidth=1.4, label=roof.device, **style
        )
        axes.plot(roof.main.ridge, peak, "o", markersize=4, color=style["color"])
    _name_at_right(axes, ordered, x1)


def _name_at_right(axes: Axes, roofs: Sequence[Roof], x1: float) -> None:
    """Name, peak, bandwidth and ridge of each device (fastest first) beside the end of its line."""
    pixel = axes.figure.dpi / 72
    extent = axes.get_window_extent()
    ends = [_pixels(axes, x1, roof.main.flops_per_s)[1] for roof in roofs]
    places = spread(ends[::-1], 2.9 * SMALL * pixel, extent.y0, extent.y1)[::-1]
    for index, (roof, end, middle) in enumerate(zip(roofs, ends, places, strict=True)):
        main, rate, colour = roof.main, roof.slopes[0].bytes_per_s / TERA, SERIES[index % len(SERIES)]
        shift = (middle - end) / pixel
        axes.annotate(
            roof.name, (x1, main.flops_per_s / TERA), xytext=(16, shift + 0.5), textcoords="offset points", va="bottom",
            fontsize=NORMAL, fontweight="bold", annotation_clip=False,
        )  # fmt: skip
        figures = f"{roof.dtype} {three_digits(main.flops_per_s / TERA)} TFLOP/s, "
        figures += f"{bandwidth(rate)}, ridge {three_digits(main.ridge)}"
        axes.annotate(
            figures, (x1, main.flops_per_s / TERA), xytext=(16, shift - 0.5), textcoords="offset points", va="top",
            fontsize=SMALL, color=GREY, annotation_clip=False,
        )  # fmt: skip
        axes.annotate(
            "", (x1, main.flops_per_s / TERA), xytext=(14, shift), textcoords="offset points", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "linewidth": 1.0, "color": colour, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
