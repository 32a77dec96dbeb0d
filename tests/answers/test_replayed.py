"""An estimate that is replayed equals one that is counted anew, to the last digit.

From 3.12 on but for rounding: Python's own sum carries there what rounding loses, and a replay adds one by one.
"""

import math
import sys
from typing import Any

import msgspec
import pytest

import roofline
from roofline.answers.estimate import costliest_first, estimate_step
from roofline.config.settle import settle
from roofline.counting.step import build_step
from roofline.hardware import load_device
from roofline.model.load import load_model

EXACT = sys.version_info < (3, 12)
CASES = [
    ("gpt2-xl", "h100-sxm-80gb", {}),
    ("gpt2", "rtx-4090", {"num_devices": 8}),
    ("llama-3-70b", "h100-sxm-80gb", {"num_devices": 64, "tp": 8, "pp": 4}),
    ("llama-3-8b", "a100-sxm-80gb", {"num_devices": 16, "sharding": "fsdp", "recompute": "full"}),
    ("llama-3-8b", "b200-sxm", {"num_devices": 8, "dtype": "fp8", "stack": "torchtitan"}),
    ("mixtral-8x7b", "h100-sxm-80gb", {"num_devices": 64, "ep": 8, "pp": 2}),
    ("deepseek-v3", "h100-sxm-80gb", {"num_devices": 1024, "pp": 16, "ep": 64}),
    ("mistral-7b", "a100-sxm-80gb", {"train": "lora", "master_weights": False}),
    ("llama-2-7b", "tpu-v5p", {"num_devices": 16}),
]


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Figures and words of an answer, by where they stand in it."""
    plain = msgspec.to_builtins(value)
    if not isinstance(plain, dict | list | tuple):
        return {path: plain}
    parts = plain.items() if isinstance(plain, dict) else enumerate(plain)
    return {place: leaf for key, part in parts for place, leaf in leaves(part, f"{path}.{key}").items()}


def same(one: Any, other: Any) -> bool:
    return one == other or (not EXACT and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12))


@pytest.mark.parametrize(("model", "device", "options"), CASES)
def test_replayed_is_what_is_counted(model, device, options):
    spec, machine = load_model(model), load_device(device)
    devices = int(options.get("num_devices", 1))
    for number in range(24):
        micro = 1 + number % 3
        batch = {"micro_batch": micro, "global_batch": devices * micro * (1 + number % 5)}
        found = roofline.estimate(spec, machine, **options, **batch)
        if number in {0, 17, 20, 23}:
            run = settle(spec, machine, {**options, **batch})
            counted = estimate_step(build_step(spec, run.train), machine)
            costliest_first(counted.ops)
            for name in ("step_time_s", "memory", "waterfall", "ops"):
                replayed, anew = (leaves(getattr(answer, name)) for answer in (found, counted))
                assert replayed.keys() == anew.keys()
                assert all(same(replayed[place], anew[place]) for place in anew), name
            assert type(found.step_time_s) is float


def test_bad_batches_are_refused_all_the_same():
    for _ in range(30):
        roofline.estimate("gpt2", "h100-sxm-80gb", num_devices=8, micro_batch=2, global_batch=32)
    with pytest.raises(roofline.RooflineError, match="global_batch 33 is not micro_batch 2 x dp 8"):
        roofline.estimate("gpt2", "h100-sxm-80gb", num_devices=8, micro_batch=2, global_batch=33)
