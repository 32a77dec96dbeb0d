"""``roofline memory``: bytes per device, does it fit, the largest micro batch, and the cheapest fixes."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import RooflineError
from ..view.table import Cell, Table, add_format_arguments, emit
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
    from ..answers.capacity import fit_words, memory, memory_json
    from ..config.words import layout_words
    from ..view import estimate
    from ..view import memory as report_memory

    if args.device is None and (args.peak_tflops or args.bandwidth or args.memory or args.link_bandwidth):
        raise RooflineError("a figure of a device without --device: name the device ('roofline devices' lists all)")
    device = None if args.device is None else options.device(args)
    result = memory(options.model(args), device, **options.train_options(args, one_layout=True))
    train = result.train
    rows: list[list[Any]] = [
        ["Layout", layout_words(train)],
        ["Batch", estimate.batch_words(train, result.model)],
        ["Method", f"{train.dtype}, {estimate.method_words(train)}"],
        ["", ""],
        ["Answer", fit_words(result)],
    ]
    title = estimate.model_words(result.model)
    if result.device is not None:
        rows += [
            [
                "Largest micro batch",
                _or_none(result.max_micro_batch, f" of {train.sequence_length:,} tokens"),
            ],
            [
                "Longest sequence",
                _or_none(result.max_seq_len, f" tokens at micro batch {train.micro_batch:,}"),
            ],
        ]
        title += f" on {result.device.name}"
    tables = [
        Table(title, ["", ""], rows, align="ll"),
        report_memory.memory_table(result, train, result.explained),
    ]
    if result.fits is False:
        tables.append(report_memory.fixes_table(result.fixes))
    if args.format == "csv":
        tables = [csv_table(memory_json(result))]
    notes = [f"Note: {note}." for note in result.model.assumptions]
    notes += [] if result.device is None else estimate.device_notes(result.device)
    emit(args, memory_json(result), tables, notes)
    return DOES_NOT_FIT if result.fits is False else 0


def _or_none(value: int | None, unit: str) -> Cell:
    return Cell(value, f"{value:,}{unit}" if value else "none fits")


def csv_table(data: dict[str, object]) -> Table:
    """The figures as one row."""
    figures = {name: value for name, value in data.items() if value is None or isinstance(value, int | float)}
    figures.pop("device", None)
    return Table("", list(figures), [list(figures.values())])
