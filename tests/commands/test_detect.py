"""``roofline detect``: what this machine has, its peak and bandwidth, and what to type next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roofline.cli import main

MACHINES = Path(__file__).parents[1] / "fixtures" / "nvml"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(run(capsys, *arguments, "--format", "json"))


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


def test_peak_bandwidth_and_the_next_command_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(run(capsys, "detect", "--replay", str(MACHINES / "h100-pcie-80gb-power-limited.json")).split())
    assert "bf16 756 TFLOP/s" in text
    assert "2,000 GB/s" in text
    assert "310 W is below the default 350 W" in text
    assert text.endswith("Next: roofline estimate gpt2 --device local")


def test_a_gpu_that_is_not_known_leads_to_calibrate(capsys: pytest.CaptureFixture[str]) -> None:
    data = run_json(capsys, "detect", "--replay", str(MACHINES / "unheard-of.json"))
    assert data["local"] is None
    assert data["next"].startswith("roofline calibrate")


@pytest.mark.parametrize("text", ["", "{", '{"answers": []}', '{"answers": {}, "environment": 3}', "\x00"])
def test_a_malformed_recording_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    assert main(["detect", "--replay", str(bad)]) == 2
    error = capsys.readouterr().err
    assert "not a recorded machine" in error
    assert error.count("\n") == 1
