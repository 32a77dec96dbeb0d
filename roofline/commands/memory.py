"""``roofline memory``: bytes per device, does it fit, the largest micro batch, and the cheapest fixes."""

from __future__ import annotations

import argparse
from typing import Any

from ..output import Cell, Table, add_format_arguments, emit
from . import options

SUMMARY = "bytes per device: does it fit, and the largest micro batch that does"
EXAMPLES = (
    "roofline memory gpt2-xl -d a100-sxm-40gb --micro-batch 4",
    "roofline memory llama-2-13b -d a100-sxm-80gb --num-devices 4 --sharding fsdp --recompute full",
)
DOES_NOT_FIT = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser)
    options.add_device_arguments(parser)
    options.add_training_arguments(parser)
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print memory by part; 3 where it does not fit."""
    from .. import report, report_memory
    from ..fit import memory

    result = memory(options.model(args), options.device(args), **options.train_options(args))
    train = result.train
    rows: list[list[Any]] = [
        ["Layout", report.layout_words(train)],
        ["Batch", report.batch_words(train, result.model)],
        ["Method", f"{train.dtype}, {report.method_words(train)}"],
        ["", ""],
        ["Answer", report_memory.fit_words(result)],
        ["Largest micro batch", _or_none(result.max_micro_batch, f" of {train.sequence_length:,} tokens")],
        ["Longest sequence", _or_none(result.max_seq_len, f" tokens at micro batch {train.micro_batch:,}")],
    ]
    title = f"{report.model_words(result.model)} on {result.device.name}"
    tables = [Table(title, ["", ""], rows, align="ll"), report_memory.memory_table(result, result.explained)]
    if not result.fits:
        tables.append(report_memory.fixes_table(result.fixes))
    if args.format == "csv":
        tables = [csv_table(report.memory_json(result))]
    notes = [f"Note: {note}." for note in result.model.assumptions]
    emit(args, report.memory_json(result), tables, notes + report.device_notes(result.device))
    return 0 if result.fits else DOES_NOT_FIT


def _or_none(value: int, unit: str) -> Cell:
    return Cell(value, f"{value:,}{unit}" if value else "none fits")


def csv_table(data: dict[str, object]) -> Table:
    """The figures as one row."""
    figures = {name: value for name, value in data.items() if isinstance(value, int | float)}
    return Table("", list(figures), [list(figures.values())])
