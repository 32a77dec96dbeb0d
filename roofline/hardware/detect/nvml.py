"""The edge to NVIDIA's management library: every call may fail alone, every answer can be replayed.

The only module that imports pynvml (the nvidia-ml-py distribution), and only inside a function.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Protocol

from ...reading import parse_json, read_text
from ..errors import HardwareError

# What each NVML return code means to a user (nvml.h, nvmlReturn_t).
SENTENCES = {
    1: "NVML is not initialised",
    2: "the driver does not know this question for this GPU",
    3: "this GPU does not support it",
    4: "no permission: a container or a MIG set-up hides it; ask for the GPU with its management capability",
    6: "no such GPU",
    8: "the GPU's external power cables are not attached",
    9: "the NVIDIA driver is not loaded: load it (modprobe nvidia) or start the container with --gpus all",
    10: "the driver did not answer in time",
    12: "no NVIDIA driver found (libnvidia-ml.so.1)",
    13: "the installed driver is too old for it",
    15: "the GPU has fallen off the bus: reboot, and check power and cooling",
    16: "the GPU needs a reset: nvidia-smi --gpu-reset, or reboot",
    17: "the operating system blocks the GPU",
    18: "driver and library versions differ: the driver was updated, reboot to load it",
    20: "NVML ran out of memory",
    25: "the installed driver is too old for it",
    999: "the driver reports an unknown error: see dmesg",
}
NO_LIBRARY = -1
BROKEN_LIBRARY = -2


class NvmlError(Exception):
    """One NVML call failed; `code` is NVML's return code, or one of ours where pynvml is missing or does not import."""

    def __init__(self, code: int, function: str, why: str = "") -> None:
        super().__init__(code, function)
        self.code = code
        self.function = function
        self.why = why

    @property
    def sentence(self) -> str:
        """What a user needs to know."""
        if self.code == NO_LIBRARY:
            return "nvidia-ml-py is not installed: pip install nvidia-ml-py"
        if self.code == BROKEN_LIBRARY:
            return f"pynvml does not import ({self.why}): pip install --force-reinstall nvidia-ml-py"
        return SENTENCES.get(self.code, f"NVML error {self.code}")


class Nvml(Protocol):
    """Something that answers NVML calls: the library itself, or a recording.

    GPUs are called "gpu0", "gpu1", ... in PCI order, MIG devices "gpu0/mig0".
    """

    def call(self, function: str, *args: str | int) -> Any:
        """The answer as plain data (numbers, strings, dicts).

        Raises:
            NvmlError: this call failed.
        """


def plain(value: Any) -> Any:
    """Plain data from what pynvml returns: bytes, ctypes structures and lists of them."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    fields = getattr(type(value), "_fields_", None)
    if fields is not None:
        return {name: plain(getattr(value, name)) for name, *_ in fields}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


class Library:
    """The installed library. Keeps every answer, so that a machine can be recorded as a fixture."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self._handles: dict[str, Any] = {}
        self._module: ModuleType | None = None

    def call(self, function: str, *args: str | int) -> Any:
        """Ask the library; see `Nvml`."""
        key = f"{function}({', '.join(map(str, args))})"
        try:
            value = self._ask(function, args)
        except NvmlError as error:
            self.answers[key] = {"error": error.code}
            raise
        self.answers[key] = value
        return value

    def _ask(self, function: str, args: tuple[str | int, ...]) -> Any:
        module = self._load()
        method = getattr(module, function, None)
        if method is None:
            raise NvmlError(13, function)
        try:
            value = method(*(self._handles.get(arg, arg) if isinstance(arg, str) else arg for arg in args))
        except module.NVMLError as error:
            raise NvmlError(int(getattr(error, "value", 999)), function) from error
        except Exception as error:  # an old binding or a broken install may raise anything
            raise NvmlError(999, function) from error
        if function == "nvmlDeviceGetHandleByIndex":
            name = f"gpu{args[0]}"
        elif function == "nvmlDeviceGetMigDeviceHandleByIndex":
            name = f"{args[0]}/mig{args[1]}"
        else:
            return plain(value)
        self._handles[name] = value
        return name

    def _load(self) -> ModuleType:
        if self._module is None:
            try:
                import pynvml  # noqa: TID251  (this module is the edge)
            except ModuleNotFoundError as error:
                raise NvmlError(NO_LIBRARY, "import pynvml") from error
            except Exception as error:  # another module of that name, half an install
                why = f"{type(error).__name__}: {error}".splitlines()[0]
                raise NvmlError(BROKEN_LIBRARY, "import pynvml", why) from error
            self._module = pynvml
        return self._module


class Recording:
    """Recorded answers, played back: what a machine said, or what its documentation says it says."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers

    def call(self, function: str, *args: str | int) -> Any:
        """The recorded answer; a question that was not recorded is one an old driver does not know."""
        key = f"{function}({', '.join(map(str, args))})"
        answer = self.answers.get(key, {"error": 13})
        if isinstance(answer, dict) and set(answer) == {"error"}:
            code = answer["error"]
            raise NvmlError(code if isinstance(code, int) else 999, function)
        return answer


def load_recording(path: str | os.PathLike[str]) -> tuple[Recording, dict[str, Any]]:
    """The answers of a recorded machine, and the rest of its file (about, environment, system memory).

    Raises:
        RooflineError: It cannot be read, or holds no recorded answers.
    """
    try:
        data = parse_json(read_text(path, "recorded machine"), os.fspath(path))
    except json.JSONDecodeError as error:
        raise HardwareError(f"no JSON: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("answers"), dict):
        raise HardwareError("no table of answers in it")
    environment, memory = data.get("environment", {}), data.get("host_memory_bytes")
    if not (isinstance(environment, dict) and all(isinstance(value, str) for value in environment.values())):
        raise HardwareError("its environment is no table of texts")
    if not (memory is None or (isinstance(memory, int) and memory > 0)):
        raise HardwareError("its host_memory_bytes is no number of bytes")
    return Recording(data.pop("answers")), data
