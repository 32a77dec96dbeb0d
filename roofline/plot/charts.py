"""Draws the waterfall from peak to MFU, and memory against capacity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..footprint.parts import PARTS
from ..timing.terms import LOSSES
from ..units import format_time
from ..view.colours import CAUSE_COLOURS, PART_COLOURS, RED
from ..view.estimate import VISIBLE
from .data import MemoryBar, MemoryData, Waterfall, WaterfallData
from .key import block_of, flow
from .style import (
    CAUSE_HATCHES,
    EDGE,
    FAINT,
    GREY,
    INK,
    WIDTH,
    Head,
    Page,
    Style,
    head_of,
    heading,
    page_of,
    percent,
    subject,
    subject_height,
    text_width,
    three_digits,
    wrapped,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GIB = 2**30
NO_EDGE: Style = {"edgecolor": "white", "linewidth": 0}
VERDICT_STYLES = {  # of a bar: how opaque, the colour of its figure, how it looks in words
    "fits": (1.0, INK, ""),
    "borderline": (0.7, GREY, "a little pale"),
    "does not fit": (0.45, RED, "pale"),
}
PART_HATCHES = {"gradients_bytes": "////", "logits_bytes": "....", "communication_bytes": "xxxx"}


# --- waterfall --------------------------------------------------------------------------------------------


def natural_width_of_waterfalls(data: WaterfallData) -> float:
    """Inches for waterfalls side by side."""
    return max(WIDTH, 2.6 + 2.4 * min(len(data.panels), 3))


def draw_waterfalls(figure: Figure, data: WaterfallData) -> None:
    """Draw one waterfall per device, side by side over the same causes, or under one another where it is narrow."""
    measures, count = page_of(figure), len(data.panels)
    width, line = measures.width, measures.lines(1)
    terms = visible_terms(data.panels)
    rows = ["dense peak", *(LOSSES[name].says for name in terms), "MFU"]
    left = min(0.2 + max(text_width(words, measures.normal) for words in rows), 0.38 * width)
    rows = ["\n".join(wrapped(words, left - 0.15, measures.normal)) for words in rows]
    columns = min(count, 3, max(int((width - left) / measures.scaled(2.2)), 1))
    lines = math.ceil(count / columns)
    inches = (width - left - EDGE) / (columns + 0.08 * (columns - 1))
    row = max(measures.scaled(0.27), line * (max(words.count("\n") for words in rows) + 1) + 0.03)
    height = row * (len(rows) + 0.15)
    head = head_of(measures, [(panel.name, panel.caption) for panel in data.panels], inches, behind=False)
    key = flow(figure, [block_of(figure, _causes(data, terms), width - 2 * EDGE)], width - 2 * EDGE)
    rule = wrapped(_rule(data), width - 2 * EDGE, measures.normal)
    bottom = 0.05 + key.height + 0.05 + measures.lines(len(rule)) + measures.scaled(0.25)
    gap = head.height + measures.scaled(0.3)
    top = subject_height(measures, data.title, EDGE) + head.height
    total = top + bottom + lines * height + (lines - 1) * gap
    figure.set_size_inches(width, total)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    margins = {
        "left": left / width,
        "right": 1 - EDGE / width,
        "bottom": bottom / total,
        "top": 1 - top / total,
    }
    figure.subplots_adjust(**margins, wspace=0.08, hspace=gap / height)
    cells = list(grid.flat)
    end = max(_end_of(panel, terms, measures, inches, narrow=_terse(inches)) for panel in data.panels)
    for axes, panel in zip(cells, data.panels, strict=False):
        draw_waterfall(axes, panel, terms, head, end)
        axes.set_yticks(range(len(rows)), rows)
    for axes in cells[count:]:
        axes.remove()
    for axes in cells[max(count - columns, 0) : count]:
        axes.xaxis.set_tick_params(labelbottom=True)
    subject(figure, data.title, EDGE)
    at = EDGE if measures.narrow else left
    figure.text(at / width, (0.1 + key.height) / total, "\n".join(rule), va="bottom")
    key.put(figure, at, 0.05 + key.height)


def _rule(data: WaterfallData) -> str:
    return f"share of the dense peak; MFU counts {data.panels[0].mfu_rule.split(':')[0]}"


def _causes(data: WaterfallData, terms: Sequence[str]) -> list[Any]:
    """The key's patches."""
    from matplotlib.patches import Patch

    causes = {term.cause for panel in data.panels for term in panel.terms if term.term in terms}
    return [
        Patch(facecolor=colour, hatch=CAUSE_HATCHES[cause], label=cause, **NO_EDGE)
        for cause, colour in CAUSE_COLOURS.items()
        if cause in causes
    ]


