"""Every machine is matched or says why not, and any call may fail alone."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from roofline.hardware.detect.detect import Detection, detect_gpus
from roofline.hardware.detect.machine import machine_device
from roofline.hardware.detect.nvml import Recording, load_recording

MACHINES = Path(__file__).parents[2] / "fixtures" / "nvml"
ALL = sorted(path.stem for path in MACHINES.glob("*.json"))
Detect = Callable[..., Detection]


@pytest.mark.parametrize(
    ("machine", "device_ids"),
    [
        ("a100-sxm-80gb-x8", ["a100-sxm-80gb"] * 8),
        ("a100-sxm-40gb-old-driver", ["a100-sxm-40gb"]),
        ("h100-sxm-80gb-x2", ["h100-sxm-80gb"] * 2),
        ("h100-sxm-80gb-virtual-machine", ["h100-sxm-80gb"]),
        ("h100-pcie-80gb-power-limited", ["h100-pcie-80gb"]),
        ("h100-nvl-94gb", ["h100-nvl-94gb"]),
        ("h200-no-permission", ["h200-sxm-141gb"]),
        ("h20", ["h20-sxm-96gb"]),
        ("rtx-4090", ["rtx-4090"]),
        ("rtx-4090-wsl", ["rtx-4090"]),
        ("t4-x4", ["t4"] * 4),
        ("mixed-3090-4090", ["rtx-3090", "rtx-4090"]),
        ("gb10", ["gb10"]),
        ("a100-one-lost", ["a100-sxm-80gb", None]),
        ("driver-mismatch", []),
        ("no-driver", []),
        ("driver-not-loaded", []),
    ],
)
def test_machines_are_matched_to_the_catalog(detect: Detect, machine: str, device_ids: list[str | None]) -> None:
    found = detect(machine).gpus
    assert [None if item.device is None else item.device.id for item in found] == device_ids


def test_enough_machines_are_replayed() -> None:
    assert len(ALL) >= 10


@pytest.mark.parametrize("machine", ALL)
def test_any_single_call_may_fail(machine: str) -> None:
    recording, rest = load_recording(str(MACHINES / f"{machine}.json"))
    for key in recording.answers:
        for code in (3, 4, 999):
            broken = Recording({**recording.answers, key: {"error": code}})
            detection = detect_gpus(broken, {}, rest.get("host_memory_bytes"))
            assert detection.gpus or detection.why_not


@pytest.mark.parametrize("machine", ALL)
@pytest.mark.parametrize("answer", [None, "x", -1, 2**32 - 1, 1e300, [], [1], {}, {"total": "x"}, True, [None, None]])
def test_any_single_answer_may_be_of_any_form(machine: str, answer: object) -> None:
    recording, rest = load_recording(str(MACHINES / f"{machine}.json"))
    for key in recording.answers:
        broken = Recording({**recording.answers, key: answer})
        detection = detect_gpus(broken, {}, rest.get("host_memory_bytes"))
        assert detection.gpus or detection.why_not
        for found in detection.gpus:
            assert found.device is None or all(1e9 < peak < 1e17 for peak in found.device.peaks.values())


@pytest.mark.parametrize(
    ("machine", "sentence"),
    [
        ("driver-mismatch", "the driver was updated, reboot"),
        ("no-driver", r"no NVIDIA driver found \(libnvidia-ml.so.1\)"),
        ("driver-not-loaded", "modprobe nvidia"),
    ],
)
def test_no_gpu_says_why_and_what_to_do(detect: Detect, machine: str, sentence: str) -> None:
    detection = detect(machine)
    assert detection.gpus == ()
    assert machine_device(detection) is None
    assert re.search(sentence, detection.why_not or "")
    assert "estimates work without it" in (detection.why_not or "")


def test_missing_answers_are_named_with_their_reason(detect: Detect) -> None:
    notes = " ".join(detect("h200-no-permission").gpus[0].notes)
    assert "power_limit_w" in notes
    assert "no permission" in notes


def test_a_count_that_is_no_number_is_an_answer_not_a_crash() -> None:
    detection = detect_gpus(Recording({"nvmlInit()": None, "nvmlDeviceGetCount()": None}), {})
    assert detection.gpus == ()
    assert detection.why_not is not None


def test_unified_memory_is_the_systems_and_says_so(detect: Detect) -> None:
    found = detect("gb10").gpus[0]
    assert found.gpu.unified_memory
    assert found.gpu.memory_bytes == 128524288 * 1024
    assert "unified memory" in " ".join(found.notes)
