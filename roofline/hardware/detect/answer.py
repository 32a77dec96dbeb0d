"""What this machine has: its GPUs, its CPU, and the device that ``local`` makes of them; or a recorded machine."""

from __future__ import annotations

import os
from typing import ClassVar

from ...errors import RooflineError
from ...gate import PATH, gated
from ...result import Result
from ..device import Device
from ..errors import HardwareError
from .cpu import Cpu, read_cpu
from .detect import Detection, detect_gpus
from .local import local_device
from .machine import machine_device
from .nvml import load_recording


class Machine(Detection, Result, frozen=True, kw_only=True):
    """The GPUs of a machine, its CPU, and what ``--device local`` makes of them.

    Attributes:
        cpu: The CPU of this machine.
        local: The device that ``--device local`` is; None where that is not known.
        no_local: Why it is not.
        replayed: The recording that the GPUs come from; None: this machine.
    """

    VIEW: ClassVar[str] = "detection"

    cpu: Cpu
    local: Device | None = None
    no_local: str | None = None
    replayed: str | None = None

    def __repr__(self) -> str:
        """What was found, in one line."""
        names = ", ".join(found.slice_name or found.gpu.name or "unknown GPU" for found in self.gpus)
        return f"<Machine: {names or 'no GPU'}; {self.cpu.model_name or 'unknown CPU'}>"


@gated(replay=PATH)
def detect(replay: str | os.PathLike[str] | None = None) -> Machine:
    """The GPUs of this machine, matched to the catalog, and its CPU; a missing driver is an answer, not an error.

    Args:
        replay: A machine recorded by ``scripts/detect_hardware.py``: its GPUs instead of this machine's.

    Raises:
        HardwareError: `replay` is not a recorded machine.
    """
    found = detect_gpus() if replay is None else _recorded(replay)
    local, why_not = None, None
    try:
        local = local_device() if replay is None else machine_device(found)
    except HardwareError as error:
        why_not = str(error)
    known = {name: getattr(found, name) for name in Detection.__struct_fields__}
    return Machine(
        **known, cpu=read_cpu(), local=local, no_local=why_not, replayed=None if replay is None else os.fspath(replay)
    )


def _recorded(path: str | os.PathLike[str]) -> Detection:
    try:
        recording, machine = load_recording(path)
    except RooflineError as error:
        raise HardwareError(f"--replay {path}: not a recorded machine: {error}") from error
    return detect_gpus(recording, machine.get("environment", {}), machine.get("host_memory_bytes"))