def _terse(inches: float) -> bool:
    """Whether a waterfall is too narrow for times beside shares."""
    return inches < 3.0


def _labels(panel: Waterfall, terms: Sequence[str], *, narrow: bool) -> list[tuple[float, str]]:
    """Where bars end and what stands beside them: each term, then the MFU."""
    by_name = {term.term: term for term in panel.terms}
    labels = []
    for term in (by_name[name] for name in terms):
        sign = "−" if term.lost >= 0 else "+"
        time = "" if narrow else f"   {format_time(term.seconds)}"
        right = max(term.remaining, term.remaining + term.lost)
        labels.append((right, f"{sign}{100 * abs(term.lost):.1f} %{time}"))
    interval = f"{100 * panel.mfu:.1f} %  ({100 * panel.mfu_low:.0f} to {100 * panel.mfu_high:.0f})"
    return [*labels, (panel.mfu_high, interval)]


def _end_of(panel: Waterfall, terms: Sequence[str], measures: Page, inches: float, *, narrow: bool) -> float:
    """The share where an axis `inches` long has to end for all labels to stand within it."""
    labels = _labels(panel, terms, narrow=narrow)
    widths = [text_width(text, measures.normal, bold=True) + 0.08 for _, text in labels]
    return max(1.05, *(right * inches / (inches - width) for (right, _), width in zip(labels, widths, strict=True)))


def visible_terms(panels: Sequence[Waterfall]) -> list[str]:
    """Terms that take a visible share of the peak on some device, in order."""
    terms = (term for panel in panels for term in panel.terms)
    return list(dict.fromkeys(term.term for term in terms if abs(term.lost) >= VISIBLE))


def draw_waterfall(axes: Axes, panel: Waterfall, terms: Sequence[str], head: Head, end: float) -> None:
    """Draw the dense peak, what each cause takes, and the MFU with its interval, on an axis up to the share `end`."""
    heading(axes, panel.name, panel.caption, head)
    last = len(terms) + 1
    axes.barh(0, 1.0, height=0.7, color=FAINT)
    beside: Style = {"fontsize": page_of(axes.figure).normal, "va": "center"}
    inches = axes.get_window_extent().width / axes.figure.dpi
    *labels, (_, interval) = _labels(panel, terms, narrow=_terse(inches))
    previous = 1.0
    by_name = {term.term: term for term in panel.terms}
    for row, (name, (right, words)) in enumerate(zip(terms, labels, strict=True), start=1):
        term = by_name[name]
        left = min(term.remaining, term.remaining + term.lost)
        style: Style = {"color": CAUSE_COLOURS[term.cause], "hatch": CAUSE_HATCHES[term.cause], **NO_EDGE}
        axes.barh(row, right - left, left=left, height=0.7, **style)
        axes.plot([previous, previous], [row - 0.65, row + 0.35], color=GREY, linewidth=0.6)
        write(axes, words, (right, row), (4, 0), **beside)
        previous = term.remaining
    axes.plot([previous, previous], [last - 0.65, last + 0.35], color=GREY, linewidth=0.6)
    axes.barh(last, panel.mfu, height=0.7, color=INK)
    whisker: Style = {"linewidth": 1.4, "marker": "|", "markersize": 7}
    axes.plot([panel.mfu_low, panel.mfu_high], [last, last], color=RED, **whisker)
    write(axes, interval, (panel.mfu_high, last), (4, 0), fontweight="bold", **beside)
    axes.set(xlim=(0, end), ylim=(last + 0.55, -0.6))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0] if inches > 1.6 else [0, 0.5, 1.0])
    axes.xaxis.set_major_formatter(percent)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.4)
    axes.spines["left"].set_visible(False)


