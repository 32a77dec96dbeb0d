"""What the driver of a machine changes on a device reaches the estimate, and is said in every answer."""

from collections.abc import Callable

import pytest

import roofline
from roofline.hardware import Device, load_device
from roofline.hardware.detect.detect import Detection
from roofline.hardware.detect.machine import machine_device

Detect = Callable[..., Detection]
SEVERAL = {"num_devices": 2, "tp": 2, "micro_batch": 2, "seq_len": 1024}


def step_s(device: Device | str, **options: object) -> float:
    return float(roofline.estimate("gpt2-medium", device, **options).step_time_s)


def local(detect: Detect, machine: str, answers: dict[str, object] | None = None) -> Device:
    device = machine_device(detect(machine, None, answers))
    assert device is not None
    return device


def test_machine_device_has_the_memory_its_driver_lists(detect: Detect) -> None:
    device = machine_device(detect("a100-sxm-40gb-old-driver"))
    assert device is not None
    assert device.memory_bytes == 40536 * 2**20
    assert device.peaks == load_device("a100-sxm-40gb").peaks


def test_a_power_cap_reaches_the_estimate(detect: Detect) -> None:
    capped = {"nvmlDeviceGetEnforcedPowerLimit(gpu0)": 175_000}  # half of 350 W
    device = local(detect, "h100-pcie-80gb-power-limited", capped)
    assert (device.tdp_w, device.power.tdp_w if device.power else None) == (175, 350)
    assert any("power limit 175 W is below the default 350 W" in caveat for caveat in device.caveats)
    assert step_s(device, micro_batch=4) > 1.1 * step_s("h100-pcie-80gb", micro_batch=4)


def test_links_that_are_down_reach_the_estimate(detect: Detect) -> None:
    down = {f"nvmlDeviceGetNvLinkState(gpu{g}, {link})": 0 for g in (0, 1) for link in range(8, 18)}
    device = local(detect, "h100-sxm-80gb-x2", down)
    assert device.scale_up_bytes_per_s == pytest.approx(450e9 * 8 / 18)
    assert any("8 NVLinks are up: 200 of 450 GB/s" in caveat for caveat in device.caveats)
    assert step_s(device, **SEVERAL) > 1.02 * step_s(local(detect, "h100-sxm-80gb-x2"), **SEVERAL)


def test_no_link_up_leaves_pcie(detect: Detect) -> None:
    down = {f"nvmlDeviceGetNvLinkState(gpu{g}, {link})": 0 for g in (0, 1) for link in range(18)}
    device = local(detect, "h100-sxm-80gb-x2", down)
    assert "scale_up" not in device.links
    assert device.between is not None
    assert any("none of 18 NVLinks is up" in caveat for caveat in device.caveats)


def test_the_slot_reaches_the_estimate(detect: Detect) -> None:
    slot = {f"nvmlDeviceGetMaxPcieLink{what}(gpu{g})": n for g in range(4) for what, n in (("Width", 4),)}
    device, usual = local(detect, "t4-x4", slot), local(detect, "t4-x4")
    assert device.links["pcie"].gb_per_s == pytest.approx(15.75 / 4)
    assert any("its slot gives PCIe 3.0 x4" in caveat for caveat in device.caveats)
    options = {"num_devices": 4, "micro_batch": 2, "seq_len": 512}
    assert step_s(device, **options) > 1.1 * step_s(usual, **options)


def test_a_bridge_that_is_there_joins_its_pair(detect: Detect) -> None:
    bridge = {"nvmlDeviceGetNvLinkVersion(gpu0, 0)": 3}
    bridge |= {f"nvmlDeviceGetNvLinkState(gpu0, {link})": 1 for link in range(4)}
    device = detect("mixed-3090-4090", None, bridge).gpus[0].device
    assert device is not None
    assert device.links["scale_up"] == load_device("rtx-3090").links["bridge"]


def test_nothing_is_said_of_a_machine_as_the_catalog_has_it(detect: Detect) -> None:
    assert local(detect, "rtx-4090").caveats == load_device("rtx-4090").caveats


def test_what_is_said_is_in_every_answer(detect: Detect) -> None:
    device = local(detect, "h100-pcie-80gb-power-limited")
    assert any("310 W is below the default 350 W" in caveat for caveat in device.caveats)
    result = roofline.estimate("gpt2", device, micro_batch=4)
    assert any("310 W is below" in note for note in result.to_dict()["notes"])
