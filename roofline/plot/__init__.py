"""Pictures: rooflines, waterfall from peak to MFU, memory, sweeps, predictions and measurements.

Data first, drawing second::

    data = plot.roofline_data([roofline.estimate("gpt2-xl", "h100-sxm-80gb", micro_batch=8)])
    plot.save(plot.draw(data), "roofline.png")
    plot.save_data(data, "roofline.csv")

Needs no display, and leaves matplotlib's global state as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RooflineError
from ..result import plain
from ..view.files import check_writable, write_atomically
from .build import roofline_data, validation_data, waterfall_data
from .data import CurveData, MemoryData, PlotData, RooflineData, WaterfallData
from .front import FrontData, draw_front, front_data
from .measured import measured_data
from .sweeps import batch_data, memory_data, memory_sweep, sequence_data
from .timeline import TimelineData, draw_timeline, step_data, timeline_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "FORMATS",
    "batch_data",
    "check_output",
    "draw",
    "front_data",
    "measured_data",
    "memory_data",
    "memory_sweep",
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


def draw(data: PlotData | TimelineData | FrontData) -> Figure:
    """Draw the picture that `data` describes.

    Raises:
        RooflineError: matplotlib is not installed.
    """
    from .charts import draw_memory, draw_waterfalls
    from .curves import draw_curves
    from .roofline import draw_rooflines
    from .validation import draw_validation

    with _style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(dpi=DPI)
        FigureCanvasAgg(figure)
        if isinstance(data, RooflineData):
            draw_rooflines(figure, data)
        elif isinstance(data, WaterfallData):
            draw_waterfalls(figure, data)
        elif isinstance(data, MemoryData):
            draw_memory(figure, data)
        elif isinstance(data, CurveData):
            draw_curves(figure, data)
        elif isinstance(data, TimelineData):
            draw_timeline(figure, data)
        elif isinstance(data, FrontData):
            draw_front(figure, data)
        else:
            draw_validation(figure, data)
    return figure


def save(figure: Figure, path: str | Path, dpi: int = DPI) -> None:
    """Write a figure as PNG, SVG or PDF by the suffix of `path`, whole or not at all.

    Raises:
        RooflineError: The suffix is none of `FORMATS`, or the file cannot be written.
    """
    from io import BytesIO

    suffix = check_output(path).suffix.lower()
    # no date: the same figure is the same file
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix)
    buffer = BytesIO()
    with _style():
        figure.savefig(buffer, format=suffix[1:], dpi=dpi, metadata=metadata, facecolor="white")
    write_atomically(Path(path), buffer.getvalue())


def save_data(data: PlotData | TimelineData | FrontData, path: str | Path) -> None:
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
def _style() -> Iterator[None]:
    """Our settings over matplotlib's own defaults, whatever the user's are, for the time of drawing."""
    from .style import SETTINGS

    try:
        import matplotlib as mpl
    except ImportError as error:
        raise RooflineError("plotting needs matplotlib: pip install matplotlib") from error
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)  # type: ignore[arg-type]  # keys are literals there
        yield
