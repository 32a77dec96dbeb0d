"""Detection replays recorded and documented machines: no GPU is needed, every NVML call may fail alone."""

# ruff: noqa: ARG002, ARG004, N802  (fakes keep the names and arguments of what they replace)

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from roofline.hardware import HardwareError, load_device
from roofline.hardware.detect.amd import read_amd_gpus
from roofline.hardware.detect.detect import Detection, detect_gpus, first_gpu
from roofline.hardware.detect.gpu import Gpu
from roofline.hardware.detect.match import match, mig_device
from roofline.hardware.detect.nvml import NO_LIBRARY, SENTENCES, Library, NvmlError, Recording, load_recording
from roofline.hardware.detect.visible import visible_amd

MACHINES = Path(__file__).parents[2] / "fixtures" / "nvml"
ALL = sorted(path.stem for path in MACHINES.glob("*.json"))


def detect(machine: str, environment: dict[str, str] | None = None) -> Detection:
    recording, rest = load_recording(str(MACHINES / f"{machine}.json"))
    return detect_gpus(recording, environment or {}, rest.get("host_memory_bytes"))


@pytest.mark.parametrize(
    ("machine", "device_ids"),
    [
        ("a100-sxm-80gb-x8", ["a100-sxm-80gb"] * 8),
        ("a100-sxm-40gb-old-driver", ["a100-sxm-40gb"]),
        ("h100-sxm-80gb-x2", ["h100-sxm-80gb"] * 2),
        ("h100-sxm-80gb-virtual-machine", ["h100-sxm-80gb"]),
        ("h100-pcie-80gb-power-limited", ["h100-pcie-80gb"]),
        ("h100-nvl-94gb", ["h100-nvl-94gb"]),
        ("h200-no-permission", ["h200-sxm-141gb"]),
        ("h20", ["h20-sxm-96gb"]),
        ("rtx-4090", ["rtx-4090"]),
        ("rtx-4090-wsl", ["rtx-4090"]),
        ("t4-x4", ["t4"] * 4),
        ("mixed-3090-4090", ["rtx-3090", "rtx-4090"]),
        ("gb10", [None]),
        ("a100-one-lost", ["a100-sxm-80gb", None]),
        ("driver-mismatch", []),
        ("no-driver", []),
        ("driver-not-loaded", []),
    ],
)
def test_machines_are_matched_to_the_catalog(machine: str, device_ids: list[str | None]) -> None:
    found = detect(machine).gpus
    assert [None if item.device is None else item.device.id for item in found] == device_ids


def test_enough_machines_are_replayed() -> None:
    assert len(ALL) >= 10


@pytest.mark.parametrize("machine", ALL)
def test_any_single_call_may_fail(machine: str) -> None:
    recording, rest = load_recording(str(MACHINES / f"{machine}.json"))
    for key in recording.answers:
        for code in (3, 4, 999):
            broken = Recording({**recording.answers, key: {"error": code}})
            detection = detect_gpus(broken, {}, rest.get("host_memory_bytes"))
            assert detection.gpus or detection.why_not


def test_first_gpu_has_the_memory_its_driver_lists() -> None:
    device = first_gpu(detect("a100-sxm-40gb-old-driver"))
    assert device is not None
    assert device.memory_bytes == 40536 * 2**20
    assert device.peaks == load_device("a100-sxm-40gb").peaks


@pytest.mark.parametrize(
    ("machine", "sentence"),
    [
        ("driver-mismatch", "the driver was updated, reboot"),
        ("no-driver", r"no NVIDIA driver found \(libnvidia-ml.so.1\)"),
        ("driver-not-loaded", "modprobe nvidia"),
    ],
)
def test_no_gpu_says_why_and_what_to_do(machine: str, sentence: str) -> None:
    detection = detect(machine)
    assert detection.gpus == ()
    assert first_gpu(detection) is None
    assert re.search(sentence, detection.why_not or "")
    assert "estimates work without it" in (detection.why_not or "")


def test_every_error_code_has_a_sentence() -> None:
    for code in (*SENTENCES, NO_LIBRARY, 12345):
        assert len(NvmlError(code, "nvmlInit").sentence) > 10


def test_mig_slices_scale_compute_by_multiprocessors_and_bandwidth_by_memory_slices() -> None:
    whole = load_device("a100-pcie-80gb")
    small, large = (item.device for item in detect("a100-pcie-80gb-mig").gpus)
    assert small is not None
    assert large is not None
    assert small.peaks["bf16"] == pytest.approx(whole.peaks["bf16"] * 14 / 108, rel=1e-9)
    assert small.memory_bandwidth_bytes_per_s == whole.memory_bandwidth_bytes_per_s / 8
    assert small.memory_bytes == 9728 * 2**20
    assert large.peaks["bf16"] == pytest.approx(whole.peaks["bf16"] * 42 / 108, rel=1e-9)
    assert large.memory_bandwidth_bytes_per_s == whole.memory_bandwidth_bytes_per_s / 2
    assert large.scale_up_devices == 1


