"""Copies of the residual stream that are mixed around each block (hyper-connections, arXiv:2409.19606, 2512.24880).

Dimensions: T tokens on this device, D d_model, n streams.
"""

from __future__ import annotations

from ..arrays import Number
from ..config.run import BYTES
from . import traffic
from .recorder import Tape


def gather(tape: Tape, what: str, d_model: int) -> None:
    """The input of a block [T, D], from n streams [T, n*D]: their weighted sum.

    The weights come from a norm of all streams in fp32 through a projection, which is among the layer's, and
    Sinkhorn's iteration normalises the n x n of them that mix streams.
    """
    streams, fp32 = tape.streams, BYTES["fp32"]
    if streams == 1:
        return
    elements = tape.norm_tokens * streams * d_model
    fused = tape.fused("norm")
    chain = traffic.STREAMS_GATHER if fused else traffic.STREAMS_GATHER_EAGER
    normed = not fused and not tape.streams_apart  # a copy of their own; else that which the projection keeps
    kept = elements * (tape.es + fp32 * normed)  # what is summed beside
    tape.elementwise(f"{what}.gather_streams", elements, chain, flops=6, saves=kept)
    weights: Number = tape.norm_tokens * streams * streams
    rounds = 0 if what == "head" else 2 * tape.sinkhorn_rounds  # of rows and of columns
    if rounds:
        times = 1 if fused else rounds
        kept = weights * fp32 * rounds * (1 + 1 / streams)  # numerator and denominator
        tape.repeated(f"{what}.sinkhorn", weights * rounds, traffic.SINKHORN, times, flops=3, es=fp32, saves=kept)


def spread(tape: Tape, what: str, d_model: int) -> None:
    """The streams, mixed by T products [n, n] x [n, D] or apart, plus what a block made [T, D] times n weights."""
    streams, tokens = tape.streams, tape.norm_tokens
    if not tape.streams_apart:
        tape.batched_matmul(f"{what}.mix_streams", tokens, streams, streams, d_model)
    chain = traffic.STREAMS_SPREAD if tape.fused("residual") else traffic.STREAMS_SPREAD_EAGER
    elements = tokens * streams * d_model
    es = BYTES["fp32"] if tape.streams_apart and not tape.fused("residual") else tape.es
    tape.elementwise(f"{what}.spread_streams", elements, chain, flops=2, saves=tokens * d_model * es)
