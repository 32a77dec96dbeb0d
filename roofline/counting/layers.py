"""Which kernels each part of a model runs: layers, embedding, head and loss.

Dimensions: T tokens on this device, D d_model, H heads and K kv heads on this device, F d_ff on this device, V
vocabulary on this device, b sequences, s queries, S keys. Saved bytes follow what autograd keeps for backward; where
two ops read the same tensor, the first one keeps it.
"""

from __future__ import annotations

from ..arrays import Number, ceil_div, divide, is_scalar
from ..model.patches import Patches
from ..model.spec import Attention, Block, LayerGroup, Mlp, ModelConfig, Moe, Norm
from . import kernels, traffic
from .attention import attention
from .feedforward import activate, mlp, moe
from .gradients import add_gradients
from .linear import Linear, bias, record_linear
from .recorder import Tape
from .recurrence import linears, mix_linearly
from .streams import gather, spread
from .weights import Matrices


def layer(tape: Tape, group: LayerGroup, d_model: int) -> None:
    """One transformer layer: norms, attention, feed-forward, residual additions and tensor-parallel collectives."""
    norms, per_block = list(group.norms), group.norms_per_block
    if group.mixes:
        mine, norms = norms[:per_block], norms[per_block:]
        _block(tape, group, None, mine, d_model)
    with tape.repeating(group.shares_weights):
        if group.parallel:
            with tape.within("layernorm"):
                _norms(tape, norms[:1], d_model, ("attention.norm",))
                _norms(tape, norms[1:3], d_model, ("mlp.norm", "parallel.norm"), kept=True)  # the input by the first
            _norms(tape, norms[3:], d_model, ("parallel.post_norm",), stream=False)
            # of the stream where each has a norm of its own, else of the norm's result
            add_gradients(tape, "parallel", tape.norm_tokens * d_model, len(group.blocks))
            norms = []
        for block in group.blocks:
            mine, norms = norms[:per_block], norms[per_block:]
            _block(tape, group, block, mine, d_model)
    _norms(tape, norms, d_model, ("layer.norm",) * len(norms))  # those that do not divide among the blocks
    if not group.mixes:
        mix_linearly(tape, group.linears, group.recurrence)


def _block(tape: Tape, group: LayerGroup, block: Attention | Mlp | Moe | None, norms: list[Norm], d_model: int) -> None:
    """One block of a layer with its norms and its residual addition; None: what takes the place of attention."""
    blocks = group.blocks
    what: Block = "mlp" if block is group.mlp else "attention" if block is group.attention else "cross_attention"
    what = "recurrence" if block is None else what
    wide = block.d_in if isinstance(block, Attention) else None
    width = wide or d_model
    gather(tape, what, d_model)
    if wide is not None:
        tape.elementwise(f"{what}.join", tape.norm_tokens * width, traffic.COPY, flops=0)
    with tape.within("layernorm"):
        _norms(tape, norms[:1], width, (f"{what}.norm",))
    # whole experts take sharded tokens as they are (see `feedforward.moe`)
    split = not (isinstance(block, Moe) and tape.train.sequence_parallel and block.shared is None)
    # parallel blocks read one input, and their sum is reduced and added once (PaLM, arXiv:2204.02311, section 2)
    first, final = (block is blocks[0], block is blocks[-1]) if group.parallel else (True, True)
    if split and first:
        _enter_tensor_parallel(tape, what, width)
    if block is None:
        mix_linearly(tape, group.linears, group.recurrence, group.mixer_kept)
    elif isinstance(block, Attention):
        attention(tape, block, d_model, what)
    elif isinstance(block, Moe):
        moe(tape, block, d_model)
    else:
        shared = group.parallel and len(group.norms) == 1  # with attention, which keeps its input
        saved = 0 if shared else tape.norm_tokens * d_model * tape.es
        mlp(tape, block, d_model, tape.tokens, saves=saved, made_by="layernorm")
    if split and final:
        _leave_tensor_parallel(tape, what, d_model)
    _norms(tape, norms[1:], d_model, (f"{what}.post_norm",) * len(norms), stream=False)
    if final:
        _add(tape, group, what, d_model, len(blocks) if group.parallel else 1)


def _norms(
    tape: Tape, norms: list[Norm], d_model: int, names: tuple[str, ...], *, stream: bool = True, kept: bool = False
) -> None:
    """Norms over the residual `stream`, `kept` by a norm before or not, or over what a block is about to add to it."""
    added = tape.norm_tokens * d_model * tape.es  # which nothing else keeps
    for name, norm in zip(names, norms, strict=False):
        tape.norm(name, norm, tape.norm_tokens, d_model, stream=stream, kept=kept, saves=added)


def _enter_tensor_parallel(tape: Tape, what: str, d_model: int) -> None:
    """The operator f (arXiv:1909.08053) or g (arXiv:2205.05198): forward identity or all-gather."""
    if is_scalar(tape.train.tp) and tape.train.tp == 1:
        return
    payload = tape.tokens * d_model * tape.es
    if tape.train.sequence_parallel:
        gathered = tape.tokens * d_model * tape.gathered_bytes
        tape.collective(f"{what}.all_gather", "all_gather", "tp", gathered)
        tape.collective(f"{what}.regather", "all_gather", "tp", gathered, "backward")
        tape.collective(f"{what}.reduce_scatter_grad", "reduce_scatter", "tp", payload, "backward")
    else:
        tape.collective(f"{what}.all_reduce_grad", "all_reduce", "tp", payload, "backward")


