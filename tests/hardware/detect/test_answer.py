"""What a machine has, as one answer; recorded machines in place of this one."""

from pathlib import Path

import pytest

from roofline.hardware.detect.answer import detect
from roofline.hardware.errors import HardwareError

MACHINES = Path(__file__).parents[2] / "fixtures" / "nvml"


def test_a_recorded_machine_has_its_gpus_and_says_that_it_is_one():
    path = MACHINES / "a100-pcie-80gb-mig.json"
    found = detect(path)
    assert found.replayed == str(path)
    assert found.gpus
    assert repr(found).startswith("<Machine: ")
    assert "A100" in repr(found)


def test_a_file_that_is_no_recording_is_named(tmp_path):
    path = tmp_path / "machine.json"
    path.write_text("[]")
    with pytest.raises(HardwareError, match=r"--replay .*machine\.json: not a recorded machine"):
        detect(path)
