"""What a model is, as far as its cost goes: embedding, groups of equal layers, head. All counts are exact.

The description is hierarchical (a model has layer groups, a layer has attention, feed-forward and norms) so
that any decoder, encoder or encoder-decoder is a recombination of known parts.
"""

from __future__ import annotations

from typing import Literal

import msgspec

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
    """A normalization layer: root-mean-square or mean-and-variance, with or without weight and bias."""

    kind: Literal["rms", "layer"] = "rms"
    weight: bool = True
    bias: bool = False

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


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """Attention of one layer: multi-head, grouped-query, multi-query, or latent (``kv_lora_rank``)."""

    n_heads: int
    n_kv_heads: int
    head_dim: int  # query and key width of a head; MLA: nope + rope
    value_head_dim: int  # value width of a head
    q_bias: bool = False
    k_bias: bool = False
    v_bias: bool = False
    out_bias: bool = False
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    qk_norm_per_head: bool = True  # norm over head_dim (True) or over the whole projection (False)
    window: int | None = None  # sliding window, in tokens
    causal: bool = True
    sinks: bool = False  # one learned logit per head
    rotary: bool = True
    softcap: bool = False
    reuses_kv: bool = False  # keys and values come from an earlier layer: no projections of their own
    core_passes: int = 1  # how often softmax(q.k).v runs on the same queries and keys (differential attention: 2)
    value_is_key: bool = False  # one projection serves as key and value
    index_heads: int = 0  # heads of a sparse-attention indexer: they score every pair of tokens
    index_head_dim: int = 0
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
    ``lightning``: lightning attention (arXiv:2405.17381); ``scan``: an elementwise recurrence of `n_heads` channels
    with a state of `key_dim` each (Mamba, arXiv:2312.00752; RG-LRU, arXiv:2402.19427; RWKV, arXiv:2305.13048).
    """

    kind: Literal["delta", "ssd", "lightning", "scan"]
    n_heads: int
    key_dim: int  # state size per head in Mamba-2
    value_dim: int
    chunk: int  # tokens


class Mlp(msgspec.Struct, frozen=True, kw_only=True):
    """A dense feed-forward layer: up (and gate) projection, activation, down projection."""

    d_ff: int
    gated: bool = False
    activation: str = "gelu"
    up_bias: bool = False
    down_bias: bool = False
    sub_norm: Norm | None = None  # over d_ff, before the down projection (BitNet)


class Moe(msgspec.Struct, frozen=True, kw_only=True):
    """A mixture of experts: a router picks `experts_per_token`; the shared experts see every token."""

    n_experts: int
    experts_per_token: int
    expert: Mlp
    shared: Mlp | None = None
    shared_gate: bool = False  # a [d_model, 1] gate on the shared expert (Qwen2-MoE)
    router_bias: bool = False
    groups: int = 1  # into which experts are divided where a token may visit only some of them
    groups_per_token: int = 1
    extra_params: int = 0  # per layer, beside router and experts (score correction, ...)


class LayerGroup(msgspec.Struct, frozen=True, kw_only=True):
    """`count` layers of the same make."""

    count: int
    attention: Attention | None
    mlp: Mlp | Moe | None
    norms: tuple[Norm, ...]  # over d_model, in the order they run
    parallel: bool = False  # attention and feed-forward read the same input and share one residual addition
    cross_attention: Attention | None = None
    extra_params: int = 0  # per layer: anything without FLOPs worth counting (layer scale, relative bias, ...)
    recurrence: Recurrence | None = None  # its projections are among the linears
    linears: tuple[Linear, ...] = ()  # per layer, on every token, beside attention and feed-forward


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A model as its cost sees it; `roofline.load_model` makes one of a preset or a ``config.json``."""

    name: str
    kind: Literal["decoder", "encoder", "encoder-decoder", "vision"] = "decoder"
    d_model: int
    vocab_size: int
    groups: tuple[LayerGroup, ...]
    order: tuple[int, ...] = ()  # the group of each layer, first to last; () where groups follow each other
    tied_embeddings: bool = False
    has_head: bool = True
    head_bias: bool = False
    embedding_dim: int | None = None  # where embeddings are projected to d_model (OPT-350m, ...)
    embedding_norm: Norm | None = None
    final_norm: Norm | None = None
    learned_positions: int = 0  # rows of a learned position table
    token_types: int = 0
    extra_params: int = 0
    linears: tuple[Linear, ...] = ()  # once per pass, on every token (patch embedding, head transform, ...)
    max_seq_len: int | None = None
    source: str = ""
    assumptions: tuple[str, ...] = ()  # values the config did not state, as sentences for the output

    @property
    def n_layers(self) -> int:
        """Layers of all groups together."""
        return sum(group.count for group in self.groups)

    @property
    def layer_order(self) -> tuple[int, ...]:
        """The group of each layer, first to last."""
        return self.order or tuple(kind for kind, group in enumerate(self.groups) for _ in range(group.count))


def default_seq_len(model: ModelConfig) -> int:
    """The model's own sequence length up to 8192; 4096 is assumed where it is longer or not stated."""
    longest = model.max_seq_len
    return longest if longest is not None and longest <= LONGEST_DEFAULT else DEFAULT_SEQ_LEN
