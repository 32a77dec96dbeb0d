"""``roofline calibrate``: a file that ``--device local`` finds, or nothing."""

import time
from pathlib import Path

import msgspec
import pytest

from roofline.cli import main
from roofline.hardware import load_device
from roofline.hardware.calibrate.calibrate import Calibration


def test_calibrate_writes_a_file_that_local_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed) -> None:
    from roofline.hardware.detect import local

    monkeypatch.setattr(
        "roofline.hardware.calibrate.kernels.CPU_SHAPES", tuple((n, n, n) for n in (32, 48, 64, 96, 128))
    )
    # the time of this process: other programs make it no longer
    monkeypatch.setattr("roofline.hardware.calibrate.measure.clock_of", lambda _: time.process_time)
    monkeypatch.setattr("roofline.hardware.calibrate.kernels.stream_size", lambda: 2**22)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    text = printed("calibrate", "--engine", "numpy", "--seconds", "1", "--rounds", "1", "--force")
    assert "--device local" in text
    assert "GFLOP/s" in text
    local.local_device.cache_clear()
    try:
        assert "NumPy" in load_device("local").sources["calibration"]
        assert [path.name for path in (tmp_path / "roofline").iterdir()] == ["local.toml"]
    finally:
        local.local_device.cache_clear()


def test_calibrate_refuses_a_folder_that_is_not_there(tmp_path: Path, refused) -> None:
    assert "there is no folder" in refused("calibrate", "--output", str(tmp_path / "nodir" / "x.toml"))
    assert list(tmp_path.iterdir()) == []


def test_calibrate_refuses_other_file_types(refused) -> None:
    assert ".toml" in refused("calibrate", "--output", "x.json")


def calibrated(noisy: tuple[str, ...]) -> Calibration:
    device = msgspec.structs.replace(load_device("epyc-9654"), sources={"calibration": "by a test"})
    return Calibration(device=device, samples=(), notes=(), median_spread=0.3, noisy=noisy)


@pytest.mark.parametrize(
    ("noisy", "options", "status", "names"),
    [
        ((), [], 0, ["local.toml"]),
        (("rounds differ by 30 % (median)",), [], 1, []),
        (("rounds differ by 30 % (median)",), ["--force"], 0, ["local.toml"]),
    ],
)
def test_a_noisy_result_is_not_put_where_local_reads_it_unless_forced(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    noisy: tuple[str, ...],
    options: list[str],
    status: int,
    names: list[str],
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("roofline.hardware.calibrate.calibrate.calibrate", lambda *_args, **_kw: calibrated(noisy))
    assert main(["calibrate", *options]) == status
    text = " ".join(capsys.readouterr().out.split())
    folder = tmp_path / "roofline"
    assert ([path.name for path in folder.iterdir()] if folder.exists() else []) == names
    assert ("NOT written" in text) == (not names)
    if not names:
        assert "rounds differ by 30 %" in text
        assert "--force" in text


def test_a_noisy_result_goes_where_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered) -> None:
    monkeypatch.setattr(
        "roofline.hardware.calibrate.calibrate.calibrate", lambda *_args, **_kw: calibrated(("rounds differ",))
    )
    path = tmp_path / "mine.toml"
    assert answered("calibrate", "--output", str(path))["file"] == str(path)
    assert path.exists()
