"""Which kernels each part of a model runs: attention, feed-forward, experts, embedding, head and loss.

Dimensions: T tokens on this device, D d_model, H heads and K kv heads on this device, F d_ff on this device, V vocabulary
on this device, b sequences, s queries, S keys. Saved bytes follow what autograd keeps for backward; where two
ops read the same tensor, the first one keeps it.
"""

from __future__ import annotations

from .arrays import Number, ceil_div, divide, is_scalar, maximum, minimum
from .model import Attention, LayerGroup, Linear, Mlp, ModelConfig, Moe, Recurrence
from .tape import Tape


def layer(tape: Tape, group: LayerGroup, d_model: int) -> None:
    """One transformer layer: norms, attention, feed-forward, residual additions and tensor-parallel collectives."""
    hidden = tape.norm_tokens * d_model
    norms = list(group.norms)
    blocks = [block for block in (group.attention, group.cross_attention, group.mlp) if block is not None]
    per_block = len(norms) // max(1, len(blocks))
    if group.parallel:
        _norms(tape, norms, d_model, ("attention.norm", "mlp.norm", "parallel.norm", "parallel.post_norm"))
        norms, per_block = [], 0
    for block in blocks:
        what = (
            "mlp"
            if isinstance(block, (Mlp, Moe))
            else "attention"
            if block is group.attention
            else "cross_attention"
        )
        mine, norms = norms[:per_block], norms[per_block:]
        _norms(tape, mine[:1], d_model, (f"{what}.norm",))
        _enter_tensor_parallel(tape, what, d_model)
        if isinstance(block, Attention):
            attention(tape, block, d_model, what)
        elif isinstance(block, Moe):
            moe(tape, block, d_model)
        else:
            saved = tape.norm_tokens * d_model * tape.es
            mlp(tape, block, d_model, tape.tokens, divide(block.d_ff, tape.train.tp), "mlp", saves=saved)
        _leave_tensor_parallel(tape, what, d_model)
        _norms(tape, mine[1:], d_model, (f"{what}.post_norm",) * len(mine))
        _residual(tape, what, hidden)
    if not group.parallel:  # norms that do not divide among the blocks
        _norms(tape, norms, d_model, ("layer.norm",) * len(norms))
    _linears(tape, group.linears)
    if group.recurrence is not None:
        _recurrence(tape, group.recurrence)


# Matmuls per chunk of c tokens and head: [c, dk] x [dk, c], [c, c] x [c, dv], and of [c, dk] with the state [dk, dv].
RECURRENCE_MATMULS = {"delta": (2, 1, 3), "ssd": (1, 1, 2), "lightning": (1, 1, 2)}


def _recurrence(tape: Tape, spec: Recurrence) -> None:
    """Linear attention in chunks: within a chunk as attention, between chunks through the state."""
    c, dk, dv = spec.chunk, spec.key_dim, spec.value_dim
    heads = divide(spec.n_heads, tape.train.tp)
    if spec.kind == "scan":
        # one kernel: reads x, its step and gate, writes y; about 9 FLOPs per state (arXiv:2312.00752, appendix D)
        channels = tape.tokens * heads
        tape.elementwise(
            "recurrence.scan", channels, reads=3, writes=1, back_reads=5, back_writes=3, flops=9 * dk,
            saves=3 * channels * tape.es,
        )  # fmt: skip
        return
    chunks = divide(tape.tokens * heads, c)  # chunks of all sequences and heads
    elements = tape.tokens * heads
    within, weighted, states = RECURRENCE_MATMULS[spec.kind]
    tape.batched_matmul("recurrence.scores", chunks * within, c, dk, c, saves=elements * 2 * dk * tape.es)
    tape.batched_matmul(
        "recurrence.weighted", chunks * weighted, c, c, dv, saves=elements * (c + dv) * tape.es
    )
    tape.batched_matmul("recurrence.state", chunks * states, c, dk, dv, saves=chunks * dk * dv * 4)
    # decays of scores and state; the delta rule also solves a triangular system per chunk, c*(dk + dv) per token
    solve = c * (dk + dv) / (c + dk + dv) if spec.kind == "delta" else 0
    tape.elementwise(
        "recurrence.decay", elements * (c + dk + dv), reads=1, writes=1, back_reads=2, back_writes=1,
        flops=2 + solve, kernels=4,
    )  # fmt: skip


