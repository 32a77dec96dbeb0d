"""Several GPUs as the one device that a common run sees."""

from collections.abc import Callable

import pytest

import roofline
from roofline.hardware import HardwareError, load_device
from roofline.hardware.catalog import hosts
from roofline.hardware.detect.detect import Detection
from roofline.hardware.detect.machine import machine_device

Detect = Callable[..., Detection]


def test_the_slowest_of_several_sets_the_pace_with_the_smallest_memory(detect: Detect) -> None:
    device = machine_device(detect("mixed-3090-4090"))
    assert device is not None
    assert device.id == "rtx-3090"
    assert device.memory_bytes == min(25769803776, 25757220864)  # a 3090 of 24 GiB, a 4090 of a little less
    assert any("the GPUs differ (NVIDIA GeForce RTX 3090, NVIDIA GeForce RTX 4090)" in c for c in device.caveats)


def test_the_machine_is_the_node(detect: Detect) -> None:
    device = machine_device(detect("t4-x4"))
    assert device is not None
    assert device.devices_per_node == 4
    assert any("this machine has 4 GPUs, and all of them are meant" in caveat for caveat in device.caveats)
    assert device.num_devices == 4
    assert roofline.estimate("gpt2", device, micro_batch=1).train.num_devices == 4
    assert roofline.estimate("gpt2", device, micro_batch=1, num_devices=1).train.num_devices == 1
    pair = machine_device(detect("h100-sxm-80gb-x2"))
    assert pair is not None
    assert (pair.devices_per_node, pair.scale_up_devices) == (2, 2)
    alone = machine_device(detect("rtx-4090"))
    assert alone is not None
    assert alone.devices_per_node == load_device("rtx-4090").devices_per_node  # the usual server, as of any card


def test_the_worst_slot_and_the_lowest_limit_of_several_hold(detect: Detect) -> None:
    answers = {"nvmlDeviceGetMaxPcieLinkWidth(gpu2)": 4, "nvmlDeviceGetEnforcedPowerLimit(gpu1)": 60_000}
    device = machine_device(detect("t4-x4", None, answers))
    assert device is not None
    assert device.links["pcie"].gb_per_s == pytest.approx(15.75 / 4)
    assert device.tdp_w == 60


@pytest.mark.parametrize(
    ("peer", "level", "kind"),
    [(0, 10, "p2p-switch"), (0, 20, "p2p-switch"), (0, 30, "p2p-root"), (0, 50, "p2p-root"), (2, 10, "staged")],
)
def test_the_host_is_what_the_driver_says(detect: Detect, peer: int, level: int, kind: str) -> None:
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    answers = {f"nvmlDeviceGetP2PStatus(gpu{i}, gpu{j}, 0)": peer for i, j in pairs}
    answers |= {f"nvmlDeviceGetTopologyCommonAncestor(gpu{i}, gpu{j})": level for i, j in pairs}
    device = machine_device(detect("t4-x4", None, answers))
    assert device is not None
    assert device.host == kind
    assert device.between == hosts()[kind]


def test_one_gpu_that_is_lost_is_named(detect: Detect) -> None:
    with pytest.raises(HardwareError, match="choose with CUDA_VISIBLE_DEVICES"):
        machine_device(detect("a100-one-lost"))


def test_no_gpu_is_no_device(detect: Detect) -> None:
    assert machine_device(detect("no-driver")) is None
