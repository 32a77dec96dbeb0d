"""Names beside their points, each with a line to its point where it stands off."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .labels import Box, Segment, Xy, place
from .style import INK, box_of, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAP = 1.5  # points around a name
CLEAR = 4.0  # points from a mark's edge within which a name needs no line


def leader(anchor: Xy, box: Box, radius: float, pixel: float, clear: float = CLEAR) -> dict[str, Any] | None:
    """The line from the nearest point of a name's box to the edge of its mark; None where the two stand close.

    Args:
        anchor: The mark's middle, in pixels.
        box: Where the name stands, in pixels.
        radius: Of the mark, in points.
        pixel: Pixels a point.
        clear: Points from the mark's edge within which there is none.
    """
    end = box.nearest(anchor)
    if math.dist(anchor, end) / pixel < radius + clear:
        return None
    relative = (end[0] - box.x0) / (box.x1 - box.x0), (end[1] - box.y0) / (box.y1 - box.y0)
    shape = {"arrowstyle": "-", "linewidth": 0.5, "color": INK}
    return {**shape, "shrinkA": 0.5, "shrinkB": radius, "relpos": relative}


def name_places(
    axes: Axes,
    at: Sequence[tuple[float, float]],
    names: Sequence[str],
    bold: Sequence[bool],
    room: Box,
    *,
    obstacles: Sequence[Box],
    barriers: Iterable[Segment] = (),
    radius: float = 3.0,
) -> None:
    """Write names beside places in the data's coordinates, clear of each other; the bold ones are placed first.

    Args:
        axes: The panel.
        at: The places.
        names: What to write.
        bold: Which are bold.
        room: Where names may stand, in pixels.
        obstacles: What names should not cover, in pixels.
        barriers: What they must not lie on, in pixels.
        radius: Of the marks, in points.
    """
    pixel = axes.figure.dpi / 72
    order = sorted(range(len(at)), key=lambda number: not bold[number])
    anchors = [(float(x), float(y)) for x, y in axes.transData.transform([at[number] for number in order])]
    styles: list[dict[str, Any]] = [{"color": INK, "fontweight": "bold" if bold[n] else "normal"} for n in order]
    sizes = [size_of(axes, names[number], **style) for number, style in zip(order, styles, strict=True)]
    found = place(anchors, sizes, room, obstacles=obstacles, barriers=barriers, gap=GAP * pixel)
    for number, anchor, box, style in zip(order, anchors, found, styles, strict=True):
        if box is not None:
            offset = ((box.x0 - anchor[0]) / pixel, (box.y0 - anchor[1]) / pixel)
            line = leader(anchor, box, radius, pixel)
            write(axes, names[number], at[number], offset, zorder=7, arrowprops=line, **style)


def size_of(axes: Axes, name: str, **style: Any) -> Xy:
    """Width and height of a name as it is written, in pixels."""
    label = write(axes, name, (0, 0), of="figure pixels", **style)
    extent = box_of(label)
    label.remove()
    return extent.x1 - extent.x0, extent.y1 - extent.y0
