"""``roofline devices``, ``detect`` and ``calibrate``: stable JSON keys, readable tables, errors on one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roofline import hardware
from roofline.cli import main
from roofline.hardware import load_device

MACHINES = Path(__file__).parents[1] / "fixtures" / "nvml"
KEYS = {
    *("id", "name", "vendor", "kind", "nvml_names", "peak_flops_per_s", "memory_bytes"),
    *("memory_bandwidth_bytes_per_s", "links", "tdp_w", "confidence"),
}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(run(capsys, *arguments, "--format", "json"))


def test_catalog_as_json_has_the_stable_keys(capsys: pytest.CaptureFixture[str]) -> None:
    devices = run_json(capsys, "devices")["devices"]
    assert [device["id"] for device in devices] == list(hardware.device_ids())
    assert all(set(device) >= KEYS for device in devices)
    by_id = {device["id"]: device for device in devices}
    assert by_id["h100-sxm-80gb"]["peak_flops_per_s"]["bf16"] == 989.4e12
    assert by_id["h100-sxm-80gb"]["links"]["scale_up"]["bytes_per_s"] == 450e9


def test_one_device_shows_every_figure_with_its_source_and_what_others_print(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = run(capsys, "devices", "h100-sxm-80gb")
    for part in (
        "989.4 TFLOP/s",
        "NVIDIA H100 80GB HBM3",
        "datasheet",
        "What others wrongly print",
        "1978.9",
    ):
        assert part in text
    data = run_json(capsys, "devices", "h100-sxm-80gb")
    assert set(data) >= KEYS
    assert all(figure["source"] is not None for figure in data["figures"])
    assert {"figure", "value", "unit", "why"} <= set(data["wrong"][0])


def test_vendor_filter(capsys: pytest.CaptureFixture[str]) -> None:
    assert {device["vendor"] for device in run_json(capsys, "devices", "--vendor", "amd")["devices"]} == {"AMD"}
    assert main(["devices", "--vendor", "nobody"]) == 2
    assert "allowed" in capsys.readouterr().err


def test_unknown_device_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "h100"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "which one" in captured.err


def test_detect_answers_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    data = run_json(capsys, "detect")
    assert isinstance(data["gpus"], list)
    assert data["gpus"] or data["why_not"]
    assert data["cpu"]["available_cores"] >= 1


@pytest.mark.parametrize("machine", ["a100-sxm-80gb-x8", "a100-pcie-80gb-mig", "gb10", "no-driver"])
def test_detect_replays_recorded_machines(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(MACHINES / f"{machine}.json")
    data = run_json(capsys, "detect", "--replay", path)
    assert bool(data["gpus"]) != bool(data["why_not"])
    text = run(capsys, "detect", "--replay", path)
    for gpu in data["gpus"]:
        assert (gpu["device"] or "unknown") in text


def test_detect_refuses_what_is_no_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("[]")
    assert main(["detect", "--replay", str(bad)]) == 2
    assert "not a recorded machine" in capsys.readouterr().err


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


def test_replay_says_whose_cpu_is_shown_and_each_note_once(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(run(capsys, "detect", "--replay", str(MACHINES / "a100-pcie-80gb-mig.json")).split())
    assert "CPU of this machine" in text
    assert "a recording holds no CPU" in text
    assert text.count("MIG is on") == 1
    assert "one MIG slice" in text


def test_recording_to_a_folder_that_is_not_there_is_no_traceback(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "scripts" / "detect_hardware.py"
    result = subprocess.run(
        [sys.executable, str(script), "--record", str(tmp_path / "nodir" / "x.json")],
        capture_output=True,
        text=True,
        check=False,
        cwd=script.parents[1],
        env={**os.environ, "PYTHONPATH": str(script.parents[1])},
    )
    assert result.returncode == 2
    assert "cannot write" in result.stderr
    assert "Traceback" not in result.stderr


def test_calibrate_refuses_other_file_types(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--output", "x.json"]) == 2
    assert ".toml" in capsys.readouterr().err
