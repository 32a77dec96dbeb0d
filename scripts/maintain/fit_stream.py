"""Timings of kernels that stream memory: element-wise, normalization, softmax."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from fitting import Case, Range, Sample

from roofline.counting.op import Op
from roofline.hardware import load_device
from roofline.timing import kernel

STREAM: dict[str, Range] = {"bandwidth": (0.8, 0.1, 1), "t0_us": (5, 0, 40)}
# What the CSV calls each class; single-kernel streams that training does not run are left out.
CLASSES = {
    "elementwise": "^(?:add|mul|mulu|gelu|relu|silu_and_mul|default elementwise)$",
    "normalization": "^(?:ln|layernorm)$|^rmsnorm",
    "softmax": "^softmax$",
}


def stream_sample(rows: pd.DataFrame, target: str, kind: str) -> Sample:
    """Rows of one class on one device; the caller leaves out rows that fit in cache."""
    device = load_device(target)
    moved = rows.bytes.to_numpy(float)
    op = Op(
        name=kind,
        kind=kind,
        phase="forward",
        part="layer",
        dtype="fp32",
        flops=moved * 0,
        bytes_read=moved / 2,
        bytes_written=moved / 2,
    )
    big = moved >= 64e6
    weights = np.where(big, 1.0, 0.3)
    return Sample(
        device,
        lambda d: np.asarray(kernel.expected_time(op, d)),
        rows.time_us.to_numpy() * 1e-6,
        weights,
        {"large": big, "small": ~big},
        np.zeros(len(rows), bool),
        "; ".join(sorted(set(rows.source))),
    )


def stream_cases(folder: Path) -> Iterable[Case]:
    """One table per class and architecture; the host-timed launch of a harness ends in t0."""
    rows = pd.read_csv(folder / "memory_bound_measured.csv")
    rows = rows[rows.time_us.notna() & (rows.bytes >= 4e6) & (rows.frac_of_peak <= 0.98)]
    for file, devices in (
        ("volta", {"V100-PCIe-32GB": "v100-pcie-32gb"}),
        ("turing", {"T4": "t4"}),
        (
            "ampere",
            {
                "A100-PCIe-40GB": "a100-pcie-40gb",
                "A100-PCIe-80GB": "a100-pcie-80gb",
                "A100-SXM4-80GB": "a100-sxm-80gb",
            },
        ),
        ("ampere-ga10x", {"A40": "a40"}),
        ("ada", {"L4": "l4"}),
        ("hopper", {"H100-SXM-80GB": "h100-sxm-80gb"}),
        ("blackwell", {"B200-SXM": "b200-sxm"}),
        ("cdna1", {"MI100": "mi100"}),
        ("cdna2", {"MI210": "mi210"}),
    ):
        for kind, names in CLASSES.items():
            samples = []
            for device, target in devices.items():
                chosen = rows[(rows.device == device) & rows.op.str.contains(names)]
                if len(chosen):
                    samples.append(stream_sample(chosen, target, kind))
            if samples:
                yield Case(file, f"memory_bound.{kind}", STREAM, samples)
