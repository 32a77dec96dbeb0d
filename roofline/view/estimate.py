"""An estimate as people read it (tables, notes) and as programs do (the JSON object, one flat record)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..answers.capacity import fit_words
from ..answers.estimate import BOUND_OF_TERM, estimate_record
from ..config.words import layout_words
from ..timing.schedule import TERMS
from ..timing.terms import TERM_WORDS
from .cells import intensity, points, seconds, share
from .changes import changes_table
from .memory import fixes_table, memory_table
from .table import Cell, Table
from .words import batch_words, device_notes, device_words, method_words, model_words

if TYPE_CHECKING:
    from ..answers.advice import Advice
    from ..answers.estimate import Estimate

COSTLIEST = 10
VISIBLE = 5e-4  # shares of the step below this are not shown


def tables(result: Estimate, advice: Advice | None = None) -> list[Table]:
    """Summary, the way from peak to MFU, the costliest ops, and memory by part; then `advice`.

    Where it does not fit, memory and what makes it fit come before the rest.
    """
    summary, memory = summary_table(result), memory_table(result.memory, result.train)
    found = [waterfall_table(result), ops_table(result)]
    if advice is not None and advice.fixes is not None:
        return [summary, memory, fixes_table(advice.fixes), *found]
    found = [summary, *found, memory]
    if advice is not None and advice.improvements:
        found.append(changes_table("What would make it faster, and fits", "saves", advice.improvements, most=3))
    return found


def data(result: Estimate, advice: Advice | None = None) -> dict[str, Any]:
    """The JSON object, with `advice`."""
    found = result.to_dict()
    if advice is not None and advice.fixes is not None:
        found["fixes"] = advice.fixes
    if advice is not None and advice.improvements is not None:
        found["improvements"] = advice.improvements
    return found


def records(result: Estimate) -> Table:
    """What was asked and the figures, as one row."""
    record = estimate_record(result)
    return Table("", list(record), [list(record.values())])


def summary_table(result: Estimate) -> Table:
    """What was asked, and the answer."""
    train = result.train
    low, high = seconds(result.step_time_low_s).text, seconds(result.step_time_high_s).text
    ideal = seconds(result.ideal_step_time_s).text
    unit = "tokens/s" if result.model.d_model else "passes/s"
    rate = f"{result.tokens_per_s:,.0f} {unit}"
    if train.num_devices != 1:
        rate += f", {result.tokens_per_s_per_device:,.0f} per device"
    rows = [
        ["Layout", layout_words(train)],
        ["Batch", batch_words(train, result.model, chosen=result.run is not None and result.run.chosen)],
        ["Method", method_words(train)],
        ["", ""],
        [
            "Step time",
            f"{seconds(result.step_time_s).text} expected; 10-90 % range {low} to {high}; ideal {ideal}",
        ],
        ["Throughput", rate],
        ["MFU", mfu_words(result)],
        ["Bound by", bound_words(result)],
        ["Memory", fit_words(result.memory)],
    ]
    title = f"{model_words(result.model)} on {device_words(result.device, train.dtype)}"
    return Table(title, ["", ""], rows, align="ll")


def mfu_words(result: Estimate) -> str:
    """MFU and HFU with the peak they divide by; in low precision against the bf16 peak as well."""
    dtype, peaks = result.train.dtype, result.device.peaks
    words = f"{share(result.mfu).text} (HFU {share(result.hfu).text}) of the {dtype} peak"
    if dtype in {"fp8", "fp4"} and "bf16" in peaks:
        words += f"; {share(result.mfu * peaks[dtype] / peaks['bf16']).text} of the bf16 peak"
    return words


def bound_words(result: Estimate) -> str:
    """What the step spends most of its time on, with its share."""
    spent = sum(getattr(result.schedule, term) for term in TERMS if BOUND_OF_TERM[term] == result.bound)
    return f"{result.bound} ({share(spent / result.step_time_s).text} of the step)"


def waterfall_table(result: Estimate) -> Table:
    """Each cause with its time and the points of peak it takes; the last line is the MFU."""
    rows: list[list[Any]] = [["dense peak", Cell(0.0, ""), Cell(0.0, ""), share(1.0)]]
    for step in result.waterfall:
        if not -VISIBLE < step.lost < VISIBLE:
            lost = Cell(step.lost, points(-step.lost).text)
            rows.append([TERM_WORDS[step.term], seconds(step.seconds), lost, share(step.remaining)])
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
            intensity(None if op.kind == "collective" else op.intensity),
        ]
        for op in result.ops[:limit]
    ]
    ridge = result.device.peak_flops_per_s(result.train.dtype) / result.device.memory_bandwidth_bytes_per_s
    title = f"Costliest ops (ridge point of {result.train.dtype}: {ridge:,.0f} FLOP/byte)"
    return Table(title, columns, rows, align="llrrrrlr")


def notes(result: Estimate) -> list[str]:
    """The rule behind MFU, what was assumed, and how far the device's figures can be trusted."""
    found = [f"MFU rule: {result.mfu_rule}.", *(f"Note: {note}." for note in result.notes)]
    return found + device_notes(result.device)
