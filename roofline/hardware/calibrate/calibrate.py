"""Measures this machine and makes a device of it: peaks, bandwidths, and the constants of the time model."""

from __future__ import annotations

import datetime as dt
import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from ...constants import constant
from ..check.rules import problems
from ..detect.bench import load_average
from ..detect.cpu import Cpu, read_cpu
from ..detect.local import cpu_device
from ..device import Device
from ..errors import HardwareError
from ..host import WIDTH_80
from .base import (
    UNKNOWN,
    cpu_dtypes,
    gpu_base,
    gpu_dtypes,
    raised,
    with_bandwidth,
    with_bf16,
    with_cache_bandwidth,
    with_measured_peaks,
)
from .kernels import Engine, NumpyEngine
from .links import measure_links, with_links
from .measure import Progress, Sample, measure
from .step import StepTime, time_step
from .tables import tables_of, usable
from .torch_kernels import TorchEngine

BUSY = 0.15  # share of the machine that others use, above which it is said
GUESTS = constant("spread.guests")
NOISY = 0.10  # spread between rounds above which a result is noisy
# Expected range of n normal draws in standard deviations (Tippett 1925): a range over rounds as a standard deviation.
_RANGE = {2: 1.128, 3: 1.693, 4: 2.059, 5: 2.326}
_KERNELS = 0.8  # of the time asked for; caches, links and a model's step take the rest
ACCELERATORS = ("cuda", "xpu", "mps")  # PyTorch's words, in the order in which they are looked for


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """A calibrated device, what it rests on, and what to say about it.

    Attributes:
        device: What was calibrated.
        samples: The kernels.
        notes: What to know: what other programs use, what has no time or does not fit.
        median_spread: Of the kernels between rounds.
        noisy: Why the result should not be relied on, in words; none where the machine was quiet.
        step: A step of a small model, where PyTorch ran.
    """

    device: Device
    samples: tuple[Sample, ...]
    notes: tuple[str, ...]
    median_spread: float
    noisy: tuple[str, ...] = ()
    step: StepTime | None = None


def accelerator(torch: Any) -> str | None:
    """The accelerator that PyTorch runs on, in its word; None where there is none."""
    if torch.cuda.is_available():
        return "cuda"
    for kind in ACCELERATORS[1:]:
        backend = torch.backends.mps if kind == "mps" else getattr(torch, kind, None)
        if backend is not None and backend.is_available():
            return kind
    return None


def choose_engine(word: str, cpu: Cpu) -> Engine:
    """The engine for ``auto``, ``numpy``, ``torch`` (CPU) or ``torch-gpu``.

    Raises:
        HardwareError: torch is asked for and not installed, or sees no accelerator.
    """
    threads = cpu.available_cores
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
    kind = accelerator(torch) if word in {"auto", "torch-gpu"} else None
    if word == "torch-gpu" and kind is None:
        raise HardwareError("--engine torch-gpu: PyTorch sees no accelerator: see 'roofline detect', or --engine torch")
    if kind is None:
        return TorchEngine("cpu", threads, dtypes=cpu_dtypes(cpu))
    return TorchEngine(kind, threads, dtypes=gpu_dtypes(torch, kind))


def calibrate(
    engine_word: str = "auto",
    *,
    budget_s: float = 30.0,
    rounds: int = 3,
    threads: int | None = None,
    progress: Progress = lambda _what, _share: None,
) -> Calibration:
    """Measure this machine in `budget_s` seconds, on `threads` of its cores (all by default).

    Raises:
        HardwareError: the engine is not there, or the time holds no stream over memory.
    """
    start = time.perf_counter()
    others = others_share()
    busy = busy_notes(others)
    cpu = read_cpu()
    if threads is not None:
        if threads > cpu.available_cores:
            raise HardwareError(f"--threads {threads}: this process may use {cpu.available_cores} cores")
        cpu = msgspec.structs.replace(cpu, available_cores=threads)
    engine = choose_engine(engine_word, cpu)
    progress("peak and bandwidth", 0.0)
    if isinstance(engine, TorchEngine) and engine.gpu:
        on_gpu, device = True, gpu_base(engine.torch, engine.device)
    else:
        on_gpu, device = False, cpu_device(cpu, bandwidth=UNKNOWN)
    left = budget_s - (time.perf_counter() - start)
    found = measure(engine, rounds, _KERNELS * max(left, 0.0), progress, on_gpu=on_gpu)
    notes = [*busy, *found.notes]
    if on_gpu:
        device = _of_accelerator(device, found.samples)
    else:
        device = with_bf16(with_bandwidth(device, found.samples), cpu, found.samples)
        device = raised(with_cache_bandwidth(device, cpu), found.samples)
    tables, dropped = usable(tables_of(device, found.samples), gpu=on_gpu)
    device = msgspec.structs.replace(device, measured_tables={**device.measured_tables, **tables})
    device = _linked(device, engine, notes)
    spread = statistics.median(sample.spread for sample in found.samples)
    most = max(len(sample.rounds) for sample in found.samples)
    noisy = noise(spread, busy, dropped, alone=most == 1 < rounds)
    sigma = sigma_of(most, spread, 0.0 if on_gpu else others, guest=cpu.virtual and not on_gpu)
    device = _said(device, engine, most, spread, bool(noisy), sigma)
    for problem in problems(device):
        raise HardwareError(f"calibrate: what was measured cannot be ({problem}): run again on a quiet machine")
    return Calibration(
        device=device,
        samples=found.samples,
        notes=(*notes, *dropped),
        median_spread=spread,
        noisy=noisy,
        step=_step(engine, device, budget_s - (time.perf_counter() - start), notes),
    )


