"""A measured CPU, and what was measured on it."""

from typing import Any

from roofline.hardware import Device
from roofline.hardware.calibrate.measure import Sample
from roofline.hardware.detect.cpu import read_cpu
from roofline.hardware.detect.local import cpu_device


def device() -> Device:
    return cpu_device(read_cpu(), peaks={"fp32": 100e9, "fp64": 50e9}, bandwidth=20e9)


def sample(group: str, dtype: str = "fp32", **fields: Any) -> Sample:
    values = {"flops": 0.0, "bytes": 0.0, "shape": (), "rounds": (1e-3, 1.1e-3)} | fields
    return Sample(group=group, name=group, dtype=dtype, **values)
