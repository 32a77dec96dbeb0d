"""Figures of one device agree with one another, or say why not."""

import msgspec
import pytest

from roofline.hardware import load_device
from roofline.hardware.check.consistency import agreement_problems, derived_tflops
from roofline.hardware.device import Device

H100 = load_device("h100-sxm-80gb")


def with_peak(device: Device, dtype: str, **change: object) -> Device:
    peak = msgspec.structs.replace(device.peak[dtype], **change)  # type: ignore[index]
    return msgspec.structs.replace(device, peak={**device.peak, dtype: peak})


def rules(device: Device) -> list[str]:
    return [str(problem) for problem in agreement_problems(device)]


def test_derived_peaks() -> None:
    # 132 SMs x 4096 x 1.830 GHz
    assert derived_tflops(H100, "bf16", H100.peak["bf16"]) == pytest.approx(989.4, rel=1e-4)
    assert derived_tflops(H100, "fp32", H100.peak["fp32"]) == pytest.approx(66.9, rel=1e-3)
    assert derived_tflops(msgspec.structs.replace(H100, units=None), "bf16", H100.peak["bf16"]) is None


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (with_peak(H100, "bf16", tflops=800.0), "peak.bf16.tflops = 800: units x FLOPs per cycle x clock is 989.4"),
        (with_peak(H100, "bf16", accumulate="fp16"), "peak.bf16.accumulate = 'fp16': training accumulates in fp32"),
        (with_peak(H100, "bf16", not_derived="so"), "peak.bf16.not_derived = 'so': give a reason"),
        (with_peak(H100, "fp8", tflops=1500.0), "peak.fp8.tflops = 1500: not 2 x bf16 (989.4)"),
        (with_peak(H100, "tf32", tflops=1000.0), "above bf16 (989.4): a wider dtype is not faster"),
        (msgspec.structs.replace(H100, confidence="low"), "caveats = (): a device of low confidence says why"),
    ],
)
def test_a_disagreement_is_named(device: Device, said: str) -> None:
    assert any(rule.startswith(said) or said in rule for rule in rules(device)), rules(device)


def test_bandwidth_follows_from_bus_and_clock_or_channels_and_rate() -> None:
    bandwidth = msgspec.structs.replace(H100.memory.bandwidth, gb_per_s=2000.0)
    wrong = msgspec.structs.replace(H100, memory=msgspec.structs.replace(H100.memory, bandwidth=bandwidth))
    assert rules(wrong) == [
        "memory.bandwidth.gb_per_s = 2000: bus x clock is 3352: correct one of them, or say why in not_derived"
    ]
    xeon = load_device("xeon-platinum-8480plus")
    bandwidth = msgspec.structs.replace(xeon.memory.bandwidth, gb_per_s=400.0)
    wrong = msgspec.structs.replace(xeon, memory=msgspec.structs.replace(xeon.memory, bandwidth=bandwidth))
    assert "channels x rate is 307.2" in rules(wrong)[0]


def test_a_peak_that_the_file_calls_wrong() -> None:
    assert any("the file itself calls it wrong" in rule for rule in rules(with_peak(H100, "bf16", tflops=756.0)))
