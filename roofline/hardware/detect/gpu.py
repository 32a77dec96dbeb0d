"""What NVML says of each GPU of this machine; a call that fails leaves its field empty and says why."""

from __future__ import annotations

from typing import Any

import msgspec

from ..sections import PCIE_X16_GB_PER_S
from .nvml import Nvml, NvmlError

# GB/s one way per link by NVLink version (NVIDIA datasheets, both ways: 600 GB/s over 12 links on A100,
# 1800 over 18 on B200).
NVLINK_GB_PER_S = {1: 20.0, 2: 25.0, 3: 25.0, 4: 25.0, 5: 50.0}
_CLOCK_SM, _CLOCK_MEMORY = 1, 2  # nvmlClockType_t
_MEMORY_INFO_V2 = 0x02000028
_MOST_LINKS = 36
_MOST_GPUS = 1024
_MOST_SLICES = 64
_NO_FIGURE = 2**32 - 1  # NVML's "not available" of unsigned figures
_VIRTUALIZATION = {1: "passthrough", 2: "vgpu"}  # nvmlGpuVirtualizationMode_t; the others are of hosts


class MigSlice(msgspec.Struct, frozen=True, kw_only=True):
    """One MIG device of a GPU: its share of the multiprocessors and of the memory."""

    name: str | None = None
    uuid: str | None = None
    multiprocessors: int | None = None
    memory_mib: int | None = None
    gpu_instance: int | None = None
    compute_instance: int | None = None


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU as its driver reports it; None is "not reported", and `failed` says why."""

    index: int
    name: str | None = None
    uuid: str | None = None
    pci_bus_id: str | None = None
    pci_device_id: int | None = None  # device in the upper, vendor in the lower 16 bits
    memory_bytes: int | None = None
    unified_memory: bool = False
    compute_capability: str | None = None
    cuda_cores: int | None = None
    max_sm_mhz: int | None = None
    max_memory_mhz: int | None = None
    bus_bits: int | None = None
    power_limit_w: float | None = None
    power_default_w: float | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    nvlink_version: int | None = None
    nvlinks: int = 0  # active
    nvlinks_down: int = 0
    virtualization: str | None = None  # passthrough or vgpu, where NVML says
    partition: str | None = None  # AMD's compute partition: SPX, DPX, TPX, QPX or CPX
    compute_units: int | None = None  # of an AMD GPU or partition
    mig_enabled: bool = False
    mig: tuple[MigSlice, ...] = ()
    failed: dict[str, str] = {}

    @property
    def nvlink_gb_per_s(self) -> float | None:
        """NVLink bandwidth one way over the active links, where any is."""
        if not self.nvlinks or self.nvlink_version is None:
            return None
        per_link = NVLINK_GB_PER_S.get(self.nvlink_version)
        return None if per_link is None else self.nvlinks * per_link

    @property
    def pcie_gb_per_s(self) -> float | None:
        """PCIe bandwidth one way of the slot."""
        if self.pcie_generation is None or self.pcie_width is None:
            return None
        x16 = PCIE_X16_GB_PER_S.get(self.pcie_generation)
        return None if x16 is None else x16 * self.pcie_width / 16


class Reader:
    """Asks NVML about one GPU and collects what failed."""

    def __init__(self, nvml: Nvml, handle: str) -> None:
        self.nvml = nvml
        self.handle = handle
        self.failed: dict[str, str] = {}

    def ask(self, field: str, function: str, *args: int, kind: type = int) -> Any:
        """The answer where it is of its kind, or None with the reason kept under `field`."""
        try:
            answer = self.nvml.call(function, self.handle, *args)
        except NvmlError as error:
            self.failed[field] = error.sentence
            return None
        if not isinstance(answer, kind):
            self.failed[field] = "the driver's answer has no known form"
            return None
        if answer == _NO_FIGURE:
            self.failed[field] = "the driver gives no figure"
            return None
        return answer

    def quietly(self, function: str, *args: int, kind: type = int) -> Any:
        """The answer, or None: for questions that most GPUs do not know."""
        try:
            answer = self.nvml.call(function, self.handle, *args)
        except NvmlError:
            return None
        return answer if isinstance(answer, kind) else None


def read_gpus(nvml: Nvml, *, system_memory_bytes: int | None = None) -> list[Gpu]:
    """Every GPU the driver lists, in PCI order.

    Raises:
        NvmlError: NVML itself does not start (no driver, wrong version, no library).
    """
    nvml.call("nvmlInit")
    count = nvml.call("nvmlDeviceGetCount")
    if not isinstance(count, int) or not 0 <= count <= _MOST_GPUS:
        raise NvmlError(999, "nvmlDeviceGetCount")
    gpus = []
    for index in range(count):
        try:
            handle = nvml.call("nvmlDeviceGetHandleByIndex", index)
        except NvmlError as error:
            gpus.append(Gpu(index=index, failed={"handle": error.sentence}))
            continue
        if not isinstance(handle, str):
            gpus.append(Gpu(index=index, failed={"handle": "the driver's answer has no known form"}))
            continue
        gpus.append(_read_gpu(Reader(nvml, handle), index, system_memory_bytes))
    return gpus


def _read_gpu(reader: Reader, index: int, system_memory_bytes: int | None) -> Gpu:
    pci = reader.ask("pci_bus_id", "nvmlDeviceGetPciInfo", kind=dict) or {}
    memory_bytes, unified = _memory(reader, system_memory_bytes)
    nvlinks, down, version = _nvlinks(reader)
    mig_enabled, mig = _mig(reader)
    default = reader.ask("power_default_w", "nvmlDeviceGetPowerManagementDefaultLimit")
    return Gpu(
        index=index,
        name=reader.ask("name", "nvmlDeviceGetName", kind=str),
        uuid=reader.ask("uuid", "nvmlDeviceGetUUID", kind=str),
        pci_bus_id=_of(pci, "busId", str),
        pci_device_id=_of(pci, "pciDeviceId", int),
        memory_bytes=memory_bytes,
        unified_memory=unified,
        compute_capability=_capability(reader),
        cuda_cores=reader.ask("cuda_cores", "nvmlDeviceGetNumGpuCores"),
        max_sm_mhz=reader.ask("max_sm_mhz", "nvmlDeviceGetMaxClockInfo", _CLOCK_SM),
        # The maximum, never the current clock: idle GPUs run their memory at 405 MHz.
        max_memory_mhz=reader.ask("max_memory_mhz", "nvmlDeviceGetMaxClockInfo", _CLOCK_MEMORY),
        bus_bits=reader.ask("bus_bits", "nvmlDeviceGetMemoryBusWidth") or None,
        power_limit_w=_power_limit(reader),
        power_default_w=default / 1000 if default else None,
        pcie_generation=reader.ask("pcie_generation", "nvmlDeviceGetMaxPcieLinkGeneration"),
        pcie_width=reader.ask("pcie_width", "nvmlDeviceGetMaxPcieLinkWidth"),
        nvlink_version=version,
        nvlinks=nvlinks,
        nvlinks_down=down,
        virtualization=_VIRTUALIZATION.get(reader.quietly("nvmlDeviceGetVirtualizationMode")),
        mig_enabled=mig_enabled,
        mig=mig,
        failed=reader.failed,
    )


def _of(answer: dict[str, Any], key: str, kind: type) -> Any:
    value = answer.get(key)
    return value if isinstance(value, kind) else None


def _capability(reader: Reader) -> str | None:
    """Compute capability as NVIDIA writes it, "9.0"."""
    answer = reader.ask("compute_capability", "nvmlDeviceGetCudaComputeCapability", kind=list)
    if answer is None:
        return None
    if len(answer) != 2 or not all(isinstance(part, int) for part in answer):
        reader.failed["compute_capability"] = "the driver's answer has no known form"
        return None
    return f"{answer[0]}.{answer[1]}"


def _power_limit(reader: Reader) -> float | None:
    """The limit in force: the lowest of all that limit (enforced), else the one that is set."""
    milliwatts = reader.quietly("nvmlDeviceGetEnforcedPowerLimit")
    if not milliwatts or milliwatts == _NO_FIGURE:
        milliwatts = reader.ask("power_limit_w", "nvmlDeviceGetPowerManagementLimit")
    return milliwatts / 1000 if milliwatts else None


def _memory(reader: Reader, system_memory_bytes: int | None) -> tuple[int | None, bool]:
    """Total memory, and whether it is the host's: version 2 of the call, then 1, then the system's memory."""
    answer = reader.quietly("nvmlDeviceGetMemoryInfo", _MEMORY_INFO_V2, kind=dict)
    if answer is None:
        answer = reader.ask("memory_bytes", "nvmlDeviceGetMemoryInfo", kind=dict)
    total = None if answer is None else _of(answer, "total", int)
    if total is not None and total > 0:
        return total, False
    return system_memory_bytes, system_memory_bytes is not None


def _nvlinks(reader: Reader) -> tuple[int, int, int | None]:
    """NVLinks that are up, those that are down, and their version."""
    active, down, version = 0, 0, None
    for link in range(_MOST_LINKS):
        state = reader.quietly("nvmlDeviceGetNvLinkState", link)
        if state is None:  # past the last link, or no NVLink at all
            break
        if state == 1:
            active += 1
            version = version or reader.quietly("nvmlDeviceGetNvLinkVersion", link)
        else:
            down += 1
    return active, down, version


def _mig(reader: Reader) -> tuple[bool, tuple[MigSlice, ...]]:
    """Whether MIG is on, and the slices that this process may see."""
    mode = reader.quietly("nvmlDeviceGetMigMode", kind=list)
    if not mode or mode[0] != 1:
        return False, ()
    slices = []
    for number in range(min(reader.quietly("nvmlDeviceGetMaxMigDeviceCount") or 0, _MOST_SLICES)):
        handle = reader.quietly("nvmlDeviceGetMigDeviceHandleByIndex", number, kind=str)
        if handle is None:
            continue
        part = Reader(reader.nvml, handle)
        attributes = part.quietly("nvmlDeviceGetAttributes", kind=dict) or {}
        slices.append(
            MigSlice(
                name=part.quietly("nvmlDeviceGetName", kind=str),
                uuid=part.quietly("nvmlDeviceGetUUID", kind=str),
                multiprocessors=_of(attributes, "multiprocessorCount", int),
                memory_mib=_of(attributes, "memorySizeMB", int),
                gpu_instance=part.quietly("nvmlDeviceGetGpuInstanceId"),
                compute_instance=part.quietly("nvmlDeviceGetComputeInstanceId"),
            )
        )
    return True, tuple(slices)
