"""Which GPUs the environment shows."""

from collections.abc import Callable

import pytest

from roofline.hardware.detect.detect import Detection
from roofline.hardware.detect.gpu import Gpu
from roofline.hardware.detect.visible import visible_amd

Detect = Callable[..., Detection]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("1", [1]),
        ("1,0", [1, 0]),
        ("GPU-00003090", [0]),
        ("GPU-00004091-1111-2222-3333-444455556666", [1]),
        ("", []),
        ("-1", []),
        ("²", []),
        ("9" * 5000, []),
        ("0,7,1", [0]),  # CUDA stops at the first entry it does not know
        ("GPU-0000", []),  # a prefix of two GPUs
    ],
)
def test_cuda_visible_devices_is_honoured(detect: Detect, value: str, shown: list[int]) -> None:
    detection = detect("mixed-3090-4090", {"CUDA_VISIBLE_DEVICES": value, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert [item.gpu.index for item in detection.gpus] == shown
    if not shown:
        assert detection.why_not is not None


def test_cuda_order_of_different_gpus_is_told(detect: Detect) -> None:
    notes = detect("mixed-3090-4090", {"CUDA_VISIBLE_DEVICES": "0"}).notes
    assert any("CUDA_DEVICE_ORDER=PCI_BUS_ID" in note for note in notes)


def test_one_mig_slice_by_uuid(detect: Detect) -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "MIG-aaaa0002-0000-0000-0000-000000000002"}
    found = detect("a100-pcie-80gb-mig", environment).gpus
    assert [item.slice_name for item in found] == ["NVIDIA A100 80GB PCIe MIG 3g.40gb"]


def test_one_mig_slice_by_the_old_form_of_its_name(detect: Detect) -> None:
    answers = {
        "nvmlDeviceGetGpuInstanceId(gpu0/mig0)": 9,
        "nvmlDeviceGetComputeInstanceId(gpu0/mig0)": 0,
        "nvmlDeviceGetGpuInstanceId(gpu0/mig1)": 2,
        "nvmlDeviceGetComputeInstanceId(gpu0/mig1)": 0,
    }
    uuid = detect("a100-pcie-80gb-mig").gpus[0].gpu.uuid
    found = detect("a100-pcie-80gb-mig", {"CUDA_VISIBLE_DEVICES": f"MIG-{uuid}/2/0"}, answers).gpus
    assert [item.slice_name for item in found] == ["NVIDIA A100 80GB PCIe MIG 3g.40gb"]


def test_cuda_gives_a_process_one_mig_slice(detect: Detect) -> None:
    one, two = (f"MIG-aaaa000{n}-0000-0000-0000-00000000000{n}" for n in (1, 2))
    detection = detect("a100-pcie-80gb-mig", {"CUDA_VISIBLE_DEVICES": f"{two},{one}"})
    assert [item.slice_name for item in detection.gpus] == ["NVIDIA A100 80GB PCIe MIG 3g.40gb"]
    assert any("one MIG slice" in note for note in detection.notes)
    assert any("one MIG slice" in note for note in detect("a100-pcie-80gb-mig").notes)


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, [0, 1, 2]),
        ({"ROCR_VISIBLE_DEVICES": "2,1"}, [2, 1]),
        ({"HIP_VISIBLE_DEVICES": "1"}, [1]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, [0]),  # HIP reads it where its own is not set
        ({"ROCR_VISIBLE_DEVICES": "2,1", "HIP_VISIBLE_DEVICES": "0"}, [2]),
        ({"ROCR_VISIBLE_DEVICES": ""}, []),
    ],
)
def test_amd_variables_are_honoured(environment: dict[str, str], shown: list[int]) -> None:
    gpus = [Gpu(index=index, name="AMD Instinct MI300X", uuid=f"GPU-{index}") for index in range(3)]
    assert [gpu.index for gpu in visible_amd(gpus, environment)[0]] == shown
