"""What a gap between measured and expected usually means, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .result import MeasuredOp

if TYPE_CHECKING:
    from ..hardware import Device

SLOWER = 1.15  # ratio of measured to expected beyond which a gap is worth a word
_SHORT = 15e-6  # seconds: below, the fixed cost of a kernel decides
_ALIGNED = 8  # elements of 16 bits that fill a vector of 16 bytes


def meaning(op: MeasuredOp, device: Device | None) -> str:
    """The usual cause of the gap; empty where measured is near expected."""
    ratio = op.ratio
    if ratio is None:
        return ""
    if op.kind == "collective":
        return "includes waiting for the slowest rank" if ratio > SLOWER else ""
    if ratio < SLOWER:
        return ""
    if op.kind == "matmul":
        return _matmul(op, device)
    if op.kind == "attention":
        return _attention(op)
    return _stream(op)


def _matmul(op: MeasuredOp, device: Device | None) -> str:
    m, n, k, batch = op.matmul or (0, 0, 0, 1)
    each = op.time_s / op.count
    if op.dtype == "fp32" and device is not None and "tf32" in device.peaks:
        return "fp32 without TF32: set_float32_matmul_precision('high')"
    if "conv" in op.name and any(word in name for name in op.kernels for word in ("nchw", "Nchw", "transpose")):
        return "layout conversions around it: channels_last"
    if n % _ALIGNED or k % _ALIGNED:
        return "n or k is no multiple of 8: pad it"
    units = (device.units if device is not None else None) or 100
    if each < _SHORT or -(-m // 128) * -(-n // 256) * batch < units:
        return "too small to fill the device: larger batch, CUDA graphs"
    newer = "benchmark=True, channels_last" if "conv" in op.name else "newer library, tuned GEMMs"
    return f"library kernel below its class: {newer}"


def _attention(op: MeasuredOp) -> str:
    _, _, length, keys, dim = op.matmul or (0, 0, 0, 0, 128)
    if dim % 32:
        return f"head size {dim} is padded"
    if min(length, keys) < 1024:
        return "short sequences: tiles partly filled"
    return "a slower attention kernel: flash3 or cuDNN where the device has it"


def _stream(op: MeasuredOp) -> str:
    plain = bool(op.kernels) and "elementwise_kernel" in op.kernels[0] and "vectorized" not in op.kernels[0]
    if op.time_s / op.count < _SHORT:
        return "too small to stream: fuse it (torch.compile), CUDA graphs"
    if "norm" in op.name and op.phase == "backward":
        return "reduction over rows not parallel enough: fused kernel"
    if op.strided or plain:
        return "strided or broadcast operands, not vectorized: fuse, make contiguous"
    if "cat" in op.name:
        return "copies that a fused kernel avoids"
    return "below streaming rate: fuse it with its neighbours"