def _leave_tensor_parallel(tape: Tape, what: str, d_model: int) -> None:
    if is_scalar(tape.train.tp) and tape.train.tp == 1:
        return
    payload = tape.tokens * d_model * tape.es
    if tape.train.sequence_parallel:
        tape.collective(f"{what}.reduce_scatter", "reduce_scatter", "tp", payload)
        gathered = tape.tokens * d_model * tape.gathered_bytes
        tape.collective(f"{what}.all_gather_grad", "all_gather", "tp", gathered, "backward")
    else:
        tape.collective(f"{what}.all_reduce", "all_reduce", "tp", payload)


def _add(tape: Tape, group: LayerGroup, what: str, d_model: int, terms: int) -> None:
    """What `terms` blocks made, scaled, into the residual stream or its copies."""
    hidden = tape.norm_tokens * d_model
    if group.residual_scaled and not tape.fused("residual"):
        tape.elementwise(f"{what}.multiplier", hidden, traffic.COPY)
    if group.layer_scale:
        tape.elementwise(f"{what}.scale", hidden, traffic.SCALE, saves=hidden * tape.es)
    if tape.streams > 1:
        spread(tape, what, d_model)
    else:
        _residual(tape, what, hidden, terms)


def _residual(tape: Tape, what: str, hidden: Number, terms: int) -> None:
    """X + dropout(y), at the end of a block; parallel blocks add their `terms` at once."""
    drops = bool(tape.train.dropout)
    chain = traffic.residual(
        tape.mask if drops else 0.0,
        fused=tape.fused("residual"),
        in_norm=tape.fused("residual_norm"),
        stream=tape.stream_es / tape.es,
        terms=terms,
    )
    tape.elementwise(f"{what}.residual", hidden, chain, flops=1 + 2 * drops, saves=hidden if drops else 0)


def _padded_vocabulary(tape: Tape, model: ModelConfig) -> Number:
    """Rows of the vocabulary on this device, padded as the stack pads them."""
    tp, multiple = tape.train.tp, tape.stack.vocab_multiple
    if multiple == 1:
        return divide(model.vocab_size, tp)
    return ceil_div(model.vocab_size, multiple * tp) * multiple


def embedding(tape: Tape, model: ModelConfig) -> None:
    """Look-up of token (and position) rows; 0 FLOPs for the gather, one addition per position element."""
    needs_grad = tape.input_needs_grad
    width = model.embedding_dim or model.d_model
    if model.vocab_size:
        _tokens(tape, model, width)
    _positions(tape, model, width)
    if model.embedding_dim is not None and model.embedding_dim != model.d_model:
        record_linear(tape, Linear("embedding.project", tape.tokens, model.embedding_dim, model.d_model))
    if model.embedding_scaled and not tape.fused("residual"):
        tape.elementwise("embedding.multiplier", tape.tokens * model.d_model, traffic.COPY)
    if model.embedding_norm is not None:
        tape.norm("embedding.norm", model.embedding_norm, tape.tokens, model.d_model, stream=True)
    if tape.train.dropout:
        hidden = tape.norm_tokens * model.d_model
        tape.elementwise("embedding.dropout", hidden, traffic.dropout(tape.mask), flops=2, saves=hidden)
    if model.vocab_size == 0 or model.kind == "encoder-decoder":  # pixels and spectra take no gradient
        tape.input_needs_grad = False
    embedded = tuple(linear for linear in model.linears if not linear.name.startswith("head."))
    linears(tape, embedded, tape.tokens if model.patches is None else _pieces(tape, model.patches, model.d_model))
    tape.input_needs_grad = needs_grad
    if model.vocab_size:
        _leave_tensor_parallel(tape, "embedding", width)


def _pieces(tape: Tape, patches: Patches, width: int) -> Number:
    """The pieces of images or clips, all of which are embedded, and what picks those of them that become tokens."""
    tokens = tape.tokens - divide(tape.batch * patches.beside, tape.train.cp)
    if patches.share == 1:
        return tokens
    index = tokens * width * 8  # int64, for every feature
    pieces = tokens / patches.share
    chain = traffic.Passes(reads=1, writes=1, back_reads=1, back_writes=1 + 1 / patches.share)  # into zeros of all
    tape.elementwise("embedding.gather", tokens * width, chain, flops=0, saves=index + pieces * width * tape.es)
    return pieces


