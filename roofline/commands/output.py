"""A result to standard output or a file, in the format asked for: shared by every command that prints one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from ..errors import RooflineError
from ..result import Result
from ..view.table import PLAIN_WIDTH, Table, render_csv, render_json, render_markdown, render_text
from .terminal import columns

DOES_NOT_FIT = 3  # exit status, of a missed deadline or budget too
FORMATS = ("table", "json", "csv", "markdown")
SUFFIXES = {".txt": "table", ".json": "json", ".csv": "csv", ".md": "markdown"}
_ASCII = str.maketrans(
    {"─": "-", "≥": ">", "≤": "<", "≈": "~", "±": "~", "×": "x", "µ": "u", "·": ".", "…": "~", "—": "-"}
)


def add_format_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--format`` and ``--output``, shared by every command that prints a result."""
    group = parser.add_argument_group("output")
    group.add_argument("--format", choices=FORMATS, help="table (default), json, csv or markdown")
    group.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write to FILE instead; its suffix (.txt .json .csv .md) implies the format",
    )
    parser.set_defaults(tabular=True)


def settle_format(args: argparse.Namespace) -> None:
    """Decide `args.format` from ``--format`` and the suffix of ``--output``; check that FILE can be written.

    What ``--all`` and ``--emit`` write has a form of its own.

    Raises:
        RooflineError: The suffix is unknown or contradicts the format, or the file cannot be written.
    """
    if getattr(args, "all", False) or getattr(args, "emit", None) is not None:
        return
    if args.output is None or args.output == "-":
        args.format = args.format or "table"
        return
    from pathlib import Path

    from ..view.files import check_writable

    path = Path(args.output)
    implied = SUFFIXES.get(path.suffix.lower())
    if args.format is None and implied is None:
        raise RooflineError(
            f"--output {args.output}: the suffix {path.suffix!r} names no format: "
            f"end in {', '.join(SUFFIXES)}, or add --format"
        )
    if args.format is not None and implied not in {None, args.format}:
        raise RooflineError(f"--output {args.output} says {implied} but --format says {args.format}: drop one of them")
    args.format = args.format or implied
    check_writable(path)


def emit(
    args: argparse.Namespace,
    data: Mapping[str, Any],
    tables: Sequence[Table],
    notes: Sequence[str] = (),
    records: Table | None = None,
) -> None:
    """Write a result in the format asked for, to standard output or to ``--output``.

    Args:
        args: Parsed command line, with what `add_format_arguments` added.
        data: The JSON object: plain values in base units (Structs and NumPy values are converted).
        tables: What people see.
        notes: Sentences below the tables: the rule behind a figure, an assumption, a warning.
        records: What CSV holds; by default the first of `tables`.
    """
    settle_format(args)
    if (config := getattr(args, "config", None)) is not None:  # MODEL was a framework's run file
        from ..view.words import sentence

        told = [sentence(note) for note in args.config_notes]
        found = [*data.get("notes", notes), *told]
        data = {**data, "config": config, **_detailed(data.get("train"), args), "notes": found}
        notes = [*notes, *told]
    to_file = args.output not in {None, "-"}
    match args.format:
        case "json":
            text = render_json({"notes": list(notes), **data})
        case "csv":
            text = render_csv(tables[0] if records is None else records)
        case "markdown":
            text = render_markdown(tables, notes)
        case _:
            width = PLAIN_WIDTH if to_file else terminal_width()
            text = render_text(tables, notes, width, bold=not to_file and _styled())
    if to_file:
        from pathlib import Path

        from ..view.files import write_atomically

        write_atomically(Path(args.output), text.encode())
    else:
        write_text(text)


def _detailed(train: object, args: argparse.Namespace) -> dict[str, Any]:
    """The settled configuration with what a run file says in more detail than its words."""
    if train is None or not args.config_details:
        return {}
    import msgspec

    settled = msgspec.to_builtins(train, enc_hook=lambda value: value.tolist())
    return {"train": {**settled, **args.config_details}}


def show(args: argparse.Namespace, result: Result, hints: Sequence[str] = (), tables: str = "tables") -> None:
    """Write an answer in the format asked for; `hints` stand before its notes, `tables` names the view's function."""
    view = import_module(f"roofline.view.{result.VIEW}")
    if args.format == "json":
        emit(args, result.to_dict(), [])
    elif args.format == "csv":
        emit(args, {}, [], (), view.records(result))
    else:
        shown = getattr(view, f"{args.format}_tables", None) or getattr(view, tables)
        emit(args, {}, shown(result), [*hints, *view.notes(result)])


def write_text(text: str) -> None:
    """Write to standard output, in ASCII look-alikes where its encoding cannot hold the text."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    sys.stdout.write(text)


def terminal_width() -> int:
    """Columns of the terminal (or what COLUMNS says); 100 where standard output is a file or a pipe."""
    return columns(PLAIN_WIDTH)


def _styled() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
