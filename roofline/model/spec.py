"""What a model is, as far as its cost goes: embedding, groups of equal layers, head. All counts are exact.

The description is hierarchical (a model has layer groups, a layer has attention, feed-forward and norms) so
that any decoder, encoder or encoder-decoder is a recombination of known parts.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .patches import Patches
from .recorded import RecordedPass

DEFAULT_SEQ_LEN = 4096  # assumed where a model states no limit, or one above LONGEST_DEFAULT
LONGEST_DEFAULT = 8192

Block = Literal[  # what a matrix or a vector belongs to
    "attention",
    "cross_attention",
    "indexer",  # of sparse attention
    "recurrence",  # what mixes tokens without softmax: linear attention, state space, convolution
    "mlp",
    "router",
    "experts",
    "shared_expert",
    "norm",
    "embedding",
    "positions",  # tables of learned positions and token types
    "head",
    "logits",
    "other",
]
Split = Literal["none", "columns", "rows", "count"]  # what tensor parallelism divides: outputs, inputs, equal matrices


class Norm(msgspec.Struct, frozen=True, kw_only=True):
    """A normalization layer: root-mean-square or mean-and-variance, with or without weight and bias.

    `fp32`: its code multiplies by the weight in fp32 and casts then (Gemma, OLMo 2), not before (Llama).
    `keeps_input`: it squares a copy in fp32 and scales the input itself (T5, DeepSeek-V4's queries).
    `written_out`: a LayerNorm of several framework operations in fp32 (DeBERTa; all that multiply in fp32 are).
    """

    kind: Literal["rms", "layer"] = "rms"
    weight: bool = True
    bias: bool = False
    fp32: bool = False
    written_out: bool = False
    keeps_input: bool = False

    def params(self, width: int) -> int:
        """Parameters of a norm over `width` features."""
        return width * (self.weight + self.bias)


class Linear(msgspec.Struct, frozen=True, kw_only=True):
    """A projection of every token that belongs to no common part: ``[tokens, d_in] @ [d_in, d_out]``."""

    name: str
    d_in: int
    d_out: int
    block: Block = "other"
    split: Split = "none"
    bias: bool = False
    count: int = 1  # how many of them
    runs: int = 1  # how often each runs per token (a convolution ahead of a stride)
    every: int = 1  # tokens that share one of its rows (patches that merge); 0: one row a sequence (a pooled one)
    windows: float = 1  # of its rows that read a number of its input (a convolution: kernel over stride)
    kept: float = 0  # times that what it makes is kept by a norm and an activation behind it
    fp32: bool = False  # its code of transformers casts input and matrix up
    weight_norm: bool = False  # its matrix is made of directions and lengths in each pass (arXiv:1602.07868)


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """Attention of one layer: multi-head, grouped-query, multi-query, or latent (``kv_lora_rank``)."""

    n_heads: int
    n_kv_heads: int
    head_dim: int  # query and key width of a head; MLA: nope + rope
    value_head_dim: int  # value width of a head
    d_in: int | None = None  # features it reads, where the token's embedding stands beside its hidden state
    joint_qkv: bool = False  # q, k and v are views of one product
    sliced_qkv: bool = False  # cut out one by one: each hands back a gradient of the whole
    hands_back_cache: bool = False  # keys and values of layers that run again too, where software asks for them
    rotary_joined: bool = False  # queries lie head by head: what is rotated is joined to the rest, or they are copied
    outputs_joined: bool = False  # each image is attended to by itself, and what that gives is joined
    gate: bool = False  # the output is multiplied by a sigmoid of its width
    inputs_copied: bool = False  # its input lies otherwise, and each projection of it copies it first
    gate_fp32: bool = False  # which its code of transformers makes and multiplies in fp32
    q_bias: bool = False
    k_bias: bool = False
    v_bias: bool = False
    out_bias: bool = False
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    qk_norm_per_head: bool = True  # norm over head_dim (True) or over the whole projection (False)
    window: int | None = None  # sliding window, in tokens
    tiled: bool = False  # its windows are square tiles of an image, padded at the edges: sequences of their own
    window_chunked: bool = False  # which does not slide: a sequence is cut into pieces of that length (Llama 4)
    causal: bool = True
    sinks: bool = False  # one learned logit per head
    sinks_scale: bool = False  # unfused code makes of it a factor of the output, by a log-sum-exp of the scores
    head_gate: bool = False  # its output is multiplied by a figure for each head, whose projection is among the linears
    softmax_fp32: bool = True  # unfused code casts scores up for their softmax, and back
    scores_fp32: bool = False  # and queries and keys, before they meet
    core_fp32: bool = False  # no fused kernel takes its shapes, and torch runs all of it in fp32
    rotary: bool = True
    rotary_fp32: bool = False  # its code of transformers casts queries and keys up, turns them, and casts them back
    rotary_learned: bool = False  # its angles take a gradient: products with cosines and sines run in fp32
    softcap: bool = False
    scores_clamped: bool = False  # unfused code bounds masked scores from below, and keeps them for that (XGLM)
    position_scores: bool = False  # learned ones of positions are added to the scores, and take a gradient (T5)
    relative_scores: bool = False  # queries meet keys of distances, too: of all, or of a block
    axis_scores: bool = False  # and a row and a column of positions each, which are added (arXiv:2112.01526)
    masked: bool = False  # under a mask of numbers, one of all layers: which image a token is of
    position_lookup: bool = False  # it looks them up itself, and keeps a row's number of every pair of positions
    sequence_scores: bool = False  # such as each sequence makes of its values are added likewise (Doge)
    reuses_kv: bool = False  # keys and values come from an earlier layer: no projections of their own
    core_passes: int = 1  # how often softmax(q.k).v runs on the same queries and keys (differential attention: 2)
    difference_norm: Norm | None = None  # over the heads of what is left when the passes are subtracted
    value_is_key: bool = False  # one projection serves as key and value
    index_heads: int = 0  # heads of a sparse-attention indexer: they score every pair of tokens
    index_head_dim: int = 0
    index_key_matrices: int = 1  # projections of index_head_dim each that make its keys
    index_pool: int = 1  # tokens that make one key that it scores
    index_fp32: bool = False  # its code of transformers casts queries and keys up for the scores
    index_weights: bool = True  # whether every head has a weight that depends on the query
    index_extra_params: int = 0  # norms and biases of the indexer
    top_keys: int | None = None  # keys that a query attends to at most, of those the indexer chose
    compress_ratio: int = 0  # beside the window, every so many tokens make one more key
    compress_top_k: int | None = None  # of which a query attends to so many at most
    out_lora_rank: int | None = None  # the output projection goes through so many features for each of out_groups
    out_groups: int = 1
    sub_norm: Norm | None = None  # over the heads' joined output, before the output projection (BitNet)
    extra_params: int = 0  # relative-position tables, mixing coefficients, ...
    # Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1)
    q_lora_rank: int | None = None
    kv_lora_rank: int | None = None
    rope_head_dim: int = 0
    q_lora_norm: Norm | None = None  # over q_lora_rank
    kv_lora_norm: Norm | None = None  # over kv_lora_rank
    lora_bias: bool = False  # biases of the two down projections


class Recurrence(msgspec.Struct, frozen=True, kw_only=True):
    """The core of a linear-attention or state-space layer: per head a state [key_dim, value_dim], run in chunks.

    ``delta``: gated delta rule (arXiv:2412.06464); ``ssd``: Mamba-2 (arXiv:2405.21060, section 6);
    ``lightning``: lightning attention (arXiv:2405.17381); ``matrix``: mLSTM (arXiv:2405.04517), whose kernel keeps
    what it reads, a normalizer and a maximum; ``scan``: an elementwise recurrence of `n_heads` channels with
    a state of `key_dim` each (Mamba, arXiv:2312.00752; RG-LRU, arXiv:2402.19427; RWKV, arXiv:2305.13048).

    Attributes:
        kind: What its core computes.
        n_heads: Heads, each with a state.
        key_dim: One side of the state; its size per head in Mamba-2.
        value_dim: The other.
        chunk: Tokens of a chunk.
        key_heads: Heads of queries and keys, where several heads of values share one.
        decays_kept: Numbers in fp32 that a head and token keeps of its decays.
        gated_norm: Whether a norm of each head's output is multiplied by an activated gate.
        centred_norm: Whether that norm takes off the mean, of a copy in fp32 that it keeps as well.
    """

    kind: Literal["delta", "ssd", "lightning", "matrix", "scan"]
    n_heads: int
    key_dim: int
    value_dim: int
    chunk: int
    key_heads: int
    decays_kept: int = 1
    gated_norm: bool = False
    centred_norm: bool = False


class Mlp(msgspec.Struct, frozen=True, kw_only=True):
    """A dense feed-forward layer: up (and gate) projection, activation, down projection."""

    d_ff: int
    gated: bool = False
    activation: str = "gelu"
    joint_up: bool = False  # gate and up are halves of one product
    activation_fp32: bool = False  # its code of transformers casts gate and up to fp32, and their product back
    up_bias: bool = False
    down_bias: bool = False
    sub_norm: Norm | None = None  # over d_ff, before the down projection (BitNet)
    inputs_copied: bool = False  # as of attention


class Moe(msgspec.Struct, frozen=True, kw_only=True):
    """A mixture of experts: a router picks `experts_per_token`; the shared experts see every token."""

    n_experts: int
    experts_per_token: int
    expert: Mlp
    shared: Mlp | None = None
    shared_gate: bool = False  # a [d_model, 1] gate on the shared expert (Qwen2-MoE)
    router_bias: bool = False
    router_fp32: bool = False  # its code of transformers casts hidden states and matrix up for the router's scores
    router_outside_autocast: bool = False  # where it turns autocast off, which else casts them down again
    weights_cast: bool = False  # its router casts their weights down, else what experts made is weighed in fp32
    groups: int = 1  # into which experts are divided where a token may visit only some of them
    groups_per_token: int = 1
    latent_dim: int | None = None  # routed experts work at this width, between a projection down and one up
    latent_bias: bool = False
    extra_params: int = 0  # per layer, beside router and experts (score correction, ...)


class LayerGroup(msgspec.Struct, frozen=True, kw_only=True):
    """`count` layers of the same make."""

    count: int
    attention: Attention | None
    mlp: Mlp | Moe | None
    norms: tuple[Norm, ...]  # over d_model, in the order they run
    parallel: bool = False  # attention and feed-forward read the same input and share one residual addition
    cross_attention: Attention | None = None
    layer_scale: bool = False  # what a block adds is multiplied by a learned vector
    residual_scaled: bool = False  # by a constant
    mixer_kept: int = 0  # numbers a token keeps of what a layer without attention multiplies element by element
    extra_params: int = 0  # per layer: anything without FLOPs worth counting (layer scale, relative bias, ...)
    recurrence: Recurrence | None = None  # its projections are among the linears
    linears: tuple[Linear, ...] = ()  # per layer, on every token, beside attention and feed-forward
    ahead: bool = False  # predicts tokens further ahead, in training alone (multi-token prediction)
    shares_weights: bool = False  # attention, feed-forward and the norms of both are an earlier layer's

    @property
    def blocks(self) -> tuple[Attention | Mlp | Moe, ...]:
        """Attention, cross-attention and feed-forward, as far as there are."""
        return tuple(block for block in (self.attention, self.cross_attention, self.mlp) if block is not None)

    @property
    def mixes(self) -> bool:
        """Whether projections take the place of attention: of linear attention, a state space, a convolution."""
        return self.attention is None and bool(self.linears)

    @property
    def norms_per_block(self) -> int:
        """Norms that each block has of its own; all are of one input where blocks are parallel."""
        return 0 if self.parallel else len(self.norms) // max(1, len(self.blocks) + self.mixes)


# Never quantised by any of the methods: look-up tables, head, routers, and what is no matrix.
WHOLE: tuple[Block, ...] = ("embedding", "positions", "logits", "router", "norm", "indexer")


class Quantization(msgspec.Struct, frozen=True, kw_only=True):
    """How a checkpoint stores its matrices.

    Attributes:
        method: The software's name for it (``quant_method``).
        dtype: The format of a weight: fp8, mxfp4, nvfp4, nf4, int4, ...
        bits: Bits of a weight.
        block: Weights that share a scale; 0: so many that scales do not count.
        scale_bits: Bits of such a scale, zero point included.
        whole: Blocks that are not quantised.
        experts: Routed experts, where they are stored otherwise.
    """

    method: str
    dtype: str
    bits: float
    block: int = 0
    scale_bits: float = 0.0
    whole: tuple[Block, ...] = ()
    experts: Quantization | None = None

    def bytes_per_weight(self, block: Block, whole: float = 2.0) -> float:
        """Bytes of one weight of a matrix in `block`, its share of the scale included.

        >>> Quantization(method="x", dtype="mxfp4", bits=4, block=32, scale_bits=8).bytes_per_weight("experts")
        0.53125
        """
        if self.experts is not None and block == "experts":
            return self.experts.bytes_per_weight(block, whole)
        if block in self.whole:
            return whole
        return (self.bits + (self.scale_bits / self.block if self.block else 0.0)) / 8


class Tower(msgspec.Struct, frozen=True, kw_only=True):
    """An encoder of images or sound beside a language model, and the projections that join the two.

    Attributes:
        name: What it takes in: image or sound.
        encoder: Its layers; a sequence of its is one image or clip.
        reads: Projections of each of its tokens, ahead of those.
        joins: Projections of its output, each row of `merge` tokens, or of a query.
        merge: Tokens of its that make one of the language model's.
        queries: Learned ones that attend to its tokens, and whose output it hands on however many these are; 0: none.
        extra_params: Norms and vectors of the projections.
    """

    name: str
    encoder: ModelConfig
    reads: tuple[Linear, ...] = ()
    joins: tuple[Linear, ...] = ()
    merge: int = 1
    queries: int = 0
    extra_params: int = 0

    @property
    def in_sequence(self) -> bool:
        """Whether its output is part of the language model's sequence, and not one vector to compare it with."""
        return self.encoder.patches is None or self.queries > 0 or self.merge < self.encoder.patches.number()

    def rows(self, size: int | None = None) -> float:
        """Rows of its output for one image or clip, of that size or the usual."""
        if self.encoder.patches is None:
            return 0
        if self.queries:
            return self.queries
        return self.encoder.patches.number(size) / self.merge if self.in_sequence else 1


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A model as its cost sees it; `roofline.load_model` makes one of a preset or a ``config.json``."""

    name: str
    kind: Literal["decoder", "encoder", "encoder-decoder", "vision", "audio"] = "decoder"
    d_model: int
    vocab_size: int
    groups: tuple[LayerGroup, ...]
    order: tuple[int, ...] = ()  # the group of each layer, first to last; () where groups follow each other
    tied_embeddings: bool = False
    has_head: bool = True
    heads_ahead: int = 0  # further passes through the head, for tokens further ahead (multi-token prediction)
    residual_streams: int = 1  # copies of the residual stream (hyper-connections, arXiv:2409.19606)
    streams_apart: bool = False  # they are not mixed with each other, and their weights are normed behind a projection
    sinkhorn_rounds: int = 0  # normalizations of the weights by which they are mixed (arXiv:2512.24880)
    head_bias: bool = False
    head_activation: str = ""  # behind the projection before the logits (BERT's masked-token head)
    head_norm: Norm | None = None  # and behind that
    logits_softcap: bool = False  # tanh of them
    logits_scaled: bool = False  # a constant multiplies them
    embedding_scaled: bool = False  # likewise
    embedding_dim: int | None = None  # where embeddings are projected to d_model (OPT-350m, ...)
    embedding_norm: Norm | None = None
    final_norm: Norm | None = None
    learned_positions: int = 0  # rows of a learned position table
    token_types: int = 0
    extra_params: int = 0
    linears: tuple[Linear, ...] = ()  # once per pass, on every token (patch embedding, head transform, ...)
    max_seq_len: int | None = None
    patches: Patches | None = None  # of kind vision or audio: what becomes a token
    towers: tuple[Tower, ...] = ()  # encoders beside it
    quantization: Quantization | None = None  # of the weights as published; None: in the dtype of the model
    recorded: RecordedPass | None = None  # of a traced module: its ops are known, and nothing else
    source: str = ""
    assumptions: tuple[str, ...] = ()  # values the config did not state, as sentences for the output

    def without_ahead(self) -> ModelConfig:
        """The model as it generates: without the layers that predict further ahead in training."""
        kept = [kind for kind, group in enumerate(self.groups) if not group.ahead]
        groups = tuple(self.groups[kind] for kind in kept)
        order = tuple(kept.index(kind) for kind in self.order if kind in kept)
        return msgspec.structs.replace(self, groups=groups, order=order, heads_ahead=0)

    def __repr__(self) -> str:
        """The model in one line."""
        shape = f"{self.n_layers} layers of width {self.d_model:,}, vocabulary {self.vocab_size:,}"
        return f"<ModelConfig {self.name}: {self.kind}, {shape}>"

    @property
    def n_layers(self) -> int:
        """Layers of all groups together."""
        return sum(group.count for group in self.groups)

    @property
    def has_experts(self) -> bool:
        """Whether some layers are mixtures of experts."""
        return any(isinstance(group.mlp, Moe) for group in self.groups)

    @property
    def stream_width(self) -> int:
        """Features of a token between layers, in all copies of the residual stream."""
        return self.residual_streams * self.d_model

    @property
    def layer_order(self) -> tuple[int, ...]:
        """The group of each layer, first to last."""
        return self.order or tuple(kind for kind, group in enumerate(self.groups) for _ in range(group.count))


def default_seq_len(model: ModelConfig, image_size: int | None = None) -> int:
    """The model's own sequence length (or its positions) up to 8192; 4096 where it is longer or not stated.

    Of an encoder of images or sound: the tokens of its usual image or clip, or of an image of that size.
    """
    if model.patches is not None:
        return model.patches.number(image_size) + model.patches.beside
    longest = model.max_seq_len or model.learned_positions
    return longest if 0 < longest <= LONGEST_DEFAULT else DEFAULT_SEQ_LEN
