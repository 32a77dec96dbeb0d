"""What to train, as people read it: the best size, those around it, and what other laws advise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import units
from ..planning.laws import laws
from ..search.layout import layout_dict
from .cells import one_unit
from .html.pieces import answer, table
from .table import Cell, Table
from .words import sentences

if TYPE_CHECKING:
    from ..planning.ladder import Ladder, Rung

COUNTS = {
    "parameters": "all parameters",
    "non_embedding": "parameters without embeddings and head",
    "flops_per_token": "FLOPs per token, without embeddings and head",
}


def tables(result: Ladder) -> list[Table]:
    """The best size, the sizes around it, and the same compute by every law."""
    return [summary(result), rungs_table(result), advised_table(result)]


def summary(result: Ladder) -> Table:
    """The best size and its training."""
    best = result.rungs[result.best]
    one = best.plan
    ends = units.format_time_range(one.wall_time_low_s, one.wall_time_s, one.wall_time_high_s)
    rows = [
        ["Model", f"{_count(best.parameters)} parameters on {_count(one.tokens)} tokens, {per_parameter(best)} each"],
        ["Compute", f"{result.flops:.3g} FLOPs"],
        ["Time", f"{units.format_time(one.wall_time_s)} ({ends})"],
        ["Devices", f"{one.num_devices:,} x {one.device.name}"],
    ]
    if one.cost is not None:
        rows.append(["Cost", f"{one.cost:,.0f}"])
    rows += [[each.what.capitalize(), f"IS MISSED by {_by(each.what, each.by)}: {each.why}"] for each in one.missed]
    return Table(f"What to train on {result.device.id}, by {result.law.name}", ["", ""], rows, align="ll")


def rungs_table(result: Ladder) -> Table:
    """One size a row: what the law says of it, and what its training takes."""
    priced = result.rungs[0].plan.cost is not None
    lossy = result.law.loss is not None
    span = one_unit(rung.plan.wall_time_s for rung in result.rungs)
    columns = ["Parameters", "Tokens", "Per parameter", *["Loss", "More compute"] * lossy]
    columns += ["Devices", "Time", "MFU", "Device-hours", *["Cost"] * priced]
    rows = []
    for rung in result.rungs:
        one, said = rung.plan, rung.verdict
        row = [_counted(rung.parameters), _counted(one.tokens), Cell(one.tokens / rung.parameters, per_parameter(rung))]
        if lossy and said.loss is not None and said.excess is not None:
            row += [Cell(said.loss, f"{said.loss:.3f}"), Cell(said.excess, f"{100 * said.excess:+.0f} %")]
        row += [
            Cell(one.num_devices, f"{one.num_devices:,}"),
            Cell(one.wall_time_s, span(one.wall_time_s)),
            Cell(one.layout.mfu, units.format_share(one.layout.mfu)),
            Cell(one.device_hours, f"{one.device_hours:,.0f}"),
        ]
        if priced and one.cost is not None:
            row.append(Cell(one.cost, f"{one.cost:,.0f}"))
        rows.append(row)
    more = " ('more compute': than the best training of the same loss)" if lossy else ""
    return Table(f"Sizes of plain Llama-like decoders{more}", columns, rows)


def advised_table(result: Ladder) -> Table:
    """What each law advises for the same compute."""
    rows = [
        [
            each.law,
            _counted(each.parameters),
            _counted(each.tokens),
            Cell(each.tokens / each.parameters, units.format_ratio(each.tokens / each.parameters)),
            laws()[each.law].source.split("),")[0] + ")",
        ]
        for each in result.advised
    ]
    columns = ["Law", "Parameters", "Tokens", "Per parameter", "Source"]
    return Table(f"{result.flops:.3g} FLOPs by every law", columns, rows, align="lrrrl")


def notes(result: Ladder) -> list[str]:
    """Which law, and what was assumed."""
    best = result.rungs[result.best]
    more = f"Layout, overhead and what else: roofline plan {units.format_count(best.parameters)} with the same options."
    return [*law_words(result), *sentences(result.notes), more]


def law_words(result: Ladder) -> list[str]:
    """What the law counts, where it is from, and how its loss is to be read."""
    found = [f"{result.law.name}: N is {COUNTS[result.law.size]}, D tokens seen once. {result.law.source}."]
    if result.law.loss is not None:
        found.append(
            "Losses are in nats per token of the data and tokenizer that the law was fitted to: they rank sizes, and "
            "foretell no loss on other data."
        )
    return found


def records(result: Ladder) -> Table:
    """One size a row."""
    keys = ("tokens", "num_devices", "wall_time_s", "wall_time_low_s", "wall_time_high_s", "device_hours", "cost")
    columns = ["parameters", "loss", "flops", "excess", *keys, "step_time_s", "mfu"]
    rows = [
        [
            rung.parameters,
            rung.verdict.loss,
            rung.verdict.flops,
            rung.verdict.excess,
            *(getattr(rung.plan, key) for key in keys),
            rung.plan.layout.step_time_s,
            rung.plan.layout.mfu,
        ]
        for rung in result.rungs
    ]
    return Table("", columns, rows)


def data(result: Ladder) -> dict[str, Any]:
    """The JSON object."""
    columns = list(records(result).columns)
    rungs = [
        {**dict(zip(columns, row, strict=True)), "layout": layout_dict(rung.plan.layout)}
        for row, rung in zip(records(result).rows, result.rungs, strict=True)
    ]
    return {
        "law": result.law,
        "device": result.device.id,
        "flops": result.flops,
        "best": result.best,
        "missed": result.missed,
        "rungs": rungs,
        "advised": result.advised,
        **{name: getattr(result, name) for name in ("num_devices", "deadline_s", "budget", "confidence")},
    }


def pieces(result: Ladder) -> list[str]:
    """The best size, and the tables."""
    best = result.rungs[result.best]
    headline = f"{_count(best.parameters)} parameters on {_count(best.plan.tokens)} tokens"
    detail = f"{units.format_time(best.plan.wall_time_s)} on {best.plan.num_devices:,} x {result.device.id}"
    first = answer(summary(result).title, headline, detail, good=not best.plan.missed)
    return [first, *(table(each) for each in tables(result)[1:])]


def per_parameter(rung: Rung) -> str:
    """Tokens over parameters."""
    return units.format_ratio(rung.plan.tokens / rung.parameters)


def _count(value: float) -> str:
    return units.format_count(round(value))


def _counted(value: float) -> Cell:
    return Cell(value, _count(value))


def _by(what: str, value: float) -> str:
    return units.format_time(value) if what == "deadline" else f"{value:,.0f}"
