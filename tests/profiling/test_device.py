"""The device of a trace: by its name, never guessed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

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
