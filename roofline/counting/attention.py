"""Which kernels attention runs: projections, rotary embedding, the core (fused or not), context parallelism.

The notation is that of `layers`.
"""

from __future__ import annotations

from typing import Any

from ..arrays import Number, divide, is_scalar, maximum, minimum, where
from ..config.recompute import Module
from ..config.run import BYTES
from ..model.projections import attention_projections
from ..model.spec import Attention, Block
from ..model.tensors import Projection
from . import kernels, traffic
from .gradients import add_gradients, cast_inputs, join_gradients
from .keys import all_compressed_keys, counted_keys, visible_keys
from .op import Saved
from .projection import kept_of_copies, project
from .recorder import Tape


def attention(tape: Tape, spec: Attention, d_model: int, what: Block = "attention") -> None:
    """Projections, rotary embedding, attention core and output projection; in tiles of an image where they are so."""
    if spec.tiled and spec.window is not None:
        with tape.tiles(spec.window):
            _attention(tape, spec, d_model, what)
    else:
        _attention(tape, spec, d_model, what)


def _attention(tape: Tape, spec: Attention, d_model: int, what: Block) -> None:
    """The same of whole sequences."""
    tp = tape.train.tp
    heads = divide(spec.n_heads, tp)
    kv_heads = maximum(divide(spec.n_kv_heads, tp), 1)  # kv heads are replicated where tp exceeds them
    tokens, es = tape.tokens, tape.es
    projections = attention_projections(spec, d_model, what)
    width = spec.d_in or d_model
    latent = spec.kv_lora_rank is not None or spec.q_lora_rank is not None
    made: Module = "mla_up_proj" if latent else "qkv"  # queries, keys and values
    if latent:
        _latent_projections(tape, spec, projections, width, what)
        kv_heads = kv_heads if spec.kv_lora_rank is None else heads
    else:
        qkv = tuple(each for each in projections if each.part in {"q", "k", "v"} and each.block == what)
        kept = tape.norm_tokens * width * es
        with tape.within("qkv"):
            kept = kept_of_copies(tape, what, kept, len(qkv)) if spec.inputs_copied else kept
            _meet(tape, spec, qkv, width, what)
            project(tape, qkv, tokens, saves=kept, made_by="layernorm", quantised_by="cast")
    if spec.sinks:
        tape.weight(f"{what}.sinks", heads)
    query, key = heads * spec.head_dim * tokens, kv_heads * spec.head_dim * tokens
    k_norm = None if spec.reuses_kv else spec.k_norm
    for norm, local, name in ((spec.q_norm, heads, "q_norm"), (k_norm, kv_heads, "k_norm")):
        if norm is not None:
            rows, width = (tokens * local, spec.head_dim) if spec.qk_norm_per_head else (tokens, local * spec.head_dim)
            with tape.within(made):
                kept = tokens * local * spec.head_dim * es
                tape.norm(f"{what}.{name}", norm, rows, width, saves=kept, made_by=made)
    if spec.rotary:
        rope = spec.rope_head_dim / spec.head_dim if spec.rope_head_dim else 1
        rotated = (query + key) * rope
        chain = traffic.rotary(fused=tape.fused("rotary"), wide=spec.rotary_fp32 and tape.inner_es < BYTES["fp32"])
        with tape.within(made):
            products = 2 * rotated * BYTES["fp32"] if spec.rotary_learned else 0  # with cosine and sine, by which they
            tape.elementwise(f"{what}.rotary", rotated, chain, flops=3, es=tape.inner_es, saves=products)
    _context_parallel(tape, spec, heads, kv_heads, what)
    if spec.index_heads:
        _indexer(tape, spec, tuple(each for each in projections if not each.takes_gradient), what)
    _score_positions(tape, spec, heads, what)
    attention_core(tape, spec, heads * spec.core_passes, kv_heads * spec.core_passes, what, made)
    _finish(tape, spec, heads, projections, what)