def _linears(tape: Tape, linears: tuple[Linear, ...]) -> None:
    """Projections that belong to no common part: gates, convolutions as windows, per-layer inputs.

    Those of attention read what its query projection has kept already.
    """
    for linear in linears:
        kept = 0 if linear.name.startswith("attention.") else tape.tokens * linear.d_in * tape.es
        tape.linear(
            linear.name, tape.tokens * linear.runs, linear.d_in, linear.d_out, batch=linear.count, bias=linear.bias,
            saves=kept,
        )  # fmt: skip


def _norms(tape: Tape, norms: list, d_model: int, names: tuple[str, ...]) -> None:
    for name, norm in zip(names, norms, strict=False):
        # keeps its input: the residual stream (b*s*D)
        tape.norm(name, norm, tape.norm_tokens, d_model, saves=tape.norm_tokens * d_model * tape.es)


def _enter_tensor_parallel(tape: Tape, what: str, d_model: int) -> None:
    """The operator f (arXiv:1909.08053) or g (arXiv:2205.05198): identity or all-gather forward, its adjoint backward."""
    if is_scalar(tape.train.tp) and tape.train.tp == 1:
        return
    payload = tape.tokens * d_model * tape.es
    if tape.train.sequence_parallel:
        tape.collective(f"{what}.all_gather", "all_gather", "tp", payload)
        tape.collective(f"{what}.regather", "all_gather", "tp", payload, "backward")
        tape.collective(f"{what}.reduce_scatter_grad", "reduce_scatter", "tp", payload, "backward")
    else:
        tape.collective(f"{what}.all_reduce_grad", "all_reduce", "tp", payload, "backward")


def _leave_tensor_parallel(tape: Tape, what: str, d_model: int) -> None:
    if is_scalar(tape.train.tp) and tape.train.tp == 1:
        return
    payload = tape.tokens * d_model * tape.es
    if tape.train.sequence_parallel:
        tape.collective(f"{what}.reduce_scatter", "reduce_scatter", "tp", payload)
        tape.collective(f"{what}.all_gather_grad", "all_gather", "tp", payload, "backward")
    else:
        tape.collective(f"{what}.all_reduce", "all_reduce", "tp", payload)


