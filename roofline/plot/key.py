"""Keys of pictures: as many columns as their width holds, blocks beside or under one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .data import RooflineData
from .points import OUTLINED, area
from .style import EDGE, GREY, INK, KIND_COLOURS, KIND_MARKERS, PHASES, Page, page_of, text_width, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

APART = 0.2  # inches between blocks


class Key(msgspec.Struct, frozen=True):
    """The blocks of a key with their places: inches from the left and down from the key's top."""

    places: tuple[tuple[Any, float, float], ...]
    height: float  # inches

    def put(self, figure: Figure, left: float, top: float) -> None:
        """Move the blocks to where they belong once the figure has its size; in inches from its lower left."""
        width, height = figure.get_size_inches()
        for block, x, y in self.places:
            block.set_bbox_to_anchor(((left + x) / width, (top - y) / height), transform=figure.transFigure)


def block_of(figure: Figure, handles: Sequence[Any], inches: float, title: str | None = None, most: int = 5) -> Legend:
    """One block of a key, in at most `most` columns, and as many as `inches` hold."""
    measures = page_of(figure)
    widest = max(text_width(line, measures.normal) for handle in handles for line in handle.get_label().split("\n"))
    columns = max(min(int((inches + 0.1) / (widest + measures.scaled(0.38))), most, len(handles)), 1)
    columns = math.ceil(len(handles) / math.ceil(len(handles) / columns))  # full rows
    return figure.legend(
        handles=handles,
        title=title,
        loc="upper left",
        ncols=columns,
        alignment="left",
        borderaxespad=0,
        borderpad=0.1,
        columnspacing=1.2,
        handlelength=1.8,
        handletextpad=0.5,
        labelspacing=0.45,
    )


def flow(figure: Figure, blocks: Sequence[Legend], inches: float) -> Key:
    """Blocks side by side as far as `inches` hold them, then under one another."""
    x = y = row = 0.0
    places = []
    for block in blocks:
        extent = block.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
        width, height = extent.width / figure.dpi, extent.height / figure.dpi
        if x and x + width > inches:
            x, y, row = 0.0, y + row + 0.06, 0.0
        places.append((block, x, y))
        x, row = x + width + APART, max(row, height)
    return Key(tuple(places), y + row)


def roofline_key(figure: Figure, data: RooflineData, inches: float) -> Key:
    """Kinds by shape and colour, phases by what fills the mark, shares of the step by area."""
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D
    from matplotlib.markers import MarkerStyle
    from matplotlib.transforms import IdentityTransform

    points = [point for panel in data.panels for point in panel.points]

    def mark(label: str, square_points: float, **style: Any) -> Line2D:
        plain = {"marker": "o", "markeredgecolor": "none", "markersize": math.sqrt(square_points), "linestyle": ""}
        return Line2D([], [], label=label, **{**plain, **style})

    def phase(name: str) -> Any:
        if name not in OUTLINED:
            return mark(name, 30, color=INK)
        style: Any = {"facecolors": "none", "edgecolors": INK, "linewidths": 0.9, "linestyles": [OUTLINED[name]]}
        circle = MarkerStyle("o")
        path = circle.get_path().transformed(circle.get_transform())
        ring = PathCollection([path], sizes=[30], label=name, **style)
        ring.set_transform(IdentityTransform())  # sizes are points already, as a scatter's
        return ring

    kinds = {point.kind for point in points}
    phases = {point.phase for point in points}
    groups = {
        "kind": [
            mark(kind, 34, color=colour, marker=KIND_MARKERS[kind])
            for kind, colour in KIND_COLOURS.items()
            if kind in kinds
        ],
        "phase": [phase(name) for name in PHASES if name in phases],
        "share of the time": [mark(f"{100 * share:g} %", area(share), color=GREY) for share in (0.01, 0.05, 0.1)],
    }
    most = {"kind": inches / 2, "phase": inches / 4}
    blocks = [
        block_of(figure, handles, max(most.get(title, inches), inches if page_of(figure).narrow else 0), title)
        for title, handles in groups.items()
    ]
    return flow(figure, blocks, inches)


def note_lines(measures: Page, data: RooflineData, left: float) -> list[str]:
    """What the marks mean and what is not shown, in lines that the picture holds."""
    several = len(data.panels) > 1
    shares = ["under 1 %" if p.rest < 0.005 else f"{100 * p.rest:.0f} %" for p in data.panels]
    rest = ", ".join(
        f"{share}{f' on {p.roof.device}' if several else ''}" for share, p in zip(shares, data.panels, strict=True)
    )
    mark = "Mark: measured rate. Cross: expected." if data.measured else "Mark: expected rate."
    note = f"{mark} Tick above it: what the roofline allows. Not shown: what has no FLOPs (look-ups, casts, "
    note += f"communication, waiting) and ops of less than 0.1 %, {rest} of the time."
    return wrapped(note, measures.width - left - EDGE, measures.small)
