"""``roofline count``: parameters, FLOPs and bytes of a model, op by op; no device needed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..counting.count import op_record
from ..view import cells, estimate
from ..view.table import Cell, Table, add_format_arguments, emit
from . import options

if TYPE_CHECKING:
    from ..counting.count import Count
    from ..counting.textbook import Row
    from ..model.spec import ModelConfig

SUMMARY = "parameters, FLOPs and bytes of a model, op by op"
EXAMPLES = (
    "roofline count llama-3-8b --micro-batch 2 --seq-len 4k",
    "roofline count gpt2-xl --style accounting --format csv",
)
STYLES = ("ops", "accounting")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser)
    parser.add_argument(
        "--style",
        choices=STYLES,
        default="ops",
        help="ops (default): every kernel; accounting: the textbook table of forward FLOPs by part",
    )
    options.add_training_arguments(parser)
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the counts."""
    from ..counting.count import count

    model, given = options.model(args), options.train_options(args, one_layout=True)
    result = count(model, **given)
    if args.style == "accounting":
        _accounting(args, model, result)
        return 0
    tables = [records_table(result)] if args.format == "csv" else [_summary(result), ops_table(result)]
    emit(args, result.to_dict(), tables, _notes(result))
    return 0


def _summary(result: Count) -> Table:
    """Parameters and totals of one micro batch and one step."""
    train = result.train
    rows: list[list[Any]] = [["Parameters", Cell(result.params_total, f"{result.params_total:,}")]]
    if result.params_active != result.params_total:
        rows.append(["", f"{result.params_active:,} active: a token passes through these"])
    rows += [
        ["", f"{result.params_embedding:,} of them in the token embedding"],
        ["Batch", estimate.batch_words(train, result.model)],
        ["Forward", _pair(result.flops_forward, result.matmul_flops_forward)],
        ["Backward", _pair(result.flops_backward, result.matmul_flops_backward)],
    ]
    if result.flops_recompute:
        rows.append(["Recompute", cells.flops(result.flops_recompute).text])
    rows += [
        ["Optimizer", f"{cells.flops(result.flops_optimizer).text} per step, on one device"],
        ["Step", f"{cells.flops(result.flops_step).text} in all; kernels execute {_executed(result)}"],
        ["6ND rule", f"{cells.flops(_rule(result)).text}: {_off(result.rule_6nd_ratio)}"],
    ]
    title = f"{estimate.model_words(result.model)}, {train.sequence_length:,} tokens, {train.dtype}"
    return Table(title, ["", ""], rows, align="ll")


def _pair(all_flops: Any, matmul_flops: Any) -> str:
    return f"{cells.flops(all_flops).text} per micro batch, {cells.flops(matmul_flops).text} of it in matmuls"


def _executed(result: Count) -> str:
    return cells.flops(result.executed_flops_step).text


def _rule(result: Count) -> Any:
    return 6 * result.params_active * result.tokens


def _off(ratio: Any) -> str:
    """How far the shortcut is from the exact count, in words."""
    side = "more" if ratio > 1 else "less"
    return f"{100 * abs(ratio - 1):.1f} % {side} than the matmuls of forward and backward"


def ops_table(result: Count) -> Table:
    """Every op of one micro batch on one device: totals over its runs, and intensity."""
    rows = [
        [
            op.name,
            op.phase,
            op.count,
            cells.amount(op.flops * op.count),
            cells.size(op.bytes_read * op.count),
            cells.size(op.bytes_written * op.count),
            cells.intensity(op.flops / op.bytes if op.bytes else None),
        ]
        for op in result.ops
        if op.kind != "collective"
    ]
    columns = ["op", "phase", "runs", "FLOPs", "read", "written", "FLOP/byte"]
    return Table("Op by op (all runs together, one device)", columns, rows, align="llrrrrr")


def records_table(result: Count) -> Table:
    """Every op with the figures of one run, as programs want them."""
    records = [op_record(op) for op in result.ops]
    return Table("", list(records[0]), [list(record.values()) for record in records])


def _notes(result: Count) -> list[str]:
    """The conventions of the counts, and what was assumed about the model."""
    notes = ["1 multiply-add is 2 FLOPs. Totals count attention in full (not causal); ops as kernels execute them."]
    if result.train.num_devices > 1:
        notes.append("Ops are those of one device; collectives are left out.")
    return notes + [f"Note: {note}." for note in result.model.assumptions]


def _accounting(args: argparse.Namespace, model: ModelConfig, result: Count) -> None:
    """The textbook table: forward FLOPs by part, with the shortcut 6ND beside them."""
    from ..counting.textbook import COLUMNS, accounting_rows, shortcut_6nd

    seq_len, micro_batch = int(result.train.sequence_length), int(result.train.micro_batch)
    lines = accounting_rows(model, seq_len, micro_batch)
    exact = [[*line.levels, line.flops, line.flops_fmt, line.proportion] for line in lines]
    shortcut, ratio = shortcut_6nd(model, seq_len, micro_batch)
    title = f"{model.name}, micro batch {micro_batch:,} of {seq_len:,} tokens"
    table = Table(title, COLUMNS, exact, align="lllrrr")
    if args.format == "table":
        rows = _outline(lines)
        table = Table(title, ["part", "FLOPs", "", "share"], rows, align="lrrr")
    notes = [
        (
            "The rows of one block are per layer. A norm counts 3d+2 per token, softmax 5 per score, the "
            "activation 5 per element; attention in full; the backward pass as twice the forward pass."
        ),
        f"The shortcut 6ND gives {cells.flops(shortcut).text}: {ratio:.1%} of the overall.",
    ]
    records = [dict(zip(COLUMNS, row, strict=True)) for row in exact]
    data = {"model": model.name, "seq_len": seq_len, "micro_batch": micro_batch, "rows": records}
    emit(args, {**data, "flops_6nd": shortcut, "flops_6nd_ratio": ratio}, [table], notes)


def _outline(lines: list[Row]) -> list[list[Any]]:
    """The rows indented under the name of their part."""
    rows: list[list[Any]] = []
    shown: list[str] = []
    for line in lines:
        names = [name for name in line.levels if name]
        for depth, name in enumerate(names[:-1]):
            if shown[depth : depth + 1] != [name]:
                rows.append(["  " * depth + name, "", "", ""])
        share = f"{100 * line.proportion:.4f} %"
        rows.append(["  " * (len(names) - 1) + names[-1], line.flops, line.flops_fmt, share])
        shown = names
    return rows
