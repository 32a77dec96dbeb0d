"""``--device local``: the user's calibrated file if there is one, else the first GPU, else this CPU."""

from __future__ import annotations

import os
import sys
from functools import lru_cache

from ..architecture import Architecture, Rates
from ..catalog import complete
from ..database import architecture_ids, load_architecture
from ..device import Device, Figures
from ..errors import HardwareError
from ..sections import Bandwidth, Cache, Capacity, Clock, Confidence, Dtype, Memory, Node, Peak
from .cpu import Cpu, read_cpu
from .detect import detect_gpus
from .machine import machine_device

_STREAM_BYTES = 128 * 2**20  # beyond most last-level caches, and read and written in a blink


def config_folder() -> str:
    """Where a user's calibrated device file lives."""
    if sys.platform == "win32":
        base = os.environ.get("APPDATA") or os.path.expanduser("~")
    else:
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "roofline")


def calibrated_file() -> str:
    """Path of the file that ``roofline calibrate`` writes and ``--device local`` finds."""
    return os.path.join(config_folder(), "local.toml")


@lru_cache(maxsize=1)
def local_device() -> Device:
    """The device of this machine.

    Raises:
        HardwareError: the calibrated file breaks a rule, or a GPU's figures are not known.
    """
    path = calibrated_file()
    if os.path.exists(path):
        from ..check.userfile import load_user_device

        return load_user_device(path)
    return machine_device(detect_gpus()) or cpu_device(read_cpu())


def architecture_of(cpu: Cpu) -> tuple[str, Architecture, str, Rates] | None:
    """Architecture file and variant of a CPU, None where no file covers it."""
    for key in architecture_ids():
        architecture = load_architecture(key)
        if cpu.microarchitecture in architecture.archspec:
            variants = architecture.flops_per_cycle
            name = "full" if "full" in variants else str(cpu.microarchitecture)
            if key == "sapphirerapids" and "amx_bf16" not in cpu.vector:
                name = "avx512"
            if key == "icelake" and cpu.sockets == 1 and "Core" in (cpu.model_name or ""):
                name = "client"
            return key, architecture, name, variants[name]
    return None


def cpu_device(cpu: Cpu, *, peaks: dict[str, float] | None = None, bandwidth: float | None = None) -> Device:
    """This CPU as a device: cores under this process's limits, peak and bandwidth measured in about a second.

    A known clock gives the peak of every dtype (cores x FLOPs per cycle x base clock); otherwise it is
    measured, for the dtypes that NumPy multiplies.

    Args:
        cpu: What was detected.
        peaks: FLOP/s of one core by dtype, instead of measuring them.
        bandwidth: Memory bandwidth in bytes/s, instead of measuring it.
    """
    from .bench import stream_bytes_per_s

    cores = cpu.available_cores
    known = architecture_of(cpu)
    clock_mhz = None if cpu.model_hidden else cpu.base_mhz
    sources = {"measured": "short NumPy benchmark on this machine", "system": "what the operating system reports"}
    if peaks is None and clock_mhz is not None and known is not None:
        table = _derived_peaks(cores, clock_mhz, known[3])
        sources["derived"] = "cores x FLOPs per cycle (architecture file) x base clock"
        caveat = "peak at the base clock, a lower bound: calibrate for the clock under load"
        confidence: Confidence = "derived"
    else:
        table = _measured_peaks(cores, peaks)
        caveat = f"peak measured, not looked up: one core's matrix products in NumPy x {cores} cores"
        confidence = "measured"
    if bandwidth is None:
        bandwidth = stream_bytes_per_s(_STREAM_BYTES, cores)
    memory_bytes = cpu.memory_limit_bytes or cpu.memory_bytes
    if not memory_bytes:
        raise HardwareError("this machine does not say how much memory it has: write a device file (docs/hardware.md)")
    figures = Figures(
        id="local",
        name=f"{cpu.model_name or cpu.microarchitecture or 'CPU'}, {cores} cores of this machine",
        vendor={"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}.get(cpu.vendor or "", cpu.vendor or "unknown"),
        kind="cpu",
        architecture=known[0] if known else "cpu",
        variant=known[2] if known else None,
        confidence=confidence,
        sources=sources,
        units=cores,
        unit="core",
        caveats=(caveat, "efficiencies are defaults: 'roofline calibrate' measures this machine's"),
        clock=Clock(source="system", base_mhz=clock_mhz) if clock_mhz else None,
        peak=table,
        memory=Memory(
            type="host memory",
            unified=False,
            capacity=Capacity(mib=memory_bytes / 2**20, source="system"),
            bandwidth=Bandwidth(gb_per_s=round(bandwidth / 1e9, 2), source="measured"),
        ),
        caches=tuple(
            Cache(level=f"L{cache.level}", mib=cache.count * cache.kib_each / 1024, source="system")
            for cache in cpu.caches
        ),
        node=Node(devices=1, source="system"),
    )
    return complete(figures)


def _measured_peaks(cores: int, one: dict[str, float] | None) -> dict[Dtype, Peak]:
    """Peaks from the rate of one core, measured now unless given."""
    from .bench import one_core

    rates = one or one_core()
    dtypes: tuple[Dtype, ...] = ("fp64", "fp32")
    return {
        dtype: Peak(
            tflops=round(cores * rates[dtype] / 1e12, 5),
            engine="vector FMA",
            accumulate=dtype,
            source="measured",
            not_derived="measured on this machine",
        )
        for dtype in dtypes
    }


def _derived_peaks(cores: int, clock_mhz: float, rates: Rates) -> dict[Dtype, Peak]:
    """Cores x FLOPs per cycle x clock of every dtype the architecture has."""
    per_cycle: dict[Dtype, float | None] = {
        "fp64": rates.fp64,
        "fp32": rates.fp32,
        "fp16": rates.fp16,
        "bf16": rates.bf16,
        "int8": rates.int8,
    }
    return {
        dtype: Peak(
            tflops=round(cores * rate * clock_mhz / 1e6, 5),
            engine="vector or matrix units",
            accumulate={"fp64": "fp64", "int8": "int32"}.get(dtype, "fp32"),
            source="derived",
        )
        for dtype, rate in per_cycle.items()
        if rate is not None
    }
