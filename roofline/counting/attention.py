"""Which kernels attention runs: projections, rotary embedding, the core (fused or not), context parallelism.

The notation is that of `layers`.
"""

from __future__ import annotations

from typing import Any

from ..arrays import Number, divide, is_scalar, maximum, minimum
from ..model.spec import Attention
from . import kernels, traffic
from .recorder import Tape


def attention(tape: Tape, spec: Attention, d_model: int, what: str = "attention") -> None:
    """Projections, rotary embedding, attention core and output projection."""
    tp = tape.train.tp
    heads = divide(spec.n_heads, tp)
    kv_heads = maximum(divide(spec.n_kv_heads, tp), 1)  # kv heads are replicated where tp exceeds them
    tokens, es = tape.tokens, tape.es
    if spec.kv_lora_rank is not None:
        _latent_projections(tape, spec, d_model, heads, what)
        kv_heads = heads
    else:
        parts: dict[str, Number] = {"q": heads * spec.head_dim}
        if not spec.reuses_kv:
            parts["k"] = kv_heads * spec.head_dim
            if not spec.value_is_key:
                parts["v"] = kv_heads * spec.value_head_dim
        tape.linear(
            f"{what}.qkv",
            tokens,
            d_model,
            sum(parts.values()),
            bias=spec.q_bias,
            saves=tape.norm_tokens * d_model * es,
            module="attention",
            parts=parts,
            quantised_by="cast",
        )
        _adjust_bias(tape, spec, heads, kv_heads, what)
    query, key = heads * spec.head_dim * tokens, kv_heads * spec.head_dim * tokens
    k_norm = None if spec.reuses_kv else spec.k_norm
    for norm, elements, name in ((spec.q_norm, query, "q_norm"), (k_norm, key, "k_norm")):
        if norm is not None:
            width = spec.head_dim if spec.qk_norm_per_head else divide(elements, tokens)
            tape.norm(f"{what}.{name}", norm, divide(elements, width), width, saves=elements * es)
    if spec.rotary:
        rope = spec.rope_head_dim / spec.head_dim if spec.rope_head_dim else 1
        rotated = (query + key) * rope
        chain = traffic.ROTARY if tape.fused("rotary") else traffic.ROTARY_EAGER
        tape.elementwise(f"{what}.rotary", rotated, chain, flops=3)
    _context_parallel(tape, kv_heads * (spec.head_dim + spec.value_head_dim), what)
    _indexer(tape, spec, d_model, what)
    attention_core(tape, spec, heads * spec.core_passes, kv_heads * spec.core_passes, what)
    value = heads * spec.value_head_dim
    if spec.extra_params:
        tape.weight(f"{what}.extra", divide(spec.extra_params, tp))
    if spec.sub_norm is not None:
        tape.norm(f"{what}.sub_norm", spec.sub_norm, tokens, value, saves=tokens * value * es)
    tape.linear(f"{what}.out", tokens, value, d_model, bias=spec.out_bias, module="attention")


def _indexer(tape: Tape, spec: Attention, d_model: int, what: str) -> None:
    """Sparse attention's indexer scores every pair of tokens; no gradient flows through it (DeepSeek-V3.2 report)."""
    if not spec.index_heads:
        return
    frozen, needs_grad = tape.frozen, tape.input_needs_grad
    tape.frozen, tape.input_needs_grad = True, False
    heads, width, tokens = spec.index_heads, spec.index_head_dim, tape.tokens
    indexer: dict[str, Any] = {"module": None, "quantised_by": "cast"}  # no gradient, so no adapter either
    tape.linear(f"{what}.index.q", tokens, spec.q_lora_rank or d_model, heads * width, **indexer)
    tape.linear(f"{what}.index.k", tokens, d_model, width, **indexer)
    tape.linear(f"{what}.index.weights", tokens, d_model, heads, **indexer)
    tape.weight(f"{what}.index.norm", 2 * width)
    tape.batched_matmul(f"{what}.index.scores", tape.batch * heads, tape.seq_q, width, tape.seq_kv)
    tape.batched_matmul(f"{what}.index.sum", tokens, 1, heads, tape.seq_kv)
    tape.frozen, tape.input_needs_grad = frozen, needs_grad


