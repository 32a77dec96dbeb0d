"""A driver's name finds its device, else what it reports derives one, by the rules of a file."""

from collections.abc import Callable

import msgspec
import pytest

import roofline
from roofline.hardware import load_device
from roofline.hardware.check.rules import problems
from roofline.hardware.detect.detect import Detection
from roofline.hardware.detect.gpu import Gpu
from roofline.hardware.detect.match import match

Detect = Callable[..., Detection]


def test_a_gpu_missing_from_the_catalog_is_derived_and_labelled(detect: Detect) -> None:
    found = detect("rtx-4070-not-in-catalog").gpus[0]
    device = found.device
    assert device is not None
    assert device.confidence == "derived"
    assert "maximum clock over 1.25, as usual of GeForce boards" in device.caveats[0]
    # 5888 CUDA cores / 128 lanes = 46 SMs x 512 FLOPs per cycle (GeForce) x 3.105 GHz / 1.25 = 58.5 TFLOP/s
    assert device.peaks["bf16"] == pytest.approx(46 * 512 * 3.105e9 / 1.25)
    # 2 x 10501 MHz x 192 bit / 8 = 504 GB/s
    assert device.memory_bandwidth_bytes_per_s == pytest.approx(504.048e9)
    assert device.measured.gemm.cap > 0
    assert list(problems(device)) == []


@pytest.mark.parametrize("machine", ["a100-sxm-80gb-x8", "h100-sxm-80gb-x2", "rtx-4090", "h100-nvl-94gb", "t4-x4"])
def test_derivation_of_known_cards_is_within_three_of_its_spreads(detect: Detect, machine: str) -> None:
    gpu = detect(machine).gpus[0].gpu
    derived, how = match(msgspec.structs.replace(gpu, name=f"{gpu.name} X"))
    known = match(gpu)[0]
    assert derived is not None
    assert derived.spread is not None
    assert known is not None
    assert "not in the catalog" in how
    for dtype in ("fp16", "fp32"):
        ratio = derived.peaks[dtype] / known.peaks[dtype]
        assert abs(ratio - 1) < 3 * derived.spread


def test_a_laptop_is_slower_and_less_sure_than_a_desktop_board(detect: Detect) -> None:
    gpu = detect("rtx-4070-not-in-catalog").gpus[0].gpu
    desktop = match(gpu)[0]
    laptop = match(msgspec.structs.replace(gpu, name="NVIDIA GeForce RTX 4070 Notebook Laptop GPU"))[0]
    assert desktop is not None
    assert laptop is not None
    assert laptop.peaks["bf16"] == pytest.approx(desktop.peaks["bf16"] * 1.25 / 1.6)
    options = {"micro_batch": 4, "seq_len": 512}
    one, other = (roofline.estimate("gpt2", device, **options) for device in (desktop, laptop))
    widths = [result.step_time_high_s / result.step_time_low_s for result in (one, other)]
    assert widths[1] > 1.2 * widths[0]


def test_what_breaks_a_rule_is_not_derived(detect: Detect) -> None:
    answers = {"nvmlDeviceGetMaxClockInfo(gpu0, 1)": 4_294_967}  # a clock in kHz gave 2.9e14 TFLOP/s
    found = detect("rtx-4070-not-in-catalog", None, answers).gpus[0]
    assert found.device is None
    assert "cannot be (" in found.how
    assert "roofline calibrate" in found.how


def test_gtx_has_no_tensor_cores(detect: Detect) -> None:
    answers = {"nvmlDeviceGetName(gpu0)": "NVIDIA GeForce GTX 1999"}
    device = detect("t4-x4", {"CUDA_VISIBLE_DEVICES": "0"}, answers).gpus[0].device
    assert device is not None
    assert set(device.peaks) == {"fp64", "fp32"}
    assert device.spread is not None
    assert device.spread > 0.2


@pytest.mark.parametrize(
    ("name", "device_id", "words"),
    [
        ("NVIDIA A40-48Q", "a40", "a share of an A40"),
        ("GRID T4-16Q", "t4", "a share of a T4"),
        ("NVIDIA L40S-24C", "l40s", "upper bounds"),
        ("GRID A100-10C", None, "a100-sxm-40gb"),
        ("GRID A100D-3-40C", None, "--memory"),
    ],
)
def test_a_vgpu_is_named_as_such(name: str, device_id: str | None, words: str) -> None:
    device, how = match(Gpu(index=0, name=name))
    assert (device.id if device else None) == device_id
    assert "is a vGPU" in how
    assert words in how


@pytest.mark.parametrize(
    ("name", "units", "device_id"),
    [
        ("AMD Instinct MI300X VF", 304, "mi300x"),
        ("AMD Instinct MI250X / MI250", 110, "mi250x-gcd"),
        ("AMD Instinct MI250X / MI250", 104, "mi250-gcd"),
        ("AMD Instinct MI250X / MI250", None, "mi250x-gcd"),
    ],
)
def test_forms_of_amd_names(name: str, units: int | None, device_id: str) -> None:
    device, how = match(Gpu(index=0, name=name, compute_units=units))
    assert how == "exact name"
    assert device is load_device(device_id)


@pytest.mark.parametrize(
    "gpu",
    [
        Gpu(index=0, name="NVIDIA Unheard", compute_capability="12.9", cuda_cores=6144),
        Gpu(index=0, name="Orinoco (nvgpu)", compute_capability="8.7"),
        Gpu(index=0, name="NVIDIA P1000"),
    ],
)
def test_what_is_not_known_says_what_to_do(gpu: Gpu) -> None:
    device, how = match(gpu)
    assert device is None
    assert "'roofline calibrate'" in how
