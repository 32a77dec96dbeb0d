"""Draws ops as points on a roofline, and names the costly ones without overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .data import Panel, Point, Roof
from .labels import Box, Segment, Xy, place
from .names import leader, size_of
from .style import GREY, INK, KIND_COLOURS, KIND_MARKERS, TERA, Style, pixels, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUTLINED = {"backward": "-", "recompute": (0, (2, 1))}  # and how
AREA = 1600.0  # square points of a point that takes the whole step
SMALLEST = 7.0
NAMED_SHARE = 0.02  # of the step: ops that cost less are not named
MOST_NAMES = 12


def area(share: float) -> float:
    """Area of a mark in square points: proportional to the share of the step, and never invisible."""
    return max(AREA * share, SMALLEST)


def draw_points(axes: Axes, points: Sequence[Point]) -> list[Box]:
    """Marks, the largest at the back, each with a stem up to its roofline; returns their boxes."""
    boxes = []
    for order, point in enumerate(points):
        colour, size = KIND_COLOURS.get(point.kind, GREY), area(point.share)
        x, y, ideal = point.intensity, point.flops_per_s / TERA, point.ideal_flops_per_s / TERA
        axes.plot([x, x], [y, ideal], color=colour, linewidth=0.6, zorder=3)
        axes.plot(x, ideal, marker="_", markersize=4, color=colour, markeredgewidth=0.8, zorder=3)
        if point.expected_flops_per_s is not None:
            expected: Style = {"marker": "x", "markersize": 3.5, "markeredgewidth": 0.8, "zorder": 5.5}
            axes.plot(x, point.expected_flops_per_s / TERA, color=INK, **expected)
        style: Style = {"marker": KIND_MARKERS.get(point.kind, "o"), "alpha": 0.9}
        if point.phase in OUTLINED:  # a larger mark over a forward one must not hide it
            style |= {"facecolor": "none", "edgecolor": colour, "linewidth": 1.2, "linestyle": OUTLINED[point.phase]}
        else:
            style |= {"facecolor": colour, "edgecolor": "white", "linewidth": 0.5}
        axes.scatter(x, y, s=size, zorder=4 + order / (10 * len(points)), **style)
        (px, py), half = pixels(axes, x, point.flops_per_s), 0.5 * math.sqrt(size) * axes.figure.dpi / 72
        boxes.append(Box(px - half, py - half, px + half, py + half))
    return boxes


def named_groups(points: Sequence[Point], places: Sequence[Xy], near: float) -> list[list[int]]:
    """Which points share a name: the phases of an op, and ops of one kind that lie within `near` pixels.

    Returns indices into `points` (costliest first): the costliest group and point of each first.
    """
    by_name: dict[tuple[str, str], list[int]] = {}
    for index, point in enumerate(points):
        by_name.setdefault((point.kind, point.name), []).append(index)
    groups: list[list[int]] = []
    for members in by_name.values():
        head = members[0]
        for group in groups:
            same_kind = points[group[0]].kind == points[head].kind
            if same_kind and math.dist(places[group[0]], places[head]) < near:
                group.extend(members)
                break
        else:
            groups.append(members)
    return sorted(groups, key=lambda group: -sum(points[i].share for i in group))


def name_points(axes: Axes, panel: Panel, markers: Sequence[Box], texts: Sequence[Box]) -> None:
    """Name the costly ops, with a leader line from each name to its point, clear of `markers` and `texts`."""
    points, pixel = panel.points, axes.figure.dpi / 72
    places = [pixels(axes, p.intensity, p.flops_per_s) for p in points]
    groups = named_groups(points, places, near=5 * pixel)
    shares = [sum(points[i].share for i in group) for group in groups]
    named = [pair for pair in zip(groups, shares, strict=True) if pair[1] >= NAMED_SHARE][:MOST_NAMES]
    names = [f"{joined([points[i].name for i in group])}  {100 * share:.0f} %" for group, share in named]
    anchors = [places[group[0]] for group, _ in named]
    extent = axes.get_window_extent()
    boxes = place(
        anchors,
        [size_of(axes, name) for name in names],
        Box(extent.x0, extent.y0, extent.x1 - 3 * pixel, extent.y1),
        obstacles=markers,
        fixed=[text.padded(1.5 * pixel) for text in texts],
        barriers=_ceilings(axes, panel.roof),
        lines=[*_roof_lines(axes, panel.roof), *_stems(axes, points)],
        gap=1.5 * pixel,
    )
    for name, (group, _), anchor, box in zip(names, named, anchors, boxes, strict=True):
        if box is not None:
            point, offset = points[group[0]], ((box.x0 - anchor[0]) / pixel, (box.y0 - anchor[1]) / pixel)
            line = leader(anchor, box, 0.45 * math.sqrt(area(point.share)), pixel, clear=7)
            write(axes, name, (point.intensity, point.flops_per_s / TERA), offset, zorder=7, arrowprops=line)


def joined(names: Sequence[str]) -> str:
    """Names in order, each once; many in short.

    >>> joined(["mlp.up", "mlp.down", "mlp.up"]), joined([f"{name}.cast" for name in "abcd"])
    ('mlp.up, mlp.down', 'cast (4 ops)')
    """
    distinct = list(dict.fromkeys(names))
    if len(distinct) <= 3:
        return ", ".join(distinct)
    last = {name.rsplit(".", 1)[-1] for name in distinct}
    return (
        f"{last.pop()} ({len(distinct)} ops)"
        if len(last) == 1
        else f"{distinct[0]}, {distinct[1]} + {len(distinct) - 2} more"
    )


def _roof_lines(axes: Axes, roof: Roof) -> list[Segment]:
    """Every line of the roof, in pixels."""
    x0, bottom = axes.get_xlim()[0], axes.get_ylim()[0] * TERA
    top, main = roof.ceilings[0].flops_per_s, roof.main
    lines = _ceilings(axes, roof)
    for slope in roof.slopes:
        rate = slope.bytes_per_s
        lines.append((pixels(axes, x0, rate * x0), pixels(axes, top / rate, top)))
    return [*lines, (pixels(axes, main.ridge, bottom), pixels(axes, main.ridge, main.flops_per_s))]


def _ceilings(axes: Axes, roof: Roof) -> list[Segment]:
    """The ceilings, in pixels."""
    x1 = axes.get_xlim()[1]
    return [(pixels(axes, c.ridge, c.flops_per_s), pixels(axes, x1, c.flops_per_s)) for c in roof.ceilings]


def _stems(axes: Axes, points: Sequence[Point]) -> list[Segment]:
    """The lines from points to what the roofline allows, in pixels."""
    return [(pixels(axes, p.intensity, p.flops_per_s), pixels(axes, p.intensity, p.ideal_flops_per_s)) for p in points]