def _adjust_bias(tape: Tape, spec: Attention, heads: Number, kv_heads: Number, what: str) -> None:
    """Families whose q, k and v biases differ: correct the parameters counted with `qkv`; sinks are one per head."""
    value_dim = 0 if spec.value_is_key else spec.value_head_dim
    extra = kv_heads * (spec.head_dim * (spec.k_bias - spec.q_bias) + value_dim * (spec.v_bias - spec.q_bias))
    if spec.reuses_kv:
        extra = 0
    extra = extra + (heads if spec.sinks else 0)
    if not is_scalar(extra) or extra:
        tape.weight(f"{what}.bias", extra)


def _latent_projections(tape: Tape, spec: Attention, d_model: int, heads: Number, what: str) -> None:
    """Multi-head latent attention (arXiv:2405.04434, section 2.1.2): queries and keys/values through low ranks."""
    assert spec.kv_lora_rank is not None
    tokens, es = tape.tokens, tape.es
    nope = spec.head_dim - spec.rope_head_dim
    saved = tape.norm_tokens * d_model * es
    ours: dict[str, Any] = {"module": "attention", "quantised_by": "cast"}
    if spec.q_lora_rank is not None:
        tape.linear(f"{what}.q_down", tokens, d_model, spec.q_lora_rank, bias=spec.lora_bias, saves=saved, **ours)
        if spec.q_lora_norm is not None:
            tape.norm(
                f"{what}.q_latent_norm",
                spec.q_lora_norm,
                tokens,
                spec.q_lora_rank,
                saves=tokens * spec.q_lora_rank * es,
            )
        tape.linear(
            f"{what}.q_up",
            tokens,
            spec.q_lora_rank,
            heads * spec.head_dim,
            saves=tokens * spec.q_lora_rank * es,
            **ours,
        )
        saved = 0
    else:
        tape.linear(f"{what}.q", tokens, d_model, heads * spec.head_dim, saves=saved, **ours)
    latent = spec.kv_lora_rank + spec.rope_head_dim
    tape.linear(f"{what}.kv_down", tokens, d_model, latent, bias=spec.lora_bias, **ours)
    if spec.kv_lora_norm is not None:
        tape.norm(
            f"{what}.kv_latent_norm",
            spec.kv_lora_norm,
            tokens,
            spec.kv_lora_rank,
            saves=tokens * spec.kv_lora_rank * es,
        )
    tape.linear(
        f"{what}.kv_up",
        tokens,
        spec.kv_lora_rank,
        heads * (nope + spec.value_head_dim),
        saves=tokens * spec.kv_lora_rank * es,
        **ours,
    )


def _context_parallel(tape: Tape, kv_width: Number, what: str) -> None:
    """Keys and values of the whole sequence are gathered, their gradients scattered (arXiv:2407.21783, 3.3.2)."""
    if is_scalar(tape.train.cp) and tape.train.cp == 1:
        return
    payload = tape.batch * tape.seq_kv * kv_width * tape.es
    tape.collective(f"{what}.kv_all_gather", "all_gather", "cp", payload)
    tape.collective(f"{what}.kv_all_gather", "all_gather", "cp", payload, "backward")
    tape.collective(f"{what}.kv_reduce_scatter_grad", "reduce_scatter", "cp", payload, "backward")


def visible_keys(spec: Attention, seq_len: Number) -> Number:
    """Keys an average query sees: S, (S+1)/2 under a causal mask, fewer with a sliding window w.

    With a causal window the first w queries see 1, 2, ... w keys and the rest w each: w - w*(w-1)/(2*S).
    """
    if not spec.causal:
        return seq_len if spec.window is None else minimum(seq_len, spec.window)
    window = seq_len if spec.window is None else minimum(seq_len, spec.window)
    if is_scalar(window, seq_len) and window == seq_len:
        return divide(seq_len + 1, 2)
    return window - window * (window - 1) / (2 * seq_len)


def counted_keys(spec: Attention, seq_len: Number) -> Number:
    """Keys that the MFU rule counts for each query: no causal mask, but the window is part of the model."""
    return seq_len if spec.window is None else minimum(seq_len, spec.window)


