"""``roofline detect``: the GPUs and the CPU of this machine, matched to the catalog, or why not."""

from __future__ import annotations

import argparse

from .output import add_format_arguments, emit

SUMMARY = "the GPUs and CPU of this machine, matched to the catalog"
EXAMPLES = ("roofline detect", "roofline detect --format json")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("--replay", metavar="FILE", help="replay a machine recorded by scripts/detect_hardware.py")
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print what this machine has; a missing driver is an answer, not an error."""
    from ..hardware.detect.cpu import read_cpu
    from ..hardware.detect.detect import detect_gpus
    from ..hardware.detect.local import local_device
    from ..hardware.detect.machine import machine_device
    from ..hardware.detect.nvml import load_recording
    from ..hardware.errors import HardwareError
    from ..view import detection as view

    if args.replay is None:
        detection = detect_gpus()
    else:
        try:
            recording, machine = load_recording(args.replay)
        except (OSError, ValueError) as error:
            raise HardwareError(f"--replay {args.replay}: not a recorded machine: {error}") from error
        detection = detect_gpus(recording, machine.get("environment", {}), machine.get("host_memory_bytes"))
    local, why_not = None, None
    try:
        local = local_device() if args.replay is None else machine_device(detection)
    except HardwareError as error:
        why_not = str(error)
    emit(args, *view.machine(detection, read_cpu(), local, why_not, args.replay))
    return 0
