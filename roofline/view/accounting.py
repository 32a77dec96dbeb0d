"""The textbook table: forward FLOPs by part, with the shortcut 6ND beside them."""

from __future__ import annotations

from typing import Any

from ..counting.textbook import COLUMNS, Accounting, Row
from .cells import flops
from .table import Table


def tables(result: Accounting) -> list[Table]:
    """The rows indented under the name of their part."""
    return [Table(_title(result), ["part", "FLOPs", "", "share"], _outline(result.rows), align="lrrr")]


def markdown_tables(result: Accounting) -> list[Table]:
    """In Markdown the rows as programs want them: headings there cannot be indented."""
    return [records(result)]


def records(result: Accounting) -> Table:
    """The rows as programs want them."""
    return Table(_title(result), COLUMNS, _exact(result), align="lllrrr")


def data(result: Accounting) -> dict[str, Any]:
    """The JSON object."""
    return {
        "model": result.model.name,
        "seq_len": result.seq_len,
        "micro_batch": result.micro_batch,
        "rows": [dict(zip(COLUMNS, row, strict=True)) for row in _exact(result)],
        "flops_6nd": result.flops_6nd,
        "flops_6nd_ratio": result.flops_6nd_ratio,
    }


def notes(result: Accounting) -> list[str]:
    """The conventions of the table, and the shortcut."""
    shortcut = f"{flops(result.flops_6nd).text}: {result.flops_6nd_ratio:.1%}"
    return [
        (
            "The rows of one block are per layer. A norm counts 3d+2 per token, softmax 5 per score, the "
            "activation 5 per element; attention in full; the backward pass as twice the forward pass."
        ),
        f"The shortcut 6ND gives {shortcut} of the overall.",
    ]


def _title(result: Accounting) -> str:
    return f"{result.model.name}, micro batch {result.micro_batch:,} of {result.seq_len:,} tokens"


def _exact(result: Accounting) -> list[list[Any]]:
    return [[*line.levels, line.flops, line.flops_fmt, line.proportion] for line in result.rows]


def _outline(lines: tuple[Row, ...]) -> list[list[Any]]:
    """The rows indented under the name of their part."""
    rows: list[list[Any]] = []
    shown: list[str] = []
    for line in lines:
        names = [name for name in line.levels if name]
        for depth, name in enumerate(names[:-1]):
            if shown[depth : depth + 1] != [name]:
                rows.append(["  " * depth + name, "", "", ""])
        share = f"{100 * line.proportion:.4f} %"
        rows.append(["  " * (len(names) - 1) + names[-1], line.flops, flops(line.flops).text, share])
        shown = names
    return rows
