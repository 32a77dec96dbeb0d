"""An estimate as people read it (tables, notes) and as programs do (the JSON object, one flat record)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..answers.advice import Advice, advise
from ..answers.fit import fit_words
from ..answers.machine import caveats_of
from ..arrays import is_scalar
from ..config.words import layout_words
from ..footprint.parts import PARTS
from ..timing.terms import LOSSES, TERMS
from ..units import format_time, format_time_range
from .about import device_json, model_json, train_json
from .cases import cases, sweep, trained
from .cells import intensity, points, seconds, share, size
from .changes import changes_table, faster_title
from .memory import fixes_table, memory_bar, memory_table
from .table import Cell, Table
from .words import batch_words, device_notes, device_words, method_words, model_words, sentence, unit_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..answers.estimate import Estimate, WaterfallStep

FIGURES = (
    "step_time_s",
    "step_time_low_s",
    "step_time_high_s",
    "ideal_step_time_s",
    "tokens_per_s",
    "tokens_per_s_per_device",
    "mfu",
    "hfu",
    "mfu_rule",
    "model_flops_per_step",
    "hardware_flops_per_step",
    "bound",
)
MEMORY = (*PARTS, "total_bytes", "needed_bytes", "capacity_bytes")  # of a row
COSTLIEST = 10
VISIBLE = 5e-4  # shares of the step below this are not shown


def tables(result: Estimate) -> list[Table]:
    """Summary, the way from peak to MFU, the costliest ops, and memory by part; then what to change.

    Where it does not fit, memory and what makes it fit come before the rest.
    """
    if not is_scalar(result.step_time_s):
        return [sweep_table(result)]
    advice = advice_tables(result)
    summary, memory = summary_table(result), memory_table(result.memory, result.train)
    found = [waterfall_table(result), ops_table(result)]
    return [summary, *found, memory, *advice] if result.fits else [summary, memory, *advice, *found]


def advice_tables(result: Estimate) -> list[Table]:
    """What makes it fit, or what would make it faster; none where there is nothing to say."""
    advice = advise(result)
    if advice is None:
        return []
    if advice.fixes is not None:
        return [fixes_table(advice.fixes)]
    if not advice.improvements:
        return []
    return [changes_table(faster_title("it", result.run), "saves", advice.improvements, most=3)]


def data(result: Estimate) -> dict[str, Any]:
    """The JSON object, with what to change."""
    one = is_scalar(result.step_time_s)
    advice = (advise(result) if one else None) or Advice()
    changes = {"fixes": advice.fixes, "improvements": advice.improvements}
    memory = {**msgspec.structs.asdict(result.memory), "verdict": result.memory.verdict if one else None}
    return {
        "model": model_json(result.model),
        "device": device_json(result.device, result.train.dtype),
        "train": train_json(result.train),
        **{name: getattr(result, name) for name in FIGURES},
        "schedule": result.schedule,
        "waterfall": result.waterfall,
        "memory": memory,
        "fits": result.fits,
        "ops": result.ops,
        "notes": [*result.notes, *caveats_of(result.device)],
        **{name: found for name, found in changes.items() if found is not None},
    }


def records(result: Estimate[Any, Any, Any]) -> Table:
    """What was asked and the figures: one row, or of arrays one row a case."""
    return cases(record(result))


def sweep_table(result: Estimate[Any, Any, Any]) -> Table:
    """Of arrays: what varies and the figures, a row a case."""
    figures: dict[str, Any] = {
        "step time": (result.step_time_s, seconds),
        f"{unit_words(result.model)}/s": (result.tokens_per_s, "{:,.0f}".format),
        "MFU": (result.mfu, share),
        "memory": (result.memory.needed_bytes, size),
        "fit": (result.memory.verdict, str),
        "bound": (result.bound, str),
    }
    return sweep(f"{model_words(result.model)} on {result.device.name}", result.train, figures)


def pieces(result: Estimate) -> list[str]:
    """The answer, where the peak goes, memory against capacity, and what was asked."""
    from .html import pieces as pieces_of

    if not is_scalar(result.step_time_s):
        return [pieces_of.table(sweep_table(result))]
    train = result.train
    step = f"{seconds(result.step_time_s).text} a step"
    ends = format_time_range(result.step_time_low_s, result.step_time_s, result.step_time_high_s)
    words, memory = f"10-90 % range {ends}; MFU {share(result.mfu).text}", fit_words(result.memory)
    headline, detail = (step, f"{words}; {memory}") if result.fits else (memory, f"{step} if it did; {words}")
    title = f"{model_words(result.model)} on {train.num_devices:,} x {result.device.name}"
    asked = [("Layout", layout_words(train)), ("Batch", batch_words(train, result.model))]
    asked += [("Method", f"{train.dtype}, {method_words(train)}"), ("Throughput", _throughput(result))]
    asked += [("MFU", mfu_words(result)), ("Bound by", bound_words(result))]
    advice = [pieces_of.table(each) for each in advice_tables(result)]
    bars = [waterfall_bar(result), memory_bar(result.memory, train)]
    return [pieces_of.answer(title, headline, detail, good=bool(result.fits)), *bars, pieces_of.facts(asked), *advice]


def waterfall_bar(result: Estimate) -> str:
    """The dense peak: what the model's FLOPs take of it, and what each cause loses."""
    return peak_bar(float(result.mfu), result.waterfall)


