"""Draws predictions beside measurements: a scatter on logarithmic axes, and the error of each group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median, quantiles
from typing import TYPE_CHECKING

from .data import Measurement, ValidationData
from .style import EDGE, FAINT, GREY, INK, MARKERS, SERIES, Page, Style, page_of, text_width, thousands, wrapped, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND = 0.10
MOST_GROUPS = 14
MOST_INTERVALS = 300  # runs: beyond, interval bars would only blacken the picture
OTHERS = "others"
Groups = dict[str, list[Measurement]]


def groups_of(data: ValidationData) -> Groups:
    """Runs by device or source, the largest groups first; what is beyond `MOST_GROUPS` together as others."""
    groups: Groups = {}
    for run in data.runs:
        groups.setdefault(getattr(run, data.by), []).append(run)
    ordered = dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))
    if len(ordered) <= MOST_GROUPS:
        return ordered
    names = list(ordered)
    kept = {name: ordered[name] for name in names[: MOST_GROUPS - 1]}
    return {**kept, OTHERS: [run for name in names[MOST_GROUPS - 1 :] for run in ordered[name]]}


def draw_validation(figure: Figure, data: ValidationData) -> None:
    """Draw every run as a point, and the spread of each group's errors at its right or, where narrow, below it."""
    groups, measures = groups_of(data), page_of(figure)
    width, small = measures.width, measures.small
    error = median(abs(run.measured / run.predicted - 1) for run in data.runs)
    inside = sum(run.inside for run in data.runs) / len(data.runs)
    words = f"{len(data.runs):,} runs, median error of the step time {100 * error:.1f} %; "
    words += f"{100 * inside:.0f} % of the measurements lie in the interval from 10th to 90th percentile"
    caption = wrapped(words, width - 2 * EDGE, measures.normal)
    top = EDGE + measures.lines(1, measures.large) + measures.lines(len(caption)) + 0.08
    columns = measures.lines(2, small) + 0.06  # their headings
    axis, left = measures.scaled(0.42), measures.scaled(0.6)
    side = min(2.75, width - left - EDGE)
    rows = measures.scaled(0.23) * len(groups)
    names = min(max(text_width(name, small) for name in groups), _room(measures)) + 0.12
    figures = measures.scaled(1.2)  # inches of the three columns
    if measures.narrow:
        height = top + side + axis + columns + 0.12 + rows + axis
        lower, x, spread = axis, names, width - names - figures - EDGE
    else:
        height = top + columns + max(side, rows) + axis
        x = left + side + 0.2 + names
        lower, spread = height - top - columns - rows, width - x - figures - EDGE
    figure.set_size_inches(width, height)
    upper = height - top - (0 if measures.narrow else columns)
    scatter = figure.add_axes((left / width, (upper - side) / height, side / width, side / height))
    errors = figure.add_axes((x / width, lower / height, spread / width, rows / height))
    at = EDGE / width
    figure.text(at, 1 - EDGE / height, data.title, va="top", fontsize=measures.large, fontweight="bold")
    below = 1 - (EDGE + measures.lines(1, measures.large)) / height
    figure.text(at, below, "\n".join(caption), va="top", fontsize=measures.normal, color=GREY)
    _draw_scatter(scatter, groups)
    _draw_errors(errors, groups)


def _draw_scatter(axes: Axes, groups: Groups) -> None:
    """Predicted against measured throughput of every run, with its interval where there are few enough."""
    from matplotlib.ticker import LogLocator, NullFormatter

    runs = [run for members in groups.values() for run in members]
    low = min(min(run.measured, run.predicted) for run in runs) / 1.5
    high = max(max(run.measured, run.predicted) for run in runs) * 1.5
    ends = [low, high]
    below, above = [(1 - BAND) * end for end in ends], [(1 + BAND) * end for end in ends]
    axes.fill_between(ends, below, above, color=FAINT, linewidth=0)
    axes.plot([low, high], [low, high], color=INK, linewidth=0.7)
    if len(runs) <= MOST_INTERVALS:
        measured, lows, highs = ([getattr(run, name) for run in runs] for name in ("measured", "low", "high"))
        axes.vlines(measured, lows, highs, color=GREY, linewidth=0.5, alpha=0.7)
    for index, (name, members) in enumerate(groups.items()):
        colour, marker = _style(index, name)
        xs, ys = [run.measured for run in members], [run.predicted for run in members]
        edge: Style = {"edgecolor": "white", "linewidth": 0.25}
        axes.scatter(xs, ys, s=11, marker=marker, facecolor=colour, alpha=0.85, label=name, zorder=3, **edge)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    axes.set(xlabel="measured tokens/s per device", ylabel="predicted tokens/s per device")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1,) if high > 30 * low else (1, 2, 5)))
        axis.set_major_formatter(thousands)
        axis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=1.5, width=0.4)
    axes.grid(color=FAINT, linewidth=0.4)


