"""The unit of account: one kind of kernel launch, with what it computes, moves and sends.

Counting never sees a device; timing never sees a model. Every quantity may be a number or a NumPy array.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ..arrays import Number

Kind = Literal[
    "matmul",  # matrix multiplication, `shape` holds (m, n, k, batch)
    "attention",  # fused attention kernel (scores, softmax, weighted sum in one)
    "normalization",
    "softmax",  # unfused softmax, and the softmax of the loss
    "elementwise",
    "embedding",  # gather or scatter-add of rows
    "collective",
    "optimizer",
]
Phase = Literal["forward", "backward", "recompute", "optimizer"]
Part = Literal["layer", "embedding", "head", "step"]
Collective = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"]
Group = Literal["tp", "cp", "ep", "dp", "expert_dp", "shard", "replica", "pp"]


_CORE = frozenset({"core", "scores", "softmax", "dropout", "weighted"})


class Op(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a training step, on one device, for one micro batch.

    Attributes:
        name: Dotted name, e.g. ``attention.qkv``, ``mlp.down``, ``loss.cross_entropy``.
        kind: What kind of kernel it is: decides which measured constants time it.
        phase: forward, backward, recompute or optimizer.
        part: Where it runs: in each layer, with the embedding (first pipeline stage), with the head (last stage),
            or once per step (optimizer).
        dtype: The dtype the arithmetic runs in.
        flops: FLOPs the kernel executes (1 multiply-add = 2 FLOPs).
        bytes_read: Bytes read from device memory; each operand crosses once per kernel.
        bytes_written: Bytes written to device memory.
        bytes_sent: Payload of a collective, in the convention of `timing/collective.py` (0 for everything else).
        collective: all_reduce, all_gather, reduce_scatter, all_to_all or send_recv; None for everything else.
        copies: Times each element of an all_to_all is sent (experts per token); copies to one node travel there once.
        group: The ranks a collective runs over: tp, cp, ep, dp, pp, expert_dp (the ranks that hold
            the same experts), or of hsdp shard (a node's ranks) and replica (the same shard on other nodes).
        shape: (m, n, k, batch) of a matmul; (batch, heads, seq_q, seq_kv, head_dim) of fused attention.
        count: How many times it runs in one micro batch's pass through the whole model (layers of its kind),
            or, with ``part="step"``, in one optimizer step.
        rounds: Micro batches of a step that it runs beside (a data-parallel collective).
        kernels: Kernel launches per run.
        saved_bytes: Bytes this op keeps for the backward pass (only tensors no earlier op keeps already).
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
    bytes_sent: Number = 0
    collective: Collective | None = None
    copies: int = 1
    group: Group | None = None
    shape: tuple[Number, ...] | None = None
    count: Number = 1
    rounds: Number = 1
    kernels: Number = 1
    saved_bytes: Number = 0
    model_flops: Number | None = None

    @property
    def in_attention_core(self) -> bool:
        """Whether it is part of softmax(q.k^T).v, fused or not, forward or backward."""
        block, _, rest = self.name.partition(".")
        return block in {"attention", "cross_attention"} and rest.split(".")[0] in _CORE

    @property
    def bytes(self) -> Number:
        """Device-memory traffic: bytes read plus bytes written."""
        return self.bytes_read + self.bytes_written
