"""What norms, softmax and losses cost: several passes over rows or columns."""

from __future__ import annotations

from .rules import Call, Cost, Loop, Operand, aten, rule

_NORM_FLOPS = {
    "rms": 5,
    "other": 8,
}  # per element: square, sum, scale (rms); and subtract, variance (layer, batch)


@rule(*aten("native_layer_norm _fused_rms_norm"))
def _row_norm(call: Call) -> list[Cost]:
    """Norm over rows that stay on chip: one pass."""
    per_element = _NORM_FLOPS["rms" if "rms" in call.name else "other"]
    flops = per_element * call.largest
    return [Cost(kind="normalization", flops=flops, read=call.read, written=call.written, loop="rows")]


@rule(
    *aten("""
    native_batch_norm cudnn_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
    _native_batch_norm_legit_functional _batch_norm_with_update _batch_norm_with_update_functional native_group_norm
    native_layer_norm_backward native_batch_norm_backward cudnn_batch_norm_backward batch_norm_backward
    native_group_norm_backward _fused_rms_norm_backward
""")
)
def _two_pass_norm(call: Call) -> list[Cost]:
    """Statistics (backward: gradient sums) in one kernel, the elements in a second: read twice."""
    backward = call.name.endswith("_backward")
    per_element = _NORM_FLOPS["rms" if "rms" in call.name else "other"] * (2 if backward else 1)
    flops = per_element * call.largest
    if "no_training" in call.name:
        return [Cost(kind="normalization", flops=flops, read=call.read, written=call.written, loop="points")]
    loop: Loop = "beside" if "layer" in call.name or "rms" in call.name else "statistics"
    return [Cost(kind="normalization", flops=flops, read=2 * call.read, written=call.written, kernels=2, loop=loop)]


@rule(*aten("_softmax _log_softmax _safe_softmax _softmax_backward_data _log_softmax_backward_data"))
def _softmax(call: Call) -> list[Cost]:
    """Maximum, subtraction, exponential, sum, division: 5 FLOPs per element, twice that backward."""
    per_element = 10 if "backward" in call.name else 5
    return [Cost(kind="softmax", flops=per_element * call.largest, read=call.read, written=call.written, loop="rows")]


@rule(*aten("nll_loss_forward nll_loss2d_forward"))
def _nll_loss(call: Call) -> list[Cost]:
    """One log-probability per target is read."""
    target: Operand = call.args["target"]
    read = target.bytes + target.elements * call.args["self"].itemsize
    return [Cost(kind="softmax", flops=target.elements, read=read, written=call.written, loop="reduction")]


@rule(*aten("nll_loss_backward nll_loss2d_backward"))
def _nll_loss_backward(call: Call) -> list[Cost]:
    """Zeros everywhere, and one value per target."""
    read = call.args["target"].bytes
    return [Cost(kind="softmax", flops=0, read=read, written=call.written, loop="points")]
