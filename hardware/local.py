"""``--device local``: the user's calibrated file if there is one, else the first GPU, else this CPU."""

from __future__ import annotations

import os
import sys
from functools import lru_cache

from .architecture import Architecture, Rates
from .catalog import architecture_ids, load_architecture
from .cpu import Cpu, read_cpu
from .detect import detect_gpus, first_gpu
from .device import Bandwidth, Cache, Capacity, Clock, Device, Dtype, Memory, Node, Peak

_STREAM_BYTES = 128 * 2**20  # beyond most last-level caches, and copied in a blink


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
        HardwareError: the calibrated file breaks a rule, or the GPUs are unknown or differ.
    """
    path = calibrated_file()
    if os.path.exists(path):
        from .userfile import load_user_device

        return load_user_device(path)
    return first_gpu(detect_gpus()) or cpu_device(read_cpu())


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
    from .bench import copy_bytes_per_s, one_core

    cores = cpu.available_cores
    known = architecture_of(cpu)
    clock_mhz = cpu.base_mhz if not cpu.model_hidden else None
    if peaks is None and (clock_mhz is None or known is None):
        peaks = one_core()
    if bandwidth is None:
        bandwidth = copy_bytes_per_s(_STREAM_BYTES, cores)
    sources = {
        "measured": "short NumPy benchmark on this machine",
        "system": "what the operating system reports",
    }
    table: dict[Dtype, Peak]
    if peaks is not None:
        source = "measured"
        table = {dtype: _peak(peaks[dtype] * cores / 1e12, dtype, source) for dtype in ("fp64", "fp32")}
        caveat = f"peak measured, not looked up: one core's matrix products in NumPy x {cores} cores"
    else:
        source = "derived"
        sources["derived"] = "cores x FLOPs per cycle (architecture file) x base clock"
        assert known is not None and clock_mhz is not None  # noqa: PT018  (the branch above)
        rates = {d: getattr(known[3], d) for d in ("fp64", "fp32", "bf16", "int8")}
        table = {d: _peak(cores * r * clock_mhz / 1e6, d, source) for d, r in rates.items() if r is not None}  # type: ignore[misc]
        caveat = "peak at the base clock, a lower bound: calibrate for the clock under load"
    memory_bytes = cpu.memory_limit_bytes or cpu.memory_bytes or 0
    return Device(
        id="local",
        name=f"{cpu.model_name or cpu.microarchitecture or 'CPU'}, {cores} cores of this machine",
        vendor={"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}.get(
            cpu.vendor or "", cpu.vendor or "unknown"
        ),
        kind="cpu",
        architecture=known[0] if known else "cpu",
        variant=known[2] if known else None,
        confidence="measured" if peaks is not None else "derived",
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


def _peak(tflops: float, dtype: str, source: str) -> Peak:
    accumulate = {"fp64": "fp64", "int8": "int32"}.get(dtype, "fp32")
    reason = "measured on this machine" if source == "measured" else None
    return Peak(
        tflops=round(tflops, 5), engine="vector FMA", accumulate=accumulate, source=source, not_derived=reason
    )
