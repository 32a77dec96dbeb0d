"""Sizes for one compute: what a scaling law says of their loss, their tokens and time, and what other laws advise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import RooflineError
from ..planning.laws import law
from ..units import format_count, format_time
from ..view.colours import BLUE, RED
from .data import Row
from .labels import Box
from .names import name_places
from .style import EDGE, FAINT, INK, head_of, heading, page_of, subject, subject_height

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..planning.ladder import Ladder

FINE = 60  # points of a curve
BEYOND = 1.3  # how far the curve goes beyond the sizes


class LadderPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A size that was planned, or that a law advises: `series` is rung, or the law's name."""

    series: str
    parameters: float
    tokens: float
    loss: float | None = None
    wall_time_s: float | None = None
    num_devices: int | None = None
    cost: float | None = None
    best: bool = False


class LadderData(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes by their tokens and loss, and the law that says so."""

    title: str
    law: str
    flops: float
    rungs: tuple[LadderPoint, ...]
    advised: tuple[LadderPoint, ...]

    def rows(self) -> list[Row]:
        """One size a row."""
        return [msgspec.structs.asdict(point) for point in (*self.rungs, *self.advised)]


def ladder_data(result: Ladder) -> LadderData:
    """The sizes of a ladder, and what every law advises for its compute."""
    best = result.rungs[result.best].plan
    return LadderData(
        title=f"{result.flops:.3g} FLOPs on {best.num_devices:,} x {best.device.name}, by {result.law.name}",
        law=result.law.name,
        flops=result.flops,
        rungs=tuple(
            LadderPoint(
                series="rung",
                parameters=rung.parameters,
                tokens=rung.plan.tokens,
                loss=rung.verdict.loss,
                wall_time_s=rung.plan.wall_time_s,
                num_devices=rung.plan.num_devices,
                cost=rung.plan.cost,
                best=place_ == result.best,
            )
            for place_, rung in enumerate(result.rungs)
        ),
        advised=tuple(
            LadderPoint(series=each.law, parameters=each.parameters, tokens=each.tokens) for each in result.advised
        ),
    )


def draw_ladder(figure: Figure, data: LadderData) -> None:
    """Loss against size at equal compute, where the law knows it, over tokens against size with every law's advice."""
    if not data.rungs:
        raise RooflineError("nothing to draw: no size fits")
    lossy = data.rungs[0].loss is not None
    measures = page_of(figure)
    left, right, bottom = measures.scaled(0.62), EDGE + 0.15, measures.scaled(0.47)
    panel, gap = max(0.32 * measures.width, measures.scaled(1.9)), measures.scaled(0.42)
    titles = [("Loss of each size", "")] * lossy + [("Tokens of each size, and what each law advises", "")]
    head = head_of(measures, titles, measures.width - left - right)
    top = subject_height(measures, data.title, left) + head.height
    height = top + len(titles) * panel + (len(titles) - 1) * (gap + head.height - measures.scaled(0.2)) + bottom
    figure.set_size_inches(measures.width, height)
    panels: list[Axes] = list(figure.subplots(len(titles), 1, sharex=True, squeeze=False)[:, 0])
    figure.subplots_adjust(
        left=left / measures.width,
        right=1 - right / measures.width,
        bottom=bottom / height,
        top=1 - top / height,
        hspace=(gap + head.height - measures.scaled(0.2)) / panel,
    )
    subject(figure, data.title, left)
    for axes, (title, caption) in zip(panels, titles, strict=True):
        heading(axes, title, caption, head)
        axes.grid(color=FAINT, linewidth=0.4)
    _tokens_panel(panels[-1], data)
    if lossy:
        _loss_panel(panels[0], data)


def _loss_panel(axes: Axes, data: LadderData) -> None:
    """The law's loss along the compute, and the sizes with what their training takes."""
    loss = law(data.law).loss
    sizes = _sizes([point.parameters for point in (*data.rungs, *data.advised)])
    points = [(point.parameters, point.loss or 0.0) for point in data.rungs]
    if loss is not None:
        axes.plot(sizes, [loss.at(size, data.flops / (6 * size)) for size in sizes], color=BLUE, linewidth=1.1)
    _marks(axes, data.rungs, points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    axes.set_ylim(low - 0.3 * (high - low), high + 0.7 * (high - low))
    axes.set_ylabel("loss (nats a token)")
    _label(axes, points, [_takes(point) for point in data.rungs], [point.best for point in data.rungs])


def _tokens_panel(axes: Axes, data: LadderData) -> None:
    """The compute as a line of equal size x tokens, the sizes on it, and what each law advises."""
    from matplotlib.ticker import LogLocator, NullLocator

    everything = [*data.rungs, *data.advised]
    sizes = _sizes([point.parameters for point in everything])
    axes.plot(sizes, [data.flops / (6 * size) for size in sizes], color=FAINT, linewidth=1.1, zorder=1)
    axes.set(xscale="log", yscale="log", xlim=(sizes[0], sizes[-1]))
    axes.set(xlabel="parameters", ylabel="tokens")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(lambda value, _: format_count(round(value)))
        axis.set_minor_locator(NullLocator())
    tokens = [point.tokens for point in everything]
    axes.set_ylim(min(tokens) / 2, max(tokens) * 2)
    _marks(axes, data.rungs, [(point.parameters, point.tokens) for point in data.rungs])
    at = [(point.parameters, point.tokens) for point in data.advised]
    axes.plot([x for x, _ in at], [y for _, y in at], "x", color=INK, markersize=4, zorder=4)
    _label(
        axes, at, [point.series for point in data.advised], bold=[point.series == data.law for point in data.advised]
    )


def _sizes(known: Sequence[float]) -> list[float]:
    """Sizes from the least to the largest and a little beyond, evenly on a logarithmic axis."""
    low, high = min(known) / BEYOND, max(known) * BEYOND
    return [low * (high / low) ** (number / FINE) for number in range(FINE + 1)]


def _marks(axes: Axes, rungs: Sequence[LadderPoint], at: Sequence[tuple[float, float]]) -> None:
    for point, (x, y) in zip(rungs, at, strict=True):
        colour, size = (RED, 5.0) if point.best else (BLUE, 3.5)
        axes.plot(x, y, "D" if point.best else "o", color=colour, markersize=size, zorder=5)


def _takes(point: LadderPoint) -> str:
    """Size and tokens, and what they take."""
    words = f"{format_count(round(point.parameters))} on {format_count(round(point.tokens))}"
    if point.wall_time_s is not None and point.num_devices is not None:
        words += f"\n{format_time(point.wall_time_s)} on {point.num_devices:,}"
    return words if point.cost is None else f"{words}\ncost {point.cost:,.0f}"


def _xy(axes: Axes) -> Any:
    """The points of the panel's curve, the first that was drawn."""
    return axes.lines[0].get_xydata()


def _label(axes: Axes, points: Sequence[tuple[float, float]], words: Sequence[str], bold: Sequence[bool]) -> None:
    """Labels beside their points, clear of each other and of the panel's curve."""
    pixel = axes.figure.dpi / 72
    whole = axes.get_window_extent()
    room = Box(whole.x0 + 3 * pixel, whole.y0 + 2 * pixel, whole.x1 - 3 * pixel, whole.y1 - 2 * pixel)
    marks = [Box(float(x), float(y), float(x), float(y)).padded(3 * pixel) for x, y in axes.transData.transform(points)]
    line = [(float(x), float(y)) for x, y in axes.transData.transform(_xy(axes))]
    name_places(axes, points, words, bold, room, obstacles=marks, barriers=list(pairwise(line)))
