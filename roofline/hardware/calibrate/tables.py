"""From samples to the ``[measured]`` tables that they determine, and what of them is not plausible."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..device import Device
from ..ranges import CACHED, Interval
from .fit import fit_attention, fit_gemm
from .measure import Sample

UNUSABLE = 30.0  # percent by which a fit may miss its measurements on average
MEASURED = "measured on this machine: [sources] calibration says how"
_ATTENTION_TILE = 128
_FAR_BEYOND = 1.5  # times the last-level cache, from which little of a kernel's operands is left in it
# Figures that a quiet machine has, by kind of device. Libraries reach a fifth of a peak and more on large products on
# every device that the catalog has kernels of; a framework's operation is launched in 1 to 50 us there, a kernel that
# does nothing takes a GPU 1 to 10.
_PLAUSIBLE: dict[str, tuple[Interval, Interval]] = {  # CPU, GPU
    "cap": (Interval(0.15, 1.0), Interval(0.15, 1.0)),
    "cap_backward": (Interval(0.02, 1.0), Interval(0.02, 1.0)),
    "t0_us": (Interval(0.0, 200.0), Interval(0.0, 50.0)),
    "tile_us": (Interval(0.0, 5e4), Interval(0.0, 500.0)),
    "tile_backward_us": (Interval(0.0, 5e4), Interval(0.0, 1000.0)),
    "eager_us": (Interval(0.01, 200.0), Interval(0.5, 200.0)),
    "graph_us": (Interval(0.01, 200.0), Interval(0.2, 20.0)),
    "bandwidth": (Interval(0.03, CACHED.high), Interval(0.1, 1.0)),
    "wgrad": (Interval(1.0, 4.0), Interval(1.0, 4.0)),
}
_ATTENTION_CAP = (Interval(0.02, 1.0), Interval(0.02, 1.0))  # a CPU's fused attention is far from its products


def from_cache(sample: Sample, device: Device) -> bool:
    """Whether a CPU's caches hold a good part of what a kernel goes over: memory is then no bound to it."""
    last = max((cache.bytes for cache in device.caches), default=0.0)
    return device.kind == "cpu" and 0 < sample.footprint < _FAR_BEYOND * last


def tables_of(device: Device, samples: Sequence[Sample]) -> dict[str, Any]:
    """The ``[measured]`` tables that the samples determine."""
    tables: dict[str, Any] = {}
    gpu = device.kind != "cpu"
    eager, graph = _shortest(samples, "launch"), _shortest(samples, "graph")
    # The time of an empty kernel: on a CPU it is the launch; on a GPU launches overlap, and a recorded graph shows it.
    t0_us = graph if gpu else eager or 1.0
    half = next((dtype for dtype in ("bf16", "fp16") if dtype in device.peaks), "bf16")
    for name, dtype in (("gemm", half), ("gemm_fp32", "fp32")):
        table = _gemm_table(device, samples, dtype)
        if table:
            tables[name] = table
    attention = _attention_table(device, samples, t0_us or 0.0)
    if attention:
        tables["attention"] = dict.fromkeys(("flash2",) if gpu else ("flash1", "flash2", "te"), attention)
    streams = {
        group: table
        for group in ("elementwise", "normalization", "softmax", "embedding", "optimizer")
        if (table := _stream_table(device, [s for s in samples if s.group == group], t0_us))
    }
    if streams:
        tables["memory_bound"] = streams
    launch = {"eager_us": eager, "compiled_us": None if gpu else eager, "graph_us": graph if gpu else eager}
    known = {name: value for name, value in launch.items() if value is not None}
    if known:
        tables["launch"] = {**known, "source": MEASURED}
    return tables


def _shortest(samples: Sequence[Sample], group: str) -> float | None:
    """Microseconds of the shortest kernel of a group, in four digits."""
    times = [s.typical for s in samples if s.group == group]
    return float(f"{1e6 * min(times):.4g}") if times else None


def _stream_table(device: Device, chosen: Sequence[Sample], t0_us: float | None) -> dict[str, Any] | None:
    if not chosen:
        return None
    share = sum(s.bytes for s in chosen) / sum(s.typical for s in chosen) / device.memory_bandwidth_bytes_per_s
    # A CPU's caches may serve later passes of a kernel; a GPU's datasheet is never beaten.
    share = min(share, CACHED.high if device.kind == "cpu" else 1.0)
    start = {} if t0_us is None else {"t0_us": t0_us}
    return {"bandwidth": float(f"{share:.4g}"), **start, "source": MEASURED}


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
        "source": MEASURED,
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
    return table | {"t0_us": t0_us, "softmax_dim": 0.0, "head_multiple": 1, "bandwidth": 0.9, "source": MEASURED}


def usable(tables: Mapping[str, Any], *, gpu: bool) -> tuple[dict[str, Any], list[str]]:
    """Tables without what misses its measurements or is not plausible: the defaults are better; and why.

    A fit can miss nothing and still be of a busy machine: 7.5 ms before a product begins, or 3 % of the peak.
    """
    kept: dict[str, Any] = {}
    notes: list[str] = []
    for name, table in tables.items():
        nested = "source" not in table
        good = {}
        for key, entry in (table if nested else {"": table}).items():
            problem = next(_implausible(name, entry, gpu=gpu), None)
            if problem is None:
                good[key] = entry
            else:
                notes.append(f"{f'{name}.{key}'.rstrip('.')}: {problem}: the default stays")
        if good:
            kept[name] = good if nested else good[""]
    return kept, list(dict.fromkeys(notes))


def _implausible(name: str, table: Mapping[str, Any], *, gpu: bool) -> Iterator[str]:
    if table.get("mape", 0.0) > UNUSABLE:
        yield f"the fit misses its measurements by {table['mape']:.0f} %"
    for field, ranges in _PLAUSIBLE.items():
        allowed = (_ATTENTION_CAP if name == "attention" and field == "cap" else ranges)[gpu]
        value = table.get(field)
        if value is not None and value not in allowed:
            yield f"{field} = {value:g} is not what a quiet machine has ({allowed})"