def _residual(tape: Tape, what: str, hidden: Number) -> None:
    """X + dropout(y): one kernel where the stack fuses it. Backward adds the two gradients that meet at the fork."""
    mask = 1.0 / tape.es if tape.train.dropout else 0.0  # a mask element is one byte
    dropout = bool(tape.train.dropout)
    in_norm = tape.fused("residual_norm")  # the sum is formed inside the next norm: one write, one read less
    if tape.fused("residual") or in_norm or not dropout:
        reads, writes, kernels = (1.0 if in_norm else 2.0), 1.0 + mask, 1
    else:
        reads, writes, kernels = 3.0, 2.0 + mask, 2
    tape.elementwise(
        f"{what}.residual", hidden, reads=reads, writes=writes,
        back_reads=2.0 + (1.0 + mask if dropout else 0.0), back_writes=1.0 + dropout,
        flops=1 + 2 * dropout, kernels=kernels, saves=hidden * (1 if dropout else 0),
    )  # fmt: skip


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
        kv_width = spec.head_dim + (0 if spec.value_is_key else spec.value_head_dim)
        width = heads * spec.head_dim + (0 if spec.reuses_kv else kv_heads * kv_width)
        tape.linear(
            f"{what}.qkv",
            tokens,
            d_model,
            width,
            bias=spec.q_bias,
            saves=tape.norm_tokens * d_model * es,
            parts=3,
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
        passes = {"reads": 1, "writes": 1} if tape.fused("rotary") else {"reads": 5, "writes": 4}
        tape.elementwise(
            f"{what}.rotary", rotated, back_reads=passes["reads"], back_writes=passes["writes"], flops=3,
            kernels=1 if tape.fused("rotary") else 8, **passes,
        )  # fmt: skip
    _context_parallel(tape, kv_heads * (spec.head_dim + spec.value_head_dim), what)
    _indexer(tape, spec, d_model, what)
    attention_core(tape, spec, heads * spec.core_passes, kv_heads * spec.core_passes, what)
    value = heads * spec.value_head_dim
    if spec.extra_params:
        tape.weight(f"{what}.extra", divide(spec.extra_params, tp))
    if spec.sub_norm is not None:
        tape.norm(f"{what}.sub_norm", spec.sub_norm, tokens, value, saves=tokens * value * es)
    tape.linear(f"{what}.out", tokens, value, d_model, bias=spec.out_bias)


def _indexer(tape: Tape, spec: Attention, d_model: int, what: str) -> None:
    """Sparse attention's indexer scores every pair of tokens; no gradient flows through it (DeepSeek-V3.2 report)."""
    if not spec.index_heads:
        return
    frozen, needs_grad = tape.frozen, tape.input_needs_grad
    tape.frozen, tape.input_needs_grad = True, False
    heads, width, tokens = spec.index_heads, spec.index_head_dim, tape.tokens
    tape.linear(f"{what}.index.q", tokens, spec.q_lora_rank or d_model, heads * width)
    tape.linear(f"{what}.index.k", tokens, d_model, width)
    tape.linear(f"{what}.index.weights", tokens, d_model, heads)
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
    if spec.q_lora_rank is not None:
        tape.linear(f"{what}.q_down", tokens, d_model, spec.q_lora_rank, bias=spec.lora_bias, saves=saved)
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
        )
        saved = 0
    else:
        tape.linear(f"{what}.q", tokens, d_model, heads * spec.head_dim, saves=saved)
    tape.linear(
        f"{what}.kv_down", tokens, d_model, spec.kv_lora_rank + spec.rope_head_dim, bias=spec.lora_bias
    )
    if spec.kv_lora_norm is not None:
        tape.norm(
            f"{what}.kv_latent_norm",
            spec.kv_lora_norm,
            tokens,
            spec.kv_lora_rank,
            saves=tokens * spec.kv_lora_rank * es,
        )
    tape.linear(
        f"{what}.kv_up", tokens, spec.kv_lora_rank, heads * (nope + spec.value_head_dim),
        saves=tokens * spec.kv_lora_rank * es,
    )  # fmt: skip


def _context_parallel(tape: Tape, kv_width: Number, what: str) -> None:
    """Keys and values of the whole sequence are gathered; their gradients are scattered back (arXiv:2407.21783, 3.3.2)."""
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


def attention_core(tape: Tape, spec: Attention, heads: Number, kv_heads: Number, what: str) -> None:
    """softmax(q.k^T / sqrt(d)) . v: one fused kernel, or two batched matmuls around a softmax."""
    if tape.train.attention == "unfused":
        _unfused_core(tape, spec, heads, kv_heads, what)
    else:
        _fused_core(tape, spec, heads, kv_heads, what)


def _fused_core(tape: Tape, spec: Attention, heads: Number, kv_heads: Number, what: str) -> None:
    batch, seq_q, seq_kv, es = tape.batch, tape.seq_q, tape.seq_kv, tape.es
    # q.k^T and p.v over the visible keys: 2*b*H*s*S*(d + dv); backward recomputes the scores: 5 matmuls, not 2
    pair_flops = 2 * batch * heads * seq_q * (spec.head_dim + spec.value_head_dim)
    seen = visible_keys(spec, seq_kv)
    q, o = tape.tokens * heads * spec.head_dim, tape.tokens * heads * spec.value_head_dim
    kv = batch * seq_kv * kv_heads * (spec.head_dim + spec.value_head_dim)
    kv_kept = tape.tokens * kv_heads * (spec.head_dim + spec.value_head_dim)
    lse = tape.tokens * heads * 4  # log-sum-exp per query, fp32
    shape = (batch, heads, seq_q, seq_kv, spec.head_dim)
    tape.op(
        f"{what}.core", "attention", "forward", flops=pair_flops * seen, model_flops=pair_flops * seq_kv,
        read=(q + kv) * es, written=o * es + lse, shape=shape, saved_bytes=(q + kv_kept + o) * es + lse,
    )  # fmt: skip
    if tape.input_needs_grad:
        tape.op(
            f"{what}.core.backward", "attention", "backward", flops=pair_flops * seen * 5 / 2,
            model_flops=2 * pair_flops * seq_kv, read=(q + kv + 2 * o) * es + lse, written=(q + kv) * es + q * 4,
            shape=shape, kernels=3,
        )  # fmt: skip


