"""What the parameters of a model are made of: matrices with all that depends on each, and vectors and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import msgspec

from ..arrays import Number, divide, maximum
from .spec import Block, Split

# Words for the matrices of a block that has adapters, and for all of a kernel: of Llama, BERT, GPT-2, OPT and DeepSeek.
WORDS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("attention", "q"): ("q_proj", "query"),
    ("attention", "k"): ("k_proj", "key"),
    ("attention", "v"): ("v_proj", "value"),
    ("attention", "out"): ("o_proj", "out_proj"),
    ("attention", "q_down"): ("q_a_proj",),
    ("attention", "q_up"): ("q_b_proj",),
    ("attention", "kv_down"): ("kv_a_proj_with_mqa",),
    ("attention", "kv_up"): ("kv_b_proj",),
    ("mlp", "gate"): ("gate_proj",),
    ("mlp", "up"): ("up_proj", "fc1", "c_fc"),
    ("mlp", "down"): ("down_proj", "fc2"),
}
JOINED_WORDS: Mapping[tuple[str, frozenset[str]], tuple[str, ...]] = {
    ("attention", frozenset({"q", "k", "v"})): ("qkv_proj", "query_key_value", "c_attn"),
    ("mlp", frozenset({"gate", "up"})): ("gate_up_proj",),
}
_ADAPTED: Mapping[Block, str] = {  # the word for all matrices of a block, "" where only "all" means them
    "attention": "attention",
    "cross_attention": "attention",
    "mlp": "mlp",
    "experts": "mlp",
    "shared_expert": "mlp",
    "recurrence": "",
    "other": "",
}


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """One matrix and its bias, ``[rows, d_in] @ [d_in, d_out] (+ [d_out])``; all sizes are those of the whole model.

    Attributes:
        block: The block it belongs to.
        part: What it is in its block: q, k, v, out, gate, up, down, ...; a label.
        kernel: The label of the matmul that computes it; neighbours of one kernel share their input.
        d_in: Input features.
        d_out: Output features.
        bias: Whether it has a bias of its own.
        count: How many of them there are: experts, channels of a depthwise convolution.
        visited: How many of those one token meets.
        runs: How often each runs per token (a convolution ahead of a stride).
        every: Tokens that share one of its rows (patches that merge); 0: one row a sequence.
        split: How tensor parallelism divides it: ``columns`` (outputs), ``rows`` (inputs), ``count``, or ``none``.
        pieces: Outputs that stay together (a key-value head): a device holds one piece at least; 0: no such bound.
        stored: False where the weights are another matrix's or table's (a tied head); its bias is its own.
        repeated: Whether weights and bias are those of an earlier layer.
        low_precision: Whether fp8 or fp4 training runs it in low precision.
        takes_gradient: False where training sends no gradient through it (the indexer of sparse attention).
    """

    block: Block
    part: str
    kernel: str
    d_in: int
    d_out: int
    bias: bool = False
    count: int = 1
    visited: int = 1
    runs: int = 1
    every: int = 1
    split: Split = "none"
    pieces: int = 0
    stored: bool = True
    repeated: bool = False
    low_precision: bool = True
    takes_gradient: bool = True

    @property
    def name(self) -> str:
        """A label in full, such as ``attention.q``."""
        return f"{self.block}.{self.part}"

    @property
    def expert(self) -> bool:
        """Whether it is sharded over expert parallelism."""
        return self.block == "experts"

    @property
    def params(self) -> int:
        """Parameters of all `count` of them."""
        return self.count * self._each()

    @property
    def visited_params(self) -> int:
        """Parameters of those that one token passes through."""
        return self.visited * self._each()

    @property
    def met(self) -> int:
        """Weights that one token is multiplied with, as often as it is, wherever they are stored; no bias."""
        weights = self.visited * self.runs * self.d_in * self.d_out
        return weights // self.every if self.every else 0

    def local(self, tp: Number = 1, ep: Number = 1) -> tuple[Number, Number, Number]:
        """(d_in, d_out, count) on one of `tp` tensor-parallel and `ep` expert-parallel devices.

        >>> k = Projection(block="attention", part="k", kernel="qkv", d_in=64, d_out=32, split="columns", pieces=2)
        >>> k.local(2), k.local(4)  # two heads of 16: with four devices each holds a whole one
        ((64, 16, 1), (64, 16, 1))
        """
        count = divide(self.count, ep) if self.expert else self.count
        if self.split == "rows":
            return divide(self.d_in, tp), self.d_out, count
        if self.split == "count":
            return self.d_in, self.d_out, divide(count, tp)
        if self.split == "none":
            return self.d_in, self.d_out, count
        if not self.pieces:
            return self.d_in, divide(self.d_out, tp), count
        return self.d_in, maximum(divide(self.pieces, tp), 1) * (self.d_out // self.pieces), count

    @property
    def adaptable(self) -> bool:
        """Whether a low-rank adapter may stand beside it."""
        return self.block in _ADAPTED and self.takes_gradient

    @property
    def words(self) -> tuple[str, ...]:
        """The words that give this matrix an adapter of its own, ``all`` first; none where it cannot have one."""
        if not self.adaptable:
            return ()
        block = _ADAPTED[self.block]
        return tuple(filter(None, ("all", block, *WORDS.get((block, self.part), ()))))

    def _each(self) -> int:
        return 0 if self.repeated else self.stored * self.d_in * self.d_out + self.bias * self.d_out


class Vector(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters that no token is multiplied with as a matrix: norms, sinks, tables, mixing coefficients.

    Attributes:
        block: The block it belongs to.
        part: A label in its block.
        size: How many parameters, of all experts together.
        visited: How many of those one token passes through.
        split: Whether tensor parallelism divides them.
    """

    block: Block
    part: str
    size: int
    visited: int
    split: bool = False


def kernels(projections: Iterable[Projection]) -> Iterator[tuple[Projection, ...]]:
    """The projections gathered by the matmul that runs them: those of one kernel follow each other."""
    for _, parts in groupby(projections, key=lambda projection: (projection.block, projection.kernel)):
        yield tuple(parts)


def joined_words(parts: tuple[Projection, ...]) -> tuple[str, ...]:
    """The words that give the matrices of one kernel a single adapter, as where they are one matrix in a checkpoint."""
    block = _ADAPTED.get(parts[0].block, "")
    return JOINED_WORDS.get((block, frozenset(projection.part for projection in parts)), ())
