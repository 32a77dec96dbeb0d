"""Measures this machine and makes a device of it: peaks, bandwidths, and the constants of the time model."""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ..catalog import complete
from ..detect.bench import cache_bytes_per_s, clock_of, load_average, seconds
from ..detect.cpu import Cpu, read_cpu
from ..detect.detect import detect_gpus
from ..detect.local import architecture_of, cpu_device
from ..detect.machine import machine_device
from ..detect.match import match
from ..device import Device, Dtype, Peak
from ..errors import HardwareError
from ..ranges import CACHED
from .fit import fit_attention, fit_gemm, spread
from .kernels import Engine, NumpyEngine, TorchEngine

BUSY = 0.15  # share of the machine that others use, above which it is said
NOISY = 0.10  # spread between rounds above which it is said
UNUSABLE = 30.0  # percent by which a fit may miss its measurements on average
_MEASURED = "measured on this machine: [sources] calibration says how"
_ATTENTION_TILE = 128
_UNKNOWN = 1e9  # bytes/s, until the rounds have measured it
_FAR_BEYOND = 1.5  # times the last-level cache, from which little of a kernel's operands is left in it

Progress = Callable[[str, float], None]  # what runs, and the share that is done


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One measured kernel: best seconds per launch of each round."""

    group: str
    name: str
    dtype: str
    flops: float
    bytes: float
    shape: tuple[int, ...]
    rounds: tuple[float, ...]
    footprint: float = 0.0

    @property
    def seconds(self) -> float:
        """The quietest round: other programs only ever slow a kernel down. Peaks come from it."""
        return min(self.rounds)

    @property
    def typical(self) -> float:
        """The middle round: what a long step sees, and what efficiencies are fitted to."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Largest minus smallest round over their median."""
        return spread(self.rounds)


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """A calibrated device, what it rests on, and what to say about it."""

    device: Device
    samples: tuple[Sample, ...]
    notes: tuple[str, ...]
    median_spread: float


def choose_engine(word: str, threads: int) -> Engine:
    """The engine for ``auto``, ``numpy``, ``torch`` or ``torch-cuda``, with CPU threads.

    Raises:
        HardwareError: torch is asked for and not installed, or sees no GPU.
    """
    if word == "numpy":
        return NumpyEngine(threads)
    try:
        import torch
    except ImportError as error:
        if word == "auto":
            return NumpyEngine(threads)
        raise HardwareError(
            f"--engine {word}: PyTorch is not installed: pip install 'roofline[torch]', or --engine numpy"
        ) from error
    gpu = bool(torch.cuda.is_available())
    if word == "torch-cuda" and not gpu:
        raise HardwareError("--engine torch-cuda: PyTorch sees no GPU: see 'roofline detect', or --engine torch")
    return TorchEngine("cuda" if gpu and word in {"auto", "torch-cuda"} else "cpu", threads)


def measure(engine: Engine, rounds: int, budget_s: float, progress: Progress) -> list[Sample]:
    """Every kernel in every round; rounds go over all kernels, so that a slow minute hits none of them alone.

    One CPU thread is timed by its own CPU time, which other programs hardly lengthen; everything else by
    the wall clock.
    """
    todo = list(engine.kernels())
    clock = clock_of(2 if _on_gpu(engine) else engine.threads)
    each = budget_s / (rounds * len(todo))
    best: list[list[float]] = [[] for _ in todo]
    for turn in range(rounds):
        for index, kernel in enumerate(todo):
            progress(kernel.name, (turn * len(todo) + index) / (rounds * len(todo)))
            durations = seconds(kernel.build(), budget_s=each, clock=clock)
            best[index].append(min(durations) / kernel.inner)
    return [
        Sample(
            group=kernel.group,
            name=kernel.name,
            dtype=kernel.dtype,
            flops=kernel.flops,
            bytes=kernel.bytes,
            footprint=kernel.footprint,
            shape=kernel.shape,
            rounds=tuple(values),
        )
        for kernel, values in zip(todo, best, strict=True)
    ]


