"""The sliders of a page: figures of every combination, written out, and a script that looks them up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from ..answers.explore import AXES, Case, Explored
from ..config.run import TrainConfig
from ..footprint.parts import PARTS
from ..footprint.spreads import verdict
from ..timing.terms import LOSSES
from ..units import format_bytes, format_share, format_time, format_time_range
from ..view.colours import CAUSE_COLOURS, GREEN, PART_COLOURS
from ..view.memory import part_words

LABELS = {"micro_batch": "micro batch", "seq_len": "tokens a sequence", "num_devices": "devices"}
FIGURES = {"step": "step time", "range": "10-90 % range", "rate": "tokens/s", "mfu": "MFU", "memory": "memory"}
VERDICTS = ("fits", "borderline", "does not fit")


def sliders(explored: Explored, train: TrainConfig) -> str:
    """Sliders, the figures of the combination chosen, its two bars, and the data behind them."""
    own = {name: explored.axes[name].index(int(getattr(train, name))) for name in AXES}
    knobs = "".join(_slider(name, explored.axes[name], own[name]) for name in AXES)
    outputs = "".join(
        f'<div><dt>{escape(label)}</dt><dd data-figure="{name}"></dd></div>' for name, label in FIGURES.items()
    )
    found = _data(explored, part_words(train))
    causes = {"MFU": GREEN, **CAUSE_COLOURS}.items()
    bars = _bar("lost", "The dense peak, and where it goes", causes)
    bars += _bar("parts", "Memory of the fullest device; the line is its capacity", found["parts"])
    data = json.dumps(found, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    return (
        f'<form class="knobs" aria-label="Other runs">{knobs}<button type="reset">as estimated</button></form>'
        '<p class="refused bad" role="status" hidden></p>'
        f'<dl class="tiles figures" aria-live="polite">{outputs}</dl>{bars}'
        f'<script type="application/json" id="explored">{data}</script>'
    )


def _slider(name: str, values: tuple[int, ...], own: int) -> str:
    label = LABELS[name]
    return (
        f'<label for="{name}">{label}: <output for="{name}">{values[own]:,}</output>'
        f'<input type="range" id="{name}" min="0" max="{len(values) - 1}" step="1" value="{own}" '
        f'aria-valuetext="{values[own]:,} {label}"></label>'
    )


def _bar(name: str, title: str, segments: Iterable[tuple[str, str]]) -> str:
    key = "".join(f'<li><i style="background:{colour}"></i>{escape(words)}</li>' for words, colour in segments)
    return f'<h3>{title}</h3><div class="stack" data-bar="{name}" role="img"></div><ul class="key">{key}</ul>'


def _data(explored: Explored, words: Mapping[str, str]) -> dict[str, Any]:
    """What the script reads: axes, names and colours of segments, and a row of texts and shares per combination."""
    reasons = list(dict.fromkeys(case.refused for case in explored.cases if case.refused))
    possible = [case for case in explored.cases if not case.refused]
    terms = [term for term in possible[0].lost if any(case.lost[term] > 0 for case in possible)]
    parts = [part for part in PARTS if any(case.parts[part] > 0 for case in possible)]
    return {
        "axes": [{"id": name, "label": LABELS[name], "values": explored.axes[name]} for name in AXES],
        "lost": [["MFU", GREEN], *([LOSSES[t].says, CAUSE_COLOURS[LOSSES[t].bound]] for t in terms)],
        "parts": [[words[part], PART_COLOURS[part]] for part in parts],
        "reasons": reasons,
        "cases": [reasons.index(case.refused) if case.refused else _row(case, terms, parts) for case in explored.cases],
    }


def _row(case: Case, terms: list[str], parts: list[str]) -> list[Any]:
    """Texts of `FIGURES`, index into `VERDICTS`, thousandths of the peak, and thousandths of the capacity."""
    found: Mapping[str, float] = case.figures
    needed, capacity = found["needed_bytes"], found["capacity_bytes"]
    of = VERDICTS.index(verdict(found["fit_probability"]))
    texts = [
        format_time(found["step_time_s"]),
        format_time_range(found["step_time_low_s"], found["step_time_s"], found["step_time_high_s"]),
        f"{found['tokens_per_s']:,.0f}",
        format_share(found["mfu"]),
        f"{format_bytes(needed)}: {VERDICTS[of]}",
    ]
    lost = [round(1000 * value) for value in (found["mfu"], *(case.lost[term] for term in terms))]
    return [texts, of, lost, [round(1000 * case.parts[part] / capacity) for part in parts]]