def peak_bar(mfu: float, steps: Sequence[WaterfallStep]) -> str:
    """The dense peak, as an MFU and what each step of a waterfall loses."""
    from .colours import CAUSE_COLOURS, GREEN
    from .html.bars import Segment, bar

    useful = Segment(mfu, "MFU", share(mfu).text, GREEN)
    lost = [
        Segment(float(step.lost), LOSSES[step.term].says, share(step.lost).text, CAUSE_COLOURS[LOSSES[step.term].bound])
        for step in steps
        if step.lost > VISIBLE
    ]
    return bar("The dense peak, and where it goes", [useful, *lost])


def record(result: Estimate[Any, Any, Any]) -> dict[str, Any]:
    """One estimate as one flat row: what was asked, then the figures."""
    memory = {f"memory_{name}": getattr(result.memory, name) for name in MEMORY}
    return {
        "model": result.model.name,
        "device": result.device.id,
        **trained(result.train),
        **{name: getattr(result, name) for name in FIGURES},
        **memory,
        "fits": result.fits,
    }


def summary_table(result: Estimate) -> Table:
    """What was asked, and the answer."""
    train = result.train
    ends = format_time_range(result.step_time_low_s, result.step_time_s, result.step_time_high_s)
    ideal = seconds(result.ideal_step_time_s).text
    rows = [
        ["Layout", layout_words(train)],
        ["Batch", batch_words(train, result.model, chosen=result.run is not None and result.run.chosen)],
        ["Method", method_words(train)],
        ["", ""],
        [
            "Step time",
            f"{seconds(result.step_time_s).text} expected; 10-90 % range {ends}; ideal {ideal}",
        ],
        ["Throughput", _throughput(result)],
        ["MFU", mfu_words(result)],
        ["Bound by", bound_words(result)],
        ["Memory", fit_words(result.memory)],
    ]
    title = f"{model_words(result.model)} on {device_words(result.device, train.dtype)}"
    return Table(title, ["", ""], rows, align="ll")


def _throughput(result: Estimate) -> str:
    """What is done per second, each device's share, and what a number of tokens takes."""
    rate, unit = float(result.tokens_per_s), unit_words(result.model)
    each = "" if result.train.num_devices == 1 else f", {result.tokens_per_s_per_device:,.0f} per device"
    more = f"; 1B tokens take {format_time(1e9 / rate)}" if unit == "tokens" else ""
    return f"{rate:,.0f} {unit}/s{each}{more}"


def mfu_words(result: Estimate) -> str:
    """MFU and HFU with the peak they divide by; in low precision against the bf16 peak as well."""
    dtype, peaks = result.train.dtype, result.device.peaks
    words = f"{share(result.mfu).text} (HFU {share(result.hfu).text}) of the {dtype} peak"
    if result.train.recipe is not None and "bf16" in peaks:
        words += f"; {share(result.mfu * result.device.peak_flops_per_s(dtype) / peaks['bf16']).text} of the bf16 peak"
    return words


def bound_words(result: Estimate) -> str:
    """What the step spends most of its time on, with its share; where the device waits, what for most of all."""
    spent = {name: getattr(result.schedule, name) for name, term in TERMS.items() if term.bound == result.bound}
    most = TERMS[max(spent, key=lambda name: float(spent[name]))]
    waiting = f", mostly {most.says}" if most.waits else ""
    return f"{result.bound} ({share(sum(spent.values()) / result.step_time_s).text} of the step{waiting})"


def waterfall_table(result: Estimate) -> Table:
    """Each cause with its time and the points of peak it takes; the last line is the MFU."""
    rows: list[list[Any]] = [["dense peak", Cell(0.0, ""), Cell(0.0, ""), share(1.0)]]
    for step in result.waterfall:
        if not -VISIBLE < step.lost < VISIBLE:
            lost = Cell(step.lost, points(-step.lost).text)
            rows.append([LOSSES[step.term].says, seconds(step.seconds), lost, share(step.remaining)])
    return Table("From peak to MFU", ["where it goes", "time", "loses", "left"], rows, align="lrrr")


def ops_table(result: Estimate, limit: int | None = COSTLIEST) -> Table:
    """The costliest ops: time of one step on the busiest device."""
    columns = ["op", "phase", "runs", "time", "ideal", "of step", "bound", "FLOP/byte"]
    rows = [
        [
            op.name,
            op.phase,
            op.runs,
            seconds(op.expected_s),
            seconds(op.ideal_s),
            share(op.expected_s / result.step_time_s),
            op.bound,
            intensity(None if op.kind == "collective" or not op.bytes else op.intensity),
        ]
        for op in result.ops[:limit]
    ]
    ridge = result.device.peak_flops_per_s(result.train.dtype) / result.device.memory_bandwidth_bytes_per_s
    title = f"Costliest ops (ridge point of {result.train.dtype}: {ridge:,.0f} FLOP/byte)"
    return Table(title, columns, rows, align="llrrrrlr")


def notes(result: Estimate) -> list[str]:
    """The rule behind MFU, what was assumed, and how far the device's figures can be trusted."""
    found = [f"MFU rule: {result.mfu_rule}.", *map(sentence, result.notes)]
    return found + device_notes(result.device)
