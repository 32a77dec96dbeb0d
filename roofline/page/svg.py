"""Scales and shapes of small pictures in SVG; text is escaped, numbers are short."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

TEXT = 11.0  # units of the view box: pixels where a picture stands at its own width
LETTER = 0.56  # of the size: mean width of a letter in the sans-serif types of systems


class Scale(NamedTuple):
    """A stretch of an axis: values from `low` to `high` go to `start` to `stop`, evenly or by their logarithm."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a value stands."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(value)
        return self.start + (self.stop - self.start) * (at - low) / (high - low)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values between the ends: powers of ten and their halves and fifths, or steps of 1, 2 or 5.

        >>> Scale(0, 9, 0, 1).ticks(), Scale(3, 200, 0, 1, log=True).ticks()
        ([0, 2, 4, 6, 8], [5, 10, 20, 50, 100, 200])
        """
        if not self.log:
            rough = (self.high - self.low) / max(most - 1, 1)
            power = 10 ** math.floor(math.log10(rough))
            step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
            return [_round(step * n) for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1, 2, 5), (1,)):
            found = [_round(factor * 10.0**power) for power in decades for factor in factors]
            inside = [value for value in found if self.low <= value <= self.high * (1 + 1e-9)]
            if len(inside) <= most:
                return inside
        return inside[:: -(-len(inside) // most)]


def _round(value: float) -> float:
    return float(f"{value:.6g}") if value % 1 else round(value)


def number(value: float) -> str:
    """A coordinate: a tenth of a unit is as fine as screens and printers show.

    >>> number(12.04), number(-0.01)
    ('12', '0')
    """
    text = f"{value:.1f}"
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text


def width_of(text: str, size: float = TEXT) -> float:
    """About how wide a text is."""
    return LETTER * size * len(text)


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "line") -> str:
    """A straight line of a class of the style sheet."""
    return f'<path class="{kind}" d="M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}"/>'


def text(words: str, x: float, y: float, kind: str = "", *, anchor: str = "start", turn: float = 0) -> str:
    """A text on its base line; `turn` degrees clockwise about its place."""
    of = f' class="{kind}"' if kind else ""
    held = "" if anchor == "start" else f' text-anchor="{anchor}"'
    turned = f' transform="rotate({number(turn)} {number(x)} {number(y)})"' if turn else ""
    return f'<text{of} x="{number(x)}" y="{number(y)}"{held}{turned}>{escape(words)}</text>'


def picture(body: Sequence[str], width: float, height: float, label: str, kind: str) -> str:
    """The picture with what a screen reader says of it; `kind` chooses it by the width of the page."""
    return (
        f'<svg class="{kind}" viewBox="0 0 {number(width)} {number(height)}" role="group" '
        f'aria-label="{escape(label)}">{"".join(body)}</svg>'
    )
