"""The roofline of a page: ceilings, bandwidths, and ops that tell their figures when pointed at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from ..plot.data import Panel, Point, Roof
from ..plot.labels import Box, Segment, place, spread
from ..plot.points import NAMED_SHARE, OUTLINED, joined, named_groups
from ..plot.roofline import INTENSITY, limits_of
from ..plot.style import KIND_COLOURS, TERA
from ..units import format_share, format_time
from ..view.colours import BLACK, SILVER
from .svg import TEXT, Scale, line, number, picture, text, width_of

LEFT, RIGHT, TOP, BOTTOM = 42.0, 8.0, 10.0, 36.0
SIZES = {"wide": (520.0, 340.0, 8), "narrow": (340.0, 300.0, 5)}  # width, height, names at most
AREA, SMALLEST = 2400.0, 14.0  # square units of an op that takes the whole step; of the least


class Plane(NamedTuple):
    """Where intensities and rates stand."""

    x: Scale
    y: Scale

    def at(self, intensity: float, flops_per_s: float) -> tuple[float, float]:
        """Coordinates of a point."""
        return self.x(intensity), self.y(flops_per_s / TERA)


def roofline(panel: Panel) -> str:
    """Both sizes of the picture, of which a page shows one; the key below."""
    return "".join(_drawn(panel, kind) for kind in SIZES) + _key(panel.points)


def _drawn(panel: Panel, kind: str) -> str:
    width, height, most = SIZES[kind]
    x0, x1, y0, y1 = limits_of([panel])
    plane = Plane(Scale(x0, x1, LEFT, width - RIGHT, log=True), Scale(y0, y1, height - BOTTOM, TOP, log=True))
    marks, boxes = _marks(panel, plane)
    roofs, texts = _roofs(panel.roof, plane, boxes)
    names = _names(panel, plane, boxes, texts, most)
    body = [*_axes(plane, width, height), *roofs, *marks, *names]
    label = f"Roofline of {panel.roof.name} with {len(panel.points)} ops; arrow keys go from op to op"
    return picture(body, width, height, label, f"chart {kind}")


def _axes(plane: Plane, width: float, height: float) -> list[str]:
    bottom = height - BOTTOM
    body = []
    for value in plane.x.ticks(7):
        at = plane.x(value)
        body += [line(at, TOP, at, bottom, "grid"), text(f"{value:,g}", at, bottom + 14, "tick", anchor="middle")]
    for value in plane.y.ticks(7):
        at = plane.y(value)
        body += [line(LEFT, at, width - RIGHT, at, "grid"), text(f"{value:,g}", LEFT - 5, at + 4, "tick", anchor="end")]
    body.append(text(INTENSITY, (LEFT + width - RIGHT) / 2, height - 5, "tick", anchor="middle"))
    body.append(text("TFLOP/s", 10, (TOP + bottom) / 2, "tick", anchor="middle", turn=-90))
    return body


def _roofs(roof: Roof, plane: Plane, marks: Sequence[Box]) -> tuple[list[str], list[Box]]:
    """Bandwidths and ceilings with their names, and where these stand."""
    body: list[str] = []
    texts: list[Box] = []
    for order, slope in enumerate(roof.slopes):
        faint = " faint" if order else ""
        ends = _slope(slope.bytes_per_s, roof.ceilings[0].flops_per_s, plane)
        words = f"{slope.level} {_bandwidth(slope.bytes_per_s)}"
        x, y, angle, covered = _along(ends, width_of(words), [*marks, *texts])
        body.append(line(*ends[0], *ends[1], f"roof{faint}"))
        body.append(text(words, x, y, "tick halo", turn=angle))
        texts += covered
    right = plane.x.stop
    levels = [plane.y(ceiling.flops_per_s / TERA) for ceiling in roof.ceilings]
    heights = spread([level - 4 for level in levels], TEXT + 1, TOP + TEXT, plane.y.start)
    for ceiling, level, height in zip(roof.ceilings, levels, heights, strict=True):
        strong, faint = (" strong", "") if ceiling.used else ("", " faint")
        words = f"{', '.join(ceiling.dtypes)} {ceiling.flops_per_s / TERA:,.4g}"
        body.append(line(plane.x(max(ceiling.ridge, plane.x.low)), level, right, level, f"roof{faint}"))
        body.append(text(words, right - 2, height, f"tick halo{strong}", anchor="end"))
        texts.append(Box(right - 4 - width_of(words), height - TEXT, right, height + 3))
    return body, texts


def _along(ends: Segment, length: float, taken: Sequence[Box]) -> tuple[float, float, float, list[Box]]:
    """Where the name of a line stands, how it is turned, and the boxes it covers: as low as it is clear of others."""
    (x0, y0), (x1, y1) = ends
    angle = math.atan2(y1 - y0, x1 - x0)
    whole, best, fewest = math.dist(*ends), None, math.inf
    for share in (0.03, 0.1, 0.2, 0.3, 0.4, 0.5):
        x, y = (x0 + share * whole * math.cos(angle), y0 + share * whole * math.sin(angle) - 5)
        boxes = []
        for part in range(0, math.ceil(length), 12):
            left, base = x + part * math.cos(angle), y + part * math.sin(angle)
            boxes.append(Box(left - 4, base - TEXT, left + 12, base + 3))
        over = sum(box.overlap(other) for box in boxes for other in taken)
        if over < fewest:
            best, fewest = (x, y, math.degrees(angle), boxes), over
    assert best is not None
    return best


def _slope(bytes_per_s: float, top: float, plane: Plane) -> Segment:
    """The line of a bandwidth, from where it enters the picture up to the highest peak."""
    begin = max(plane.x.low, plane.y.low * TERA / bytes_per_s)
    return plane.at(begin, begin * bytes_per_s), plane.at(top / bytes_per_s, top)


def _marks(panel: Panel, plane: Plane) -> tuple[list[str], list[Box]]:
    """Ops as discs whose area is their share of the step, the largest at the back; backward ones are rings."""
    body, boxes = [], []
    for order, point in enumerate(panel.points):
        x, y = plane.at(point.intensity, point.flops_per_s)
        radius = math.sqrt(max(AREA * point.share, SMALLEST) / math.pi)
        stem = line(x, y, x, plane.y(point.ideal_flops_per_s / TERA), "stem")
        shape = f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"/>'
        ring = " ring" if point.phase in OUTLINED else ""
        body.append(
            f'<g class="op{ring}" style="--c:{_colour(point.kind)}" role="img" tabindex="{-1 if order else 0}" '
            f'aria-label="{escape(_told(point))}">{stem}{shape}</g>'
        )
        boxes.append(Box(x - radius, y - radius, x + radius, y + radius))
    return body, boxes


def _told(point: Point) -> str:
    """What an op says of itself: a heading, then a line each."""
    rate, ideal = (_three(each / TERA) for each in (point.flops_per_s, point.ideal_flops_per_s))
    rates = f"{rate} of {ideal} TFLOP/s that its roofline allows"
    time = f"{format_time(point.seconds)} a step, {format_share(point.share)} of it"
    what = f"{_three(point.intensity)} FLOP per byte; {point.kind}, {point.dtype}"
    return f"{point.name}, {point.phase}: {time}; {rates}; {what}"


def _three(value: float) -> str:
    """A figure in three digits, or all before its point.

    >>> _three(1912.3), _three(0.4567)
    ('1,912', '0.457')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _names(panel: Panel, plane: Plane, marks: Sequence[Box], texts: Sequence[Box], most: int) -> list[str]:
    """Names of the costly ops, clear of marks, lines and other names."""
    points = panel.points
    places = [plane.at(point.intensity, point.flops_per_s) for point in points]
    groups = named_groups(points, places, near=6)
    shares = [sum(points[i].share for i in group) for group in groups]
    named = [pair for pair in zip(groups, shares, strict=True) if pair[1] >= NAMED_SHARE][:most]
    words = [f"{_name([points[i].name for i in group], plane)} {100 * share:.0f} %" for group, share in named]
    anchors = [places[group[0]] for group, _ in named]
    found = place(
        anchors,
        [(width_of(each), TEXT) for each in words],
        Box(LEFT, TOP, plane.x.stop, plane.y.start),
        obstacles=marks,
        fixed=texts,
        lines=_lines(panel.roof, plane),
    )
    body = []
    for each, anchor, box in zip(words, anchors, found, strict=True):
        if box is not None:
            end = box.nearest(anchor)
            if math.dist(end, anchor) > TEXT:
                body.append(line(*anchor, *end, "leader"))
            body.append(text(each, box.x0, box.y1 - 2, "halo"))
    return body


