"""What samples say becomes tables; what is not plausible does not."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from roofline.hardware import load_device
from roofline.hardware.calibrate.tables import from_cache, tables_of, usable
from roofline.hardware.calibrate.writer import to_toml, write_device

from .samples import device, sample


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
    tables = tables_of(base, samples)
    assert tables["gemm_fp32"]["wgrad"] == 1.5
    assert tables["memory_bound"]["elementwise"] == pytest.approx(
        {"bandwidth": 0.5, "t0_us": 2.0, "source": tables["gemm_fp32"]["source"]}
    )
    assert "gemm" not in tables  # bf16 was not measured: its constants stay the defaults
    path = tmp_path / "mine.toml"
    write_device(str(path), to_toml(replace(base, measured_tables=tables), heading="measured here"))
    loaded = load_device(str(path))
    assert loaded.peaks == base.peaks
    assert loaded.measured.gemm_fp32.origin == "device"
    assert loaded.measured.gemm_fp32.cap == pytest.approx(0.8, rel=0.15)
    assert loaded.measured.memory_bound["elementwise"].bandwidth == 0.5
    assert loaded.measured.memory_bound["softmax"].origin != "device"
    assert loaded.measured.attention["flash2"].origin == "device"


def test_a_kernel_from_cache_is_told_and_not_clamped() -> None:
    base = device()
    cached = sample("optimizer", bytes=3 * base.memory_bandwidth_bytes_per_s * 1e-3, rounds=(1e-3,))
    assert tables_of(base, [cached])["memory_bound"]["optimizer"]["bandwidth"] == pytest.approx(3.0)
    last = max(cache.bytes for cache in base.caches)
    assert from_cache(sample("elementwise", footprint=last), base)
    assert not from_cache(sample("elementwise", footprint=3 * last), base)


def test_a_gpu_launches_from_the_host_and_its_empty_kernel_is_the_recorded_one() -> None:
    h100 = load_device("h100-sxm-80gb")
    samples = [
        sample("launch", rounds=(5e-6,)),
        sample("graph", rounds=(1.5e-6,)),
        sample("elementwise", dtype="bf16", bytes=2.4e9, rounds=(1e-3,)),
    ]
    tables = tables_of(h100, samples)
    assert {k: v for k, v in tables["launch"].items() if k != "source"} == {"eager_us": 5.0, "graph_us": 1.5}
    assert tables["memory_bound"]["elementwise"]["t0_us"] == 1.5
    merged = load_device("h100-sxm-80gb").measured.launch
    assert merged.compiled_us > 0  # the default's, for what was not measured


def test_a_fit_that_misses_its_measurements_is_not_kept() -> None:
    tables = {"gemm": {"mape": 140.0, "source": "x"}, "gemm_fp32": {"mape": 4.0, "source": "x"}}
    kept, notes = usable(tables, gpu=False)
    assert set(kept) == {"gemm_fp32"}
    assert "gemm: the fit misses its measurements by 140 %" in notes[0]


@pytest.mark.parametrize(
    ("name", "table", "figure"),
    [
        ("gemm_fp32", {"t0_us": 7500.0, "cap": 0.8}, "t0_us = 7500"),
        ("gemm", {"t0_us": 5.0, "cap": 0.029}, "cap = 0.029"),
        ("launch", {"eager_us": 900.0}, "eager_us = 900"),
        ("gemm", {"cap": float("nan")}, "cap = nan"),
    ],
)
def test_what_no_quiet_machine_has_is_not_kept(name: str, table: dict[str, Any], figure: str) -> None:
    kept, notes = usable({name: {**table, "source": "x"}}, gpu=False)
    assert kept == {}
    assert figure in notes[0]
    assert "the default stays" in notes[0]


def test_of_nested_tables_the_good_ones_are_kept() -> None:
    streams = {
        "softmax": {"bandwidth": 0.001, "t0_us": 1.0, "source": "x"},
        "elementwise": {"bandwidth": 0.8, "t0_us": 1.0, "source": "x"},
    }
    kept, notes = usable({"memory_bound": streams}, gpu=True)
    assert set(kept["memory_bound"]) == {"elementwise"}
    assert notes[0].startswith("memory_bound.softmax: bandwidth = 0.001")