def _unfused_core(tape: Tape, spec: Attention, heads: Number, kv_heads: Number, what: str) -> None:
    batch, seq_q, seq_kv, es = tape.batch, tape.seq_q, tape.seq_kv, tape.es
    scores = batch * heads * seq_q * seq_kv
    q = tape.tokens * heads * spec.head_dim
    # eager code expands grouped keys and values to every query head before the matmul, and keeps the copies
    kv_kept = tape.tokens * heads * (spec.head_dim + spec.value_head_dim)
    tape.batched_matmul(
        f"{what}.scores", batch * heads, seq_q, spec.head_dim, seq_kv, saves=(q + kv_kept) * es
    )
    dropout = bool(tape.train.dropout)
    if tape.fused("softmax"):
        passes = {"reads": 1, "writes": 1, "back_reads": 2, "back_writes": 1, "kernels": 1}
    elif spec.rotary and es < 4:  # scale, mask, to fp32, softmax, back: Llama-era eager code takes it in fp32
        passes = {"reads": 7, "writes": 7, "back_reads": 10, "back_writes": 7, "kernels": 5}
    else:  # scale, mask, softmax
        passes = {"reads": 3, "writes": 3, "back_reads": 4, "back_writes": 3, "kernels": 3}
    kept = es  # probabilities
    if spec.rotary and not tape.fused("softmax") and es < 4:  # Llama-era eager code takes the softmax in fp32
        kept = 4 if dropout else 4 + es
    tape.elementwise(f"{what}.softmax", scores, flops=5, saves=scores * kept, kind="softmax", **passes)
    if dropout:
        mask = 1.0 / es
        tape.elementwise(
            f"{what}.dropout", scores, reads=1, writes=1 + mask, back_reads=1 + mask, back_writes=1, flops=2,
            saves=scores * (es + 1),
        )  # fmt: skip
    tape.batched_matmul(f"{what}.weighted", batch * heads, seq_q, seq_kv, spec.value_head_dim)
    # heads are transposed back to [T, H*d]; the copy is what the output projection keeps
    o = tape.tokens * heads * spec.value_head_dim
    tape.elementwise(
        f"{what}.transpose", o, reads=1, writes=1, back_reads=1, back_writes=1, flops=0, saves=o * es
    )


def mlp(
    tape: Tape,
    spec: Mlp,
    d_model: int,
    rows: Number,
    d_ff: Number,
    name: str,
    *,
    batch: Number = 1,
    expert: bool = False,
    saves: Number = 0,
) -> None:
    """Up (and gate), activation, down: `rows` tokens through each of `batch` experts of width `d_ff`.

    `saves` is the input as kept for backward: a shard of it under sequence parallelism, gathered again when needed.
    """
    es = tape.es
    width = d_ff * (2 if spec.gated else 1)
    tape.linear(
        f"{name}.up", rows, d_model, width, batch=batch, bias=spec.up_bias, expert=expert,
        saves=saves, parts=1 + spec.gated,
    )  # fmt: skip
    elements = batch * rows * d_ff
    if spec.gated:
        if tape.fused(
            "activation"
        ):  # reads gate and up, writes the product; keeps both inputs and the product
            passes = {"reads": 2, "writes": 1, "back_reads": 3, "back_writes": 2, "kernels": 1}
            kept = 3
        else:  # silu(gate), then the product: the activated gate is kept as well
            passes = {"reads": 3, "writes": 2, "back_reads": 5, "back_writes": 3, "kernels": 2}
            kept = 4
    else:
        passes = {"reads": 1, "writes": 1, "back_reads": 2, "back_writes": 1, "kernels": 1}
        kept = 2
        if spec.activation == "gelu_new" and not tape.fused(
            "activation"
        ):  # written out in eight framework ops
            passes = {"reads": 10, "writes": 8, "back_reads": 16, "back_writes": 10, "kernels": 8}
            kept = 5
    tape.elementwise(f"{name}.activation", elements, flops=5, saves=kept * elements * es, **passes)
    if spec.sub_norm is not None:
        tape.norm(f"{name}.sub_norm", spec.sub_norm, batch * rows, d_ff, saves=elements * es)
    tape.linear(f"{name}.down", rows, d_ff, d_model, batch=batch, bias=spec.down_bias, expert=expert)


