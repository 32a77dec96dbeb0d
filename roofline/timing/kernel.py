"""Time of one op on one device: the roofline itself, and what measured kernels make of it.

Every quantity may be a number or a NumPy array. The measured constants are `device.measured`
(`roofline/hardware/measured.py` holds their meaning and units); an expected time is never below the ideal one, because
every efficiency is at most 1 and every other term adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..arrays import Number, maximum, namespace, p_norm, where
from ..counting.op import Op
from ..errors import RooflineError, unknown
from ..hardware.measured import VECTOR_KINDS, Gemm

if TYPE_CHECKING:
    from ..hardware import Device

# Output tiles of the usual kernels: rows, columns, and reuse m n / (m + n) relative to 256 x 128.
_TILES = ((256, 128, 1.0), (128, 256, 1.0), (128, 128, 0.75), (64, 64, 0.375))
_MOST_WASTE = 2.0
_ATTENTION_TILE = 128  # rows of queries (forward) or keys (backward) one unit works on
_UNITS = 128  # multiprocessors where a maker publishes none: data-center parts have 104 to 160 (hardware/devices)
_ALIGNMENT = 8  # elements: matrix engines want leading dimensions of 16 bytes


def ideal_time(op: Op, device: Device) -> Number:
    """The roofline: seconds at the datasheet's peak or bandwidth, whichever takes longer.

    Vector kinds (elementwise, normalization, softmax, embedding, optimizer) run beside the matrix engines:
    their peak is the fp32 one, and where none is published (TPUs) their bytes alone decide. A collective is
    timed by `collectives.ideal_time`.

    Raises:
        RooflineError: The device has no engine for the op's dtype (as `HardwareError`).
    """
    if op.kind == "collective":
        return 0.0
    memory = (op.bytes_read + op.bytes_written) / device.memory_bandwidth_bytes_per_s
    if op.kind not in VECTOR_KINDS:
        peak = device.peak_flops_per_s(op.dtype)
    elif (peak := device.peaks.get("fp32", 0.0)) == 0.0:
        return memory
    return maximum(op.flops / peak, memory)


def expected_time(op: Op, device: Device, *, attention: str = "flash2") -> Number:
    """Seconds one run of the op takes on the device, from fits to measured kernels.

    Args:
        op: The op; a collective has no device time here (see `collectives.expected_time`).
        device: The device, with its measured constants.
        attention: The fused attention kernel: flash1, flash2, flash3 or te.

    Raises:
        RooflineError: The device has no engine for the op's dtype, or the attention kernel is unknown.
    """
    kind = op.kind
    if kind == "matmul":
        return _matmul_time(op, device)
    if kind == "attention":
        return _attention_time(op, device, attention)
    if kind == "collective":
        return 0.0
    return _stream_time(op, device)


def _matmul_time(op: Op, device: Device) -> Number:
    """A matmul of shape (m, n, k, batch): smooth roofline under an attainable cap, in waves of tiles."""
    if op.shape is None:
        raise RooflineError(f"op {op.name!r} is a matmul without a shape: give (m, n, k, batch)")
    m, n, k, batch = op.shape
    measured = device.measured
    constants = dense = measured.matmul(op.dtype)
    cap: Any = dense.cap
    if op.form == "grouped":  # experts' rows fill their last tile by half, and one alone is a dense matmul
        constants = measured.grouped_gemm
        cap = dense.cap * min(constants.cap / measured.gemm.cap, 1.0)
        rows = k if op.gradient == "weight" else m
        filled = _filled(n, constants.tile) * (_filled(m, constants.tile) if op.gradient == "weight" else 1.0)
        cap = where(batch > 1, cap * filled / (1.0 + constants.rows_half / rows), dense.cap)
    flops = op.flops
    memory_bytes = op.bytes_read + op.bytes_written
    xp = namespace(flops, memory_bytes)
    compute: Any = flops / (cap * device.peak_flops_per_s(op.dtype)) * (1.0 + dense.k_half / k)
    if constants.quantisation:
        compute = compute * _wave_waste(xp, constants, m, n, batch, device.units or _UNITS)
    if op.gradient == "weight":
        compute = compute * constants.wgrad
    if op.form == "batched" and constants.misaligned_batch > 1.0:
        ragged = (n % _ALIGNMENT + k % _ALIGNMENT + m % _ALIGNMENT) > 0
        compute = compute * (1.0 + (constants.misaligned_batch - 1.0) * ragged)
    elif constants.misaligned > 1.0:
        odd = (n % 2 + k % 2) > 0
        ragged = (n % _ALIGNMENT + k % _ALIGNMENT) > 0
        slow = maximum(constants.misaligned, constants.misaligned_odd * odd)
        compute = compute * (1.0 + (slow - 1.0) * ragged)
    memory = memory_bytes / (constants.bandwidth * device.memory_bandwidth_bytes_per_s)
    return constants.t0 + p_norm(compute, memory, constants.p)


def _filled(side: Number, tile: float) -> Number:
    """Share of whole tiles along one side that a matrix fills."""
    return side / (namespace(side).ceil(side / tile) * tile)


def _wave_waste(xp: Any, constants: Gemm, m: Number, n: Number, batch: Number, units: int) -> Any:
    """Time of whole tiles in whole waves over the time of the same FLOPs spread evenly, for the best tile.

    Within one wave a kernel splits k, so a partly filled first wave costs its share only; `_MOST_WASTE`
    bounds what tiny and thin shapes pay for padding, which t0 and the memory time already hold.
    """
    ceil, minimum, weight = xp.ceil, xp.minimum, constants.quantisation
    elements = _MOST_WASTE * m * n * batch / units  # of output, per unit
    for rows, columns, reuse in _TILES:
        even = ceil(m / rows) * ceil(n / columns) * batch / units
        waves = even + weight * (ceil(even) - even)
        elements = minimum(elements, waves * (rows * columns / reuse**constants.small_tile))
    return elements * units / (m * n * batch)


def _attention_time(op: Op, device: Device, kernel: str) -> Number:
    """Fused attention of shape (batch, heads, seq_q, seq_kv, head_dim), in whole waves of tiles of 128 rows.

    Each tile costs its matmuls, its exponentials and a fixed time (prologue, epilogue, masked corner).
    """
    constants = device.measured.attention.get(kernel)
    if constants is None:
        raise unknown("attention kernel", kernel, device.measured.attention)
    if op.shape is None:
        raise RooflineError(f"op {op.name!r} is attention without a shape: give (batch, heads, seq_q, seq_kv, dim)")
    batch, heads, seq_q, seq_kv, dim = op.shape
    flops = op.flops
    memory_bytes = op.bytes_read + op.bytes_written
    xp = namespace(flops, memory_bytes)
    if op.phase == "backward":  # tiles of keys; five matmuls per exponential instead of two
        rows, cap, tile_us, softmax = seq_kv, constants.cap_backward, constants.tile_backward_us, 0.4
    else:
        rows, cap, tile_us, softmax = seq_q, constants.cap, constants.tile_us, 1.0
    even = batch * heads * xp.ceil(rows / _ATTENTION_TILE) / (device.units or _UNITS)
    waves = xp.ceil(even)
    padded = xp.ceil(dim / constants.head_multiple) * constants.head_multiple
    effort = (padded + softmax * constants.softmax_dim) / dim
    compute = flops / (cap * device.peak_flops_per_s(op.dtype)) * effort * (waves / even) + waves * tile_us * 1e-6
    memory = memory_bytes / (constants.bandwidth * device.memory_bandwidth_bytes_per_s)
    return constants.t0 + xp.maximum(compute, memory)


def _stream_time(op: Op, device: Device) -> Number:
    """A kernel that streams memory, or a chain of `op.kernels` of them."""
    constants = device.measured.memory_bound.get(op.kind)
    if constants is None:
        raise unknown("op kind", op.kind, ("matmul", "attention", "collective", *device.measured.memory_bound))
    memory = (op.bytes_read + op.bytes_written) / (constants.bandwidth * device.memory_bandwidth_bytes_per_s)
    peak = device.peaks.get("fp32", 0.0)
    busy = maximum(memory, op.flops / peak) if peak else memory
    return op.kernels * constants.t0 + busy
