"""The page: the answer first, then why, what else could be, what it rests on, and how to get it again."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from typing import Any

import msgspec

from .. import __version__
from ..answers.estimate import Estimate
from ..answers.explore import Explored, explore
from ..answers.fit import fit_words
from ..config.words import layout_words
from ..counting.step import build_step
from ..plot.build import roofline_data
from ..plot.data import Panel
from ..reading import packaged
from ..timing.pipeline import Timeline, timeline
from ..units import format_bytes, format_share, format_time, format_time_range
from ..view import estimate as view
from ..view.devices import sources
from ..view.html import pieces
from ..view.html.style import CLASS, style_sheet
from ..view.memory import memory_bar
from ..view.words import batch_words, device_words, method_words, model_words, unit_words
from .explore import sliders
from .rooflines import roofline
from .tables import phases, waterfall
from .timelines import pipeline

SOURCED = {"memory", "memory bandwidth", "link", "PCIe", "bridge (--topology bridge)", "cards of a node", "usual node"}
_NOTHING_ELSE = "base-uri 'none'; form-action 'none'"
_ADDRESS = re.compile(r"https://[^\s;,<>&\"']+")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a page shows.

    Attributes:
        estimate: The answer.
        panel: Its ops on the device's roofline.
        timeline: The passes of its step; None of a traced module.
        explored: Its neighbours; None of a traced module.
        notes: What it rests on, as sentences.
        command: What was typed.
    """

    estimate: Estimate
    panel: Panel
    timeline: Timeline | None
    explored: Explored | None
    notes: tuple[str, ...]
    command: str


def report_of(found: Estimate, command: str, notes: Iterable[str] = ()) -> Report:
    """Everything a page shows of an estimate of one configuration; `notes` of the run file come first."""
    run = found.run if found.model.recorded is None else None  # a traced module has no other shapes
    return Report(
        estimate=found,
        panel=roofline_data([found]).panels[0],
        timeline=None if run is None else timeline(build_step(run.model, run.train), run.device),
        explored=None if run is None else explore(run),
        notes=(*notes, *view.notes(found)),
        command=command,
    )


def page(report: Report) -> str:
    """The whole file. What comes from a user's files is escaped, and the browser runs no script but ours."""
    found = report.estimate
    body = [
        _answer(found),
        '<div class="grid">',
        _section("From the dense peak to the MFU", waterfall(found)),
        _section("Ops on the roofline", roofline(report.panel)),
        "</div>",
    ]
    if report.timeline is not None:
        body.append(_section("The step over time", pipeline(report.timeline, float(found.step_time_s))))
    memory = memory_bar(found.memory, found.train) + phases(found)
    body += ['<div class="grid">', _section("Memory", memory), _section("What was asked", _asked(found)), "</div>"]
    if report.explored is not None:
        knobs = sliders(report.explored, found.train)
        body.append(_section("Other batches, sequences, devices", knobs, "screen", hidden=True))
    body += [_section("What this rests on", _rests(report)), _section("To get this again", _command(report.command))]
    return _document(_title(found), "".join(body))


def _document(title: str, body: str) -> str:
    """HTML with style and script inside, and a policy that lets the page load nothing and run nothing else."""
    style, script = (packaged(__name__, name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    hashed = b64encode(sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hashed}'; {_NOTHING_ELSE}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="generator" content="roofline {__version__}"><meta name="color-scheme" content="light dark">'
        f'{style_sheet()}<style>{style}</style></head>\n<body><main class="{CLASS}">{body}'
        f'<footer class="soft">roofline {__version__}</footer>'
        '<div class="tip" aria-hidden="true" hidden></div></main>\n'
        f"<script>{script}</script></body></html>\n"
    )


def _section(title: str, body: str, kind: str = "", *, hidden: bool = False) -> str:
    of = f"card {kind}".strip()
    return (
        f'<section class="{of}"{" hidden" if hidden else ""}><h2>{escape(title)}</h2>{body}</section>' if body else ""
    )


def _title(found: Estimate) -> str:
    return f"{model_words(found.model)} on {found.train.num_devices:,} x {found.device.name}"


def _answer(found: Estimate) -> str:
    """The figure asked for in large, whether it fits, and the four that go with it."""
    step = f"{format_time(float(found.step_time_s))} a step"
    memory: Any = found.memory
    headline, detail = step, fit_words(memory)
    if not found.fits:
        short = format_bytes(memory.total_bytes - memory.capacity_bytes)
        detail = detail.removeprefix("DOES NOT FIT: ")
        headline, detail = f"Does not fit: {short} short", f"{detail}; {step} if it did"
    unit = f"{unit_words(found.model)}/s"
    tiles = [
        (
            "10-90 % range",
            format_time_range(*map(float, (found.step_time_low_s, found.step_time_s, found.step_time_high_s))),
        ),
        (unit, f"{found.tokens_per_s:,.0f}"),
        ("MFU", format_share(float(found.mfu))),
        ("bound by", view.bound_words(found)),
    ]
    shown = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in tiles)
    bad = "" if found.fits else " bad"
    return (
        f'<header><h1>{escape(_title(found))}</h1><p class="big{bad}">{escape(headline)}</p>'
        f'<p>{escape(detail)}</p><dl class="tiles">{shown}</dl></header>'
    )


def _asked(found: Estimate) -> str:
    """The configuration, and what would make it fit or faster."""
    train = found.train
    chosen = found.run is not None and found.run.chosen
    rows = [
        ("Device", device_words(found.device, train.dtype)),
        ("Layout", layout_words(train)),
        ("Batch", batch_words(train, found.model, chosen=chosen)),
        ("Method", f"{train.dtype}, {method_words(train)}"),
        ("MFU", view.mfu_words(found)),
    ]
    return pieces.facts(rows) + "".join(pieces.table(each) for each in view.advice_tables(found))


def _rests(report: Report) -> str:
    """Assumptions as sentences, and the figures of the device with their sources."""
    found = report.estimate
    wanted = {f"{found.train.dtype} peak", f"{found.train.compute_dtype} peak", *SOURCED}
    if found.train.num_devices == 1:
        wanted &= {f"{found.train.dtype} peak", f"{found.train.compute_dtype} peak", "memory", "memory bandwidth"}
    notes = [escape(note.removeprefix("Note: ")) for note in report.notes]
    cited = [
        f"{escape(name)}: {escape(value)} ({_linked(source)})"
        for name, value, source in sources(found.device)
        if name in wanted
    ]
    items = "".join(f"<li>{item}</li>" for item in (*notes, *cited))
    return f'<ul class="notes">{items}</ul>'


def _linked(source: str) -> str:
    """A source whose address can be followed."""

    def link(match: re.Match[str]) -> str:
        return f'<a href="{match[0]}" rel="noopener noreferrer">{match[0]}</a>'

    return _ADDRESS.sub(link, escape(source))


def _command(command: str) -> str:
    return f'<pre tabindex="0" aria-label="the command">{escape(command)}</pre>'


def write(report: Report) -> bytes:
    """The file's bytes; what no text can hold (a path that is not UTF-8) is replaced."""
    return page(report).encode("utf-8", "replace")