def test_mig_without_a_slice_gives_no_figures() -> None:
    detection = detect("h100-sxm-mig-no-slice")
    assert detection.gpus[0].device is None
    with pytest.raises(HardwareError, match="no slice is visible"):
        first_gpu(detection)


def test_mig_slice_of_unknown_size_gives_no_figures() -> None:
    gpu = detect("a100-pcie-80gb-mig").gpus[0].gpu
    whole = load_device("a100-pcie-80gb")
    assert mig_device(whole, gpu, type(gpu.mig[0])(name="x")) is None


def test_unified_memory_is_the_systems_and_says_so() -> None:
    found = detect("gb10").gpus[0]
    assert found.gpu.unified_memory
    assert found.gpu.memory_bytes == 128524288 * 1024
    assert "unified memory" in " ".join(found.notes)
    assert "12.1 is not covered" in found.how
    with pytest.raises(HardwareError, match="not covered"):
        first_gpu(detect("gb10"))


def test_a_gpu_missing_from_the_catalog_is_derived_and_labelled() -> None:
    found = detect("rtx-4070-not-in-catalog").gpus[0]
    device = found.device
    assert device is not None
    assert device.confidence == "derived"
    assert "up to 28 % high" in device.caveats[0]
    # 5888 CUDA cores / 128 lanes = 46 SMs x 512 FLOPs per cycle (GeForce) x 3.105 GHz = 73.1 TFLOP/s
    assert device.peaks["bf16"] == pytest.approx(46 * 512 * 3.105e9)
    # 2 x 10501 MHz x 192 bit / 8 = 504 GB/s
    assert device.memory_bandwidth_bytes_per_s == pytest.approx(504.048e9)
    assert device.measured.gemm.cap > 0


def test_derivation_of_known_cards_is_at_most_28_percent_high() -> None:
    for machine in ("a100-sxm-80gb-x8", "h100-sxm-80gb-x2", "rtx-4090", "h100-nvl-94gb", "t4-x4"):
        gpu = detect(machine).gpus[0].gpu
        renamed = type(gpu)(**{f: getattr(gpu, f) for f in gpu.__struct_fields__} | {"name": f"{gpu.name} X"})
        derived, how = match(renamed)
        known = match(gpu)[0]
        assert derived is not None
        assert known is not None
        assert "not in the catalog" in how
        for dtype in ("fp16", "fp32"):
            assert 0.98 < derived.peaks[dtype] / known.peaks[dtype] < 1.28


def test_gtx_has_no_tensor_cores() -> None:
    recording, _ = load_recording(str(MACHINES / "t4-x4.json"))
    answers = {**recording.answers, "nvmlDeviceGetName(gpu0)": "NVIDIA GeForce GTX 1660 Ti"}
    device = detect_gpus(Recording(answers), {"CUDA_VISIBLE_DEVICES": "0"}).gpus[0].device
    assert device is not None
    assert set(device.peaks) == {"fp64", "fp32"}


def test_power_limit_below_default_is_told() -> None:
    notes = detect("h100-pcie-80gb-power-limited").gpus[0].notes
    assert any("310 W is below the default 350 W" in note for note in notes)


def test_missing_answers_are_named_with_their_reason() -> None:
    notes = " ".join(detect("h200-no-permission").gpus[0].notes)
    assert "power_limit_w" in notes
    assert "no permission" in notes


