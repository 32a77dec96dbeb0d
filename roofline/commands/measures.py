"""Measures of pictures on the command line: ``--width 3.3in --font-size 7``."""

from __future__ import annotations

import argparse
import math
from typing import Any

INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72}  # a point of print: 1/72 inch


def length(text: str) -> float:
    """Inches of a length with its unit.

    >>> length("3.3in"), round(length("84 mm"), 3), length("216pt")
    (3.3, 3.307, 3.0)
    """
    number = text.strip().rstrip("abcdefghijklmnopqrstuvwxyz").rstrip()
    unit = text.strip()[len(number) :].strip()
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if unit not in INCHES or not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length: give a number with {', '.join(INCHES)}: 3.3in")
    return float(value * INCHES[unit])


def points(text: str) -> float:
    """Points of a type size, with or without the unit."""
    return 72 * length(text if text.strip().endswith("pt") else f"{text}pt")


def add_arguments(add: Any) -> None:
    """Declare both options, with the `add_argument` of a parser or a group."""
    add("--width", metavar="LENGTH", type=length, help="of a picture: 3.3in, 8.4cm, 84mm, 240pt (default 7.2in up)")
    add("--font-size", metavar="PT", type=points, help="of its text (default 7.5pt, less in a narrow picture)")
