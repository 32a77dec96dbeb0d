"""Measured kernels of a trace as the ``[measured]`` tables of a device file."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import RooflineError
from ..hardware.calibrate.fit import fit_attention, fit_gemm
from ..hardware.measured import VECTOR_KINDS
from ..units import format_number
from .result import MeasuredOp, Profile

if TYPE_CHECKING:
    from ..hardware import Device

LEAST_SHAPES = 5  # of matmuls, below which four constants cannot be told apart
LEAST_ATTENTION = 3
LEAST_BYTES = 8 << 20  # a run that moves less shows its fixed time, not the bandwidth
USABLE = 30.0  # percent by which a fit may miss its kernels on average
_16_BITS = frozenset({"bf16", "fp16"})  # tf32 shares their table, and reaches another share of its peak
_TILE = 128


def fitted_device(result: Profile) -> tuple[Device, list[str]]:
    """The trace's device with constants fitted to its kernels, and a sentence on each table.

    Raises:
        RooflineError: The device is not known, or the trace has too few shapes for any table.
    """
    device = result.device
    if device is None:
        raise RooflineError(f"a device file needs a device to start from, and {result.device_name!r} is none: --device")
    tables, words = _tables(result, device)
    if not tables:
        raise RooflineError(
            f"too few kernels to fit a device: at least {LEAST_SHAPES} shapes of matmuls in one dtype, or kernels that "
            f"move {LEAST_BYTES >> 20} MiB: {'; '.join(words) or 'none has shapes'}"
        )
    text = (
        f"roofline profile, {dt.date.today().isoformat()}: kernels of {', '.join(result.files)} "
        f"({format_number(len(result.steps), 'step')}), as they ran in a step"
    )
    merged = {**device.measured_tables, **tables}
    if "memory_bound" in tables:
        merged["memory_bound"] = {**device.measured_tables.get("memory_bound", {}), **tables["memory_bound"]}
    if "attention" in tables:
        merged["attention"] = {**device.measured_tables.get("attention", {}), **tables["attention"]}
    changed = msgspec.structs.replace(
        device, id=f"{device.id}-profiled", nvml_names=(), aliases=(), sources={**device.sources, "profile": text}
    )
    return msgspec.structs.replace(changed, measured_tables=merged), words


_SOURCE = "measured in a training step: [sources] profile says which"


def _tables(result: Profile, device: Device) -> tuple[dict[str, Any], list[str]]:
    tables: dict[str, Any] = {}
    words: list[str] = []
    matmuls = [op for op in result.ops if op.kind == "matmul" and op.flops and op.bytes and "conv" not in op.name]
    for name, dtypes in (("gemm", _16_BITS), ("gemm_fp32", {"fp32"}), ("gemm_fp8", {"fp8"})):
        table = _gemm(name, [op for op in matmuls if op.dtype in dtypes], device, words)
        if table is not None:
            tables[name] = table
    attention = _attention(result, device, words)
    if attention is not None:
        tables["attention"] = attention
    streams = {kind: found for kind in VECTOR_KINDS if (found := _stream(kind, result, device, words)) is not None}
    if streams:
        tables["memory_bound"] = streams
    return tables, words


def _gemm(name: str, ops: list[MeasuredOp], device: Device, words: list[str]) -> dict[str, Any] | None:
    """One table of matmuls, in the dtype that most of them have."""
    counts = {dtype: sum(op.dtype == dtype for op in ops) for dtype in dict.fromkeys(op.dtype for op in ops)}
    dtype = max(counts, key=counts.__getitem__, default=None)
    chosen = [op for op in ops if op.dtype == dtype]
    if dtype is None or dtype not in device.peaks:
        return None
    if len(chosen) < LEAST_SHAPES:
        words.append(f"left as it is, {name}: {len(chosen)} shapes in {dtype}, {LEAST_SHAPES} are needed")
        return None
    fit = fit_gemm(
        [(op.flops or 0) / op.count for op in chosen],
        [(op.bytes or 0) / op.count for op in chosen],
        [op.time_s / op.count for op in chosen],
        peak=device.peaks[dtype],
        bandwidth=device.memory_bandwidth_bytes_per_s,
    )
    if not _good(name, fit.mape, words):
        return None
    words.append(
        f"fitted, {name}: {len(chosen)} shapes in {dtype}: cap {fit.cap:g}, bandwidth {fit.bandwidth:g}, "
        f"t0 {fit.t0_us:g} us, p {fit.p:g}, off by {fit.mape:g} % on average"
    )
    shape = {"k_half": 0.0, "quantisation": 0.0}  # in the cap and the fixed time of these shapes
    constants = {"cap": fit.cap, "bandwidth": fit.bandwidth, "t0_us": fit.t0_us, "p": fit.p, **shape}
    return {**constants, "rows": len(chosen), "mape": fit.mape, "source": _SOURCE}


def _attention(result: Profile, device: Device, words: list[str]) -> dict[str, Any] | None:
    """Fused attention, where the trace has forward and backward of enough shapes."""
    from .names import attention_kernel

    found: dict[str, Any] = {}
    kernel = "flash2"
    for phase, cap, tile in (("forward", "cap", "tile_us"), ("backward", "cap_backward", "tile_backward_us")):
        ops = [op for op in result.ops if op.kind == "attention" and op.phase == phase and op.flops and op.matmul]
        ops = [op for op in ops if op.dtype in device.peaks]
        if len(ops) < LEAST_ATTENTION:
            if ops:
                words.append(f"left as it is, attention: {len(ops)} shapes {phase}, {LEAST_ATTENTION} are needed")
            return None
        kernel = attention_kernel(ops[0].kernels[0])
        rows = [(op.matmul or (1,) * 5)[2 if phase == "forward" else 3] for op in ops]
        heads = [(op.matmul or (1, 1))[0] * (op.matmul or (1, 1))[1] for op in ops]
        even = [h * math.ceil(r / _TILE) / (device.units or 1) for h, r in zip(heads, rows, strict=True)]
        waves = [math.ceil(count) for count in even]
        fit = fit_attention(
            [(op.flops or 0) / op.count * w / e for op, w, e in zip(ops, waves, even, strict=True)],
            [float(wave) for wave in waves],
            [op.time_s / op.count for op in ops],
            peak=device.peaks[ops[0].dtype or "bf16"],
        )
        if not _good(f"attention {phase}", fit.mape, words):
            return None
        words.append(f"fitted, attention {phase}: {len(ops)} shapes: cap {fit.cap:g}, off by {fit.mape:g} % on average")
        found |= {cap: fit.cap, tile: fit.tile_us, "rows": len(ops), "mape": fit.mape}
    return {kernel: {**found, "source": _SOURCE}}


def _stream(kind: str, result: Profile, device: Device, words: list[str]) -> dict[str, Any] | None:
    """The rate of the kernels of one kind that move enough, all together."""
    ops = [op for op in result.ops if op.kind == kind and op.bytes and op.bytes / op.count >= LEAST_BYTES]
    if not ops:
        return None
    moved, time = sum(op.bytes or 0 for op in ops), sum(op.time_s for op in ops)
    share = min(moved / time / device.memory_bandwidth_bytes_per_s, 1.0)
    words.append(f"fitted, memory_bound.{kind}: {len(ops)} shapes: bandwidth {share:.3g} of the datasheet's")
    return {"bandwidth": float(f"{share:.4g}"), "rows": len(ops), "source": _SOURCE}


def _good(name: str, mape: float, words: list[str]) -> bool:
    if mape > USABLE:
        words.append(f"left as it is, {name}: no constants fit its kernels (off by {mape:g} % on average)")
        return False
    return True
