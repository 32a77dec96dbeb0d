"""The count as people read it: parameters and totals, and every op."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..arrays import is_scalar
from ..counting.count import op_record
from . import cells
from .about import train_json
from .cases import cases, sweep, trained
from .html.pieces import answer, table
from .table import Cell, Table, of_records
from .words import batch_words, model_words, sentence

if TYPE_CHECKING:
    from ..counting.count import Count


def tables(result: Count) -> list[Table]:
    """Parameters and totals; every op of one micro batch. Of arrays a row a case."""
    if not is_scalar(result.flops_step):
        return [_sweep(result)]
    return [_summary(result), ops_table(result)]


def pieces(result: Count[Any]) -> list[str]:
    """What a step computes, and of what; the ops are what `to_frame` is for."""
    first, *_ = tables(result)
    if not is_scalar(result.flops_step):
        return [table(first)]
    headline = f"{cells.flops(result.flops_step).text} a step"
    return [answer(model_words(result.model), headline), table(msgspec.structs.replace(first, title=""))]


def data(result: Count) -> dict[str, Any]:
    """The JSON object."""
    model = {"name": result.model.name, "n_layers": result.model.n_layers, "source": result.model.source}
    return {
        "model": model,
        "train": train_json(result.train),
        **_figures(result),
        "ops": [op_record(op) for op in result.ops],
    }


def _figures(result: Count[Any]) -> dict[str, Any]:
    return {name: getattr(result, name) for name in result.__struct_fields__[2:-1]}


def _sweep(result: Count[Any]) -> Table:
    """Of arrays: what varies and the FLOPs, a row a case."""
    flops: dict[str, Any] = {
        "forward": (result.flops_forward, cells.flops),
        "backward": (result.flops_backward, cells.flops),
        "step": (result.flops_step, cells.flops),
        "executed": (result.executed_flops_step, cells.flops),
    }
    return sweep(model_words(result.model), result.train, flops)


def _summary(result: Count) -> Table:
    """Parameters and totals of one micro batch and one step."""
    train = result.train
    rows: list[list[Any]] = [["Parameters", Cell(result.params_total, f"{result.params_total:,}")]]
    if result.params_active != result.params_total:
        rows.append(["", f"{result.params_active:,} active: a token passes through these"])
    rows += [
        ["", f"{result.params_embedding:,} of them in the token embedding"],
        ["Batch", batch_words(train, result.model)],
        ["Forward", _pair(result.flops_forward, result.matmul_flops_forward)],
        ["Backward", _pair(result.flops_backward, result.matmul_flops_backward)],
    ]
    if result.flops_recompute:
        rows.append(["Recompute", cells.flops(result.flops_recompute).text])
    rows += [
        ["Optimizer", f"{cells.flops(result.flops_optimizer).text} per step, on one device"],
        ["Step", f"{cells.flops(result.flops_step).text} in all; kernels execute {_executed(result)}"],
    ]
    title = f"{model_words(result.model)}, {train.dtype}"
    if result.model.recorded is None:
        rows.append(["6ND rule", f"{cells.flops(_rule(result)).text}: {_off(result.rule_6nd_ratio)}"])
        title = f"{model_words(result.model)}, {train.sequence_length:,} tokens, {train.dtype}"
    return Table(title, ["", ""], rows, align="ll")


def _pair(all_flops: Any, matmul_flops: Any) -> str:
    return f"{cells.flops(all_flops).text} per micro batch, {cells.flops(matmul_flops).text} of it in matmuls"


def _executed(result: Count) -> str:
    """FLOPs that run, and why they are fewer: kernels of causal attention leave out what the mask hides."""
    fewer = result.executed_flops_step < result.flops_step
    return cells.flops(result.executed_flops_step).text + (" (causal attention)" if fewer else "")


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


def records(result: Count) -> Table:
    """Every op with the figures of one run, as programs want them; of arrays the figures of each case."""
    if not is_scalar(result.flops_step):
        return cases({"model": result.model.name, **trained(result.train), **_figures(result)})
    records = [op_record(op) for op in result.ops]
    return of_records(records)


def notes(result: Count) -> list[str]:
    """The conventions of the counts, and what was assumed about the model."""
    found = ["1 multiply-add is 2 FLOPs. Totals count attention in full (not causal); ops as kernels execute them."]
    if result.train.num_devices > 1:
        found.append("Ops are those of one device; collectives are left out.")
    return found + [sentence(note) for note in result.model.assumptions]