def _meet(tape: Tape, spec: Attention, qkv: tuple[Projection, ...], width: int, what: str) -> None:
    """Gradients of what makes queries, keys and values; of one product the three are joined before its matmuls.

    Code that is written for one product and hands it to a kernel without a copy has its gradient without one, too. Keys
    and values of cross-attention add theirs to what other layers hand back to the source.
    """
    if not (spec.joint_qkv or tape.fused("qkv")):
        cast_inputs(tape, f"{what}.qkv", tape.tokens * width, len(qkv))
        add_gradients(tape, f"{what}.qkv", tape.tokens * width, len(qkv))
    elif not (tape.fused("qkv") and tape.fused("attention_layout")):
        slices = len(qkv) if spec.sliced_qkv and not tape.fused("qkv") else 1
        join_gradients(tape, f"{what}.qkv", tape.tokens * sum(each.local(tape.train.tp)[1] for each in qkv), slices)


def _finish(tape: Tape, spec: Attention, heads: Number, projections: tuple[Projection, ...], what: str) -> None:
    """What follows the core: a difference of passes, gates, norms, output projection."""
    tokens, es, tp = tape.tokens, tape.es, tape.train.tp
    value = heads * spec.value_head_dim
    if spec.difference_norm is not None:
        _difference(tape, spec, tokens * value, what)
    if spec.gate:  # keeps the sigmoid, and the product for the output projection
        wide = spec.gate_fp32 and tape.upcasts and not tape.fused("norm")
        chain, kept = (traffic.GATE_FP32_EAGER, BYTES["fp32"] + es) if wide else (traffic.GATE, 2 * es)
        tape.elementwise(f"{what}.gate", tokens * value, chain, flops=6, saves=tokens * value * kept)
    if spec.head_gate:  # keeps what it multiplies
        tape.elementwise(f"{what}.head_gate", tokens * value, traffic.SCALE, saves=tokens * value * es)
    if spec.extra_params:
        tape.weight(f"{what}.extra", divide(spec.extra_params, tp))
    if spec.sub_norm is not None:
        tape.norm(f"{what}.sub_norm", spec.sub_norm, tokens, value, saves=tokens * value * es)
    normed = spec.sub_norm is not None or spec.difference_norm is not None
    for projection in projections[-1 - (spec.out_lora_rank is not None) :]:
        between = normed or (spec.out_lora_rank is not None and projection.part == "out")
        project(tape, (projection,), tokens, saves=tokens * projection.local(tp)[0] * es if between else 0)


def _score_positions(tape: Tape, spec: Attention, heads: Number, what: str) -> None:
    """Queries meet positions, too: of all distances in a sequence, or of the rows and columns of an image."""
    rows, width = tape.batch * heads, spec.head_dim
    queries = tape.tokens * heads * width
    if spec.relative_scores:
        # keys of all distances for each head; within a block a learned one for each pair (arXiv:1803.02155)
        distances = 2 * tape.seq_kv - 1 if spec.window is None else spec.window
        looked_up = rows * distances if spec.window is None else spec.window**2
        kept = (queries + looked_up * width) * tape.es
        tape.batched_matmul(f"{what}.distances", rows, tape.seq_q, width, distances, saves=kept)
    if spec.axis_scores:  # the queries as they were beside those that are scaled, and once more in another order
        side = tape.seq_q**0.5
        kept = 2 * queries * tape.es
        tape.batched_matmul(f"{what}.axes", 2 * side, rows * side, width, side, saves=kept)


def _difference(tape: Tape, spec: Attention, output: Number, what: str) -> None:
    """What two passes made, joined, one less a part of the other, and normalised (arXiv:2410.05258, section 2.1)."""
    assert spec.difference_norm is not None
    joined = output * spec.core_passes
    tape.elementwise(f"{what}.difference", joined, traffic.DIFFERENCE, flops=2, saves=joined * tape.es)
    width = spec.core_passes * spec.value_head_dim  # heads are subtracted in pairs
    tape.norm(f"{what}.difference_norm", spec.difference_norm, divide(output, width), width, saves=output * tape.es)


