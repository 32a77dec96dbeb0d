"""The pass of a traced module as that of a step: its kernels, and the parameters they leave to be updated."""

from __future__ import annotations

import msgspec

from ..arrays import Number
from ..model.recorded import RecordedPass
from ..model.spec import ModelConfig
from .op import Op
from .weights import Weights


def recorded_pass(model: ModelConfig, recorded: RecordedPass) -> tuple[tuple[Op, ...], tuple[Weights, ...]]:
    """The ops of one pass, and what one device holds of the parameters.

    The peak of the pass is known as a whole, what it keeps for backward and the operands in hand: the first op has it.
    """
    first, *rest = recorded.ops
    kept = [msgspec.structs.replace(first, part="layer", saved_bytes=recorded.peak_bytes / first.count)]
    kept += [msgspec.structs.replace(op, part="layer", saved_bytes=0) for op in rest]
    parts = (("trainable", recorded.trainable, True), ("frozen", model.extra_params - recorded.trainable, False))
    weights = tuple(
        Weights(name=name, part="layer", local=local, count=1, trainable=trainable, expert=False)
        for name, local, trainable in parts
    )
    return tuple(kept), weights


def recorded_flops(recorded: RecordedPass) -> Number:
    """FLOPs that MFU counts of one pass: matmuls and full attention of forward and backward."""
    flops: Number = sum(
        (op.flops if op.model_flops is None else op.model_flops) * op.count
        for op in recorded.ops
        if op.kind in {"matmul", "attention"} and op.phase in {"forward", "backward"}
    )
    return flops
