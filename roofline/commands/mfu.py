"""``roofline mfu``: the MFU of a run you measured, whether that is good, and what costs most."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .. import units
from ..errors import RooflineError
from . import options
from .output import add_format_arguments, emit, show
from .training import add_training_arguments

if TYPE_CHECKING:
    from ..profiling.series import Series

EXAMPLES = (
    "roofline mfu gpt2-xl -d a100-sxm-80gb --step-time 13.78 --micro-batch 4 --global-batch 256",
    "roofline mfu llama-2-7b -d h100-sxm-80gb --num-devices 8 --sharding fsdp --tokens-per-s 60k",
    "roofline mfu llama-2-7b -d h100-sxm-80gb --num-devices 8 --sharding fsdp --log train.log",
    "roofline mfu --log train.log",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser, nargs="?")
    options.add_device_arguments(parser)
    run_ = parser.add_argument_group("what was measured: any one of these, several, or a log of them")
    run_.add_argument(
        "--step-time-s",
        "--step-time",
        metavar="T",
        type=units.step_time_s,
        help="time of one optimizer step, accumulation included: 13.78, or 340ms",
    )
    run_.add_argument(
        "--tokens-per-s",
        metavar="N",
        type=units.positive,
        help="tokens per second of all devices together: 24000, or 24k",
    )
    run_.add_argument(
        "--tflops", metavar="N", type=units.positive, help="TFLOP/s of one device, as the framework printed them"
    )
    run_.add_argument(
        "--reported-mfu",
        metavar="X",
        help="the MFU the framework printed, such as 25%%: how is it counted? Alone: what is it really?",
    )
    run_.add_argument(
        "--log",
        metavar="FILE",
        help="what the run logged: printed lines (Megatron, NeMo, torchtitan, llm.c, nanoGPT, ...), trainer_state.json "
        "of Hugging Face, or CSV of wandb or TensorBoard; without MODEL, the log alone",
    )
    add_training_arguments(parser)
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the diagnosis; of a log without a model, the log alone."""
    from ..view import log as log_view

    log = None if args.log is None else _log(args)
    if args.model is None:
        if log is None:
            raise RooflineError("missing MODEL (or --log FILE alone): such as gpt2-xl ('roofline models' lists all)")
        emit(args, {"log": log}, log_view.tables(log), log_view.notes(log))
        return 0
    from ..answers.diagnosis import diagnose

    result = diagnose(options.model(args), options.device(args), **_measured(args, log))
    if log is None:
        show(args, result)
        return 0
    from ..view import mfu as view

    tables, notes = [*log_view.tables(log), *view.tables(result)], [*log_view.notes(log), *view.notes(result)]
    emit(args, {**result.to_dict(), "log": log}, tables, notes, view.records(result))
    return 0


def _log(args: argparse.Namespace) -> Series:
    """The log, which alone says what was measured."""
    from ..profiling.logs import read_log
    from ..profiling.series import series

    if args.step_time_s is not None or args.tokens_per_s is not None:
        raise RooflineError("--log says how long a step takes: leave --step-time-s and --tokens-per-s out")
    found = series(read_log(args.log))
    if args.global_batch is not None and found.global_batch not in {None, args.global_batch}:
        raise RooflineError(
            f"{args.log} is of a run with a global batch of {found.global_batch}, and --global-batch says "
            f"{args.global_batch}: is it another run's log?"
        )
    return found


def _measured(args: argparse.Namespace, log: Series | None) -> dict[str, Any]:
    """What was measured, and how it was trained; the log's figures where there is one."""
    found: dict[str, Any] = {
        "step_time_s": args.step_time_s,
        "tokens_per_s": args.tokens_per_s,
        "reported_mfu": args.reported_mfu,
        "tflops": args.tflops,
        **options.train_options(args),
    }
    if log is None:
        return found
    found["step_time_s"], found["tokens_per_s"] = log.step_time_s, log.tokens_per_s
    if log.step_time_s is None and log.tokens_per_s_per_device is not None:
        found["tokens_per_s"] = log.tokens_per_s_per_device * (args.num_devices or 1)
    if log.global_batch is not None:
        found["global_batch"] = log.global_batch
    if args.reported_mfu is None:
        found["reported_mfu"] = log.reported_mfu
    return found