def _indexer(tape: Tape, spec: Attention, projections: tuple[Projection, ...], what: str) -> None:
    """Sparse attention's indexer scores every pair of tokens; no gradient flows through it (DeepSeek-V3.2 report)."""
    frozen, needs_grad = tape.frozen, tape.input_needs_grad
    tape.frozen, tape.input_needs_grad = True, False
    heads, width, tokens = spec.index_heads, spec.index_head_dim, tape.tokens
    for projection in projections:
        project(tape, (projection,), tokens, quantised_by="cast")
    if spec.index_extra_params:
        tape.weight(f"{what}.index.extra", spec.index_extra_params)
    keys = all_compressed_keys(spec, tape.seq_kv) if spec.compress_ratio else divide(tape.seq_kv, spec.index_pool)
    own = "fp32" if spec.index_fp32 and tape.upcasts and not tape.fused("norm") else None
    tape.batched_matmul(f"{what}.index.scores", tape.batch * heads, tape.seq_q, width, keys, own_dtype=own)
    if spec.index_weights:
        tape.batched_matmul(f"{what}.index.sum", tokens, 1, heads, keys, own_dtype=own)
    tape.frozen, tape.input_needs_grad = frozen, needs_grad


def _latent_projections(
    tape: Tape, spec: Attention, projections: tuple[Projection, ...], d_model: int, what: str
) -> None:
    """Multi-head latent attention (arXiv:2405.04434, section 2.1.2): queries and keys/values through low ranks.

    Each projection keeps its input, the hidden states but once; a latent is normalised before it goes up.
    """
    tokens, es = tape.tokens, tape.es
    latent = {"q_down": ("q_latent_norm", spec.q_lora_norm), "kv_down": ("kv_latent_norm", spec.kv_lora_norm)}
    kept: Number = tape.norm_tokens * d_model * es
    mine = [each for each in projections if each.takes_gradient and each.part not in {"out", "out_down"}]
    add_gradients(tape, what, tokens * d_model, sum(each.part not in {"q_up", "kv_up"} for each in mine))
    for projection in mine:
        up = projection.part in {"q_up", "kv_up"}
        with tape.within("mla_up_proj" if up else "qkv"):
            project(
                tape,
                (projection,),
                tokens,
                saves=tokens * projection.d_in * es if up else kept,
                made_by="mla_up_proj" if up else "layernorm",
                quantised_by="cast",
            )
        kept = kept if up else 0
        name, norm = latent.get(projection.part, ("", None))
        if norm is not None:
            rank = (spec.q_lora_rank if projection.part == "q_down" else spec.kv_lora_rank) or 0
            with tape.within("mla_up_proj"):
                tape.norm(f"{what}.{name}", norm, tokens, rank, saves=tokens * rank * es, made_by="qkv")


def _context_parallel(tape: Tape, spec: Attention, heads: Number, kv_heads: Number, what: str) -> None:
    """Keys and values of the whole sequence are gathered, their gradients scattered (arXiv:2407.21783, 3.3.2)."""
    cp = tape.train.cp
    if is_scalar(cp) and cp == 1:
        return
    rings = tape.stack.context == "ring"
    width = (heads if rings else kv_heads) * (spec.head_dim + spec.value_head_dim)
    payload = tape.batch * tape.seq_kv * width * tape.es
    tape.collective(f"{what}.kv_all_gather", "all_gather", "cp", payload)
    tape.collective(f"{what}.kv_all_gather", "all_gather", "cp", payload, "backward")
    if not rings:
        tape.collective(f"{what}.kv_reduce_scatter_grad", "reduce_scatter", "cp", payload, "backward")
        return
    # PyTorch's context_parallel: keys and values come repeated for every head, their gradients go round in fp32
    tape.collective(f"{what}.kv_grad_ring", "send_recv", "cp", payload * 4 / tape.es, "backward")
    with tape.within("core_attn"):
        several = where(cp > 1, 1, 0)
        elements = several * tape.tokens * width / 2  # of the output, and of keys and of values each
        tape.repeated(f"{what}.ring_merge", elements, traffic.ring(cp), several, flops=6, es=1)


