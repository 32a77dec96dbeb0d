"""Layers that mix tokens without softmax attention: linear attention, state space, convolution; and lone projections.

Dimensions: T tokens on this device, c tokens of a chunk, dk and dv the sides of a head's state.
"""

from __future__ import annotations

from typing import Any

from ..arrays import Number, divide
from ..config.run import BYTES
from ..model.projections import beside
from ..model.spec import Linear, Recurrence
from .gradients import add_gradients
from .projection import project
from .recorder import Tape
from .traffic import ACTIVATION, GATED_NORM, GATED_NORM_EAGER, PRODUCTS, WEIGHT_NORM, Passes

# Matmuls per chunk and head: [c, dk] x [dk, c], [c, c] x [c, dv], and of [c, dk] with the state [dk, dv].
MATMULS = {"delta": (2, 1, 3), "ssd": (1, 1, 2), "lightning": (1, 1, 2), "matrix": (1, 1, 2)}


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
    read: set[tuple[Number, int]] = set()  # widths and runs of inputs that an earlier projection keeps
    for linear, projection in zip(projections, beside(projections), strict=True):
        d_in, d_out, count = projection.local(tape.train.tp)
        rows = tape.tokens if tokens is None else tokens
        rows = (divide(rows, projection.every) if projection.every else tape.batch) * count
        upcast = linear.fp32 and tape.upcasts and not tape.fused("norm")
        es = BYTES["fp32"] if upcast else tape.es
        again = projection.block == "attention"
        if projection.block == "recurrence" and projection.split == "columns" and d_in > 1:
            again = (d_in, projection.runs) in read
            read.add((d_in, projection.runs))
        kept = 0 if again else rows * projection.runs * d_in * es / linear.windows
        if again:
            add_gradients(tape, linear.name, rows * projection.runs * d_in, 2)
        how: dict[str, Any] = {"windows": linear.windows, "own_dtype": "fp32" if upcast else None}
        if projection.split != "rows":  # the last projection of a block reads what its core wrote
            how["quantised_by"] = "cast"
        if linear.weight_norm:
            weights = d_in * d_out * count
            tape.elementwise(f"{linear.name}.weight_norm", weights, WEIGHT_NORM, flops=4, saves=weights * tape.es)
        project(tape, (projection,), divide(rows, count), saves=kept, **how)
        if linear.kept:
            made = rows * projection.runs * d_out * linear.kept
            tape.elementwise(f"{linear.name}.activation", made, ACTIVATION, saves=made * tape.es)


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
    c, dk, dv = core.chunk, core.key_dim, core.value_dim
    elements = tape.tokens * divide(core.n_heads, tape.train.tp)
    chunks = divide(elements, c)  # chunks of all sequences and heads
    within, weighted, states = MATMULS[core.kind]
    keys, values, state, gates = _kept(tape, core, elements, chunks)
    tape.batched_matmul("recurrence.scores", chunks * within, c, dk, c, saves=keys)
    tape.batched_matmul("recurrence.weighted", chunks * weighted, c, c, dv, saves=values)
    tape.batched_matmul("recurrence.state", chunks * states, c, dk, dv, saves=state)
    # decays of scores and state; the delta rule also solves a triangular system per chunk, c*(dk + dv) per token
    solve = c * (dk + dv) / (c + dk + dv) if core.kind == "delta" else 0
    tape.elementwise(
        "recurrence.decay",
        elements * (c + dk + dv),
        Passes(reads=1, writes=1, back_reads=2, back_writes=1, kernels=4, back_kernels=4),
        flops=2 + solve,
        saves=gates,
    )
    if core.gated_norm and core.kind != "ssd":
        wide = BYTES["fp32"]
        # eager: output (gate and activated gate) in fp32, the normalised value and its product with the weight
        saves = 3 * wide + 2 * tape.es if core.kind == "delta" else (1 + core.centred_norm) * wide + 3 * tape.es
        saves = 2 * tape.es if tape.fused("norm") else saves
        chain = GATED_NORM if tape.fused("norm") else GATED_NORM_EAGER
        kept = elements * dv * saves
        tape.elementwise("recurrence.gated_norm", elements * dv, chain, flops=10, saves=kept, kind="normalization")


def _kept(tape: Tape, core: Recurrence, elements: Number, chunks: Number) -> tuple[Number, ...]:
    """Bytes kept of queries and keys, of values, of states and of decays and gates.

    The kernel of a delta rule keeps what it reads and the scores within chunks, and makes states again (flash-linear-
    attention fla/ops/gated_delta_rule/chunk.py, fla/ops/kda/chunk.py). That of Mamba-2 holds convolution, norm and last
    projection as well: beside what those are counted with it keeps gate and step (state-spaces/mamba
    mamba_ssm/ops/triton/ssd_combined.py, MambaSplitConv1dScanCombinedFn). That of mLSTM makes states again (NX-AI/
    mlstm_kernels mlstm_kernels/torch/chunkwise/triton_xl_chunk/fwbw.py). Lightning attention is a chain of operations.
    """
    c, dk, dv, es = core.chunk, core.key_dim, core.value_dim, tape.es
    keys = tape.tokens * divide(core.key_heads, tape.train.tp) * 2 * dk * es
    if core.kind == "delta":
        return keys, elements * (c + dv) * es, 0, elements * (BYTES["fp32"] * core.decays_kept + es)
    if core.kind == "ssd":
        return 0, 0, 0, elements * (dv + 1) * es
    if core.kind == "matrix":  # gates of input and forgetting; normalizer and maximum in fp32
        return keys, elements * dv * es, 0, elements * 2 * (es + BYTES["fp32"])
    return keys, elements * (c + dv) * es, chunks * dk * dv * BYTES["fp32"], 0
