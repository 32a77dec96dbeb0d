"""The device of a trace: by its name, never guessed."""

from types import SimpleNamespace
from typing import Any

import pytest

from roofline.profiling.device import device_of, properties


def trace(*devices: Any) -> Any:
    return SimpleNamespace(metadata={"deviceProperties": list(devices)})


H100 = {"id": 0, "name": "NVIDIA H100 80GB HBM3"}


def test_the_properties_of_an_index_or_of_the_first() -> None:
    found = trace("odd", H100, {"id": 3, "name": "x"})
    assert properties(found, 3)["name"] == "x"
    assert properties(found, 7) is H100
    assert properties(trace(), 0) == {}
    assert properties(SimpleNamespace(metadata={"deviceProperties": "odd"}), 0) == {}  # type: ignore[arg-type]


def test_a_drivers_name_is_a_device_of_the_catalog() -> None:
    device, name, note = device_of(trace(H100), 0)
    assert device is not None
    assert (device.id, name, note) == ("h100-sxm-80gb", H100["name"], "")


def test_a_virtual_function_is_its_device_and_that_is_said() -> None:
    device, _, note = device_of(trace({"id": 0, "name": "NVIDIA H100 80GB HBM3 vGPU 40"}), 0)
    assert device is not None
    assert device.id == "h100-sxm-80gb"
    assert note == "'NVIDIA H100 80GB HBM3 vGPU 40' is taken for h100-sxm-80gb (a virtual function of it)"


def test_an_unknown_name_is_not_guessed_by_its_size() -> None:
    device, _, note = device_of(trace({"id": 0, "name": "NVIDIA X1", "numSms": 132, "totalGlobalMem": 85e9}), 0)
    assert device is None
    assert "by its size it may be" in note
    assert "h100-sxm-80gb" in note
    assert note.endswith("give --device for expected times")
    assert device_of(trace(), 0) == (None, "", "the trace names no device: give --device for expected times")


def test_a_slice_of_a_card_has_a_share_of_its_figures() -> None:
    name = "NVIDIA A100-SXM4-40GB MIG 3g.20gb"
    listed = trace({"id": 0, "name": name, "numSms": 42, "totalGlobalMem": 20_950_548_480})  # 19,980 MiB
    device, found, note = device_of(listed, 0)
    assert device is not None
    assert (device.id, found) == ("a100-sxm-40gb", name)
    assert device.peak["bf16"].tflops == pytest.approx(312 * 42 / 108, rel=1e-3)
    assert device.memory.bandwidth.gb_per_s == pytest.approx(1555 / 2)
    assert note == f"{name!r} is a slice of a100-sxm-40gb: 42 of 108 SMs, 4 of 8 memory slices"
    by_profile = device_of(trace({"id": 0, "name": name}), 0)[0]
    assert by_profile is not None
    assert by_profile.peak["bf16"].tflops == device.peak["bf16"].tflops
    assert device_of(trace({"id": 0, "name": "NVIDIA A100-SXM4-40GB MIG 9g.20gb"}), 0)[0] is None