def attention_core(
    tape: Tape, spec: Attention, heads: Number, kv_heads: Number, what: str, made: Module = "qkv"
) -> None:
    """softmax(q.k^T / sqrt(d)) . v: one fused kernel, or two batched matmuls around a softmax.

    `made` is the module that wrote queries, keys and values.
    """
    with tape.within("core_attn"):
        if spec.position_lookup:  # [s, S, H] of a table, by int64 numbers of its rows
            pairs = tape.seq_q * tape.attended
            tape.elementwise(
                f"{what}.positions.lookup", pairs * heads, traffic.LOOK_UP, flops=0, kind="embedding", saves=pairs * 8
            )
        if tape.train.attention == "unfused":
            _unfused_core(tape, spec, heads, what, made)
        else:
            _fused_core(tape, spec, heads, kv_heads, what, made)


def _fused_core(tape: Tape, spec: Attention, heads: Number, kv_heads: Number, what: str, made: Module) -> None:
    length = tape.attended  # packed samples are sequences of their own to the kernel
    samples = 1 if is_scalar(length, tape.seq_kv) and length == tape.seq_kv else tape.seq_kv / length
    es, counted = tape.es, counted_keys(spec, length)
    seen = counted if tape.decoding else visible_keys(spec, length)  # the last query sees every key
    shape = kernels.AttentionShape(
        batch=tape.batch * samples,
        heads=heads,
        kv_heads=kv_heads,
        seq_q=divide(tape.seq_q, samples),
        seq_kv=length,
        head_dim=spec.head_dim,
        value_head_dim=spec.value_head_dim,
        seen=seen,
        counted=counted,
        read=seen if tape.decoding else length,
    )
    kv_kept = tape.tokens * kv_heads * (spec.head_dim + spec.value_head_dim)
    if not tape.fused("attention_layout"):  # packed or unpadded for the kernel, and its output unpacked
        tape.elementwise(f"{what}.layout", shape.q + kv_kept + shape.o, traffic.COPY, flops=0)
    if spec.position_scores or spec.relative_scores or spec.sequence_scores:
        # [H, s, S], of whatever batch where it is learned, else of each sequence; and a causal mask joined to it
        keys = minimum(length, spec.window) if spec.relative_scores and spec.window else length  # blocks have their own
        pairs = shape.seq_q * keys * (1 if spec.position_scores else shape.batch)
        table = divide(heads * pairs, spec.core_passes)
        kept = table * es + pairs * spec.causal
        tape.elementwise(f"{what}.positions", table, traffic.POSITION_SCORES, saves=kept)
    if tape.decoding and spec.kv_lora_rank is not None:
        kernel = kernels.latent_decode(shape, es, spec.kv_lora_rank, spec.rope_head_dim)
    else:
        kernel = kernels.attention(shape, es)
    # the output projection keeps the output, too; its statistics are small, and count with it
    once = 1 - 1 / spec.core_passes  # of queries and keys, that several passes read
    again = (shape.q + tape.tokens * kv_heads * spec.head_dim) * once
    inputs, output = (shape.q + kv_kept - again) * es, shape.o * es + shape.lse
    if spec.rotary and not tape.fused("rotary"):  # values may be a view that keeps the whole of a product
        beside = heads * (spec.head_dim - spec.rope_head_dim) if spec.kv_lora_rank is not None else 0
        beside = (heads + kv_heads) * spec.head_dim if spec.joint_qkv else beside
        inputs = inputs + tape.tokens * beside * es
    kept = inputs + output
    saved = Saved(made_by=made, input=inputs, whole=inputs, output=output)
    tape.op(f"{what}.core", "attention", "forward", kernel, saved_bytes=kept, saved=saved, role="attention_entry")
    if tape.input_needs_grad:
        kernel, of = kernels.attention_backward(shape, es), f"{what}.core"
        tape.op(f"{of}.backward", "attention", "backward", kernel, role="attention_entry", of=of)
    joined = spec.rotary_joined or (spec.kv_lora_rank is not None and spec.head_dim == spec.value_head_dim)
    if (joined or spec.outputs_joined) and not tape.fused("rotary"):  # else in the order of the queries: heads outside
        _transpose(tape, shape.o, what)


