"""Draws the key of a roofline picture: kinds, phases and shares, and a note on what is not shown."""

from __future__ import annotations

import math
from textwrap import fill
from typing import TYPE_CHECKING

from .data import RooflineData
from .points import area
from .style import GREY, INK, KIND_COLOURS, PHASE_MARKERS, SMALL, WIDTH, Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTE_LETTER = 0.0475  # inches: mean width of a letter of the note


def draw_key(figure: Figure, data: RooflineData) -> None:
    """Kinds by colour, phases by mark, shares of the step by area: keys below the panels, and a note."""
    points = [point for panel in data.panels for point in panel.points]
    axes, left = figure.axes[0], figure.axes[0].get_position().x0
    width, height = figure.get_size_inches()
    plain: Style = {"marker": "o", "edgecolor": "none"}
    kinds = [axes.scatter([], [], s=34, facecolor=KIND_COLOURS[kind], label=kind, **plain) for kind in _kinds(data)]
    phases = [
        axes.scatter([], [], s=30, marker=mark, facecolor="none", edgecolor=INK, linewidth=0.8, label=phase)
        for phase, mark in PHASE_MARKERS.items()
        if phase in {point.phase for point in points}
    ]
    shares = [
        axes.scatter([], [], s=area(share), facecolor=GREY, label=f"{100 * share:g} %", **plain)
        for share in (0.01, 0.05, 0.1)
    ]
    for title, handles, x, columns in (
        ("kind", kinds, left, _kind_columns(width)),
        ("phase", phases, 0.5, 2),
        ("share of the time", shares, 0.745, 3),
    ):
        place: Style = {
            "loc": "upper left",
            "bbox_to_anchor": (x, key_top(data, width) / height),
            "ncols": columns,
            "alignment": "left",
        }
        space: Style = {"columnspacing": 1.0, "handletextpad": 0.3, "labelspacing": 0.5, "borderpad": 0}
        figure.legend(handles=handles, title=title, **place, **space)
    figure.text(left, 0.1 / height, _note(data, width), fontsize=SMALL, color=GREY, va="bottom")


def _kinds(data: RooflineData) -> list[str]:
    """Kinds of the ops shown."""
    shown = {point.kind for panel in data.panels for point in panel.points}
    return [kind for kind in KIND_COLOURS if kind in shown]


def _kind_columns(width: float) -> int:
    """Columns of the key of kinds: what the left half of the picture holds."""
    return 3 if width <= WIDTH else 5


def key_top(data: RooflineData, width: float) -> float:
    """Upper end of the key in inches: room for its rows, and the note below them."""
    rows = max(2, math.ceil(len(_kinds(data)) / _kind_columns(width)))
    return 0.27 + 0.18 * rows + 0.12 * (_note(data, width).count("\n") + 1) + 0.05


def _note(data: RooflineData, width: float) -> str:
    """What the marks mean and what is not shown, in lines that a picture of that width holds."""
    several = len(data.panels) > 1
    rest = ", ".join(f"{100 * p.rest:.0f} %{f' on {p.roof.device}' if several else ''}" for p in data.panels)
    mark = "Mark: measured rate. Cross: expected." if data.measured else "Mark: expected rate."
    note = f"{mark} Tick above it: what the roofline allows. Not shown: what has no FLOPs (look-ups, casts, "
    note += f"communication, waiting) and ops of less than 0.1 %, {rest} of the time."
    return fill(note, int((width - 0.7) / NOTE_LETTER))
