"""The device before its constants: of a CPU, of the catalog, or of what PyTorch reports."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from roofline.hardware import HardwareError
from roofline.hardware.calibrate.base import (
    cpu_dtypes,
    gpu_base,
    gpu_dtypes,
    raised,
    with_bandwidth,
    with_bf16,
    with_cache_bandwidth,
    with_measured_peaks,
)
from roofline.hardware.check.rules import problems
from roofline.hardware.detect.cpu import CpuCache, read_cpu
from roofline.hardware.detect.detect import detect_gpus
from roofline.hardware.detect.local import cpu_device
from roofline.hardware.detect.nvml import load_recording

from .samples import device, sample


def test_a_peak_below_what_was_measured_is_raised_and_says_so() -> None:
    base = device()
    fast = sample("gemm", flops=2 * base.peaks["fp32"] * 1e-3, shape=(1, 1, 1), rounds=(0.5e-3, 1e-3, 1.1e-3))
    found = raised(base, [fast])
    assert found.peaks["fp32"] == pytest.approx(2 * base.peaks["fp32"])  # not four times: one round may be wrong
    assert found.peak["fp32"].source == "calibration"


def test_memory_bandwidth_is_that_of_the_best_stream_in_the_rounds() -> None:
    measured = with_bandwidth(device(), [sample("stream", bytes=5e7, rounds=(1.2e-3, 1e-3, 1.1e-3))])
    assert measured.memory_bandwidth_bytes_per_s == pytest.approx(50e9)  # 5e7 / 1e-3
    assert measured.memory.bandwidth.source == "calibration"
    assert "spread 18 %" in (measured.memory.bandwidth.not_derived or "")  # 0.2 / 1.1


def test_cache_rates_fall_outwards_and_what_does_not_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = msgspec.structs.replace(
        read_cpu(),
        physical_cores=4,
        available_cores=2,
        caches=tuple(
            CpuCache(level=level, count=count, kib_each=kib)
            for level, count, kib in ((1, 4, 32), (2, 4, 1024), (3, 1, 32768))
        ),
    )
    rates = {16 * 1024: 30e9, 512 * 1024: 60e9, 8192 * 1024: 90e9}  # half of 32 MiB over two threads
    monkeypatch.setattr("roofline.hardware.calibrate.base.cache_bytes_per_s", lambda size, _threads: rates[size])
    base = cpu_device(cpu, peaks={"fp32": 100e9, "fp64": 50e9}, bandwidth=20e9)
    found = {cache.level: cache.gb_per_s for cache in with_cache_bandwidth(base, cpu).caches}
    assert found == {"L1": None, "L2": 120.0, "L3": 90.0}  # one core's L1 and L2 times two; 60 < 120


def test_no_stream_is_one_line() -> None:
    with pytest.raises(HardwareError, match="--seconds"):
        with_bandwidth(device(), [])


@pytest.mark.parametrize(
    ("vector", "dtypes"),
    [
        (("avx2",), ("fp32",)),
        (("avx512f", "avx2"), ("fp32",)),
        (("avx512_bf16", "avx512f"), ("fp32", "bf16")),
        (("amx_bf16", "amx_tile"), ("fp32", "bf16")),
        (("bf16", "sve"), ("fp32", "bf16")),
    ],
)
def test_a_cpu_multiplies_bf16_where_it_has_instructions(vector: tuple[str, ...], dtypes: tuple[str, ...]) -> None:
    assert cpu_dtypes(msgspec.structs.replace(read_cpu(), vector=vector)) == dtypes


def test_bf16_is_an_engine_only_where_it_is_faster() -> None:
    base, cpu = device(), read_cpu()
    fp32 = sample("gemm", flops=1e8)
    assert "bf16" not in with_bf16(base, cpu, [fp32]).peaks
    assert "bf16" not in with_bf16(base, cpu, [fp32, sample("gemm", dtype="bf16", flops=1e7)]).peaks  # emulated
    assert "bf16" in with_bf16(base, cpu, [fp32, sample("gemm", dtype="bf16", flops=1.8e8)]).peaks


def torch_of(name: str, *, major: int = 6, minor: int = 1, hip: str | None = None, **more: Any) -> Any:
    """What PyTorch answers about one accelerator."""
    found = SimpleNamespace(name=name, total_memory=16 * 2**30, major=major, minor=minor, **more)
    backend = SimpleNamespace(
        get_device_properties=lambda _index: found,
        get_device_capability=lambda _index: (major, minor),
        get_device_name=lambda: name,
    )
    mps = SimpleNamespace(recommended_max_memory=lambda: 48 * 2**30)
    return SimpleNamespace(cuda=backend, xpu=backend, mps=mps, version=SimpleNamespace(hip=hip))


@pytest.mark.parametrize(
    ("kind", "torch", "vendor", "units"),
    [
        ("cuda", torch_of("NVIDIA Unheard Of", major=19, multi_processor_count=48), "NVIDIA", 48),
        ("cuda", torch_of("AMD Unheard Of", major=11, hip="6.3", multi_processor_count=40), "AMD", 40),
        ("xpu", torch_of("Intel Unheard Of", max_compute_units=160), "Intel", 160),
        ("mps", torch_of("unused"), "Apple", None),
    ],
)
def test_an_accelerator_that_no_catalog_has_is_built_of_what_pytorch_reports(
    kind: str, torch: Any, vendor: str, units: int | None
) -> None:
    base = gpu_base(torch, kind)
    assert (base.vendor, base.units, base.kind, base.peak) == (vendor, units, "gpu", {})
    samples = [
        sample("stream", bytes=5e8),
        sample("gemm", flops=2e10, shape=(64, 64, 64)),
        sample("gemm", dtype="bf16", flops=8e10, shape=(64, 64, 64)),
    ]
    found = with_measured_peaks(with_bandwidth(base, samples), samples)
    assert found.peaks == {"fp32": 2e13, "bf16": 8e13}
    assert found.memory_bandwidth_bytes_per_s == 500e9
    said = msgspec.structs.replace(found, sources={**found.sources, "calibration": "measured here"})
    assert list(problems(said)) == []


def test_what_the_catalog_has_is_taken_from_it() -> None:
    assert gpu_base(torch_of("NVIDIA GeForce RTX 4090", major=8, minor=9), "cuda").id == "rtx-4090"


def test_a_gpu_without_bf16_is_measured_in_fp16() -> None:
    assert gpu_dtypes(torch_of("Tesla T4", major=7, minor=5), "cuda") == ("fp32", "fp16")
    assert gpu_dtypes(torch_of("NVIDIA L4", major=8, minor=9), "cuda") == ("fp32", "bf16")
    assert gpu_dtypes(torch_of("gfx906", major=9, minor=0, hip="6.3"), "cuda") == ("fp32", "bf16")


def test_what_is_measured_under_a_power_limit_holds_it_already(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).parents[2] / "fixtures" / "nvml" / "h100-pcie-80gb-power-limited.json"
    detection = detect_gpus(load_recording(str(path))[0], {})
    monkeypatch.setattr("roofline.hardware.calibrate.base.detect_gpus", lambda: detection)
    base = gpu_base(torch_of("NVIDIA H100 PCIe", major=9, minor=0), "cuda")
    assert base.power is not None
    assert (base.power.tdp_w, base.power.limit_w) == (310, None)
    assert any("310 W is below the default 350 W" in caveat for caveat in base.caveats)
    other = gpu_base(torch_of("NVIDIA L4", major=8, minor=9), "cuda")  # PyTorch runs on another one than NVML lists
    assert other.id == "l4"
