"""The pipeline of a page: a lane per device, a bar per pass."""

from __future__ import annotations

from html import escape

from ..timing.pipeline import Pass, Timeline
from ..view.colours import PASS_COLOURS
from ..view.passes import PASS_WORDS, shown_words
from .svg import Scale, line, number, picture, text

WIDTHS = {"wide": 1040.0, "narrow": 340.0}
LEFT, RIGHT, BOTTOM, LANE = 58.0, 14.0, 34.0, 20.0
MOST_LANES = 24
LIGHTER = 0.62  # opacity of the passes of every other chunk of a device


def pipeline(shown: Timeline, step_time_s: float) -> str:
    """Both sizes of the picture, of which a page shows one, with its key and what it leaves out."""
    drawn = "".join(_drawn(shown, kind) for kind in WIDTHS)
    kinds = [kind for kind in PASS_COLOURS if any(each.kind == kind for each in shown.passes)]
    items = "".join(
        f'<li><i style="background:{PASS_COLOURS[kind]}"></i>{escape(PASS_WORDS.get(kind, kind))}</li>'
        for kind in kinds
    )
    lighter = '<li class="soft">lighter: every other virtual stage</li>' if _chunks(shown) > 1 else ""
    return f'{drawn}<ul class="key">{items}{lighter}</ul><p class="soft">{escape(shown_words(shown, step_time_s))}</p>'


def _chunks(shown: Timeline) -> int:
    return 1 + max(each.chunk for each in shown.passes)


def _drawn(shown: Timeline, kind: str) -> str:
    width, lanes = WIDTHS[kind], min(shown.devices, MOST_LANES)
    lane = LANE if shown.devices > 1 else 1.6 * LANE
    bottom = lanes * lane + 4
    scale, unit = (1e3, "ms") if shown.seconds < 1 else (1.0, "s")
    time = Scale(0, scale * shown.seconds, LEFT, width - RIGHT)
    body = []
    for value in time.ticks(6 if kind == "wide" else 4):
        at = time(value)
        body += [line(at, 0, at, bottom, "grid"), text(f"{value:,g}", at, bottom + 14, "tick", anchor="middle")]
    body.append(
        text(f"{unit} from the start of the step", (LEFT + width - RIGHT) / 2, bottom + 29, "tick", anchor="middle")
    )
    for place in range(lanes):
        name = "device" if shown.devices == 1 else f"stage {place + 1}"
        body.append(text(name, LEFT - 6, place * lane + lane / 2 + 6, "tick", anchor="end"))
    for of, light in ((of, light) for of in PASS_COLOURS for light in (False, True)):
        bars = [
            _bar(each, time, scale, lane)
            for each in shown.passes
            if each.kind == of and bool(each.chunk % 2) == light and each.device < lanes
        ]
        if bars:
            opacity = f' opacity="{LIGHTER}"' if light else ""
            body.append(f'<path style="fill:{PASS_COLOURS[of]}"{opacity} d="{"".join(bars)}"/>')
    label = f"Passes of a step on {shown.devices} device{'s' if shown.devices > 1 else ''} of a pipeline over time"
    return picture(body, width, bottom + BOTTOM, label, f"chart {kind}")


def _bar(each: Pass, time: Scale, scale: float, lane: float) -> str:
    """A rectangle, a little short of its neighbour."""
    start, end = time(scale * each.start), time(scale * each.end)
    length = max(end - start - min(0.8, (end - start) / 5), 0.3)
    return f"M{start:.2f} {number(each.device * lane + 4)}h{length:.2f}v{number(lane - 5)}h{-length:.2f}z"