def _style(index: int, name: str) -> tuple[str, str]:
    """Colour and marker of a group: seven colours, then the same with the next marker."""
    if name == OTHERS:
        return GREY, "o"
    return SERIES[index % len(SERIES)], MARKERS[(index + index // len(SERIES)) % len(MARKERS)]


def _draw_errors(axes: Axes, groups: Groups) -> None:
    """For each group the median, quartiles and 10th to 90th percentile of predicted over measured."""
    spreads = {name: _spread([run.ratio for run in members]) for name, members in groups.items()}
    widest = max(abs(math.log(value)) for spread in spreads.values() for value in spread[1:-1])
    limit = min(max(math.exp(widest) * 1.1, 1.5), 4.0)
    for row, (name, members) in enumerate(groups.items()):
        colour, marker = _style(row, name)
        p10, p25, p50, p75, p90 = spreads[name]
        axes.plot([p10, p90], [row, row], color=colour, linewidth=0.9)
        axes.plot([p25, p75], [row, row], color=colour, linewidth=3.2, alpha=0.55, solid_capstyle="butt")
        edge: Style = {"markeredgecolor": "white", "markeredgewidth": 0.4}
        shown = min(max(p50, 1 / limit), limit)
        axes.plot(shown, row, marker=marker, markersize=5, color=colour, clip_on=False, zorder=4, **edge)
        error = median(abs(run.measured / run.predicted - 1) for run in members)
        inside = sum(run.inside for run in members) / len(members)
        _columns(axes, (f"{len(members):,}", f"{100 * error:.0f} %", f"{100 * inside:.0f} %"), row)
    last = len(groups)
    _columns(axes, ("runs", "median\nerror", "in the\ninterval"), None)
    axes.axvspan(1 - BAND, 1 + BAND, color=FAINT, linewidth=0, zorder=0)
    axes.axvline(1.0, color=INK, linewidth=0.7, zorder=1)
    write(axes, "±10 %", (1, 1), (0, 3), of=("data", "axes fraction"), ha="center", color=GREY)
    axes.set(xscale="log", xlim=(1 / limit, limit), ylim=(last - 0.4, -0.6))
    axes.set_xlabel("predicted / measured throughput")
    ticks = ((0.7, 1.0, 1.4), (0.5, 1.0, 2.0), (0.3, 0.5, 1.0, 2.0, 3.0))
    axes.set_xticks(ticks[(limit > 2) + (limit > 3)])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(thousands)
    axes.set_yticks(range(last), [_cut(name, axes) for name in groups], fontsize=page_of(axes.figure).small)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _room(measures: Page) -> float:
    """Inches that names of groups may take: the rest belongs to their errors."""
    return (0.38 if measures.narrow else 0.25) * measures.width


def _cut(name: str, axes: Axes) -> str:
    """A group's name, shortened where it is longer than the room left of the axes."""
    measures = page_of(axes.figure)
    room = _room(measures)
    if text_width(name, measures.small) <= room:
        return name
    while text_width(f"{name}…", measures.small) > room:
        name = name[:-1]
    return f"{name.rstrip(' ,')}…"


def _columns(axes: Axes, texts: Sequence[str], row: int | None) -> None:
    """Figures at the right of a row; headings above all rows where `row` is None."""
    measures = page_of(axes.figure)
    for inches, text in zip((0.35, 0.72, 1.18), texts, strict=True):
        x = 72 * measures.scaled(inches)
        if row is None:
            write(axes, text, (1, 1), (x, 3), of="axes fraction", ha="right", color=GREY)
        else:
            write(axes, text, (1, row), (x, 0), of=("axes fraction", "data"), ha="right", va="center")


def _spread(values: Sequence[float]) -> tuple[float, ...]:
    """10th, 25th, 50th, 75th and 90th percentile."""
    if len(values) == 1:
        return (values[0],) * 5
    cuts = quantiles(values, n=20, method="inclusive")
    return tuple(cuts[index] for index in (1, 4, 9, 14, 17))
