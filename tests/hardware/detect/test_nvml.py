"""The edge to NVML: plain answers, errors as sentences, recordings checked, any failure of the library one line."""

# ruff: noqa: ARG002, N802  (fakes keep the names and arguments of what they replace)

import json
import sys
from pathlib import Path

import pytest

from roofline.hardware.detect.detect import detect_gpus
from roofline.hardware.detect.nvml import (
    BROKEN_LIBRARY,
    NO_LIBRARY,
    SENTENCES,
    Library,
    NvmlError,
    Recording,
    load_recording,
)


class FakeModule:
    """The part of pynvml that the library asks."""

    class NVMLError(Exception):
        value = 3

    class Memory:
        _fields_ = (("total", int), ("free", int))
        total, free = 2**30, 2**29

    @staticmethod
    def nvmlDeviceGetHandleByIndex(index: int) -> object:
        return f"handle {index}"

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> Memory:
        assert handle == "handle 0"
        return self.Memory()

    def nvmlDeviceGetName(self, handle: object) -> bytes:
        raise self.NVMLError


def test_the_library_records_plain_answers_and_errors() -> None:
    library = Library()
    library._module = FakeModule()  # type: ignore[assignment]
    assert library.call("nvmlDeviceGetHandleByIndex", 0) == "gpu0"
    assert library.call("nvmlDeviceGetMemoryInfo", "gpu0") == {"total": 2**30, "free": 2**29}
    with pytest.raises(NvmlError, match="nvmlDeviceGetName") as error:
        library.call("nvmlDeviceGetName", "gpu0")
    assert error.value.code == 3
    with pytest.raises(NvmlError) as missing:
        library.call("nvmlDeviceGetSomethingNew", "gpu0")
    assert missing.value.code == 13
    replay = Recording(json.loads(json.dumps(library.answers)))
    assert replay.call("nvmlDeviceGetMemoryInfo", "gpu0")["total"] == 2**30


def test_every_error_code_has_a_sentence() -> None:
    for code in (*SENTENCES, NO_LIBRARY, BROKEN_LIBRARY, 12345):
        assert len(NvmlError(code, "nvmlInit").sentence) > 10


@pytest.mark.parametrize(
    "error", ["SyntaxError('no')", "RuntimeError('two\\nlines')", "OSError('libfoo')", "KeyError('x')"]
)
def test_a_pynvml_that_raises_anything_on_import_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    (tmp_path / "pynvml.py").write_text(f"raise {error}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    detection = detect_gpus(environment={})
    assert detection.gpus == ()
    assert detection.why_not is not None
    assert "pynvml does not import" in detection.why_not
    assert "\n" not in detection.why_not


def test_a_call_that_raises_anything_fails_alone() -> None:
    class Broken(FakeModule):
        @staticmethod
        def nvmlInit() -> None:
            raise ZeroDivisionError

    library = Library()
    library._module = Broken()  # type: ignore[assignment]
    with pytest.raises(NvmlError) as error:
        library.call("nvmlInit")
    assert error.value.code == 999


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("[]", "no table of answers"),
        ('{"answers": 3}', "no table of answers"),
        ('{"answers": {}, "environment": [1]}', "environment is no table"),
        ('{"answers": {}, "environment": {"CUDA_VISIBLE_DEVICES": 0}}', "environment is no table"),
        ('{"answers": {}, "host_memory_bytes": "many"}', "no number of bytes"),
        ("[" * 100_000, "nested more than 32 deep"),
    ],
)
def test_a_malformed_recording_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "machine.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=why):
        load_recording(str(path))