def moe(tape: Tape, spec: Moe, d_model: int) -> None:
    """Router, dispatch to the experts' devices, grouped feed-forward, combine; shared experts see every token.

    Without sequence parallelism each expert is split over tp like a dense layer. With it, experts are whole and tp ranks
    route their own share of the tokens (expert tensor parallelism 1: Megatron-Core's MoE, arXiv:2504.14960).
    """
    train, es = tape.train, tape.es
    whole = train.sequence_parallel
    tokens = tape.norm_tokens if whole else tape.tokens
    expert_tp = 1 if whole else train.tp
    experts_here = divide(spec.n_experts, train.ep)
    routed = tokens * spec.experts_per_token  # rows per device after dispatch, load balanced
    tape.linear(
        "router", tokens, d_model, spec.n_experts, bias=spec.router_bias, low_precision=False,
        saves=tokens * d_model * es,
    )  # fmt: skip
    if spec.extra_params:
        tape.weight("router.extra", spec.extra_params)
    tape.elementwise(
        "router.topk", tokens * spec.n_experts, reads=3, writes=3, back_reads=3, back_writes=2, flops=8, kernels=6,
        kind="softmax", es=4, saves=tokens * (4 * spec.n_experts + 12 * spec.experts_per_token + 4),
    )  # fmt: skip
    moved = routed * d_model
    tape.elementwise(
        "moe.permute", moved, reads=1, writes=1, back_reads=1, back_writes=1, flops=0, kind="embedding",
        saves=routed * 28,
    )  # fmt: skip
    _exchange(tape, "moe.dispatch", moved * es, spec.experts_per_token)
    rows = divide(routed, experts_here)
    mlp(
        tape, spec.expert, d_model, rows, divide(spec.expert.d_ff, expert_tp), "experts", batch=experts_here,
        expert=True, saves=moved * es,
    )  # fmt: skip
    _exchange(tape, "moe.combine", moved * es, spec.experts_per_token)
    tape.elementwise(
        "moe.unpermute", moved, reads=1, writes=1 / spec.experts_per_token, back_reads=1 + 1 / spec.experts_per_token,
        back_writes=1, flops=2, kind="embedding", saves=moved * es,
    )  # fmt: skip
    if spec.shared is not None:
        mlp(tape, spec.shared, d_model, tape.tokens, divide(spec.shared.d_ff, train.tp), "shared_expert")
        if spec.shared_gate:
            tape.linear("shared_expert.gate", tape.tokens, d_model, 1, low_precision=False)


def _exchange(tape: Tape, name: str, payload: Number, copies: int) -> None:
    """All-to-all of routed tokens; `copies` of each token are sent, once per node where several experts share it."""
    if is_scalar(tape.train.ep) and tape.train.ep == 1:
        return
    tape.collective(name, "all_to_all", "ep", payload, copies=copies)
    tape.collective(f"{name}_grad", "all_to_all", "ep", payload, "backward", copies=copies)


def _padded_vocabulary(tape: Tape, model: ModelConfig) -> Number:
    """Rows of the vocabulary on this device, padded as the stack pads them."""
    tp, multiple = tape.train.tp, tape.stack.vocab_multiple
    if multiple == 1:
        return divide(model.vocab_size, tp)
    return ceil_div(model.vocab_size, multiple * tp) * multiple


