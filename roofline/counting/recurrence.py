"""Layers that mix tokens without softmax attention: linear attention, state space, convolution; and lone projections.

Dimensions: T tokens on this device, c tokens of a chunk, dk and dv the sides of a head's state.
"""

from __future__ import annotations

from ..arrays import Number, divide
from ..model.projections import beside
from ..model.spec import Linear, Recurrence
from .projection import project
from .recorder import Tape
from .traffic import PRODUCTS, Passes

# Matmuls per chunk and head: [c, dk] x [dk, c], [c, c] x [c, dv], and of [c, dk] with the state [dk, dv].
MATMULS = {"delta": (2, 1, 3), "ssd": (1, 1, 2), "lightning": (1, 1, 2)}


def mix_linearly(tape: Tape, projections: tuple[Linear, ...], core: Recurrence | None, kept: int = 0) -> None:
    """Projections of a layer beside attention and feed-forward, its recurrent core, products of `kept` values a row."""
    linears(tape, projections)
    if kept:
        factors = tape.tokens * divide(kept, tape.train.tp)
        tape.elementwise("recurrence.products", factors, PRODUCTS, saves=factors * tape.es)
    if core is None:
        return
    if core.kind == "scan":
        _scan(tape, core)
    else:
        _chunks(tape, core)


def linears(tape: Tape, projections: tuple[Linear, ...], tokens: Number | None = None) -> None:
    """Projections of every token, or of so many. Those of attention read what its query projection has kept already."""
    for projection in beside(projections):
        d_in, _, _ = projection.local(tape.train.tp)
        rows = tape.tokens if tokens is None else tokens
        rows = divide(rows, projection.every) if projection.every else tape.batch
        kept = 0 if projection.block == "attention" else rows * projection.runs * d_in * tape.es
        after_norm = projection.split != "rows"  # the last projection of a block reads what its core wrote
        project(tape, (projection,), rows, saves=kept, quantised_by="cast" if after_norm else None)


def _scan(tape: Tape, core: Recurrence) -> None:
    """An elementwise recurrence in one kernel: reads x, its step and gate, writes y.

    About 9 FLOPs per element of the state (arXiv:2312.00752, appendix D).
    """
    channels = tape.tokens * divide(core.n_heads, tape.train.tp)
    tape.elementwise(
        "recurrence.scan",
        channels,
        Passes(reads=3, writes=1, back_reads=5, back_writes=3),
        flops=9 * core.key_dim,
        saves=3 * channels * tape.es,
    )


def _chunks(tape: Tape, core: Recurrence) -> None:
    """Within a chunk as attention, between chunks through the state."""
    c, dk, dv, es = core.chunk, core.key_dim, core.value_dim, tape.es
    elements = tape.tokens * divide(core.n_heads, tape.train.tp)
    chunks = divide(elements, c)  # chunks of all sequences and heads
    within, weighted, states = MATMULS[core.kind]
    tape.batched_matmul("recurrence.scores", chunks * within, c, dk, c, saves=elements * 2 * dk * es)
    tape.batched_matmul("recurrence.weighted", chunks * weighted, c, c, dv, saves=elements * (c + dv) * es)
    tape.batched_matmul("recurrence.state", chunks * states, c, dk, dv, saves=chunks * dk * dv * 4)
    # decays of scores and state; the delta rule also solves a triangular system per chunk, c*(dk + dv) per token
    solve = c * (dk + dv) / (c + dk + dv) if core.kind == "delta" else 0
    tape.elementwise(
        "recurrence.decay",
        elements * (c + dk + dv),
        Passes(reads=1, writes=1, back_reads=2, back_writes=1, kernels=4, back_kernels=4),
        flops=2 + solve,
    )
