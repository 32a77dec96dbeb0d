"""``roofline estimate``: step time, MFU and memory of a training run, and what limits it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import RooflineError
from ..view.table import Table, add_format_arguments, emit
from . import options

if TYPE_CHECKING:
    from ..answers.estimate import Estimate
    from ..hardware import Device

SUMMARY = "step time, MFU and memory of a training run, and what limits it"
EXAMPLES = (
    "roofline estimate gpt2-xl -d h100-sxm-80gb --micro-batch 8",
    "roofline estimate llama-3-70b -d h100-sxm-80gb --num-devices 64 --tp 8 --pp 4 --global-batch 256",
    "roofline estimate llama-3-8b -d h100-sxm-80gb --phase decode --micro-batch 32 --seq-len 4096",
    "roofline estimate path/to/model.py:build -d a100-sxm-80gb",
)
DOES_NOT_FIT = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser)
    options.add_device_arguments(parser)
    options.add_training_arguments(parser)
    parser.add_argument(
        "--phase",
        metavar="PHASE",
        type=options.word("phase", ("train", "prefill", "decode")),
        default="train",
        help="train (default); or inference: prefill of --micro-batch prompts of --seq-len tokens, or decode, "
        "one token of each sequence with --seq-len tokens cached",
    )
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the estimate; 3 where it does not fit in memory."""
    from ..answers.estimate import estimate

    device, given = options.device(args), options.train_options(args, one_layout=True)
    if args.phase != "train":
        return run_inference(args, device, given)
    if options.names_function(args.model):
        from ..tracing.step import estimate_file

        if args.overrides:
            key, value = args.overrides[0]
            raise RooflineError(
                f"--set {key}={value} does not apply to a traced module: change it in {args.model.rpartition(':')[0]}"
            )
        result = estimate_file(args.model, device, **given)
    else:
        result = estimate(options.model(args), device, **given)
    write(args, result, hints(args, result))
    return 0 if result.fits else DOES_NOT_FIT


def run_inference(args: argparse.Namespace, device: Device, given: dict[str, Any]) -> int:
    """Print one pass of inference; 3 where it does not fit in memory."""
    from ..answers.inference import infer
    from ..view import inference

    result = infer(options.model(args), device, args.phase, **given)
    tables = inference.inference_tables(result)
    if args.format == "csv":
        tables = [tables[-1]]
    emit(args, inference.inference_json(result), tables, inference.inference_notes(result))
    return 0 if result.fits else DOES_NOT_FIT


def hints(args: argparse.Namespace, result: Estimate) -> list[str]:
    """The micro batch to try where none was given: the default of 1 leaves most devices waiting for memory."""
    given = args.micro_batch is not None or args.global_batch is not None
    if given or not result.fits or args.format != "table" or options.names_function(args.model):
        return []
    from ..answers.capacity import max_micro_batch

    train = msgspec.structs.replace(result.train, global_batch=None)
    largest = max_micro_batch(result.model, result.device, train)
    return [f"Hint: micro batch 1 is the default; up to {largest} fit: try --micro-batch."] if largest > 1 else []


def write(args: argparse.Namespace, result: Estimate, hints: list[str]) -> None:
    """Write `result`; where it does not fit, with the cheapest changes that make it fit."""
    from ..answers.estimate import estimate_json, estimate_record
    from ..view import estimate as report

    if args.format == "csv":
        record = estimate_record(result)
        emit(args, {}, [Table("", list(record), [list(record.values())])])
        return
    data, notes = estimate_json(result), report.estimate_notes(result)
    tables = report.estimate_tables(result)
    if not result.fits and not options.names_function(args.model):
        from ..answers.fixes import cheapest_fixes
        from ..view.memory import fixes_table

        fixes = cheapest_fixes(result.model, result.device, result.train)
        data["fixes"] = fixes
        tables[1:1] = [tables.pop(), fixes_table(fixes)]
    elif result.fits and not options.names_function(args.model):
        from ..answers.changes import Case, improvements
        from ..answers.fixes import fuller_pipeline
        from ..view.changes import changes_table

        fuller = fuller_pipeline(result)
        found = improvements(Case(result.model, result.device, result.train), result)
        found = found if fuller is None else (fuller, *found)
        data["improvements"] = found
        if found:
            tables.append(changes_table("What would make it faster, and fits", "saves", found, most=3))
    emit(args, data, tables, hints + notes)
