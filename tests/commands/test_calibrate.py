"""``roofline calibrate``: a file that ``--device local`` finds, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from roofline.cli import main
from roofline.hardware import load_device


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_calibrate_writes_a_file_that_local_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from roofline.hardware.detect import local

    monkeypatch.setattr(
        "roofline.hardware.calibrate.kernels.CPU_SHAPES", tuple((n, n, n) for n in (32, 48, 64, 96, 128))
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    text = run(capsys, "calibrate", "--engine", "numpy", "--seconds", "0.2", "--rounds", "1")
    assert "--device local" in text
    assert "GFLOP/s" in text
    local.local_device.cache_clear()
    try:
        assert load_device("local").measured.launch.origin == "device"
        assert [path.name for path in (tmp_path / "roofline").iterdir()] == ["local.toml"]
    finally:
        local.local_device.cache_clear()


def test_calibrate_refuses_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--output", str(tmp_path / "nodir" / "x.toml")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_calibrate_refuses_other_file_types(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--output", "x.json"]) == 2
    assert ".toml" in capsys.readouterr().err
