"""Replays of recorded and documented machines."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from roofline.hardware.detect.detect import Detection, detect_gpus
from roofline.hardware.detect.nvml import Recording, load_recording

MACHINES = Path(__file__).parents[2] / "fixtures" / "nvml"


@pytest.fixture
def detect() -> Callable[..., Detection]:
    """``detect("rtx-4090", environment, answers)``: what is detected on a machine, with some answers changed."""

    def replay(
        machine: str, environment: Mapping[str, str] | None = None, answers: Mapping[str, Any] | None = None
    ) -> Detection:
        recording, rest = load_recording(str(MACHINES / f"{machine}.json"))
        changed = Recording({**recording.answers, **(answers or {})})
        return detect_gpus(changed, environment or {}, rest.get("host_memory_bytes"))

    return replay