def _tokens(tape: Tape, model: ModelConfig, width: int) -> None:
    """Rows of the token table."""
    vocab, gathered = _padded_vocabulary(tape, model), tape.tokens * width
    with tape.freezing("embeddings") as frozen:
        tape.weight("embedding", vocab * width, matrices=(Matrices(vocab, width, 1),))
        tape.input_needs_grad = not frozen
        ids = 0 if frozen else tape.tokens * 8  # int64, kept for the gradient's rows
        tape.elementwise("embedding", gathered, traffic.LOOK_UP, flops=0, kind="embedding", saves=ids)
        if not frozen:  # few rows are met, but the gradient is a whole table
            tape.op("embedding.grad_fill", "elementwise", "backward", kernels.fill(vocab * width, tape.es))
            tape.accumulate("embedding", vocab * width)


def _positions(tape: Tape, model: ModelConfig, width: int) -> None:
    """Rotary tables, learned positions and token types."""
    rotary = next((g.attention for g in model.groups if g.attention is not None and g.attention.rotary), None)
    if rotary is not None:  # cosines and sines, shared by all layers and sequences
        table = tape.seq_q * (rotary.rope_head_dim or rotary.head_dim)
        chain = traffic.Passes(reads=1, writes=2, back_reads=0, back_writes=0)
        tape.elementwise("rotary.table", table, chain, saves=2 * table * tape.es)
    if any(g.attention is not None and g.attention.masked for g in model.groups) and not tape.fused("norm"):
        scores = tape.batch * tape.seq_q * tape.batch * tape.seq_kv  # all images of a micro batch are one sequence
        chain = traffic.Passes(reads=0, writes=1, back_reads=0, back_writes=0)
        tape.elementwise("mask", scores, chain, flops=0, saves=scores * tape.es)
    if model.learned_positions:
        with tape.freezing("positions") as frozen:
            rows = Matrices(model.learned_positions, model.d_model, 1)
            tape.weight("positions", rows.parameters, matrices=(rows,))
            tape.input_needs_grad = tape.input_needs_grad or not frozen
        kept = 0 if frozen else 8 * tape.seq_q
        tape.elementwise("positions", tape.tokens * model.d_model, traffic.POSITIONS, saves=kept)
    if model.token_types:
        with tape.freezing("positions") as frozen:
            tape.weight("token_types", model.token_types * width)
            tape.input_needs_grad = tape.input_needs_grad or not frozen


def head(tape: Tape, model: ModelConfig) -> None:
    """Final norm, logits and the loss: tokens x vocabulary is the largest tensor of many models."""
    tp, tokens, es = tape.train.tp, tape.tokens, tape.es
    gather(tape, "head", model.d_model)
    if model.final_norm is not None:
        tape.norm("final_norm", model.final_norm, tape.norm_tokens, model.d_model, stream=True)
    linears(tape, tuple(linear for linear in model.linears if linear.name.startswith("head.")))
    width = model.embedding_dim or model.d_model
    if model.head_norm is not None:
        spec = Mlp(d_ff=width, activation=model.head_activation)
        activate(tape, spec, "head", tokens * width)
        tape.norm("head.norm", model.head_norm, tokens, width, saves=tokens * width * es)
    if not model.has_head:
        return
    if width != model.d_model:
        record_linear(tape, Linear("head.project", tokens, model.d_model, width))
    vocab = _padded_vocabulary(tape, model)
    _enter_tensor_parallel(tape, "head", width)
    with tape.freezing("embeddings" if model.tied_embeddings else ""):  # a tied head's weight is the table
        linear = Linear(
            "head.logits",
            tokens,
            width,
            vocab,
            low_precision=False,
            saves=tape.norm_tokens * width * es,
            role="logits",
            tied=model.tied_embeddings,
        )
        record_linear(tape, linear)
    if model.head_bias:
        bias(tape, "head.logits", tokens, vocab)
    _cap(tape, model, tokens * vocab)
    if tape.stack.loss_gathers:
        vocab = vocab * tp
        tape.collective("loss.all_gather", "all_gather", "tp", tokens * vocab * es, role="loss")
    elif not (is_scalar(tp) and tp == 1):
        tape.collective("loss.all_reduce", "all_reduce", "tp", 3 * tokens * 4, role="loss")
    logits = tokens * vocab
    kept: Number = 0
    if tape.fused("linear_cross_entropy"):
        chain = traffic.LOSS_FUSED
    elif tape.fused("cross_entropy"):
        chain, kept = traffic.LOSS_FUSED, logits * es
    else:
        chain, kept = traffic.loss(es), logits * 4 + tokens * 8
    tape.elementwise("loss.cross_entropy", logits, chain, flops=5, saves=kept, kind="softmax", role="loss")
    if tape.stack.loss_metrics:
        chain = traffic.metric(es, tape.stack.loss_metrics)
        flops = 5 * tape.stack.loss_metrics
        tape.elementwise("loss.metrics", logits, chain, flops=flops, kind="softmax", role="loss")


def _cap(tape: Tape, model: ModelConfig, logits: Number) -> None:
    """Logits times a constant, or softly capped, before a loss that does not do so itself."""
    if tape.fused("cross_entropy") or tape.fused("linear_cross_entropy"):
        return
    if model.logits_scaled:
        tape.elementwise("head.multiplier", logits, traffic.COPY)
    if model.logits_softcap:  # keeps what tanh made
        tape.elementwise("head.softcap", logits, traffic.SOFTCAP, flops=3, saves=logits * tape.es)
