"""One step of a trace over time: a lane per stream and rank, kernels by kind, and the gaps between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..counting.step import build_step
from ..errors import RooflineError
from ..profiling.steps import OUTSIDE
from ..timing.pipeline import timeline
from ..units import format_time
from ..view.colours import PASS_COLOURS
from .build import workload
from .data import Row
from .key import block_of, flow
from .style import (
    EDGE,
    FAINT,
    GREY,
    KIND_COLOURS,
    Style,
    head_of,
    heading,
    page_of,
    plain_number,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..answers.estimate import Estimate
    from ..profiling.rank import Rank
    from ..profiling.result import Profile

YELLOW = "#F0E442"  # the eighth colour of Okabe and Ito
COLOURS = {**PASS_COLOURS, **KIND_COLOURS, "communication": YELLOW, "copy": GREY, "other": "#bdbdbd"}
HATCHES = {"communication": "xxxx", "copy": "////", "recompute": "....", "data parallel": "xxxx"}
TERM_KINDS = {"memory_bound": "elementwise"}
MOST_LANES = 16
MOST_PASSES = 96  # of one device
LANE = 0.3  # inches
JOINED = 1 / 3000  # of the step: kernels of one kind closer than this are one bar


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """Kernels of one kind that follow one another; seconds from the step's first kernel."""

    kind: str
    start: float
    end: float


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One stream of one rank."""

    name: str
    bars: tuple[Bar, ...]


class TimelineData(msgspec.Struct, frozen=True, kw_only=True):
    """The lanes of one step."""

    title: str
    caption: str
    seconds: float
    lanes: tuple[Lane, ...]
    origin: str = "the step's first kernel"
    apart: bool = False  # whether neighbours of one kind are told apart

    def rows(self) -> list[Row]:
        """One bar a row."""
        return [
            {"lane": lane.name, "kind": bar.kind, "start_s": bar.start, "end_s": bar.end}
            for lane in self.lanes
            for bar in lane.bars
        ]


def step_data(estimate: Estimate) -> TimelineData:
    """The passes of an estimated step on each device of a pipeline.

    Raises:
        RooflineError: The estimate is of a traced module, or of several runs.
    """
    run = estimate.run
    if run is None:
        raise RooflineError("the passes of a traced module are not known: name a model")
    run.alone("a timeline")
    shown = timeline(build_step(run.model, run.train), run.device, MOST_PASSES)
    words = [shown.schedule] if shown.devices > 1 else []
    short = f"shortened to {shown.micro_batches:,} of " if shown.micro_batches < shown.of else ""
    words.append(f"{short}{shown.of:,} micro batch{'es' if shown.of > 1 else ''}")
    lanes = []
    for device in range(min(shown.devices, MOST_LANES)):
        passes = [each for each in shown.passes if each.device == device]
        bars = tuple(Bar(kind=each.kind, start=each.start, end=each.end) for each in passes)
        lanes.append(Lane(name="device" if shown.devices == 1 else f"stage {device + 1}", bars=bars))
    return TimelineData(
        title=f"A step on {estimate.train.num_devices:,} x {estimate.device.name}",
        caption=", ".join([workload(run.model, run.train), *words]),
        seconds=shown.seconds,
        lanes=tuple(lanes),
        origin="the start of the step",
        apart=True,
    )


def timeline_data(ranks: Sequence[Rank], result: Profile) -> TimelineData:
    """The step whose time is nearest the median, on all ranks that have it."""
    followed = [n for n, step in enumerate(result.steps) if not step.last] or [0]
    number = min(followed[1:] or followed, key=lambda n: abs(result.steps[n].time_s - result.step_time_s))
    step = result.steps[number]
    lanes = [lane for rank in ranks for lane in _lanes(rank, step.name, several=len(ranks) > 1)]
    words = f"{step.name}: {format_time(step.time_s)}"
    if result.mfu is not None:
        words += f", MFU of the run {100 * result.mfu:.1f} %"
    return TimelineData(
        title=result.device_name or "trace", caption=words, seconds=step.time_s, lanes=tuple(lanes[:MOST_LANES])
    )


def _lanes(rank: Rank, name: str, *, several: bool) -> list[Lane]:
    """The streams of one rank in the step of that name, the busiest first."""
    kernels = rank.trace.kernels
    number = next((n for n, step in enumerate(rank.steps.steps) if step.name == name), 0)
    start, end = rank.steps.steps[number].start, rank.steps.steps[number].end
    streams: dict[int, list[tuple[float, float, str]]] = {}
    for row, step in enumerate(rank.steps.of):
        inside = kernels.start[row] < end and kernels.end[row] > start
        if step != OUTSIDE and inside and kernels.device[row] == rank.index:
            bar = max(kernels.start[row], start) - start, min(kernels.end[row], end) - start, _kind(rank, row)
            streams.setdefault(kernels.stream[row], []).append(bar)
    prefix = f"rank {rank.trace.rank}, " if several else ""
    order = sorted(streams, key=lambda stream: -sum(b - a for a, b, _ in streams[stream]))
    return [Lane(name=f"{prefix}stream {stream}", bars=_joined(streams[stream], end - start)) for stream in order]


def _kind(rank: Rank, row: int) -> str:
    if row not in rank.work:
        return "copy"
    work = rank.work[row]
    if work.sent is not None:
        return "communication"
    group = rank.operations.groups.get(work.key) if work.key is not None else None
    kind = group.kind if group is not None else TERM_KINDS.get(work.term, work.term)
    return kind if kind in COLOURS else "other"


def _joined(bars: list[tuple[float, float, str]], span: float) -> tuple[Bar, ...]:
    """Bars of one kind with next to nothing between them as one: a page has no room for ten thousand."""
    joined: list[list[float | str]] = []
    for start, end, kind in sorted(bars):
        if joined and joined[-1][2] == kind and start - float(joined[-1][1]) < JOINED * span:
            joined[-1][1] = max(float(joined[-1][1]), end)
        else:
            joined.append([start, end, kind])
    return tuple(Bar(kind=str(kind), start=float(a) * 1e-6, end=float(b) * 1e-6) for a, b, kind in joined)


def draw_timeline(figure: Figure, data: TimelineData) -> None:
    """Draw one lane under another over the time of the step."""
    measures = page_of(figure)
    width, right = measures.width, 0.15
    left = 0.15 + max(text_width(lane.name, measures.normal) for lane in data.lanes)
    key = flow(figure, [block_of(figure, _handles(data), width - 2 * EDGE, most=8)], width)
    head = head_of(measures, [(data.title, data.caption)], width - left - right)
    bottom = 0.05 + key.height + 0.06 + measures.scaled(0.4)
    lanes = measures.scaled(LANE) * (len(data.lanes) + 0.4)
    height = 0.06 + head.height + bottom + lanes
    figure.set_size_inches(width, height)
    axes = figure.subplots()
    margins = {"left": left / width, "right": 1 - right / width}
    figure.subplots_adjust(**margins, bottom=bottom / height, top=(bottom + lanes) / height)
    heading(axes, data.title, data.caption, head)
    scale, unit = (1e3, "ms") if data.seconds < 1 else (1.0, "s")
    for place, lane in enumerate(data.lanes):
        axes.axhspan(place - 0.35, place + 0.35, color=FAINT, alpha=0.5, linewidth=0)
        for kind, colour in COLOURS.items():
            spans = [(scale * b.start, scale * (b.end - b.start)) for b in lane.bars if b.kind == kind]
            if spans:
                edge: Style = {"edgecolor": "white", "linewidth": 0.4} if data.apart else {}
                axes.broken_barh(spans, (place - 0.35, 0.7), facecolor=colour, **{**_texture(kind), **edge})
    axes.set(xlim=(0, scale * data.seconds), ylim=(len(data.lanes) - 0.4, -0.6))
    axes.set_yticks(range(len(data.lanes)), [lane.name for lane in data.lanes])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(plain_number)
    axes.set_xlabel(f"{unit} from {data.origin}")
    key.put(figure, left if not measures.narrow else EDGE, 0.05 + key.height)


def _texture(kind: str) -> Style:
    """Hatches tell what is no computing apart in grey print."""
    return {"hatch": HATCHES.get(kind, ""), "edgecolor": "white" if kind == "copy" else GREY, "linewidth": 0}


def _handles(data: TimelineData) -> list[Any]:
    """The key's patches: kinds that are shown."""
    from matplotlib.patches import Patch

    shown = [kind for kind in COLOURS if any(bar.kind == kind for lane in data.lanes for bar in lane.bars)]
    handles = [Patch(facecolor=COLOURS[kind], label=kind, **_texture(kind)) for kind in shown]
    return [*handles, Patch(facecolor=FAINT, alpha=0.5, linewidth=0, label="nothing runs")]
