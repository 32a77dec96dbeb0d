"""A traced pass as people read it and as programs do: its totals, its ops, its modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..counting.count import op_record
from ..counting.op import total
from . import cells
from .table import Cell, Table, of_records

if TYPE_CHECKING:
    from ..tracing.fusion import Fused
    from ..tracing.recorder import Trace

COSTLIEST = 20


def data(result: Trace) -> dict[str, Any]:
    """The JSON object."""
    found = {name: getattr(result, name) for name in result.__struct_fields__}
    return {**found, "ops": [op_record(op) for op in result.ops], "fused": result.fused and _fused(result.fused)}


def _fused(fused: Fused) -> dict[str, Any]:
    sizes = {name: getattr(fused, name) for name in fused.__struct_fields__}
    return {**sizes, "ops": [op_record(op) for op in fused.ops]}


def tables(result: Trace) -> list[Table]:
    """Totals, the ops with most FLOPs, and the modules that hold most of them."""
    return [_summary(result), _ops(result), _modules(result)]


def records(result: Trace) -> Table:
    """Every op with the figures of one run."""
    rows = [op_record(op) for op in result.ops]
    return of_records(rows)


def notes(_result: Trace) -> list[str]:
    """The conventions of the figures."""
    return ["1 multiply-add is 2 FLOPs; ops as kernels execute them, equal ones merged. Backward includes recompute."]


def _summary(result: Trace) -> Table:
    whole = result.by_module[""]
    trainable = f"{result.trainable_parameters:,} of them trainable"
    rows = [
        ["Parameters", Cell(result.parameters, f"{result.parameters:,}, {trainable}")],
        ["Forward", cells.flops(whole.flops_forward)],
        ["Backward", cells.flops(whole.flops_backward)],
        ["Kept for backward", cells.size(result.activation_bytes)],
        ["Peak of the pass", cells.size(result.peak_bytes)],
    ]
    if result.fused is not None:
        alone, fused = ((total(ops, "kernels"), total(ops, "bytes")) for ops in (result.ops, result.fused.ops))
        moved = f"{cells.size(fused[1]).text} moved, not {cells.size(alone[1]).text}"
        kept = f"{cells.size(result.fused.activation_bytes).text} kept"
        rows.append(["As a compiler fuses it", f"{fused[0]:,} kernels, not {alone[0]:,}; {moved}; {kept}"])
    return Table(f"One pass of {result.name}", ["", ""], rows, align="ll")


def _ops(result: Trace) -> Table:
    costliest = sorted(result.ops, key=lambda op: -op.flops * op.count)[:COSTLIEST]
    rows = [
        [op.name, op.phase, op.count, cells.amount(op.flops * op.count), cells.size(op.bytes * op.count)]
        for op in costliest
    ]
    return Table("Ops with most FLOPs", ["op", "phase", "runs", "FLOPs", "bytes"], rows, align="llrrr")


def _modules(result: Trace) -> Table:
    total = [(name, cost, cost.flops_forward + cost.flops_backward) for name, cost in result.by_module.items() if name]
    rows = [
        [name, cells.amount(flops), cells.size(cost.bytes), cells.size(cost.activation_bytes)]
        for name, cost, flops in sorted(total, key=lambda item: -item[2])[:COSTLIEST]
    ]
    return Table("Modules with most FLOPs", ["module", "FLOPs", "bytes", "kept"], rows, align="lrrr")
