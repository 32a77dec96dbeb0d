"""Pictures: rooflines, waterfall from peak to MFU, memory, sweeps, predictions and measurements.

Data first, drawing second::

    data = plot.roofline_data([roofline.estimate("gpt2-xl", "h100-sxm-80gb", micro_batch=8)])
    plot.save(plot.draw(data), "roofline.png")
    plot.save_data(data, "roofline.csv")

Needs no display, and leaves matplotlib's global state as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RooflineError
from ..result import plain
from ..view.files import check_writable, write_atomically
from .build import roofline_data, validation_data, waterfall_data
from .data import CurveData, MemoryData, PlotData, RooflineData, ValidationData, WaterfallData
from .front import FrontData, draw_front, front_data
from .ladder import LadderData, draw_ladder, ladder_data
from .measured import measured_data
from .sweeps import batch_data, memory_data, memory_sweep, phase_data, sequence_data
from .timeline import TimelineData, draw_timeline, step_data, timeline_data

if TYPE_CHECKING:
    from typing import TypeAlias

    from matplotlib.figure import Figure

    from .style import Page

    Picture: TypeAlias = PlotData | TimelineData | FrontData | LadderData  # what a picture shows

__all__ = [
    "FORMATS",
    "batch_data",
    "check_output",
    "draw",
    "front_data",
    "ladder_data",
    "measured_data",
    "memory_data",
    "memory_sweep",
    "phase_data",
    "roofline_data",
    "save",
    "save_data",
    "sequence_data",
    "step_data",
    "timeline_data",
    "validation_data",
    "waterfall_data",
]
FORMATS = (".png", ".svg", ".pdf")
DPI = 200


def draw(data: Picture, *, width: float | None = None, font_size: float | None = None) -> Figure:
    """Draw the picture that `data` describes.

    Args:
        data: What to show.
        width: Inches; by default what its kind needs, of text as wide as two columns of a page. Heights follow.
        font_size: Points of its normal text; by default 7.5, and down to 6 in a narrow picture.

    Raises:
        RooflineError: matplotlib is not installed; the width or the font size is out of range.
    """
    from .style import page

    with _style():
        natural, paint = _drawing(data)
        measures = page(width, font_size, natural=natural)
    with _style(measures):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(dpi=DPI, figsize=(measures.width, measures.width))
        FigureCanvasAgg(figure)
        paint(figure, data)
    return figure


def _drawing(data: Picture) -> tuple[float, Callable[[Figure, Any], None]]:
    """The width in inches that a kind of picture has by itself, and what draws it."""
    from . import charts, curves, roofline, validation
    from .style import WIDTH

    natural: dict[type, Callable[[Any], float]] = {
        RooflineData: roofline.natural_width,
        WaterfallData: charts.natural_width_of_waterfalls,
        MemoryData: charts.natural_width_of_memory,
    }
    paint: dict[type, Callable[[Figure, Any], None]] = {
        RooflineData: roofline.draw_rooflines,
        WaterfallData: charts.draw_waterfalls,
        MemoryData: charts.draw_memory,
        CurveData: curves.draw_curves,
        TimelineData: draw_timeline,
        FrontData: draw_front,
        LadderData: draw_ladder,
        ValidationData: validation.draw_validation,
    }
    kind = type(data)
    return natural[kind](data) if kind in natural else WIDTH, paint[kind]


def save(figure: Figure, path: str | Path, dpi: int = DPI) -> None:
    """Write a figure as PNG, SVG or PDF by the suffix of `path`, whole or not at all; a PNG's description is its words.

    Raises:
        RooflineError: The suffix is none of `FORMATS`, or the file cannot be written.
    """
    from io import BytesIO

    suffix = check_output(path).suffix.lower()
    # no date: the same figure is the same file
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {"Description": words(figure)}}[suffix]
    buffer = BytesIO()
    with _style():
        figure.savefig(buffer, format=suffix[1:], dpi=dpi, metadata=metadata, facecolor="white")
    write_atomically(Path(path), buffer.getvalue())


def words(figure: Figure) -> str:
    """What stands in a figure, a text a line: its figures for who does not see it, and for a test of what is drawn."""
    from matplotlib.text import Text

    texts = (" ".join(text.get_text().split()) for text in figure.findobj(Text) if text.get_visible())
    return "\n".join(dict.fromkeys(filter(None, texts)))


def save_data(data: Picture, path: str | Path) -> None:
    """Write what a picture shows as CSV, in base units.

    Raises:
        RooflineError: The file cannot be written.
    """
    import csv
    from io import StringIO

    rows = data.rows()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value is None else plain(value) for key, value in row.items()})
    write_atomically(Path(path), out.getvalue().encode())


def check_output(path: str | Path) -> Path:
    """The path, if a picture can be written there: better before the work than after.

    Raises:
        RooflineError: The suffix is none of `FORMATS`, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise RooflineError(
            f"cannot write {path}: the suffix {path.suffix!r} names no picture format (allowed: {', '.join(FORMATS)})"
        )
    check_writable(path)
    return path


@contextmanager
def _style(measures: Page | None = None) -> Iterator[None]:
    """Our settings over matplotlib's own defaults, whatever the user's are, for the time of drawing."""
    from .style import page, settings

    try:
        import matplotlib as mpl
    except ImportError as error:
        raise RooflineError("plotting needs matplotlib: pip install matplotlib") from error
    except ValueError as error:  # of an environment that matplotlib checks when it is imported
        reason = str(error).partition(";")[0]
        raise RooflineError(f"matplotlib does not start: {reason}; correct or unset MPLBACKEND") from error
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings(measures or page()))  # type: ignore[arg-type]  # keys are literals there
        yield
