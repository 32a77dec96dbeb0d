"""Colours, marks and sizes that all pictures share: safe for the colour-blind, told apart in grey print."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import RooflineError
from ..view.colours import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from .labels import Box

SERIES = (BLUE, RED, GREEN, PINK, ORANGE, SKY, BLACK)
LINES = ("-", "--", "-.", ":", (0, (6, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
KIND_COLOURS = {
    "matmul": BLUE,
    "attention": ORANGE,
    "normalization": GREEN,
    "elementwise": SKY,
    "softmax": PINK,
    "embedding": RED,
    "optimizer": BLACK,
}
KIND_MARKERS = dict(zip(KIND_COLOURS, ("o", "s", "^", "D", "v", "P", "X"), strict=True))  # as in grey print
PHASES = ("forward", "backward", "recompute")  # filled, outlined, dashed
CAUSE_HATCHES = {"compute": "", "memory": "///", "communication": "xxx", "latency": "..."}
Style = dict[str, Any]  # keywords of matplotlib
GREY, FAINT, INK = "#6e6e6e", "#d9d9d9", "#1a1a1a"

TERA = 1e12
WIDTH = 7.2  # inches: two columns of a journal page
NORMAL, LEAST = 7.5, 6.0  # points: of text at that width; below the least, print is not read
EMS = 34.0  # widths of a letter M across a picture: where type is smaller in a narrow one
FEWEST_EMS = 28.0  # across a picture whose type still leaves room to draw
WIDTHS = 2.5, 30.0  # inches
FONT_SIZES = LEAST, 36.0  # points
PITCH = 1.25  # from line to line, in type sizes


class Page(msgspec.Struct, frozen=True):
    """The measures of a picture: width in inches and normal type in points, of which all others are made."""

    width: float
    normal: float

    @property
    def small(self) -> float:
        """Points of notes and names on the plane."""
        return max(self.normal / 7.5 * 6.5, LEAST)

    @property
    def large(self) -> float:
        """Points of headings."""
        return 1.2 * self.normal

    @property
    def narrow(self) -> bool:
        """Whether it is nearer to one column of a page than to two."""
        return self.width / self.normal < 0.7 * WIDTH / NORMAL

    def scaled(self, inches: float) -> float:
        """Inches that grow with the type, given those at `NORMAL` points."""
        return inches * self.normal / NORMAL

    def lines(self, count: int, size: float | None = None) -> float:
        """Inches that `count` lines of text take, of `size` points."""
        return count * PITCH * (size or self.normal) / 72


def page(width: float | None = None, font_size: float | None = None, *, natural: float = WIDTH) -> Page:
    """The measures of a picture of `width` inches (by default its `natural` one), in type of `font_size` points.

    >>> page(), page(3.4)
    (Page(width=7.2, normal=7.5), Page(width=3.4, normal=7.2))

    Raises:
        RooflineError: They are out of range, or leave no room to draw.
    """
    for name, value, (low, high), unit in (("width", width, WIDTHS, "in"), ("font size", font_size, FONT_SIZES, "pt")):
        if value is not None and not low <= value <= high:
            raise RooflineError(f"{name} {value:g}{unit} is out of range: give {low:g}{unit} to {high:g}{unit}")
    width = natural if width is None else width
    most = 72 * width / FEWEST_EMS
    if font_size is not None and font_size > most:
        raise RooflineError(
            f"font size {font_size:g}pt leaves no room to draw in a width of {width:g}in: "
            f"give {LEAST:g}pt to {math.floor(10 * most) / 10:g}pt, or more width"
        )
    return Page(width, font_size or max(min(NORMAL, round(72 * width / EMS, 2)), LEAST))


def page_of(figure: Any) -> Page:
    """The measures of the picture being drawn: a figure's width, and the type that is set (see `settings`)."""
    import matplotlib as mpl

    return Page(float(figure.get_figwidth()), float(mpl.rcParams["font.size"]))


def settings(measures: Page) -> Style:
    """Matplotlib's settings for a picture of these measures."""
    normal = measures.normal
    axis = {f"{name}tick.{key}": value for name in "xy" for key, value in _TICKS.items()}
    types = {"legend.fontsize": normal, "legend.title_fontsize": normal, "axes.labelsize": normal + 0.5}
    return {**SETTINGS, **axis, **types, "font.size": normal, "xtick.labelsize": normal, "ytick.labelsize": normal}


_TICKS: Style = {"color": GREY, "labelcolor": INK}
SETTINGS: Style = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType, as journals ask
    "svg.fonttype": "none",  # text stays text: it can be searched, and set in the journal's own type
    "svg.hashsalt": "roofline",  # the same picture is the same file
    "text.color": INK,
}
PLATE: Style = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6}  # behind text on lines


def write(
    axes: Axes, text: str, at: tuple[Any, Any], offset: tuple[float, float] = (0, 0), *, of: Any = "data", **style: Any
) -> Text:
    """Write small text, moved by `offset` points from a place in the coordinates `of`."""
    style = {"fontsize": page_of(axes.figure).small, "va": "bottom", "ha": "left", "annotation_clip": False, **style}
    return axes.annotate(text, at, xytext=offset, xycoords=of, textcoords="offset points", **style)


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Inches that a line of text of `size` points takes."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    return float(width) / 72


_WORDS = re.compile(r" (?!(?:[KMGT]i?B|ms|s|%|x)(?:\W|$))")  # a number stays with its unit


