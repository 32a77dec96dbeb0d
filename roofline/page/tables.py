"""Tables with bars in them: the way from the peak to the MFU, and memory by phase."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ..answers.estimate import Estimate
from ..footprint.parts import TENSORS
from ..timing.terms import LOSSES
from ..units import format_bytes, format_share, format_time
from ..view.colours import CAUSE_COLOURS, GREEN, PART_COLOURS, SILVER
from ..view.estimate import VISIBLE
from ..view.memory import PHASE_WORDS


def waterfall(result: Estimate) -> str:
    """A row per cause, its bar where it lies between the dense peak and the MFU."""
    rows = [_row("dense peak", [(0.0, 1.0, SILVER)], "", "", format_share(1.0))]
    for step in result.waterfall:
        lost, left = float(step.lost), float(step.remaining)
        if abs(lost) > VISIBLE:
            colour = CAUSE_COLOURS[LOSSES[step.term].bound]
            bars = [(min(left, left + lost), abs(lost), colour)]
            time = format_time(float(step.seconds))
            rows.append(_row(LOSSES[step.term].says, bars, time, f"{-100 * lost:+.1f} %", format_share(left)))
    mfu = float(result.mfu)
    rows.append(
        _row("MFU", [(0.0, mfu, GREEN)], format_time(float(result.step_time_s)), "", format_share(mfu), kind="sum")
    )
    head = _head("where it goes", "", "time", "loses", "left")
    causes = list(dict.fromkeys(LOSSES[s.term].bound for s in result.waterfall if s.lost > VISIBLE))
    key = "".join(f'<li><i style="background:{CAUSE_COLOURS[cause]}"></i>{cause}</li>' for cause in causes)
    return f'<table class="bars causes">{head}<tbody>{"".join(rows)}</tbody></table><ul class="key">{key}</ul>'


def phases(result: Estimate) -> str:
    """Live tensors at each moment that may be the peak, on one scale."""
    found = result.memory.phases
    if not found:
        return ""
    whole = max(float(phase.total) for phase in found)
    rows = []
    for phase in found:
        bars, at = [], 0.0
        for name, part in TENSORS.items():
            size = float(getattr(phase, part.tensors)) / whole
            if size > 0:
                bars.append((at, size, PART_COLOURS[name]))
                at += size
        total = format_bytes(float(phase.total))
        rows.append(_row(PHASE_WORDS[phase.name], bars, total, kind="sum" if phase.total == whole else ""))
    head = _head("live tensors", "", "bytes")
    return f'<table class="bars">{head}<tbody>{"".join(rows)}</tbody></table>'


def _head(*columns: str) -> str:
    cells = "".join(
        f'<th scope="col"{_side(place)}>{escape(name) or _HIDDEN}</th>' for place, name in enumerate(columns)
    )
    return f"<thead><tr>{cells}</tr></thead>"


_HIDDEN = '<span class="unseen">bar</span>'


def _side(place: int) -> str:
    return ' class="r"' if place > 1 else ""


def _row(name: str, bars: Iterable[tuple[float, float, str]], *cells: str, kind: str = "") -> str:
    """A name, bars as (from, length, colour) in shares of the track, and figures."""
    drawn = "".join(
        f'<i style="left:{100 * start:.2f}%;width:{max(100 * length, 0.2):.2f}%;background:{colour}"></i>'
        for start, length, colour in bars
    )
    figures = "".join(f'<td class="r">{escape(cell)}</td>' for cell in cells)
    of = f' class="{kind}"' if kind else ""
    return f'<tr{of}><th scope="row">{escape(name)}</th><td class="track"><b>{drawn}</b></td>{figures}</tr>'