def calibrate(
    engine_word: str = "auto",
    *,
    budget_s: float = 30.0,
    rounds: int = 3,
    threads: int | None = None,
    progress: Progress = lambda _what, _share: None,
) -> Calibration:
    """Measure this machine in about `budget_s` seconds, on `threads` of its cores (all by default).

    Raises:
        HardwareError: the engine is not there, or the GPU is unknown.
    """
    notes = _busy_notes()
    cpu = read_cpu()
    if threads is not None:
        if threads > cpu.available_cores:
            raise HardwareError(f"--threads {threads}: this process may use {cpu.available_cores} cores")
        cpu = msgspec.structs.replace(cpu, available_cores=threads)
    engine = choose_engine(engine_word, cpu.available_cores)
    progress("peak and bandwidth", 0.0)
    on_gpu = _on_gpu(engine)
    device = _gpu_base(engine) if on_gpu else cpu_device(cpu, bandwidth=_UNKNOWN)
    samples = measure(engine, rounds, budget_s, progress)
    if not on_gpu:
        device = _with_bandwidth(_with_bf16(device, cpu, samples), samples)
        device = _with_cache_bandwidth(device, cpu)
    device = _raised(device, samples)
    typical = statistics.median(sample.spread for sample in samples)
    if typical > NOISY:
        notes.append(f"rounds differ by {100 * typical:.0f} % (median): not a quiet machine; run again")
    text = (
        f"roofline calibrate, {dt.date.today().isoformat()}: {engine.name}, {engine.threads} threads, "
        f"{rounds} rounds, median spread {100 * typical:.1f} %; cache sizes as the system reports"
    )
    device = msgspec.structs.replace(
        device,
        sources={**device.sources, "calibration": text},
        caveats=tuple(c for c in device.caveats if "efficiencies are defaults" not in c),
        measured_tables=_usable(_tables(device, samples), notes),
    )
    return Calibration(device=complete(device), samples=tuple(samples), notes=tuple(notes), median_spread=typical)


def _busy_notes() -> list[str]:
    """What other programs use of this machine right now."""
    import psutil

    share = psutil.cpu_percent(interval=0.5) / 100
    load = load_average()
    if share < BUSY:
        return []
    more = "" if load is None else f", load average {load:.1f}"
    return [f"other programs use {100 * share:.0f} % of the CPU{more}: close them and run again"]


def _on_gpu(engine: Engine) -> bool:
    return isinstance(engine, TorchEngine) and engine.gpu


def _gpu_base(engine: Engine) -> Device:
    detection = detect_gpus()
    device = machine_device(detection)
    if device is None:
        from ..detect.gpu import Gpu

        torch = engine.torch  # type: ignore[attr-defined]
        device, how = match(Gpu(index=0, name=torch.cuda.get_device_name()))
        if device is None:
            raise HardwareError(f"calibrate: {how}")
    return device


def _with_bandwidth(device: Device, samples: Sequence[Sample]) -> Device:
    """Memory bandwidth: the best rate of any kernel whose operands are far beyond the caches, once each."""
    streams = [s for s in samples if s.group == "stream"]
    best = max(s.bytes / s.seconds for s in streams)
    note = ", ".join(f"{s.name}, spread {100 * s.spread:.0f} %" for s in streams)
    bandwidth = msgspec.structs.replace(
        device.memory.bandwidth,
        gb_per_s=round(best / 1e9, 2),
        source="calibration",
        not_derived=f"best stream measured in the rounds ({note})",
    )
    return msgspec.structs.replace(device, memory=msgspec.structs.replace(device.memory, bandwidth=bandwidth))


def from_cache(sample: Sample, device: Device) -> bool:
    """Whether a CPU's caches hold a good part of what a kernel goes over: memory is then no bound to it."""
    last = max((cache.bytes for cache in device.caches), default=0.0)
    return device.kind == "cpu" and 0 < sample.footprint < _FAR_BEYOND * last


def _with_cache_bandwidth(device: Device, cpu: Cpu) -> Device:
    """Rates of working sets that fill half of each level, all cores in use together.

    A core's own level is measured on one core and multiplied: cores do not disturb one another there. What
    is not faster than the next level outwards was not measured well (a busy machine) and is left out.
    """
    cores = cpu.available_cores
    rates: dict[str, float] = {}
    for level in cpu.caches:
        sharing = max(cpu.physical_cores / level.count, 1.0)
        threads = 1 if sharing == 1 else cores
        each = level.kib_each * 1024 / 2
        rate = cache_bytes_per_s(int(each if threads == 1 else each / min(sharing, cores)), threads)
        rates[f"L{level.level}"] = rate * cores / threads
    outer, kept = device.memory_bandwidth_bytes_per_s, {}
    for name in reversed(rates):
        if rates[name] > outer:
            outer = kept[name] = rates[name]
    caches = tuple(
        msgspec.structs.replace(cache, gb_per_s=round(kept[cache.level] / 1e9, 1), source="calibration")
        if cache.level in kept
        else cache
        for cache in device.caches
    )
    return msgspec.structs.replace(device, caches=caches)


def _with_bf16(device: Device, cpu: Cpu, samples: Sequence[Sample]) -> Device:
    """Add the bf16 peak where PyTorch measured it: the fp32 peak in the ratio of the architecture's rates."""
    if "bf16" in device.peak or not any(s.dtype == "bf16" and s.group == "gemm" for s in samples):
        return device
    known = architecture_of(cpu)
    ratio = known[3].bf16 / known[3].fp32 if known and known[3].bf16 and known[3].fp32 else 1.0
    peak = Peak(
        tflops=round(device.peak["fp32"].tflops * ratio, 5),
        engine="vector dot product",
        source="calibration",
        not_derived="fp32 peak measured on this machine x the architecture's ratio of rates",
    )
    return msgspec.structs.replace(device, peak={**device.peak, "bf16": peak})