def wrapped(text: str, inches: float, size: float, *, bold: bool = False) -> list[str]:
    """A text in lines no wider than `inches`, broken at its commas, and at spaces where these are too far apart.

    >>> wrapped("gpt2-xl, bf16, tp 4 x pp 2", 1.0, 7.5)
    ['gpt2-xl, bf16,', 'tp 4 x pp 2']
    >>> wrapped("a name without any comma", 0.8, 7.5)
    ['a name', 'without any', 'comma']
    >>> wrapped("on H100 SXM 80 GB", 1.0, 7.5)
    ['on H100 SXM', '80 GB']
    """
    lines: list[str] = []

    def add(part: str, gap: str) -> bool:
        longer = f"{lines[-1]}{gap}{part}" if lines else part
        if text_width(longer, size, bold=bold) > inches:
            return False
        lines[-1:] = [longer]
        return True

    parts = [f"{part}," for part in text.split(", ")] if text else []
    for part in [*parts[:-1], *(part[:-1] for part in parts[-1:])]:
        if add(part, " "):
            continue
        for word in [part] if text_width(part, size, bold=bold) <= inches else _WORDS.split(part):
            if word != part and add(word, " "):
                continue
            lines.append(word)
    return lines


class Head(msgspec.Struct, frozen=True):
    """Lines of the titles and captions above panels; no lines of captions where each stands behind its title."""

    titles: int
    captions: int
    height: float  # inches


def head_of(measures: Page, heads: Sequence[tuple[str, str]], inches: float, *, behind: bool = True) -> Head:
    """What (title, caption) of panels `inches` wide need above them."""
    gap = 8 / 72
    large, normal = measures.large, measures.normal
    if behind and all(text_width(a, large, bold=True) + gap + text_width(b, normal) <= inches for a, b in heads):
        return Head(1, 0, measures.lines(1, large) + 0.07)
    titles = max(len(wrapped(title, inches, large, bold=True)) for title, _ in heads)
    captions = max(len(wrapped(caption, inches, normal)) for _, caption in heads)
    return Head(titles, captions, measures.lines(titles, large) + measures.lines(captions) + 0.07)


def heading(axes: Axes, title: str, caption: str, head: Head) -> None:
    """Write a bold title at the left above the axes, a quiet caption behind it or in lines under it."""
    measures, inches = page_of(axes.figure), axes.get_window_extent().width / axes.figure.dpi
    quiet: Style = {"fontsize": measures.normal, "color": GREY}
    bold: Style = {"fontsize": measures.large, "fontweight": "bold"}
    if head.titles == 1 and not head.captions:
        text = write(axes, title, (0, 1), (0, 5), of="axes fraction", **bold)
        write(axes, caption, (1, 0), (8, 0), of=text, **quiet)
        return
    above = 4 + 72 * measures.lines(head.captions)  # captions start right under the title
    lines = "\n".join(wrapped(title, inches, measures.large, bold=True))
    write(axes, lines, (0, 1), (0, above), of="axes fraction", **bold)
    lines = "\n".join(wrapped(caption, inches, measures.normal))
    write(axes, lines, (0, 1), (0, above - 1), of="axes fraction", va="top", **quiet)


EDGE = 0.1  # inches between a picture's edge and its text


def subject_lines(measures: Page, text: str, left: float) -> list[str]:
    """What a picture is about in lines within its width, `left` inches from its edge."""
    return wrapped(text, measures.width - left - EDGE, measures.normal)


def subject_height(measures: Page, text: str, left: float) -> float:
    """Inches at the top of a picture that its subject takes."""
    return EDGE + measures.lines(len(subject_lines(measures, text, left))) + (0.05 if text else 0)


def subject(figure: Figure, text: str, left: float) -> None:
    """Write what the picture is about at its top, `left` inches from its edge."""
    measures, (width, height) = page_of(figure), figure.get_size_inches()
    lines = "\n".join(subject_lines(measures, text, left))
    figure.text(left / width, 1 - EDGE / height, lines, va="top", fontsize=measures.normal, color=GREY)


def line_of(index: int) -> Any:
    """The line style of a series: the seven colours and styles pair up anew after each round."""
    return LINES[(index + index // len(SERIES)) % len(LINES)]


def plain_number(value: float, _position: object = None) -> str:
    """A tick label: 0.01, 1, 1,000."""
    return f"{value:,.10g}"


def percent(value: float, _position: object = None) -> str:
    """A tick label of a share."""
    return f"{100 * value:.10g} %"


def thousands(value: float, _position: object = None) -> str:
    """A tick label in few letters.

    >>> thousands(10), thousands(20_000), thousands(3e6)
    ('10', '20k', '3M')
    """
    for scale, letter in ((1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:g}{letter}"
    return f"{value:g}"


def three_digits(value: float) -> str:
    """A figure in at least three digits, none of them lost before the point.

    >>> three_digits(1978.9), three_digits(66.94), three_digits(0.4567)
    ('1,979', '66.9', '0.457')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def bandwidth(terabytes_per_s: float) -> str:
    """A bandwidth in TB/s, or GB/s where that is below one.

    >>> bandwidth(3.35), bandwidth(0.4608)
    ('3.35 TB/s', '461 GB/s')
    """
    if terabytes_per_s >= 1:
        return f"{three_digits(terabytes_per_s)} TB/s"
    return f"{three_digits(1e3 * terabytes_per_s)} GB/s"


def box_of(text: Text) -> Box:
    """The pixels a text covers."""
    from .labels import Box

    extent = text.get_window_extent()
    return Box(extent.x0, extent.y0, extent.x1, extent.y1)


def pixels(axes: Axes, intensity: float, flops_per_s: float) -> tuple[float, float]:
    """Where a point of the roofline plane lies, in pixels."""
    x, y = axes.transData.transform((intensity, flops_per_s / TERA))
    return float(x), float(y)
