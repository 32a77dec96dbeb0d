"""The terms of a step's time, one row each: words, what bounds it, what the device waits for, how well it is known."""

from __future__ import annotations

from typing import Literal

import msgspec

Bound = Literal["compute", "memory", "communication", "latency"]
Wait = Literal["", "links", "stages", "host"]


class Term(msgspec.Struct, frozen=True):
    """One cause that a step's time goes to.

    Attributes:
        says: In words.
        bound: What a step is bound by that spends most of its time so.
        waits: What the device waits for meanwhile: links between devices, other pipeline stages, its host; empty where
            it works.
        spread: Standard deviation of log(measured / predicted) by this cause alone: what errs in all kernels of a kind
            or in all traffic of a group. `scripts/maintain/fit_spreads.py` fits their common scale.
        hides: Whether it is compute of a pass, beside which communication can run.
    """

    says: str
    bound: Bound
    waits: Wait
    spread: float
    hides: bool = False


TERMS: dict[str, Term] = {  # the fields of `schedule.Schedule`, in its order
    "matmul": Term("matmuls", "compute", "", 0.02, hides=True),
    "attention": Term("attention", "compute", "", 0.08, hides=True),
    "memory_bound": Term("memory-bound ops (norms, activations, loss)", "memory", "", 0.10, hides=True),
    "recompute": Term("recompute", "compute", "", 0.03, hides=True),
    "tensor_parallel": Term("tensor-parallel communication", "communication", "links", 0.20),
    "context_parallel": Term("context-parallel communication", "communication", "links", 0.28),
    "expert_parallel": Term("expert-parallel communication", "communication", "links", 0.42),
    "pipeline_bubble": Term("pipeline bubble", "latency", "stages", 0.18),
    "pipeline_transfer": Term("transfers between pipeline stages", "communication", "links", 0.35),
    "data_parallel": Term("exposed data-parallel communication", "communication", "links", 0.35),
    "launch": Term("waiting for kernel launches", "latency", "host", 0.20),
    "optimizer": Term("optimizer", "memory", "", 0.20),
    "offload": Term("exposed copies to and from the host, and the update there", "communication", "host", 0.35),
}

KERNELS = "kernel efficiency"  # what a waterfall loses where matmuls and attention are: the rest of them is the MFU
LOSSES: dict[str, Term] = {
    KERNELS: msgspec.structs.replace(TERMS["matmul"], says="matmuls and attention below peak"),
    **{name: term for name, term in TERMS.items() if name not in {"matmul", "attention"}},
}


def words_of(name: str) -> str:
    """A term of a step, or a loss of a waterfall, in words."""
    return (LOSSES.get(name) or TERMS[name]).says