def embedding(tape: Tape, model: ModelConfig) -> None:
    """Look-up of token (and position) rows; 0 FLOPs for the gather, one addition per position element."""
    tp = tape.train.tp
    width = model.embedding_dim or model.d_model
    vocab = _padded_vocabulary(tape, model)
    tape.weight("embedding", vocab * width)
    gathered = tape.tokens * width
    tape.elementwise(
        "embedding", gathered, reads=1, writes=1, back_reads=1, back_writes=2, flops=0, kind="embedding",
        saves=tape.tokens * 8,  # token ids, int64
    )  # fmt: skip
    rotary = next((g.attention for g in model.groups if g.attention is not None and g.attention.rotary), None)
    if rotary is not None:  # cosines and sines, shared by all layers and sequences
        width_of_table = rotary.rope_head_dim or rotary.head_dim
        tape.elementwise(
            "rotary.table", tape.seq_q * width_of_table, reads=1, writes=2, back_reads=0, back_writes=0,
            saves=2 * tape.seq_q * width_of_table * tape.es,
        )  # fmt: skip
    if model.learned_positions:
        tape.weight("positions", model.learned_positions * model.d_model)
        tape.elementwise(
            "positions",
            tape.tokens * model.d_model,
            reads=2,
            writes=1,
            back_reads=1,
            back_writes=0.5,
            kernels=2,
            saves=8 * tape.seq_q,
        )
    if model.token_types:
        tape.weight("token_types", model.token_types * model.d_model)
    if model.embedding_dim is not None and model.embedding_dim != model.d_model:
        tape.linear("embedding.project", tape.tokens, model.embedding_dim, model.d_model)
    if model.embedding_norm is not None:
        tape.norm(
            "embedding.norm",
            model.embedding_norm,
            tape.tokens,
            model.d_model,
            saves=tape.tokens * model.d_model * tape.es,
        )
    if tape.train.dropout:
        mask = 1.0 / tape.es
        tape.elementwise(
            "embedding.dropout", tape.tokens * model.d_model, reads=1, writes=1 + mask, back_reads=1 + mask,
            back_writes=1, flops=2, saves=tape.tokens * model.d_model,
        )  # fmt: skip
    needs_grad = tape.input_needs_grad
    if model.vocab_size == 0 or model.kind == "encoder-decoder":  # pixels and spectra take no gradient
        tape.input_needs_grad = False
    _linears(tape, tuple(linear for linear in model.linears if not linear.name.startswith("head.")))
    tape.input_needs_grad = needs_grad
    if not (is_scalar(tp) and tp == 1):
        payload = tape.tokens * width * tape.es
        tape.collective("embedding.all_reduce", "all_reduce", "tp", payload)


def head(tape: Tape, model: ModelConfig) -> None:
    """Final norm, logits and the loss: tokens x vocabulary is the largest tensor of many models."""
    tp, tokens, es = tape.train.tp, tape.tokens, tape.es
    if model.final_norm is not None:
        tape.norm(
            "final_norm",
            model.final_norm,
            tape.norm_tokens,
            model.d_model,
            saves=tape.norm_tokens * model.d_model * es,
        )
    _linears(tape, tuple(linear for linear in model.linears if linear.name.startswith("head.")))
    if not model.has_head:
        return
    width = model.embedding_dim or model.d_model
    if width != model.d_model:
        tape.linear("head.project", tokens, model.d_model, width)
    vocab = _padded_vocabulary(tape, model)
    tape.linear(
        "head.logits",
        tokens,
        width,
        vocab,
        bias=model.head_bias,
        low_precision=False,
        saves=tokens * width * es,
    )
    if not (is_scalar(tp) and tp == 1):
        tape.collective("head.all_reduce_grad", "all_reduce", "tp", tokens * width * es, "backward")
        tape.collective("loss.all_reduce", "all_reduce", "tp", 3 * tokens * 4)
    logits = tokens * vocab
    fp32 = 4 / es  # passes of fp32 copies, in elements of the activation dtype
    if tape.fused("cross_entropy"):
        passes = {"reads": 1, "writes": 1, "back_reads": 0, "back_writes": 0, "kernels": 1}
        kept = logits * es
    else:  # to fp32, log-softmax; its gradient in fp32, back to the activation dtype
        upcast = 1 if es != 4 else 0
        passes = {
            "reads": upcast + fp32, "writes": fp32 * (1 + upcast), "back_reads": fp32 * (1 + upcast),
            "back_writes": fp32 + upcast, "kernels": 3,
        }  # fmt: skip
        kept = logits * 4 + tokens * 8
    tape.elementwise("loss.cross_entropy", logits, flops=5, saves=kept, kind="softmax", **passes)
