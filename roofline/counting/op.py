"""The unit of account: one kind of kernel launch, with what it computes, moves and sends.

Counting never sees a device; timing never sees a model. Every quantity may be a number or a NumPy array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Literal, get_args

import msgspec

from ..arrays import Number, is_scalar
from ..config.recompute import Module
from ..result import brief

Kind = Literal[
    "matmul",  # matrix multiplication, `shape` holds (m, n, k, batch)
    "attention",  # fused attention kernel (scores, softmax, weighted sum in one)
    "normalization",
    "softmax",  # unfused softmax, and the softmax of the loss
    "elementwise",
    "embedding",  # gather or scatter-add of rows
    "collective",
    "optimizer",
    "transfer",  # between device and host
    "host",  # a pass over host memory
    "nvme",  # from drives of the host, and back
]
Phase = Literal["forward", "backward", "recompute", "optimizer"]
PHASES: tuple[Phase, ...] = get_args(Phase)
Part = Literal["layer", "tower", "embedding", "head", "step"]
Collective = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv", "broadcast"]
Group = Literal["tp", "cp", "ep", "etp", "dp", "expert_dp", "shard", "expert_shard", "replica", "expert_replica", "pp"]


Form = Literal[
    "dense",
    "grouped",  # one matmul per expert, of its own number of rows, in one kernel
    "batched",  # many of equal shape with strides between them: unfused attention, chunks of a recurrence
]
Gradient = Literal["none", "data", "weight"]
Role = Literal[
    "attention_entry",  # the first kernel of softmax(q.k^T).v, fused or not: what it keeps are q, k and v
    "attention_core",  # the rest of it
    "logits",  # tokens x vocabulary
    "loss",
    "grad_accumulate",  # adds whole weight gradients up
    "update",  # communication within an update: nothing runs beside it
    "weight_cast",  # quantises a weight for all micro batches of a step
    "dispatch",  # deals tokens out to experts: the host prepares it, and learns how many each expert got
]
GRADIENT_WORDS: dict[Gradient, str] = {"none": "", "data": "dgrad", "weight": "wgrad"}  # as names of ops have them
CORE: frozenset[Role | None] = frozenset({"attention_entry", "attention_core"})


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """Whose tensors an op keeps for backward: what of `Op.saved_bytes` can go when modules run again.

    Attributes:
        made_by: The module that wrote its input; None: something that never runs again on its own.
        input: Bytes of that input as it is kept (a low-precision copy, or nothing of a frozen weight's).
        whole: Bytes of the same as it was written: what is kept where this op runs again, unless an earlier op has it.
        output: Bytes of its result, which whoever reads that result keeps as well.
    """

    made_by: Module | None = None
    input: Number = 0
    whole: Number = 0
    output: Number = 0

    def times(self, factor: Number) -> Saved:
        """The same of tensors that are `factor` times as large."""
        if is_scalar(factor) and factor == 1:
            return self
        sizes = {name: getattr(self, name) * factor for name in ("input", "whole", "output")}
        return msgspec.structs.replace(self, **sizes)


NOTHING = Saved()


class Op(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a training step, on one device, for one micro batch.

    Attributes:
        name: Dotted name, e.g. ``attention.qkv``, ``mlp.down``, ``loss.cross_entropy``: a label for people. Nothing
            depends on it; whatever behaviour hangs on is one of the fields that follow.
        kind: What kind of kernel it is: decides which measured constants time it.
        phase: forward, backward, recompute or optimizer.
        part: Where it runs: in each layer, in the layers of an encoder beside the model (``tower``) and with the
            embedding (first pipeline stage), with the head (last stage), or once per step (optimizer).
        layer_kind: Which of the model's groups of equal layers it runs in, with ``part="layer"``; which of those of
            all encoders, with ``part="tower"``.
        dtype: The dtype the arithmetic runs in.
        flops: FLOPs the kernel executes (1 multiply-add = 2 FLOPs).
        bytes_read: Bytes read from device memory; each operand crosses once per kernel.
        bytes_written: Bytes written to device memory.
        form: Of a matmul: dense, grouped or batched.
        gradient: What a backward matmul makes: the gradient of its data or of its weight; none for everything else.
        role: What else the op is, where something depends on it.
        of: Name of the forward op whose backward pass this is (not of what only prepares or sums): a label, too.
        routed: Runs on tokens that a router dealt out: the fullest rank sets the pace.
        bytes_sent: Payload of a collective, in the convention of `timing/collective.py`, or of a transfer to or from
            the host (0 for everything else).
        collective: all_reduce, all_gather, reduce_scatter, all_to_all, send_recv or broadcast; None for everything
            else.
        copies: Times each element of an all_to_all is sent: experts per token.
        spread: Share of the expert groups that the copies of one token may go to (node-limited routing); 1: all.
        group: The ranks a collective runs over: tp, cp, ep, etp (the ranks that share an expert), dp, pp, expert_dp
            (the ranks that hold the same experts), or of hsdp and hzero1 shard (a node's ranks) and replica (the same
            shard on other nodes).
        shape: (m, n, k, batch) of a matmul; (batch, heads, seq_q, seq_kv, head_dim) of fused attention.
        count: How many times it runs in one micro batch's pass through the whole model (layers of its kind),
            or, with ``part="step"``, in one optimizer step.
        rounds: Micro batches of a step that it runs beside (a data-parallel collective).
        kernels: Kernel launches per run.
        library: Launched from within a library, together with others: no call of the framework each.
        units: Matrices that the host gathers and frees around it one by one (FSDP's units within a layer).
        saved_bytes: Bytes this op keeps for the backward pass (only tensors no earlier op keeps already).
        module: The part of a layer it belongs to, where that may run again on its own.
        saved: Which of the saved bytes are whose.
        model_flops: FLOPs that count as the model's (full attention, no recompute); None means `flops`.
    """

    name: str
    kind: Kind
    phase: Phase
    part: Part
    dtype: str
    flops: Number
    bytes_read: Number
    bytes_written: Number
    layer_kind: int = 0
    form: Form = "dense"
    gradient: Gradient = "none"
    role: Role | None = None
    of: str = ""
    routed: bool = False
    bytes_sent: Number = 0
    collective: Collective | None = None
    copies: int = 1
    spread: float = 1.0
    group: Group | None = None
    shape: tuple[Number, ...] | None = None
    count: Number = 1
    rounds: Number = 1
    kernels: Number = 1
    library: bool = False
    units: Number = 0
    saved_bytes: Number = 0
    module: Module | None = None
    saved: Saved = NOTHING
    model_flops: Number | None = None

    def __repr__(self) -> str:
        """What is not the default, in one line."""
        return brief(self)

    @property
    def in_attention_core(self) -> bool:
        """Whether it is part of softmax(q.k^T).v, fused or not, forward or backward."""
        return self.role in CORE

    @property
    def bytes(self) -> Number:
        """Device-memory traffic: bytes read plus bytes written."""
        return self.bytes_read + self.bytes_written


def step_op(name: str, kind: Kind, read: Number = 0, written: Number = 0, **fields: Any) -> Op:
    """What runs once per optimizer step, or `count` times; `fields` are further ones of `Op`."""
    fields.setdefault("flops", 0)
    plain: dict[str, Any] = {"phase": "optimizer", "part": "step", "dtype": "fp32"}
    return Op(name=name, kind=kind, bytes_read=read, bytes_written=written, **plain, **fields)


def total(
    ops: Iterable[Op], of: Callable[[Op], Number] | str = "flops", where: Callable[[Op], bool] | None = None
) -> Number:
    """Sum over runs of ops: of a figure (a field, or a function of the op) times how often each op runs.

    Args:
        ops: The ops.
        of: The figure of one run.
        where: Which ops count; all by default.

    >>> ops = [Op(name="a", kind="matmul", phase="forward", part="layer", dtype="bf16", flops=6, bytes_read=1,
    ...           bytes_written=2, count=n) for n in (2, 3)]
    >>> total(ops), total(ops, "bytes"), total(ops, lambda op: 1, where=lambda op: op.count > 2)
    (30, 15, 3)
    """
    figure = attrgetter(of) if isinstance(of, str) else of
    return sum(figure(op) * op.count for op in ops if where is None or where(op))
