"""What a model costs before any device is named: parameters, FLOPs and bytes, op by op."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic

import msgspec

from ..arrays import N, Number, is_scalar, size
from ..config.run import TrainConfig
from ..model.parameters import count_parameters
from ..model.spec import ModelConfig
from ..result import Result
from .op import PHASES, Op
from .step import Step

if TYPE_CHECKING:
    import pandas as pd

MATMULS = frozenset({"matmul", "attention"})


class Count(Result, msgspec.Struct, Generic[N], frozen=True, kw_only=True):
    """Counts of one model; attributes are the JSON keys of ``roofline count``.

    FLOPs are per micro batch, all devices of one model replica together, except `flops_step` and
    `flops_optimizer` (one optimizer step). 1 multiply-add is 2 FLOPs. Attention counts in full (not causal);
    `executed_flops_step` is what the kernels really run: the visible half under a causal mask, and scores
    again in backward.

    Figures are numbers; of array options arrays of their common shape.

    Attributes:
        model: The model.
        train: The complete configuration.
        params_total: All parameters, tied weights once.
        params_active: Those one token passes through: the total without the experts it does not visit.
        params_embedding: The token look-up table.
        matmul_flops_forward: Matmuls and attention of the forward pass.
        matmul_flops_backward: The same for the backward pass.
        flops_forward: All ops of the forward pass.
        flops_backward: All ops of the backward pass.
        flops_recompute: Forward ops run again, as they execute.
        flops_optimizer: The update, on one device.
        flops_step: Accumulation steps x (forward + backward + recompute), plus the optimizer.
        executed_flops_step: The same as the kernels execute it.
        rule_6nd_ratio: 6 x active parameters x tokens, over the exact matmul FLOPs of forward and backward.
        tokens: Tokens of one micro batch.
        ops: Every op, for one device.
    """

    VIEW: ClassVar[str] = "count"

    model: ModelConfig
    train: TrainConfig
    params_total: int
    params_active: int
    params_embedding: int
    matmul_flops_forward: N
    matmul_flops_backward: N
    flops_forward: N
    flops_backward: N
    flops_recompute: N
    flops_optimizer: N
    flops_step: N
    executed_flops_step: N
    rule_6nd_ratio: N
    tokens: N
    ops: tuple[Op, ...]

    def __repr__(self) -> str:
        """The counts in one line."""
        from ..units import format_count, format_flops

        words = f"{self.model.name}: {format_count(self.params_total)} parameters"
        flops: Any = self.flops_step
        if not is_scalar(flops):
            return f"<Count of {words}, {size(flops)} configurations>"
        unit = "tokens" if self.model.recorded is None else "passes"
        return f"<Count of {words}, {format_flops(flops)} a step of {self.train.tokens_per_step:,} {unit}>"

    def to_frame(self) -> pd.DataFrame:
        """The ops as a pandas frame: per run, with how often each runs in a micro batch; of arrays a row a case."""
        import pandas as pd

        if not is_scalar(self.flops_step):
            return super().to_frame()

        return pd.DataFrame([op_record(op) for op in self.ops])


def op_record(op: Op) -> dict[str, Any]:
    """One op as a flat record; FLOPs and bytes are those of one run."""
    return {
        "name": op.name,
        "phase": op.phase,
        "kind": op.kind,
        "dtype": op.dtype,
        "count": op.count,
        "flops": op.flops,
        "model_flops": model_flops(op),
        "bytes_read": op.bytes_read,
        "bytes_written": op.bytes_written,
        "bytes_sent": op.bytes_sent,
        "intensity": op.flops / op.bytes if _positive(op.bytes) else None,
        "saved_bytes": op.saved_bytes,
    }


def _positive(value: Number) -> bool:
    return bool(value > 0) if isinstance(value, int | float) else bool((value > 0).all())


def model_flops(op: Op) -> Number:
    """FLOPs of one run as the model states them: full attention, scores once; recompute as it executes."""
    return op.flops if op.model_flops is None or op.phase == "recompute" else op.model_flops


def count_step(step: Step) -> Count[Any]:
    """Count a step already laid out (see `answers.counts.count`)."""
    parameters = count_parameters(step.model)
    train = step.train
    shards = train.tp * train.cp  # devices that share one micro batch of a replica; op counts cover all its stages

    def total(phase: str, *, matmuls: bool = False, executed: bool = False) -> Number:
        chosen = [op for op in step.ops if op.phase == phase and (not matmuls or op.kind in MATMULS)]
        sums: Number = sum((op.flops if executed else model_flops(op)) * op.count for op in chosen)
        return sums * (shards if phase != "optimizer" else 1)

    forward, backward, recompute, optimizer = (total(phase) for phase in PHASES)
    executed = sum(total(phase, executed=True) for phase in PHASES[:3])
    matmul_forward, matmul_backward = total("forward", matmuls=True), total("backward", matmuls=True)
    passes = step.accumulation * train.data_parallel
    tokens = train.micro_batch * train.computed_length
    return Count(
        model=step.model,
        train=train,
        params_total=parameters.total,
        params_active=parameters.active,
        params_embedding=parameters.embedding,
        matmul_flops_forward=matmul_forward,
        matmul_flops_backward=matmul_backward,
        flops_forward=forward,
        flops_backward=backward,
        flops_recompute=recompute,
        flops_optimizer=optimizer,
        flops_step=passes * (forward + backward + recompute) + optimizer,
        executed_flops_step=passes * executed + optimizer,
        rule_6nd_ratio=6 * parameters.active * tokens / (matmul_forward + matmul_backward),
        tokens=tokens,
        ops=step.ops,
    )
