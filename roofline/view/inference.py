"""Inference as tables and JSON: what the first token takes, what each further one takes, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..answers.fit import total_words
from ..units import format_time_range
from .about import device_json, model_json
from .cells import intensity, seconds, share, size
from .colours import BLUE, GREEN, ORANGE, SILVER
from .estimate import COSTLIEST
from .html.pieces import answer, table
from .memory import parts_bar
from .table import Table
from .words import device_notes, device_words, model_words

if TYPE_CHECKING:
    from ..answers.inference import Inference

WORDS = {"prefill": "time to first token", "decode": "time per output token"}
FIGURES = (
    "phase",
    "batch",
    "context",
    "tp",
    "dtype",
    "time_s",
    "time_low_s",
    "time_high_s",
    "ideal_time_s",
    "tokens_per_s",
    "bound",
    "compute_bound_batch",
    "memory",
    "fits",
    "fixes",
    "ops",
)
MEMORY_WORDS = {
    "weights_bytes": "weights",
    "kv_cache_bytes": "cached keys and values",
    "activations_bytes": "activations",
    "context_bytes": "context and libraries",
}
_COLOURS = dict(zip(MEMORY_WORDS, (BLUE, GREEN, ORANGE, SILVER), strict=True))


def tables(result: Inference) -> list[Table]:
    """Summary, memory by part, the costliest ops."""
    sequences = f"{result.batch:,} sequence{'s' if result.batch > 1 else ''}"
    devices = f"{result.tp} devices: tp {result.tp}" if result.tp > 1 else "1 device"
    what = "prompts of" if result.phase == "prefill" else "one token each, after"
    ends = format_time_range(result.time_low_s, result.time_s, result.time_high_s)
    ideal = seconds(result.ideal_time_s).text
    word = WORDS[result.phase]
    rows = [
        ["Layout", devices],
        ["Batch", f"{sequences}, {what} {result.context:,} tokens"],
        ["", ""],
        [word.capitalize(), f"{seconds(result.time_s).text}; 10-90 % range {ends}; ideal {ideal}"],
        ["Throughput", f"{result.tokens_per_s:,.0f} {'prompt' if result.phase == 'prefill' else 'output'} tokens/s"],
        ["Bound by", result.bound],
        ["Memory", total_words(result.memory)],
    ]
    if result.phase == "decode":
        from_ = result.compute_bound_batch
        rows.append(["Compute-bound", f"matmuls from about {from_:,.0f} sequences on" if from_ else "at no batch"])
    title = f"{model_words(result.model)} on {device_words(result.device, result.dtype)}"
    found = [Table(title, ["", ""], rows, align="ll"), _memory_table(result)]
    return [*found, *([] if result.fits else [_fixes_table(result)]), _ops_table(result)]


def pieces(result: Inference) -> list[str]:
    """The time of a pass, memory against capacity, and the tables."""
    summary, *others = tables(result)
    ends = format_time_range(result.time_low_s, result.time_s, result.time_high_s)
    detail = f"10-90 % range {ends}; {result.tokens_per_s:,.0f} tokens/s; bound by {result.bound}"
    headline = f"{seconds(result.time_s).text} {WORDS[result.phase]}"
    parts = [(words, getattr(result.memory, name), _COLOURS[name]) for name, words in MEMORY_WORDS.items()]
    first = answer(summary.title, headline, detail, good=result.fits)
    shown = [msgspec.structs.replace(summary, title=""), *others[1:]]
    return [first, parts_bar(parts, result.memory.capacity_bytes), *map(table, shown)]


def records(result: Inference) -> Table:
    """The costliest ops."""
    return _ops_table(result)


def _fixes_table(result: Inference) -> Table:
    columns = ["smallest changes that make it fit", "bytes per device", WORDS[result.phase]]
    if not result.fixes:
        return Table("", columns, [["none: serve a smaller model, or use larger devices", None, None]])
    rows = [[fix.change, size(fix.total_bytes), seconds(fix.time_s)] for fix in result.fixes]
    return Table("", columns, rows, align="lrr")


def _memory_table(result: Inference) -> Table:
    rows = [
        [words, size(getattr(result.memory, name)), share(getattr(result.memory, name) / result.memory.capacity_bytes)]
        for name, words in MEMORY_WORDS.items()
    ]
    return Table("", ["memory per device", "bytes", "of capacity"], rows, align="lrr")


def _ops_table(result: Inference) -> Table:
    rows = [
        [
            op.name,
            op.runs,
            seconds(op.expected_s),
            share(op.expected_s / result.time_s),
            op.bound,
            intensity(None if op.kind == "collective" else op.intensity),
        ]
        for op in result.ops[:COSTLIEST]
    ]
    return Table("Costliest ops", ["op", "runs", "time", "of pass", "bound", "FLOP/byte"], rows, align="lrrrlr")


def data(result: Inference) -> dict[str, Any]:
    """The JSON object, in base units; the time also under the name the field uses."""
    name = "time_to_first_token_s" if result.phase == "prefill" else "time_per_output_token_s"
    return {
        "model": model_json(result.model),
        "device": device_json(result.device, result.dtype),
        name: result.time_s,
        **{figure: getattr(result, figure) for figure in FIGURES},
    }


def notes(result: Inference) -> list[str]:
    """How far the figures can be trusted."""
    found = ["Note: inference times are not validated against measurements; the range is an assumption."]
    if result.model.towers:
        found.append("Note: the weights hold the encoders of images and sound; the time leaves out what they take.")
    return found + device_notes(result.device)
