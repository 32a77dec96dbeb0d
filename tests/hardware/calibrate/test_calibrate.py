"""Calibration recovers known constants, writes a file that loads, and leaves nothing half-written."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from roofline.hardware import HardwareError, load_device
from roofline.hardware.calibrate.calibrate import (
    Sample,
    _raised,
    _tables,
    _usable,
    _with_bandwidth,
    _with_bf16,
    _with_cache_bandwidth,
    calibrate,
    choose_engine,
    from_cache,
    measure,
)
from roofline.hardware.calibrate.fit import fit_attention, fit_gemm, spread
from roofline.hardware.calibrate.kernels import CPU_SHAPES, Kernel, NumpyEngine
from roofline.hardware.calibrate.writer import to_toml, write_device
from roofline.hardware.check.rules import problems
from roofline.hardware.detect.bench import cache_bytes_per_s, one_core, seconds, stream_bytes_per_s
from roofline.hardware.detect.cpu import CpuCache, read_cpu
from roofline.hardware.detect.local import cpu_device

PEAK, BANDWIDTH = 200e9, 20e9


def model_seconds(flops: float, moved: float, cap: float, share: float, t0: float, p: float) -> float:
    compute, memory = flops / (cap * PEAK), moved / (share * BANDWIDTH)
    return t0 + float((compute**p + memory**p) ** (1 / p))


def test_gemm_fit_recovers_the_constants_of_the_model() -> None:
    flops = [2.0 * m * n * k for m, n, k in CPU_SHAPES]
    moved = [4.0 * (m * k + k * n + m * n) for m, n, k in CPU_SHAPES]
    times = [model_seconds(f, b, 0.9, 0.5, 5e-6, 2.0) for f, b in zip(flops, moved, strict=True)]
    fit = fit_gemm(flops, moved, times, peak=PEAK, bandwidth=BANDWIDTH)
    assert fit.mape < 2.0
    assert fit.cap == pytest.approx(0.9, rel=0.03)
    predicted = [
        model_seconds(f, b, fit.cap, fit.bandwidth, fit.t0_us * 1e-6, fit.p) for f, b in zip(flops, moved, strict=True)
    ]
    assert predicted == pytest.approx(times, rel=0.1)


def test_no_fit_is_above_its_peak() -> None:
    fit = fit_gemm([1e9], [1e6], [1e-3], peak=PEAK, bandwidth=BANDWIDTH)  # 1 TFLOP/s on a peak of 0.2
    assert fit.cap == 1.0


def test_attention_fit_recovers_cap_and_tile_time() -> None:
    flops, tiles = [1e8, 4e8, 1.6e9, 6.4e9], [8.0, 16.0, 32.0, 64.0]
    times = [f / (0.4 * PEAK) + n * 20e-6 for f, n in zip(flops, tiles, strict=True)]
    fit = fit_attention(flops, tiles, times, peak=PEAK)
    assert fit.cap == pytest.approx(0.4, rel=0.1)
    assert fit.tile_us == pytest.approx(20, rel=0.2)
    assert fit.mape < 5


def test_spread_is_the_range_over_the_median() -> None:
    assert spread([1.0, 2.0, 4.0]) == 1.5  # (4 - 1) / 2


class Fake:
    """An engine whose kernels take no time worth waiting for."""

    name, threads = "fake 1.0", 2

    def __init__(self) -> None:
        self.built = 0

    def kernels(self) -> Iterator[Kernel]:
        for index in range(3):
            yield Kernel(group="gemm", name=f"k{index}", dtype="fp32", build=self._build, flops=1.0, inner=10)

    def _build(self) -> Callable[[], Any]:
        self.built += 1
        return lambda: None


def test_every_kernel_runs_in_every_round_and_progress_is_told() -> None:
    engine, seen = Fake(), []
    samples = measure(engine, rounds=2, budget_s=0.01, progress=lambda what, share: seen.append((what, share)))
    assert engine.built == 6
    assert [s.name for s in samples] == ["k0", "k1", "k2"]
    assert all(len(s.rounds) == 2 and s.seconds == min(s.rounds) for s in samples)
    assert [share for _, share in seen] == sorted(share for _, share in seen)


def device() -> Any:
    cpu = read_cpu()
    return cpu_device(cpu, peaks={"fp32": 100e9, "fp64": 50e9}, bandwidth=20e9)


def sample(group: str, dtype: str = "fp32", **fields: Any) -> Sample:
    values = {"flops": 0.0, "bytes": 0.0, "shape": (), "rounds": (1e-3, 1.1e-3)} | fields
    return Sample(group=group, name=group, dtype=dtype, **values)


def test_tables_hold_what_was_measured_and_load(tmp_path: Path) -> None:
    base = device()
    unit = base.peaks["fp32"] * 1e-3
    samples = [
        sample("gemm", flops=0.8 * unit, bytes=1e6, shape=(64, 64, 64)),
        sample("gemm", flops=0.4 * unit, bytes=1e7, shape=(64, 64, 32)),
        sample("wgrad", flops=0.4 * unit, bytes=1e7, shape=(64, 64, 32), rounds=(1.575e-3, 1.575e-3)),
        sample("elementwise", bytes=1e7, rounds=(1e-3,)),
        sample("launch", rounds=(2e-6, 2e-6)),
        sample("attention", flops=0.2 * unit, shape=(1, 2, 256, 64)),
        sample("attention_backward", flops=0.3 * unit, shape=(1, 2, 256, 64)),
    ]
    tables = _tables(base, samples)
    assert tables["gemm_fp32"]["wgrad"] == 1.5
    assert tables["memory_bound"]["elementwise"] == pytest.approx(
        {"bandwidth": 0.5, "t0_us": 2.0, "source": tables["gemm_fp32"]["source"]}
    )
    assert "gemm" not in tables  # bf16 was not measured: its constants stay the defaults
    from msgspec.structs import replace

    path = tmp_path / "mine.toml"
    write_device(str(path), to_toml(replace(base, measured_tables=tables), heading="measured here"))
    loaded = load_device(str(path))
    assert loaded.peaks == base.peaks
    assert loaded.measured.gemm_fp32.origin == "device"
    assert loaded.measured.gemm_fp32.cap == pytest.approx(0.8, rel=0.15)
    assert loaded.measured.memory_bound["elementwise"].bandwidth == 0.5
    assert loaded.measured.memory_bound["softmax"].origin != "device"
    assert loaded.measured.attention["flash2"].origin == "device"


def test_a_fit_that_misses_its_measurements_is_not_written() -> None:
    notes: list[str] = []
    tables = {"gemm": {"mape": 140.0}, "gemm_fp32": {"mape": 4.0}, "launch": {"eager_us": 1.0}}
    assert set(_usable(tables, notes)) == {"gemm_fp32", "launch"}
    assert "140 %" in notes[0]


def test_a_peak_below_what_was_measured_is_raised_and_says_so() -> None:
    base = device()
    raised = _raised(base, [sample("gemm", flops=2 * base.peaks["fp32"] * 1e-3, bytes=1.0, shape=(1, 1, 1))])
    assert raised.peaks["fp32"] == pytest.approx(2 * base.peaks["fp32"])
    assert raised.peak["fp32"].source == "calibration"


def test_memory_bandwidth_is_that_of_the_best_stream_in_the_rounds() -> None:
    measured = _with_bandwidth(device(), [sample("stream", bytes=5e7, rounds=(1.2e-3, 1e-3, 1.1e-3))])
    assert measured.memory_bandwidth_bytes_per_s == pytest.approx(50e9)  # 5e7 / 1e-3
    assert measured.memory.bandwidth.source == "calibration"
    assert "spread 18 %" in (measured.memory.bandwidth.not_derived or "")  # 0.2 / 1.1


def test_a_kernel_from_cache_is_told_and_not_clamped() -> None:
    base = device()
    cached = sample("optimizer", bytes=3 * base.memory_bandwidth_bytes_per_s * 1e-3, rounds=(1e-3,))
    assert _tables(base, [cached])["memory_bound"]["optimizer"]["bandwidth"] == pytest.approx(3.0)
    last = max(cache.bytes for cache in base.caches)
    assert from_cache(sample("elementwise", footprint=last), base)
    assert not from_cache(sample("elementwise", footprint=3 * last), base)


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
    monkeypatch.setattr("roofline.hardware.calibrate.calibrate.cache_bytes_per_s", lambda size, _threads: rates[size])
    base = cpu_device(cpu, peaks={"fp32": 100e9, "fp64": 50e9}, bandwidth=20e9)
    found = {cache.level: cache.gb_per_s for cache in _with_cache_bandwidth(base, cpu).caches}
    assert found == {"L1": None, "L2": 120.0, "L3": 90.0}  # one core's L1 and L2 times two; 60 < 120


def test_one_core_is_measured_here_where_no_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: Any, **_kwargs: Any) -> None:
        raise PermissionError

    monkeypatch.setattr("subprocess.run", refused)
    assert one_core()["fp32"] > 0


def test_bf16_is_added_only_where_it_was_measured() -> None:
    base, cpu = device(), read_cpu()
    assert "bf16" not in _with_bf16(base, cpu, [sample("gemm", flops=1.0)]).peaks
    assert "bf16" in _with_bf16(base, cpu, [sample("gemm", dtype="bf16", flops=1.0)]).peaks


@pytest.mark.parametrize("device_id", ["h100-sxm-80gb", "mi300a", "epyc-9654", "tpu-v4", "apple-m4-pro-gpu"])
def test_what_is_written_reads_back_the_same(device_id: str, tmp_path: Path) -> None:
    path = tmp_path / "copy.toml"
    original = load_device(device_id)
    write_device(str(path), to_toml(original))
    assert load_device(str(path)) == original


def test_writing_fails_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HardwareError, match="cannot write"):
        write_device(str(tmp_path / "file" / "x.toml"), "id = 1\n")
    target = tmp_path / "x.toml"
    target.mkdir()
    with pytest.raises(HardwareError, match="cannot write"):
        write_device(str(target), "id = 1\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "x.toml"]


def test_numpy_calibration_of_this_machine_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "roofline.hardware.calibrate.kernels.CPU_SHAPES", tuple((n, n, n) for n in (32, 48, 64, 96, 128))
    )
    shares: list[float] = []
    calibration = calibrate("numpy", budget_s=0.2, rounds=1, progress=lambda _what, share: shares.append(share))
    assert list(problems(calibration.device)) == []
    assert "NumPy" in calibration.device.sources["calibration"]
    assert calibration.device.measured.launch.origin == "device"
    assert all(0 <= share <= 1 for share in shares)


def test_interrupted_calibration_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from roofline.cli import main

    def interrupted(*_args: Any, **_kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("roofline.hardware.calibrate.calibrate.calibrate", interrupted)
    assert main(["calibrate", "--output", str(tmp_path / "x.toml")]) == 130
    assert "nothing is written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_missing_torch_names_the_extra() -> None:
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("torch is installed")
    with pytest.raises(HardwareError, match=r"roofline\[torch\]"):
        choose_engine("torch", 1)
    assert isinstance(choose_engine("auto", 1), NumpyEngine)


def test_more_threads_than_cores_is_refused() -> None:
    with pytest.raises(HardwareError, match="--threads 4096"):
        calibrate("numpy", threads=4096)


def test_torch_kernels_run() -> None:
    pytest.importorskip("torch")
    from roofline.hardware.calibrate.kernels import TorchEngine

    groups = set()
    for kernel in TorchEngine("cpu", 1).kernels():
        if kernel.group not in groups:
            groups.add(kernel.group)
            kernel.build()()
    assert {"gemm", "wgrad", "attention", "attention_backward", "optimizer", "softmax"} <= groups


def test_benchmarks_measure_something() -> None:
    assert len(seconds(lambda: None, budget_s=0.0)) == 3
    for threads in (1, 2):
        assert stream_bytes_per_s(2**20, threads, budget_s=0.01) > 1e6
        assert cache_bytes_per_s(2**14, threads, budget_s=0.01) > 1e6
