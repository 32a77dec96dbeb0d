"""Print the GPUs and CPU of this machine, or record what its driver answers as a fixture for the tests.

    python scripts/detect_hardware.py
    python scripts/detect_hardware.py --record my-machine.json

A recording holds no serial numbers: UUIDs and PCI addresses are numbered anew.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any

from roofline.hardware.detect.cpu import read_cpu
from roofline.hardware.detect.detect import detect_gpus, system_memory_bytes
from roofline.hardware.detect.nvml import Library


def anonymous(answers: dict[str, Any]) -> dict[str, Any]:
    """The answers with UUIDs numbered in order of appearance."""
    text = json.dumps(answers)
    names = dict.fromkeys(re.findall(r"(?:GPU|MIG)-[0-9a-f]{8}-[0-9a-f-]{27}", text))
    for number, name in enumerate(names):
        text = text.replace(name, f"{name[:3]}-{number:08x}-0000-0000-0000-000000000000")
    return dict(json.loads(text))


def main() -> None:
    """Detect, print, and record where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", metavar="FILE", type=Path, help="write the driver's answers to FILE")
    args = parser.parse_args()

    library = Library()
    detection = detect_gpus(library)
    for found in detection.gpus:
        device = found.device
        print(f"GPU {found.gpu.index}: {found.gpu.name} -> {device.id if device else 'unknown'} ({found.how})")
        if device is not None:
            for dtype, flops in device.peaks.items():
                print(f"  {dtype:5} {flops / 1e12:8.1f} TFLOP/s dense")
            print(f"  memory {device.memory_bytes / 2**30:.1f} GiB at {device.memory.bandwidth.gb_per_s:g} GB/s")
        for note in found.notes:
            print(f"  {note}")
    if detection.why_not:
        print(f"no GPU: {detection.why_not}")

    cpu = read_cpu()
    print(f"CPU: {cpu.model_name} ({cpu.microarchitecture}), {cpu.available_cores} cores for this process")
    for note in cpu.notes:
        print(f"  {note}")

    if args.record is not None:
        machine = {
            "about": "recorded on a machine",
            "recorded": True,
            "environment": {key: os.environ[key] for key in ("CUDA_VISIBLE_DEVICES",) if key in os.environ},
            "host_memory_bytes": system_memory_bytes(),
            "answers": anonymous(library.answers),
        }
        try:
            args.record.write_text(json.dumps(machine, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            parser.error(f"cannot write {args.record}: {error.strerror}; choose another --record")
        print(f"recorded {len(library.answers)} answers in {args.record}")


if __name__ == "__main__":
    main()