# --- memory -----------------------------------------------------------------------------------------------


def natural_width_of_memory(data: MemoryData) -> float:
    """Inches for bars that have room for their names."""
    return max(WIDTH, 2.9 + 0.9 * len(data.bars))


def draw_memory(figure: Figure, data: MemoryData) -> None:
    """Draw one stacked bar per micro batch or device, with the capacity as a line over it."""
    measures, count = page_of(figure), len(data.bars)
    width, left = measures.width, measures.scaled(0.6)
    parts = [name for name in PARTS if any(bar.parts.get(name, 0) > 0 for bar in data.bars)]
    capacities = [bar.capacity_bytes / GIB for bar in data.bars]
    beside = not measures.narrow
    room = (width - left - (measures.scaled(2.15) if beside else EDGE)) / count
    terse = any(text_width("does not fit", measures.normal, bold=True) > room for _ in data.bars)
    key = flow(
        figure,
        [block_of(figure, _memory_key(measures, data, parts, capacities, terse=terse), width, most=1 if beside else 2)],
        width,
    )
    labels = _bar_labels(measures, data, room)
    axis = wrapped(_axis_words(data), width - left - EDGE, measures.normal + 0.5)
    under = 0.12 + measures.lines(max(label.count("\n") for label in labels) + 1 + len(axis))
    bottom = under + (0.05 if beside else key.height + 0.12)
    height = max(min(0.42 * width, 3.05), measures.scaled(2.1), key.height if beside else 0)
    head = head_of(measures, [(TITLE, "")], width - left - EDGE)
    total = bottom + height + head.height + subject_height(measures, data.title, left)
    figure.set_size_inches(width, total)
    axes = figure.subplots()
    right = measures.scaled(2.1) if beside else EDGE
    top = bottom + height
    figure.subplots_adjust(left=left / width, right=1 - right / width, bottom=bottom / total, top=top / total)
    heading(axes, TITLE, "", head)
    subject(figure, data.title, left)
    highest = max(max(bar.total_bytes, bar.capacity_bytes) for bar in data.bars) / GIB
    for position, bar in enumerate(data.bars):
        _draw_bar(axes, position, bar, parts, highest, terse=terse)
    _draw_capacities(axes, capacities)
    axes.set(ylabel="GiB", xlim=(-0.6, count - 0.4), ylim=(0, (1.12 if terse else 1.18) * highest))
    axes.set_xticks(range(count), labels)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=FAINT, linewidth=0.4)
    axes.set_xlabel("\n".join(axis))
    key.put(figure, *((width - right + 0.05, top) if beside else (EDGE, 0.05 + key.height)))


TITLE = "Memory of the fullest device"


