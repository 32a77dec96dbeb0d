"""What a gap usually means: by the fields of the measured op."""

from types import SimpleNamespace
from typing import Any

import pytest

from roofline.hardware import load_device
from roofline.profiling.meaning import SLOWER, meaning


def said(device: Any = None, **fields: Any) -> str:
    plain = {
        "name": "mm", "kind": "matmul", "ratio": 2.0, "matmul": (4096, 4096, 4096, 1), "time_s": 1e-3, "count": 1,
        "dtype": "bf16", "kernels": (), "phase": "forward", "strided": False,
    }  # fmt: skip
    return meaning(SimpleNamespace(**{**plain, **fields}), device)  # type: ignore[arg-type]


def test_near_what_is_expected_there_is_nothing_to_say() -> None:
    assert said(ratio=None) == said(ratio=SLOWER - 0.01) == said(kind="collective", ratio=1.0) == ""


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "collective"}, "waiting for the slowest rank"),
        ({"matmul": (4096, 50257, 4096, 1)}, "no multiple of 8"),
        ({"time_s": 1e-5}, "too small to fill the device"),
        ({"matmul": (128, 256, 8192, 1)}, "too small to fill the device"),  # one tile
        ({}, "library kernel below its class: newer library"),
        ({"name": "convolution", "kernels": ("nchwToNhwcKernel",)}, "channels_last"),
        ({"kind": "attention", "matmul": (1, 8, 4096, 4096, 80)}, "head size 80 is padded"),
        ({"kind": "attention", "matmul": (1, 8, 512, 512, 64)}, "short sequences"),
        ({"kind": "elementwise", "time_s": 1e-5, "count": 2}, "too small to stream"),
        ({"kind": "normalization", "name": "layer_norm", "phase": "backward"}, "reduction over rows"),
        ({"kind": "elementwise", "strided": True}, "strided or broadcast"),
        ({"kind": "elementwise", "name": "cat"}, "copies that a fused kernel avoids"),
        ({"kind": "elementwise", "name": "add"}, "fuse it with its neighbours"),
    ],
)
def test_the_usual_cause(fields: dict[str, Any], words: str) -> None:
    assert words in said(**fields)


def test_fp32_on_a_device_with_tf32() -> None:
    assert "TF32" in said(load_device("a100-sxm-80gb"), dtype="fp32")
    assert "TF32" not in said(load_device("v100-sxm2-16gb"), dtype="fp32")