def test_different_gpus_are_named_and_local_asks() -> None:
    detection = detect("mixed-3090-4090")
    assert any("slowest sets the pace" in note for note in detection.notes)
    with pytest.raises(HardwareError, match=r"rtx-3090.*rtx-4090"):
        first_gpu(detection)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("1", [1]),
        ("1,0", [1, 0]),
        ("GPU-00003090", [0]),
        ("GPU-00004091-1111-2222-3333-444455556666", [1]),
        ("", []),
        ("-1", []),
        ("0,7,1", [0]),  # CUDA stops at the first entry it does not know
        ("GPU-0000", []),  # a prefix of two GPUs
    ],
)
def test_cuda_visible_devices_is_honoured(value: str, shown: list[int]) -> None:
    detection = detect("mixed-3090-4090", {"CUDA_VISIBLE_DEVICES": value, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert [item.gpu.index for item in detection.gpus] == shown
    if not shown:
        assert detection.why_not is not None


def test_cuda_order_of_different_gpus_is_told() -> None:
    notes = detect("mixed-3090-4090", {"CUDA_VISIBLE_DEVICES": "0"}).notes
    assert any("CUDA_DEVICE_ORDER=PCI_BUS_ID" in note for note in notes)


def test_one_mig_slice_by_uuid() -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "MIG-aaaa0002-0000-0000-0000-000000000002"}
    found = detect("a100-pcie-80gb-mig", environment).gpus
    assert [item.slice_name for item in found] == ["NVIDIA A100 80GB PCIe MIG 3g.40gb"]


def test_one_mig_slice_by_the_old_form_of_its_name() -> None:
    recording, _ = load_recording(str(MACHINES / "a100-pcie-80gb-mig.json"))
    answers = {
        **recording.answers,
        "nvmlDeviceGetGpuInstanceId(gpu0/mig0)": 9,
        "nvmlDeviceGetComputeInstanceId(gpu0/mig0)": 0,
        "nvmlDeviceGetGpuInstanceId(gpu0/mig1)": 2,
        "nvmlDeviceGetComputeInstanceId(gpu0/mig1)": 0,
    }
    uuid = recording.answers["nvmlDeviceGetUUID(gpu0)"]
    environment = {"CUDA_VISIBLE_DEVICES": f"MIG-{uuid}/2/0"}
    found = detect_gpus(Recording(answers), environment).gpus
    assert [item.slice_name for item in found] == ["NVIDIA A100 80GB PCIe MIG 3g.40gb"]


def test_cuda_gives_a_process_one_mig_slice() -> None:
    one, two = (f"MIG-aaaa000{n}-0000-0000-0000-00000000000{n}" for n in (1, 2))
    detection = detect("a100-pcie-80gb-mig", {"CUDA_VISIBLE_DEVICES": f"{two},{one}"})
    assert [item.slice_name for item in detection.gpus] == ["NVIDIA A100 80GB PCIe MIG 3g.40gb"]
    assert any("one MIG slice" in note for note in detection.notes)
    assert any("one MIG slice" in note for note in detect("a100-pcie-80gb-mig").notes)


def test_a_count_that_is_no_number_is_an_answer_not_a_crash() -> None:
    detection = detect_gpus(Recording({"nvmlInit()": None, "nvmlDeviceGetCount()": None}), {})
    assert detection.gpus == ()
    assert detection.why_not is not None


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, [0, 1, 2]),
        ({"ROCR_VISIBLE_DEVICES": "2,1"}, [2, 1]),
        ({"HIP_VISIBLE_DEVICES": "1"}, [1]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, [0]),  # HIP reads it where its own is not set
        ({"ROCR_VISIBLE_DEVICES": "2,1", "HIP_VISIBLE_DEVICES": "0"}, [2]),
        ({"ROCR_VISIBLE_DEVICES": ""}, []),
    ],
)
def test_amd_variables_are_honoured(environment: dict[str, str], shown: list[int]) -> None:
    gpus = [Gpu(index=index, name="AMD Instinct MI300X", uuid=f"GPU-{index}") for index in range(3)]
    assert [gpu.index for gpu in visible_amd(gpus, environment)[0]] == shown


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


class FakeAmd:
    """The part of amdsmi that is asked; the UUID call fails alone."""

    @staticmethod
    def amdsmi_init() -> None:
        return None

    @staticmethod
    def amdsmi_get_processor_handles() -> list[str]:
        return ["a"]

    @staticmethod
    def amdsmi_get_gpu_asic_info(handle: str) -> dict[str, Any]:
        return {"market_name": "AMD Instinct MI300X"}

    @staticmethod
    def amdsmi_get_gpu_vram_info(handle: str) -> dict[str, Any]:
        return {"vram_size": 196592}

    @staticmethod
    def amdsmi_get_gpu_device_bdf(handle: str) -> str:
        return "0000:05:00.0"

    @staticmethod
    def amdsmi_get_power_cap_info(handle: str) -> dict[str, Any]:
        return {"power_cap": 750_000_000, "default_power_cap": 750_000_000}


def test_amd_gpus_are_read_where_amdsmi_is_installed() -> None:
    (gpu,) = read_amd_gpus(FakeAmd())
    device, how = match(gpu)
    assert how == "exact name"
    assert device is load_device("mi300x")
    assert gpu.power_limit_w == 750
    assert gpu.failed == {"uuid": "AttributeError"}