def _of_accelerator(device: Device, samples: Sequence[Sample]) -> Device:
    """An accelerator that the catalog does not have gets the best that was measured."""
    if device.peak:
        return device
    return with_measured_peaks(with_bandwidth(device, samples), samples)


def _linked(device: Device, engine: Engine, notes: list[str]) -> Device:
    """`device` with the links between several GPUs as measured."""
    if not (isinstance(engine, TorchEngine) and engine.device == "cuda"):
        return device
    try:
        return with_links(device, measure_links(engine.torch))
    except (RuntimeError, AttributeError) as error:
        notes.append(f"the links between the GPUs were not measured ({str(error).splitlines()[0]})")
        return device


def _step(engine: Engine, device: Device, left_s: float, notes: list[str]) -> StepTime | None:
    """A step of a small model, where PyTorch runs and there is time for it."""
    if not isinstance(engine, TorchEngine):
        return None
    dtype = next((d for d in ("bf16", "fp16") if d in device.peaks and d in engine.dtypes), "fp32")
    try:
        step = time_step(engine.torch, engine.device, dtype, budget_s=left_s)
    except (RuntimeError, NotImplementedError) as error:
        notes.append(f"the step of a small model did not run ({str(error).splitlines()[0]})")
        return None
    if step is None:
        notes.append("no time for the step of a small model: --seconds gives more")
    return step


def others_share() -> float:
    """The share of this machine's CPU that other programs use right now; 0 where it is too little, or nobody says."""
    import psutil

    try:
        share = psutil.cpu_percent(interval=0.5) / 100
    except OSError:  # a container without /proc
        return 0.0
    return share if share >= BUSY else 0.0


def busy_notes(share: float) -> list[str]:
    """What other programs use of this machine, in words."""
    load = load_average()
    if not share:
        return []
    more = "" if load is None else f", load average {load:.1f}"
    return [f"other programs use {100 * share:.0f} % of the CPU{more}: close them and run again"]


def noise(spread: float, busy: Sequence[str], dropped: Sequence[str], *, alone: bool) -> tuple[str, ...]:
    """Why a result is of a noisy machine: rounds that differ, other programs, fits that are not plausible.

    `alone`: the time asked for held one of several rounds, and no spread is known.
    """
    rounds = [f"rounds differ by {100 * spread:.0f} % (median)"] if spread > NOISY else []
    if alone:
        rounds.append("there was time for one round alone, which does not tell how noisy it is")
    return (*rounds, *busy, *dropped)


def sigma_of(rounds: int, spread: float, others: float, *, guest: bool = False) -> float | None:
    """Standard deviation of the logarithm of what was measured; None where nothing tells it.

    Rounds say how much they differ. Other programs that use a share of the machine slow all rounds alike, by up to
    one and that share, which no two rounds show: three calibrations at 100 % differed by 27 %, each with rounds
    within 4 %. Their range is taken as the central 80 %. Nor do they show what other guests of a virtual machine's host
    take, of its memory above all: the constant ``spread.guests`` says what that comes to.
    """
    between = spread / _RANGE.get(rounds, _RANGE[5]) if rounds > 1 else 0.0
    sigma = math.hypot(between, math.log1p(others) / WIDTH_80, GUESTS if guest else 0.0)
    return float(f"{sigma:.2g}") or None


def _said(
    device: Device, engine: Engine, rounds: int, spread: float, noisy: bool, sigma: float | None = None
) -> Device:
    """`device` with the date, the library and the rounds in its sources, and `sigma` in its interval."""
    several = f"{rounds} rounds, median spread {100 * spread:.1f} %" if rounds > 1 else "one round"
    text = (
        f"roofline calibrate, {dt.date.today().isoformat()}: {engine.name}, {engine.threads} threads, "
        f"{several}; cache sizes as the system reports"
    )
    caveats = [c for c in device.caveats if "efficiencies are defaults" not in c]
    if noisy:
        caveats.append(f"calibrated on a noisy machine ({several})")
    elif sigma:
        caveats.append(
            f"rounds of its calibration differ by {100 * spread:.0f} %, and another calibration may by "
            f"{100 * sigma:.2g} % (standard deviation), which the range holds"
        )
    return msgspec.structs.replace(
        device, sources={**device.sources, "calibration": text}, caveats=tuple(caveats), spread=sigma
    )
