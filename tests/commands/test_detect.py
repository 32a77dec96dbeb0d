"""``roofline detect``: what this machine has, its peak and bandwidth, and what to type next."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MACHINES = Path(__file__).parents[1] / "fixtures" / "nvml"


def test_detect_answers_without_a_gpu(answered) -> None:
    data = answered("detect")
    assert isinstance(data["gpus"], list)
    assert data["gpus"] or data["why_not"]
    assert data["cpu"]["available_cores"] >= 1


@pytest.mark.parametrize("machine", ["a100-sxm-80gb-x8", "a100-pcie-80gb-mig", "gb10", "no-driver"])
def test_detect_replays_recorded_machines(machine: str, answered, printed) -> None:
    path = str(MACHINES / f"{machine}.json")
    data = answered("detect", "--replay", path)
    assert bool(data["gpus"]) != bool(data["why_not"])
    text = printed("detect", "--replay", path)
    for gpu in data["gpus"]:
        assert (gpu["device"] or "unknown") in text


def test_detect_refuses_what_is_no_recording(tmp_path: Path, refused) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("[]")
    assert "not a recorded machine" in refused("detect", "--replay", str(bad))


def test_replay_says_whose_cpu_is_shown_and_each_note_once(printed) -> None:
    text = " ".join(printed("detect", "--replay", str(MACHINES / "a100-pcie-80gb-mig.json")).split())
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


def test_peak_bandwidth_and_the_next_command_are_printed(printed) -> None:
    text = " ".join(printed("detect", "--replay", str(MACHINES / "h100-pcie-80gb-power-limited.json")).split())
    assert "bf16 756 TFLOP/s" in text
    assert "2,000 GB/s" in text
    assert "310 W is below the default 350 W" in text
    assert text.endswith("Next: roofline estimate gpt2 --device local")


def test_a_gpu_that_is_not_known_leads_to_calibrate(answered) -> None:
    data = answered("detect", "--replay", str(MACHINES / "unheard-of.json"))
    assert data["local"] is None
    assert data["next"].startswith("roofline calibrate")


@pytest.mark.parametrize("text", ["", "{", '{"answers": []}', '{"answers": {}, "environment": 3}', "\x00"])
def test_a_malformed_recording_is_one_line(tmp_path: Path, refused, text: str) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    error = refused("detect", "--replay", str(bad))
    assert "not a recorded machine" in error
    assert error.count("\n") == 1