def attention_core(tape: Tape, spec: Attention, heads: Number, kv_heads: Number, what: str) -> None:
    """softmax(q.k^T / sqrt(d)) . v: one fused kernel, or two batched matmuls around a softmax."""
    if tape.train.attention == "unfused":
        _unfused_core(tape, spec, heads, what)
    else:
        _fused_core(tape, spec, heads, kv_heads, what)


def _fused_core(tape: Tape, spec: Attention, heads: Number, kv_heads: Number, what: str) -> None:
    es, counted = tape.es, counted_keys(spec, tape.seq_kv)
    seen = counted if tape.decoding else visible_keys(spec, tape.seq_kv)  # the last query sees every key
    shape = kernels.AttentionShape(
        batch=tape.batch,
        heads=heads,
        kv_heads=kv_heads,
        seq_q=tape.seq_q,
        seq_kv=tape.seq_kv,
        head_dim=spec.head_dim,
        value_head_dim=spec.value_head_dim,
        seen=seen,
        counted=counted,
        read=seen if tape.decoding else tape.seq_kv,
    )
    kv_kept = tape.tokens * kv_heads * (spec.head_dim + spec.value_head_dim)
    if not tape.fused("attention_layout"):  # packed or unpadded for the kernel, and its output unpacked
        tape.elementwise(f"{what}.layout", shape.q + kv_kept + shape.o, traffic.COPY, flops=0)
    if tape.decoding and spec.kv_lora_rank is not None:
        kernel = kernels.latent_decode(shape, es, spec.kv_lora_rank, spec.rope_head_dim)
    else:
        kernel = kernels.attention(shape, es)
    kept = (shape.q + kv_kept + shape.o) * es + shape.lse
    tape.op(f"{what}.core", "attention", "forward", kernel, saved_bytes=kept, role="attention_entry")
    if tape.input_needs_grad:
        kernel, of = kernels.attention_backward(shape, es), f"{what}.core"
        tape.op(f"{of}.backward", "attention", "backward", kernel, role="attention_entry", of=of)


def _unfused_core(tape: Tape, spec: Attention, heads: Number, what: str) -> None:
    batch, seq_q, seq_kv, es = tape.batch, tape.seq_q, tape.seq_kv, tape.es
    scores = batch * heads * seq_q * seq_kv
    q = tape.tokens * heads * spec.head_dim
    # eager code expands grouped keys and values to every query head before the matmul, and keeps the copies
    kv_kept = tape.tokens * heads * (spec.head_dim + spec.value_head_dim)
    counted = divide(counted_keys(spec, seq_kv), seq_kv)  # share of the scores that the MFU rule counts
    tape.batched_matmul(
        f"{what}.scores",
        batch * heads,
        seq_q,
        spec.head_dim,
        seq_kv,
        saves=(q + kv_kept) * es,
        counted=counted,
        role="attention_entry",
    )
    dropout, upcast = bool(tape.train.dropout), spec.rotary and es < 4
    kept = es  # probabilities
    if tape.fused("softmax"):
        chain = traffic.SOFTMAX
    elif upcast:
        chain, kept = traffic.SOFTMAX_EAGER_UPCAST, 4 if dropout else 4 + es
    else:
        chain = traffic.SOFTMAX_EAGER
    core: dict[str, Any] = {"role": "attention_core"}
    tape.elementwise(f"{what}.softmax", scores, chain, flops=5, saves=scores * kept, kind="softmax", **core)
    if dropout:
        masked = traffic.dropout(tape.mask)
        tape.elementwise(f"{what}.dropout", scores, masked, flops=2, saves=scores * (es + 1), **core)
    width = spec.value_head_dim
    tape.batched_matmul(f"{what}.weighted", batch * heads, seq_q, seq_kv, width, counted=counted, **core)
    # heads are transposed back to [T, H*d]; the copy is what the output projection keeps
    o = tape.tokens * heads * spec.value_head_dim
    tape.elementwise(f"{what}.transpose", o, traffic.COPY, flops=0, saves=o * es)
