"""Bars in SVG: the dense peak and where it goes, memory against capacity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .text import escape

HEIGHT = 26  # pixels
GAP = 0.15  # percent between neighbours, so that equal colours are told apart
LABELLED = 0.14  # shares of the bar that have room for a figure: on a phone 14 % are 50 pixels


class Segment(NamedTuple):
    """A part of a bar: its share of the whole, what it is, its figure, its colour."""

    share: float
    name: str
    figure: str
    colour: str


def bar(title: str, segments: Sequence[Segment], *, whole: float = 1.0, limit: float | None = None) -> str:
    """Segments side by side over a bar of `whole`, a key below; `limit` draws a line across.

    Shares are in the unit of `whole`; a share of zero or less is left out.
    """
    shown = [segment for segment in segments if segment.share > 0]
    at, drawn = 0.0, []
    crossed = None if limit is None else 100 * limit / whole
    for segment in shown:
        width = 100 * segment.share / whole
        drawn.append(_segment(segment, at, width, crossed))
        at += width
    words = "; ".join(f"{segment.name} {segment.figure}" for segment in shown)
    line = "" if crossed is None else _limit(crossed)
    picture = (
        f'<svg height="{HEIGHT}" role="img" aria-label="{escape(f"{title}: {words}")}">'
        f'<rect width="100%" height="{HEIGHT}" rx="3" style="fill:var(--room)"/>{"".join(drawn)}{line}</svg>'
    )
    return f"<section><h3>{escape(title)}</h3>{picture}{_key(shown)}</section>"


def _segment(segment: Segment, at: float, width: float, crossed: float | None) -> str:
    """From `at` percent on; its figure stands where the line that crosses the bar leaves most room."""
    inside = max(width - GAP, GAP)
    label, start, room = "", at, width
    if crossed is not None and at < crossed < at + width:
        start, room = max((at, crossed - at), (crossed, at + width - crossed), key=lambda part: part[1])
    if room / 100 >= LABELLED:
        ink = "#fff" if _dark(segment.colour) else "#000"
        label = (
            f'<text x="{start + room / 2:.2f}%" y="{HEIGHT * 0.67:.1f}" text-anchor="middle" font-size="12" '
            f'fill="{ink}">{escape(segment.figure)}</text>'
        )
    return (
        f"<g><title>{escape(f'{segment.name}: {segment.figure}')}</title>"
        f'<rect x="{at:.2f}%" width="{inside:.2f}%" height="{HEIGHT}" fill="{segment.colour}"/>{label}</g>'
    )


def _limit(at: float) -> str:
    return f'<line x1="{at:.2f}%" x2="{at:.2f}%" y1="-4" y2="{HEIGHT + 4}" stroke-width="2" style="stroke:var(--ink)"/>'


def _key(segments: Sequence[Segment]) -> str:
    items = "".join(
        f'<li><i style="background:{segment.colour}"></i>{escape(segment.name)} '
        f'<span class="soft">{escape(segment.figure)}</span></li>'
        for segment in segments
    )
    return f'<ul class="key">{items}</ul>'


def _dark(colour: str) -> bool:
    """Whether white text is read better on a colour, by its relative luminance (WCAG 2, contrast ratio).

    >>> _dark("#0072B2"), _dark("#E69F00")
    (True, False)
    """
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05