def _memory_key(
    measures: Page, data: MemoryData, parts: Sequence[str], capacities: Sequence[float], *, terse: bool
) -> list[Any]:
    """The parts from the top of the stack down, the capacity, and how a bar looks that does not fit."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    inches = measures.scaled(1.7) if not measures.narrow else measures.width / 2 - measures.scaled(0.5)

    def words(text: str) -> str:
        return "\n".join(wrapped(text, inches, measures.normal))

    handles: list[Any] = [
        Patch(facecolor=colour, hatch=hatch, label=words(data.part_words[name]), **NO_EDGE)
        for name, (colour, hatch) in ((name, _part_style(name)) for name in reversed(parts))
    ]
    line = Line2D([], [], color=INK, linewidth=1.3, linestyle="--", label=words(_capacity_words(capacities)))
    handles.append(line)
    if terse:
        found = {bar.verdict for bar in data.bars} - {"fits"}
        handles += [
            Patch(facecolor=INK, alpha=0.5 * alpha, edgecolor=colour, linewidth=0.8, label=words(f"{pale}: {fit}"))
            for fit, (alpha, colour, pale) in VERDICT_STYLES.items()
            if fit in found
        ]
    return handles


def _bar_labels(measures: Page, data: MemoryData, inches: float) -> list[str]:
    """The name of each bar in lines; of a device what is asked of it alone, and its capacity."""
    if data.axis != "device":
        return [bar.label.replace(" ", "\n") for bar in data.bars]
    return [
        "\n".join(
            (
                _broken(bar.label, inches, measures),
                *(wrapped(bar.words, inches - 0.05, measures.normal) if bar.words else ()),
                f"{bar.capacity_bytes / GIB:.1f} GiB",
            )
        )
        for bar in data.bars
    ]


def _broken(device: str, inches: float, measures: Page) -> str:
    """A device id in lines no wider than `inches`, broken at its hyphens.

    >>> _broken("h100-sxm-80gb", 0.5, Page(3.3, 7.0)).splitlines()
    ['h100-', 'sxm-', '80gb']
    """
    return "\n".join(wrapped(device.replace("-", "- "), inches - 0.05, measures.normal)).replace("- ", "-")


def _axis_words(data: MemoryData) -> str:
    if data.axis == "micro batch":
        return _batch_words(data)
    return "" if data.axis == "device" else f"{data.axis}: live tensors; and the peak as the driver shows it"


def _batch_words(data: MemoryData) -> str:
    words = "micro batch (sequences per device and pass)"
    if data.largest is None:
        return words
    return f"{words}; likelier than not to fit up to {data.largest:,}" if data.largest else f"{words}; none fits"


def _draw_capacities(axes: Axes, capacities: Sequence[float]) -> None:
    """One line over each run of bars that share a capacity."""
    start = 0
    for end in range(1, len(capacities) + 1):
        if end == len(capacities) or capacities[end] != capacities[start]:
            ends, level = [start - 0.48, end - 0.52], [capacities[start]] * 2
            axes.plot(ends, level, color=INK, linewidth=1.3, linestyle="--")
            start = end


def _capacity_words(capacities: Sequence[float]) -> str:
    """The capacity in figures, or where they are."""
    if len(set(capacities)) == 1:
        return f"capacity {capacities[0]:.1f} GiB"
    return "capacity: GiB below each device"


def _part_style(name: str) -> tuple[str, str]:
    """Colour and hatch of a part of memory: neighbours in the stack differ in lightness or hatch."""
    return PART_COLOURS[name], PART_HATCHES.get(name, "")


def _draw_bar(axes: Axes, position: int, bar: MemoryBar, parts: Sequence[str], top: float, *, terse: bool) -> None:
    """One stack, paler the less it fits, with its total above and its capacity across."""
    bottom = 0.0
    alpha, ink, _ = VERDICT_STYLES[bar.verdict]
    for name in parts:
        colour, hatch = _part_style(name)
        value = bar.parts.get(name, 0.0) / GIB
        style: Style = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}
        axes.bar(position, value, bottom=bottom, width=0.66, alpha=alpha, **style)
        bottom += value
    capacity = bar.capacity_bytes / GIB
    text = three_digits(bottom) if terse else f"{bottom:.1f}"
    if bar.verdict != "fits" and not terse:
        text += f"\n{bar.verdict}"
    covered = 0 < capacity - bottom < 0.09 * top  # the line would run through the figure
    at = position, capacity if covered else bottom
    size = page_of(axes.figure).normal
    write(axes, text, at, (0, 2), ha="center", fontsize=size, color=ink, fontweight="bold")
