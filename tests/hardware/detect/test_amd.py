"""AMD GPUs through amdsmi: every call may fail alone, partitions are parts."""

# ruff: noqa: ARG004  (fakes keep the arguments of what they replace)

from typing import Any

import pytest

from roofline.hardware import load_device
from roofline.hardware.detect.amd import part_of, read_amd_gpus
from roofline.hardware.detect.gpu import Gpu
from roofline.hardware.detect.match import match
from roofline.hardware.driver_names import plain_name


class FakeAmd:
    """The part of amdsmi that is asked; the UUID call fails alone."""

    @staticmethod
    def amdsmi_init() -> None:
        return None

    @staticmethod
    def amdsmi_get_processor_handles() -> list[str]:
        return ["a"]

    @staticmethod
    def amdsmi_get_gpu_asic_info(handle: str) -> dict[str, Any]:
        return {"market_name": "AMD Instinct MI300X", "num_compute_units": 304, "target_graphics_version": "gfx942"}

    @staticmethod
    def amdsmi_get_gpu_vram_info(handle: str) -> dict[str, Any]:
        return {"vram_size": 196592}

    @staticmethod
    def amdsmi_get_gpu_device_bdf(handle: str) -> str:
        return "0000:05:00.0"

    @staticmethod
    def amdsmi_get_gpu_compute_partition(handle: str) -> str:
        return "SPX"

    @staticmethod
    def amdsmi_get_power_cap_info(handle: str) -> dict[str, Any]:
        return {"power_cap": 750_000_000, "default_power_cap": 750_000_000}


def test_amd_gpus_are_read_where_amdsmi_is_installed() -> None:
    (gpu,) = read_amd_gpus(FakeAmd())
    device, how = match(gpu)
    assert how == "exact name"
    assert device is load_device("mi300x")
    assert gpu.power_limit_w == 750
    assert gpu.failed == {"uuid": "AttributeError"}


class Odd(FakeAmd):
    """Answers of other forms than documented."""

    @staticmethod
    def amdsmi_get_gpu_asic_info(handle: str) -> Any:
        return ["x"]

    @staticmethod
    def amdsmi_get_gpu_vram_info(handle: str) -> Any:
        return {"vram_size": "N/A"}

    @staticmethod
    def amdsmi_get_power_cap_info(handle: str) -> Any:
        raise ZeroDivisionError


def test_answers_of_any_form_are_no_crash() -> None:
    (gpu,) = read_amd_gpus(Odd())
    assert (gpu.name, gpu.memory_bytes, gpu.power_limit_w) == (None, None, None)
    assert match(gpu)[0] is None


def test_a_partition_is_a_part_of_the_card() -> None:
    whole = load_device("mi300x")
    part, said = part_of(whole, Gpu(index=0, name="AMD Instinct MI300X", partition="CPX", compute_units=38))
    assert said is not None
    assert "38 of 304 CUs" in said
    assert part.peaks["bf16"] == pytest.approx(whole.peaks["bf16"] / 8)
    assert part.memory_bandwidth_bytes_per_s == pytest.approx(whole.memory_bandwidth_bytes_per_s / 8)
    assert part.memory_bytes == pytest.approx(whole.memory_bytes / 8)
    assert part.devices_per_node == 64
    assert part_of(whole, Gpu(index=0, partition="SPX")) == (whole, None)


def test_a_virtual_function_is_the_card() -> None:
    assert plain_name("AMD Instinct MI300X VF") == "AMD Instinct MI300X"
    assert plain_name("NVIDIA VF") == "NVIDIA VF"
