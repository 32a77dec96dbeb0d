"""MIG slices as devices, by what the driver reports and by name."""

from collections.abc import Callable

import pytest

from roofline.hardware import HardwareError, load_device
from roofline.hardware.detect.detect import Detection
from roofline.hardware.detect.gpu import Gpu, MigSlice
from roofline.hardware.detect.machine import machine_device
from roofline.hardware.detect.mig import mig_device, named_slice, split_name

Detect = Callable[..., Detection]


def test_mig_slices_scale_compute_by_multiprocessors_and_bandwidth_by_memory_slices(detect: Detect) -> None:
    whole = load_device("a100-pcie-80gb")
    small, large = (item.device for item in detect("a100-pcie-80gb-mig").gpus)
    assert small is not None
    assert large is not None
    assert small.peaks["bf16"] == pytest.approx(whole.peaks["bf16"] * 14 / 108, rel=1e-9)
    assert small.memory_bandwidth_bytes_per_s == whole.memory_bandwidth_bytes_per_s / 8
    assert small.memory_bytes == 9728 * 2**20
    assert large.peaks["bf16"] == pytest.approx(whole.peaks["bf16"] * 42 / 108, rel=1e-9)
    assert large.memory_bandwidth_bytes_per_s == whole.memory_bandwidth_bytes_per_s / 2
    assert large.scale_up_devices == 1


def test_mig_without_a_slice_gives_no_figures(detect: Detect) -> None:
    detection = detect("h100-sxm-mig-no-slice")
    assert detection.gpus[0].device is None
    with pytest.raises(HardwareError, match="no slice is visible"):
        machine_device(detection)


def test_mig_slice_of_unknown_size_gives_no_figures(detect: Detect) -> None:
    gpu = detect("a100-pcie-80gb-mig").gpus[0].gpu
    whole = load_device("a100-pcie-80gb")
    assert mig_device(whole, gpu, type(gpu.mig[0])(name="x")) is None


@pytest.mark.parametrize(("units", "mib"), [(0, 4864), (2**70, 4864), (109, 4864), (14, 0), (14, 10**9)])
def test_a_slice_larger_than_its_card_gives_no_figures(units: int, mib: int) -> None:
    part = MigSlice(name="x", multiprocessors=units, memory_mib=mib)
    assert mig_device(load_device("a100-pcie-80gb"), Gpu(index=0), part) is None


@pytest.mark.parametrize(
    ("card", "name", "units", "share"),
    [
        ("a100-sxm-40gb", "NVIDIA A100-SXM4-40GB MIG 3g.20gb", 42, 4 / 8),
        ("a100-sxm-80gb", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 14, 1 / 8),
        ("a100-sxm-80gb", "NVIDIA A100-SXM4-80GB MIG 1c.3g.40gb", 42, 4 / 8),
        ("h100-sxm-80gb", "NVIDIA H100 80GB HBM3 MIG 2g.20gb", 32, 2 / 8),
        ("h100-sxm-80gb", "NVIDIA H100 80GB HBM3 MIG 1g.20gb", 16, 2 / 8),
        ("h200-sxm-141gb", "NVIDIA H200 MIG 3g.71gb", 60, 4 / 8),
    ],
)
def test_a_slice_by_its_name(card: str, name: str, units: int, share: float) -> None:
    whole = load_device(card)
    part = named_slice(whole, name)
    assert part is not None
    assert part.units == units
    assert part.memory_bytes == pytest.approx(whole.memory_bytes * share, rel=1e-4)
    assert part.memory_bandwidth_bytes_per_s == pytest.approx(whole.memory_bandwidth_bytes_per_s * share)
    assert part.name == name


def test_other_names_are_no_slices() -> None:
    assert split_name("NVIDIA A100-SXM4-40GB") is None
    assert named_slice(load_device("l4"), "NVIDIA L4 MIG 1g.6gb") is None  # no such profile
    assert named_slice(load_device("a100-sxm-40gb"), "NVIDIA A100-SXM4-40GB MIG 5g.20gb") is None


def test_local_takes_the_first_slice_and_says_so_and_the_named_one(detect: Detect) -> None:
    first = machine_device(detect("a100-pcie-80gb-mig"))
    assert first is not None
    assert first.units == 14
    assert any("one MIG slice, and 2 are visible" in caveat for caveat in first.caveats)
    uuid = "MIG-aaaa0002-0000-0000-0000-000000000002"
    named = machine_device(detect("a100-pcie-80gb-mig", {"CUDA_VISIBLE_DEVICES": uuid}))
    assert named is not None
    assert named.units == 42
    assert not any("are visible" in caveat for caveat in named.caveats)