def _name(names: Sequence[str], plane: Plane) -> str:
    """Names that share a label; of those too long for the picture the first."""
    whole = joined(names)
    others = len(dict.fromkeys(names)) - 1
    return whole if others == 0 or width_of(whole) < (plane.x.stop - LEFT) / 2 else f"{names[0]} + {others}"


def _lines(roof: Roof, plane: Plane) -> list[Segment]:
    """What names should not lie on."""
    found: list[Segment] = [
        (plane.at(each.ridge, each.flops_per_s), (plane.x.stop, plane.y(each.flops_per_s / TERA)))
        for each in roof.ceilings
    ]
    return found + [_slope(slope.bytes_per_s, roof.ceilings[0].flops_per_s, plane) for slope in roof.slopes]


def _colour(kind: str) -> str:
    colour = KIND_COLOURS.get(kind, SILVER)
    return "var(--ink)" if colour == BLACK else colour


def _bandwidth(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1e12:.3g} TB/s" if bytes_per_s >= 1e12 else f"{bytes_per_s / 1e9:.3g} GB/s"


def _key(points: Sequence[Point]) -> str:
    kinds = list(dict.fromkeys(point.kind for point in points))
    items = "".join(f'<li><i style="background:{_colour(kind)}"></i>{escape(kind)}</li>' for kind in kinds)
    rings = '<li><i class="hollow"></i>backward or recompute</li>' if any(p.phase in OUTLINED for p in points) else ""
    return (
        f'<ul class="key">{items}{rings}<li class="soft">area: share of the step; line up: what its roofline allows; '
        '<span class="screen">point at an op, or use the arrow keys, for its figures</span></li></ul>'
    )
