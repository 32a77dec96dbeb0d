"""An estimate as people read it (tables, notes) and as programs do (the JSON object, one flat record)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..answers.capacity import fit_words
from ..config.run import TrainConfig
from ..config.words import layout_words
from ..model.parameters import count_parameters
from ..timing.terms import TERM_WORDS
from ..units import format_count, format_rate
from .cells import intensity, points, seconds, share
from .memory import memory_table
from .table import Cell, Table

if TYPE_CHECKING:
    from ..answers.estimate import Estimate
    from ..hardware import Device
    from ..model.spec import ModelConfig

COSTLIEST = 10
VISIBLE = 5e-4  # shares of the step below this are not shown


# --- words -----------------------------------------------------------------------------------------------


def model_words(model: ModelConfig) -> str:
    """Name and parameter count: ``mixtral-8x7b (46.7B parameters, 12.9B active)``."""
    parameters = count_parameters(model)
    active = "" if parameters.active == parameters.total else f", {format_count(parameters.active)} active"
    return f"{model.name} ({format_count(parameters.total)} parameters{active})"


def device_words(device: Device, dtype: str) -> str:
    """Name, and the dense peak that MFU divides by."""
    return f"{device.name}, {dtype} at {format_rate(device.peak_flops_per_s(dtype))} dense peak"


def batch_words(train: TrainConfig, model: ModelConfig) -> str:
    """The batch and its arithmetic, so that a wrong factor shows."""
    if model.d_model == 0:
        return f"{train.global_batch:,} pass(es) of the example inputs a step"
    accumulation = "" if train.accumulation == 1 else f" x {train.accumulation:,} accumulation steps"
    ranks = "" if train.data_parallel == 1 else f" x {train.data_parallel:,} data parallel"
    parts = f"micro batch {train.micro_batch:,}{accumulation}{ranks}"
    total = f" = {train.global_batch:,} sequences" if accumulation or ranks else ""
    return f"{parts}{total} of {train.sequence_length:,} tokens: {train.tokens_per_step:,} tokens a step"


def method_words(train: TrainConfig) -> str:
    """Optimizer, kernels, recompute and software."""
    words = [train.optimizer, f"{train.attention} attention"]
    words.append("no recompute" if train.recompute == "none" else f"{train.recompute} recompute")
    words += [f"{train.stack} stack"]
    words += ["dropout"] if train.dropout else []
    words += [] if train.master_weights or train.activation_bytes == 4 else ["no fp32 master weights"]
    words += [f"fused {', '.join(train.fused).replace('_', '-')}"] if train.fused else []
    if train.train == "lora":
        words.insert(0, f"LoRA of rank {train.lora_rank} on {train.lora_modules} projections")
    if train.freeze:
        words.insert(0, f"frozen {' and '.join(train.freeze)}")
    return ", ".join(words)


# --- an estimate -----------------------------------------------------------------------------------------


def estimate_tables(result: Estimate) -> list[Table]:
    """Summary, the way from peak to MFU, the costliest ops, and memory by part."""
    return [
        summary_table(result),
        waterfall_table(result),
        ops_table(result),
        memory_table(result.memory, result.train),
    ]


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
        ["Batch", batch_words(train, result.model)],
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
    from ..answers.estimate import BOUND_OF_TERM
    from ..timing.schedule import TERMS

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


def estimate_notes(result: Estimate) -> list[str]:
    """The rule behind MFU, what was assumed, and how far the device's figures can be trusted."""
    notes = [f"MFU rule: {result.mfu_rule}.", *(f"Note: {note}." for note in result.notes)]
    return notes + device_notes(result.device)


def device_notes(device: Device) -> list[str]:
    """Low confidence and caveats of the device's figures."""
    notes = []
    if device.confidence not in {"high", "measured"}:
        notes.append(f"Note: the figures of {device.id} are of {device.confidence} confidence.")
    return notes + [f"Note: {caveat.rstrip('.')}." for caveat in (*device.caveats, *device.family.caveats)]