def _raised(device: Device, samples: Sequence[Sample]) -> Device:
    """A peak that a measurement exceeds is not the peak of this machine: raise it to the best rate seen."""
    peaks: dict[Dtype, Peak] = dict(device.peak)
    for dtype, peak in device.peak.items():
        best = max((s.flops / s.seconds for s in samples if s.group == "gemm" and s.dtype == dtype), default=0.0)
        if best > peak.tflops * 1e12 and device.kind == "cpu":
            peaks[dtype] = msgspec.structs.replace(
                peak,
                tflops=round(best / 1e12, 5),
                source="calibration",
                not_derived="best measured matrix product",
            )
    return msgspec.structs.replace(device, peak=peaks)


def _tables(device: Device, samples: Sequence[Sample]) -> dict[str, Any]:
    """The ``[measured]`` tables that the samples determine."""
    tables: dict[str, Any] = {}
    launch = [s.typical for s in samples if s.group == "launch"]
    t0_us = float(f"{1e6 * min(launch):.4g}") if launch else 1.0
    gpu = device.kind != "cpu"
    for name, dtype in (("gemm", "bf16"), ("gemm_fp32", "fp32")):
        table = _gemm_table(device, samples, dtype)
        if table:
            tables[name] = table
    attention = _attention_table(device, samples, t0_us)
    if attention:
        tables["attention"] = dict.fromkeys(("flash2",) if gpu else ("flash1", "flash2", "te"), attention)
    streams: dict[str, Any] = {}
    for group in ("elementwise", "normalization", "softmax", "embedding", "optimizer"):
        chosen = [s for s in samples if s.group == group]
        if chosen:
            rate = sum(s.bytes for s in chosen) / sum(s.typical for s in chosen)
            share = rate / device.memory_bandwidth_bytes_per_s
            # A CPU's caches may serve later passes of a kernel; a GPU's datasheet is never beaten.
            share = min(share, 1.0 if gpu else CACHED.high)
            streams[group] = {"bandwidth": float(f"{share:.4g}"), "t0_us": t0_us, "source": _MEASURED}
    tables["memory_bound"] = streams
    # On a CPU the kernel's own time holds its launch; nothing else waits for the host.
    eager = t0_us if not gpu else 12.0
    if not gpu:
        tables["launch"] = {"eager_us": eager, "compiled_us": eager, "graph_us": eager, "source": _MEASURED}
    return tables


def _usable(tables: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """`tables` without fits that miss their measurements: on a busy machine the defaults are better."""
    kept = {}
    for name, table in tables.items():
        if table.get("mape", 0.0) > UNUSABLE:
            notes.append(f"the fit of {name} misses its measurements by {table['mape']:.0f} %: the default stays")
        else:
            kept[name] = table
    return kept


def _gemm_table(device: Device, samples: Sequence[Sample], dtype: str) -> dict[str, Any] | None:
    chosen = [s for s in samples if s.group == "gemm" and s.dtype == dtype]
    if not chosen or dtype not in device.peaks:
        return None
    fit = fit_gemm(
        [s.flops for s in chosen],
        [s.bytes for s in chosen],
        [s.typical for s in chosen],
        peak=device.peaks[dtype],
        bandwidth=device.memory_bandwidth_bytes_per_s,
    )
    forward = {s.shape: s.typical for s in chosen}
    ratios = [
        s.typical / forward[s.shape] for s in samples if s.group == "wgrad" and s.dtype == dtype and s.shape in forward
    ]
    wgrad = max(statistics.median(ratios), 1.0) if ratios else 1.0
    return {
        "cap": fit.cap,
        "bandwidth": fit.bandwidth,
        "t0_us": fit.t0_us,
        "p": fit.p,
        "k_half": 0.0,
        "quantisation": 0.0,
        "misaligned": 1.0,
        "wgrad": float(f"{wgrad:.4g}"),
        "rows": len(chosen),
        "mape": fit.mape,
        "source": _MEASURED,
    }


def _attention_table(device: Device, samples: Sequence[Sample], t0_us: float) -> dict[str, Any] | None:
    table: dict[str, Any] = {}
    for group, cap, tile in (
        ("attention", "cap", "tile_us"),
        ("attention_backward", "cap_backward", "tile_backward_us"),
    ):
        chosen = [s for s in samples if s.group == group and s.dtype in device.peaks]
        if not chosen:
            return None
        even = [s.shape[0] * s.shape[1] * math.ceil(s.shape[2] / _ATTENTION_TILE) / (device.units or 1) for s in chosen]
        waves = [math.ceil(count) for count in even]
        fit = fit_attention(
            [s.flops * wave / count for s, wave, count in zip(chosen, waves, even, strict=True)],
            [float(wave) for wave in waves],
            [s.typical for s in chosen],
            peak=device.peaks[chosen[0].dtype],
        )
        table |= {cap: fit.cap, tile: fit.tile_us}
    return table | {
        "t0_us": t0_us,
        "softmax_dim": 0.0,
        "head_multiple": 1,
        "bandwidth": 0.9,
        "source": _MEASURED,
    }
