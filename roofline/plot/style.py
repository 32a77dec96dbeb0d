"""Colours, marks and sizes that all pictures share: safe for the colour-blind, told apart in grey print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
PHASE_MARKERS = {"forward": "o", "backward": "s", "recompute": "D", "optimizer": "^"}
CAUSE_HATCHES = {"compute": "", "memory": "///", "communication": "xxx", "latency": "..."}
Style = dict[str, Any]  # keywords of matplotlib
GREY, FAINT, INK = "#6e6e6e", "#d9d9d9", "#1a1a1a"

TERA = 1e12
WIDTH = 7.2  # inches: two columns of a journal page
SMALL, NORMAL, LARGE = 6.5, 7.5, 9.0  # points
LETTER, BOLD_LETTER = 0.056, 0.09  # inches: mean width of a letter in normal and in large bold type
SETTINGS: Style = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",
    "font.size": NORMAL,
    "hatch.linewidth": 0.5,
    "legend.fontsize": NORMAL,
    "legend.frameon": False,
    "legend.title_fontsize": NORMAL,
    "pdf.fonttype": 42,  # TrueType, as journals ask
    "svg.fonttype": "none",  # text stays text: it can be searched, and set in the journal's own type
    "svg.hashsalt": "roofline",  # the same picture is the same file
    "text.color": INK,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "xtick.labelsize": NORMAL,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "ytick.labelsize": NORMAL,
}
PLATE: Style = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6}  # behind text on lines


def write(
    axes: Axes,
    text: str,
    at: tuple[Any, Any],
    offset: tuple[float, float] = (0, 0),
    *,
    of: Any = "data",
    **style: Any,
) -> Text:
    """Write small text, moved by `offset` points from a place in the coordinates `of`."""
    style = {"fontsize": SMALL, "va": "bottom", "ha": "left", "annotation_clip": False, **style}
    return axes.annotate(text, at, xytext=offset, xycoords=of, textcoords="offset points", **style)


def heading(axes: Axes, title: str, caption: str = "", *, below: int = 0) -> None:
    """Write a bold title at the left above the axes, a quiet caption behind it or in `below` lines under it."""
    offset = (0, 4.5 + 11.5 * below if below else 5)
    text = write(axes, title, (0, 1), offset, of="axes fraction", fontsize=LARGE, fontweight="bold")
    quiet: Style = {"fontsize": NORMAL, "color": GREY}
    if below:
        inches = axes.get_window_extent().width / axes.figure.dpi
        lines = caption_lines(inches, caption)
        lines += [""] * (below - len(lines))  # the first right under the title
        write(axes, "\n".join(lines), (0, 1), (0, 4), of="axes fraction", **quiet)
    else:
        write(axes, caption, (1, 0), (8, 0), of=text, **quiet)


def wrapped(text: str, width: int = 112) -> list[str]:
    """The lines of a picture's subject, broken at its commas.

    >>> wrapped("gpt2-xl, bf16, tp 4 x pp 2", width=16)
    ['gpt2-xl, bf16,', 'tp 4 x pp 2']
    """
    lines: list[str] = []
    for part in text.split(", ") if text else ():
        if lines and len(lines[-1]) + len(part) + 2 <= width:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    return [f"{line}," for line in lines[:-1]] + lines[-1:]


def caption_lines(inches: float, caption: str) -> list[str]:
    """A caption in lines no wider than `inches`."""
    return wrapped(caption, int(inches / LETTER))


def subject(figure: Figure, text: str, left: float) -> None:
    """Write what the picture is about at its top, `left` inches from its edge."""
    width, height = figure.get_size_inches()
    lines = "\n".join(wrapped(text))
    figure.text(left / width, 1 - 0.1 / height, lines, va="top", fontsize=NORMAL, color=GREY)


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
    ('1979', '66.9', '0.457')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


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
