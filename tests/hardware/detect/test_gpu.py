"""What NVML says of one GPU; what is no figure is none."""

from collections.abc import Callable

import pytest

from roofline.hardware.detect.detect import Detection
from roofline.hardware.detect.gpu import Gpu

Detect = Callable[..., Detection]


def test_a_figure_that_nvml_does_not_have_is_none(detect: Detect) -> None:
    gpu = detect("rtx-4070-not-in-catalog", None, {"nvmlDeviceGetMaxClockInfo(gpu0, 1)": 2**32 - 1}).gpus[0].gpu
    assert gpu.max_sm_mhz is None
    assert gpu.failed["max_sm_mhz"] == "the driver gives no figure"


def test_the_limit_in_force_is_the_enforced_one(detect: Detect) -> None:
    gpu = detect("rtx-4090", None, {"nvmlDeviceGetEnforcedPowerLimit(gpu0)": 300_000}).gpus[0].gpu
    assert (gpu.power_limit_w, gpu.power_default_w) == (300, 450)
    assert detect("rtx-4090").gpus[0].gpu.power_limit_w == 450  # an old driver has the set limit alone


def test_links_that_are_down_are_counted(detect: Detect) -> None:
    down = {f"nvmlDeviceGetNvLinkState(gpu0, {link})": 0 for link in range(8, 18)}
    gpu = detect("h100-sxm-80gb-x2", None, down).gpus[0].gpu
    assert (gpu.nvlinks, gpu.nvlinks_down, gpu.nvlink_version) == (8, 10, 4)
    assert gpu.nvlink_gb_per_s == 200


@pytest.mark.parametrize(
    ("generation", "width", "rate"), [(4, 16, 31.5), (3, 8, 7.875), (5, 4, 15.75), (None, 16, None)]
)
def test_a_slot_has_the_rate_of_its_generation_and_lanes(
    generation: int | None, width: int, rate: float | None
) -> None:
    assert Gpu(index=0, pcie_generation=generation, pcie_width=width).pcie_gb_per_s == rate


def test_the_pci_id_and_the_virtualization_are_read(detect: Detect) -> None:
    answers = {
        "nvmlDeviceGetPciInfo(gpu0)": {"busId": "00000000:01:00.0", "pciDeviceId": 0x268410DE},
        "nvmlDeviceGetVirtualizationMode(gpu0)": 2,
    }
    gpu = detect("rtx-4090", None, answers).gpus[0].gpu
    assert (gpu.pci_device_id, gpu.virtualization) == (0x268410DE, "vgpu")