def _unfused_core(tape: Tape, spec: Attention, heads: Number, what: str, made: Module) -> None:
    batch, seq_q, es = tape.batch, tape.seq_q, tape.es
    seq_kv = tape.seq_kv + all_compressed_keys(spec, tape.seq_kv)
    scores = batch * heads * seq_q * seq_kv
    q = tape.tokens * heads * spec.head_dim
    # eager code expands grouped keys and values to every query head before the matmul, and keeps the copies
    kv_kept = tape.tokens * heads * (spec.head_dim + spec.value_head_dim)
    whole = spec.core_fp32 and es < BYTES["fp32"] and not tape.fused("softmax")  # whatever autocast does
    wide_scores = whole or (spec.scores_fp32 and tape.upcasts and not tape.fused("softmax"))
    wide = (q + kv_kept if whole else 2 * q) * (BYTES["fp32"] - es) if wide_scores else 0  # queries, keys (and values)
    counted = divide(counted_keys(spec, tape.attended), seq_kv)  # share of the scores that the MFU rule counts
    tape.batched_matmul(
        f"{what}.scores",
        batch * heads,
        seq_q,
        spec.head_dim,
        seq_kv,
        saves=(q + kv_kept) * es + wide,
        made_by=made,
        counted=counted,
        role="attention_entry",
        own_dtype="fp32" if wide_scores else None,
    )
    longest = tape.train.longest  # scores grow with its square, and `Tape.op` knows of one factor
    dropout, upcast = bool(tape.train.dropout), (spec.softmax_fp32 or tape.autocasts) and es < 4
    kept = es  # probabilities
    if tape.fused("softmax"):
        chain = traffic.SOFTMAX
    elif whole:
        chain, kept = traffic.SOFTMAX_EAGER_FP32, 4
    elif upcast:
        chain, kept = traffic.SOFTMAX_EAGER_UPCAST, 4 if dropout else 4 + es
    else:
        chain = traffic.SOFTMAX_EAGER
    if tape.stack.softmax_keeps_scores and not tape.fused("softmax"):
        kept += 4 if whole or upcast else es
    core: dict[str, Any] = {"role": "attention_core"}
    if spec.softcap and not tape.fused("softmax"):
        tape.elementwise(f"{what}.softcap", scores, traffic.SOFTCAP, flops=3, saves=scores * es * longest, **core)
    if (spec.scores_clamped or spec.sinks_scale) and not tape.fused("softmax"):  # both keep what they take
        tape.elementwise(f"{what}.bound", scores, traffic.ACTIVATION, saves=scores * es * longest, **core)
    tape.elementwise(f"{what}.softmax", scores, chain, flops=5, saves=scores * kept * longest, kind="softmax", **core)
    if dropout:
        masked = traffic.dropout(tape.mask)
        tape.elementwise(f"{what}.dropout", scores, masked, flops=2, saves=scores * (es + 1) * longest, **core)
    core |= {"counted": counted, "own_dtype": "fp32" if whole else None}
    tape.batched_matmul(f"{what}.weighted", batch * heads, seq_q, seq_kv, spec.value_head_dim, **core)
    if spec.sinks_scale and not tape.fused("softmax"):
        value = tape.tokens * heads * spec.value_head_dim
        tape.elementwise(f"{what}.sink_scale", value, traffic.SCALE, saves=value * es)
    _transpose(tape, tape.tokens * heads * spec.value_head_dim, what)


def _transpose(tape: Tape, output: Number, what: str) -> None:
    """Heads back to [T, H*d]: a copy, which is what the output projection keeps."""
    with tape.within(None):
        tape.elementwise(f"{what}.transpose", output, traffic.COPY, flops=0, saves=output * tape.es)
