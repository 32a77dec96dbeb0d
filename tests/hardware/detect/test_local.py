"""``--device local``: the calibrated file, else this machine's GPUs, else its CPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from roofline.hardware import HardwareError, load_device
from roofline.hardware.calibrate.writer import to_toml, write_device
from roofline.hardware.check.rules import problems
from roofline.hardware.detect import local
from roofline.hardware.detect.cpu import Cpu, read_cpu
from roofline.hardware.detect.detect import Detection, Found
from roofline.hardware.detect.gpu import Gpu
from roofline.hardware.detect.local import architecture_of, calibrated_file, cpu_device, local_device


def cpu_of(microarchitecture: str | None, **figures: Any) -> Cpu:
    """This machine's CPU with other figures."""
    known = {
        "model_name": "Xeon of a test",
        "model_hidden": False,
        "vendor": "GenuineIntel",
        "sockets": 1,
        "available_cores": 4,
        "base_mhz": None,
        "memory_bytes": 64 * 2**30,
        "memory_limit_bytes": None,
    }
    return msgspec.structs.replace(read_cpu(), microarchitecture=microarchitecture, **{**known, **figures})


def test_known_clock_gives_the_peak_of_every_dtype() -> None:
    cpu = cpu_of("sapphirerapids", base_mhz=2000.0, vector=("amx_bf16", "avx512f"))
    device = cpu_device(cpu, bandwidth=100e9)
    assert device.confidence == "derived"
    # 4 cores x 1024 FLOPs per cycle (AMX) x 2.0 GHz
    assert device.peaks["bf16"] == pytest.approx(4 * 1024 * 2.0e9)
    assert device.peaks["fp32"] == pytest.approx(4 * 64 * 2.0e9)
    assert list(problems(device)) == []


def test_without_amx_bf16_runs_on_the_vector_units() -> None:
    found = architecture_of(cpu_of("sapphirerapids", vector=("avx512_bf16", "avx512f")))
    assert found is not None
    assert found[2] == "avx512"


def test_hidden_clock_gives_a_measured_peak() -> None:
    cpu = cpu_of("zen4", model_name="AMD EPYC", model_hidden=True, base_mhz=2000.0, available_cores=2)
    device = cpu_device(cpu, peaks={"fp32": 100e9, "fp64": 50e9}, bandwidth=20e9)
    assert device.confidence == "measured"
    assert device.peaks == {"fp64": 100e9, "fp32": 200e9}
    assert "measured" in device.caveats[0]
    assert device.architecture == "zen4"
    assert device.memory_bytes == 64 * 2**30
    assert list(problems(device)) == []


def test_unknown_cpu_still_is_a_device() -> None:
    device = cpu_device(cpu_of(None), peaks={"fp32": 1e9, "fp64": 1e9}, bandwidth=1e9)
    assert device.architecture == "cpu"
    assert device.measured.gemm_fp32.cap > 0


def test_memory_that_nobody_states_is_no_zero() -> None:
    with pytest.raises(HardwareError, match="does not say how much memory it has"):
        cpu_device(cpu_of("zen4", memory_bytes=None), peaks={"fp32": 1e11, "fp64": 1e11}, bandwidth=1e11)


def test_calibrated_file_lies_in_the_config_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert calibrated_file() == str(tmp_path / "roofline" / "local.toml")


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A user without a calibrated file."""
    path = tmp_path / "local.toml"
    monkeypatch.setattr(local, "calibrated_file", lambda: str(path))
    local_device.cache_clear()
    yield path
    local_device.cache_clear()


def test_the_calibrated_file_comes_first(nowhere: Path) -> None:
    write_device(str(nowhere), to_toml(load_device("l4")))
    assert local_device() == load_device("l4")


def test_then_the_gpus_then_the_cpu(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = load_device("rtx-4090")
    found = Found(gpu=Gpu(index=0, name=card.name), device=card, how="exact name")
    monkeypatch.setattr(local, "detect_gpus", lambda: Detection(gpus=(found,)))
    assert local_device() == card
    local_device.cache_clear()
    monkeypatch.setattr(local, "detect_gpus", lambda: Detection(why_not="none here"))
    monkeypatch.setattr(local, "cpu_device", lambda _cpu: load_device("epyc-9654"))
    assert local_device().id == "epyc-9654"
