"""The textbook accounting of a transformer: a table of forward FLOPs by part, and what AdamW in fp32 needs.

It counts what a blackboard counts, exactly and without hardware: matmuls at 2 FLOPs per multiply-add, a norm
at 3d + 2 per token, softmax at 5 per score, the activation at 5 per element (a gate's product at 1),
attention full (not causal), the backward pass as twice the forward pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from .. import units
from ..config.options import read_one
from ..config.run import LARGEST
from ..errors import RooflineError, shown, unknown
from ..gate import gated
from ..model.load import load_model
from ..model.projections import attention_projections, feed_forward_projections
from ..model.spec import Attention, LayerGroup, Mlp, ModelConfig, Moe, Norm
from ..result import Result
from .mfu import matmul_weights, met_weights

if TYPE_CHECKING:
    import pandas as pd

SHAPES = ("n_layers", "d_model", "n_heads", "d_ff", "vocab_size", "positions", "tied")  # of a plain decoder
COLUMNS = ("Level-1", "Level-2", "Level-3", "FLOPs", "FLOPs_fmt", "FLOPs_proportion")
SOFTMAX_FLOPS = 5  # per score: maximum, subtract, exponential, sum, divide
ACTIVATION_FLOPS = 5  # per element
ADAMW_FLOPS = 14  # per parameter: first moment 3, second moment 4, update 5, weight decay 2


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the accounting table.

    Attributes:
        levels: Three names, "" where the line is an outer total.
        flops: FLOPs of one micro batch.
        proportion: Of those of forward and backward pass together, 0 to 1.
    """

    levels: tuple[str, str, str]
    flops: int
    proportion: float

    @property
    def flops_fmt(self) -> str:
        """FLOPs in three digits, such as ``4.92e+06``."""
        return f"{self.flops:.2e}"


class Accounting(Result, msgspec.Struct, frozen=True, kw_only=True):
    """The table of a model.

    Attributes:
        model: The model.
        seq_len: Tokens of a sequence.
        micro_batch: Sequences that the FLOPs are of.
        rows: The rows, the overall last.
        flops_6nd: 6 x parameters x tokens.
        flops_6nd_ratio: That over the exact FLOPs of all rows.
    """

    VIEW: ClassVar[str] = "accounting"

    model: ModelConfig
    seq_len: int
    micro_batch: int
    rows: tuple[Row, ...]
    flops_6nd: int
    flops_6nd_ratio: float

    def __repr__(self) -> str:
        """The overall in one line."""
        flops = self.rows[-1].flops_fmt
        return f"<Accounting of {self.model.name}: {flops} FLOPs for {self.micro_batch:,} x {self.seq_len:,} tokens>"


def textbook_model(
    *, n_layers: int, d_model: int, n_heads: int, d_ff: int, vocab_size: int, positions: int = 0, tied: bool = False
) -> ModelConfig:
    """A plain decoder: multi-head attention, two-matrix feed-forward, two norms a layer, no biases.

    Raises:
        RooflineError: A size below 1, or heads that do not divide `d_model`.
    """
    sizes = {"n_layers": n_layers, "d_model": d_model, "n_heads": n_heads, "d_ff": d_ff, "vocab_size": vocab_size}
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= LARGEST:
            raise RooflineError(f"{name} must be a whole number of at least 1, got {shown(size)}")
    if d_model % n_heads:
        near = max(heads for heads in range(1, min(n_heads, 10**5) + 1) if d_model % heads == 0)
        raise RooflineError(f"n_heads {n_heads} does not divide d_model {d_model}: {near} heads would")
    width = d_model // n_heads
    attention = Attention(n_heads=n_heads, n_kv_heads=n_heads, head_dim=width, value_head_dim=width)
    group = LayerGroup(count=n_layers, attention=attention, mlp=Mlp(d_ff=d_ff), norms=(Norm(), Norm()))
    return ModelConfig(
        name="textbook",
        d_model=d_model,
        vocab_size=vocab_size,
        groups=(group,),
        tied_embeddings=tied,
        learned_positions=positions,
        final_norm=Norm(),
        source="plain shapes",
    )


@gated()
def accounting(
    model: str | Path | ModelConfig | None = None, *, seq_len: int | str, micro_batch: int | str = 1, **shapes: Any
) -> pd.DataFrame:
    """The accounting table of a decoder as a frame, indexed by Level-1, Level-2 and Level-3.

    >>> frame = accounting("gpt2-xl", seq_len=16384)
    >>> int(frame.loc[("LM_head", "", ""), "FLOPs"]), frame.loc[("LM_head", "", ""), "FLOPs_fmt"]
    (2634914201600, '2.63e+12')

    Args:
        model: Preset id, path of a ``.toml`` or ``config.json``, or a `ModelConfig`; None: a plain decoder of `shapes`.
        seq_len: Tokens of a sequence.
        micro_batch: Sequences.
        **shapes: n_layers, d_model, n_heads, d_ff, vocab_size of a plain decoder (see `textbook_model`).

    Returns:
        Columns FLOPs (exact), FLOPs_fmt (three digits) and FLOPs_proportion (of forward and backward together).

    Raises:
        RooflineError: Neither a model nor shapes, or anything else a user can mend.
    """
    import pandas as pd

    if (model is None) == (not shapes):
        raise RooflineError(f"accounting takes a model, or the shapes {', '.join(SHAPES)} of a plain decoder")
    if unexpected := [name for name in shapes if name not in SHAPES]:
        raise unknown("shape", unexpected[0], SHAPES)
    if model is None and (missing := [name for name in SHAPES[:5] if name not in shapes]):
        raise RooflineError(f"accounting needs {', '.join(missing)} as well: a plain decoder has {', '.join(SHAPES)}")
    found = textbook_model(**shapes) if model is None else load_model(model)
    length: int = read_one("seq_len", seq_len, units.sequence_length)
    rows = accounting_rows(found, length, read_one("micro_batch", micro_batch, units.positive_int))
    index = pd.MultiIndex.from_tuples([row.levels for row in rows], names=COLUMNS[:3])
    columns = {
        "FLOPs": [row.flops for row in rows],
        "FLOPs_fmt": [row.flops_fmt for row in rows],
        "FLOPs_proportion": [row.proportion for row in rows],
    }
    return pd.DataFrame(columns, index=index)


def accounting_table(model: ModelConfig, seq_len: int, micro_batch: int = 1) -> Accounting:
    """The accounting table of any decoder."""
    shortcut, ratio = shortcut_6nd(model, seq_len, micro_batch)
    return Accounting(
        model=model,
        seq_len=seq_len,
        micro_batch=micro_batch,
        rows=tuple(accounting_rows(model, seq_len, micro_batch)),
        flops_6nd=shortcut,
        flops_6nd_ratio=ratio,
    )


def accounting_rows(model: ModelConfig, seq_len: int, micro_batch: int = 1) -> list[Row]:
    """The lines of the accounting table: a layer of each kind and their total, head, forward, backward, all.

    Raises:
        RooflineError: `seq_len` or `micro_batch` is below 1.
    """
    for name, value in (("seq_len", seq_len), ("micro_batch", micro_batch)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
            raise RooflineError(f"{name} must be a whole number of at least 1, got {shown(value)}")
    tokens = micro_batch * seq_len
    lines: list[tuple[tuple[str, str, str], int]] = []
    forward = 0
    for number, group in enumerate(model.groups, start=1):
        name = "Transformer_block" if len(model.groups) == 1 else f"Transformer_block_{number}"
        block = _block(group, model.d_model, tokens, seq_len)
        overall = group.count * sum(flops for (_, part), flops in block if not part.startswith("Overall_"))
        lines += [((name, *parts), flops) for parts, flops in block]
        lines.append(((name, f"Overall_{name}", ""), overall))
        forward += overall
    final_norm = _norm(tokens, model.d_model) if model.final_norm else 0
    width = model.embedding_dim or model.d_model
    head = 2 * tokens * width * model.vocab_size if model.has_head else 0  # [T, d] @ [d, V]
    forward += final_norm + head
    lines += [
        (("RMSNorm_final", "", ""), final_norm),
        (("LM_head", "", ""), head),
        (("forward_pass_TransformerLM", "", ""), forward),
        (("backward_pass_TransformerLM", "", ""), 2 * forward),
        (("Overall_TransformerLM", "", ""), 3 * forward),
    ]
    return [Row(levels=levels, flops=flops, proportion=flops / (3 * forward)) for levels, flops in lines]


def _norm(tokens: int, d_model: int) -> int:
    """Squares d, their sum d, scaling d, and the mean and root: 3d + 2 per token."""
    return (3 * d_model + 2) * tokens


def _block(group: LayerGroup, d_model: int, tokens: int, seq_len: int) -> list[tuple[tuple[str, str], int]]:
    """(Level-2, Level-3) and FLOPs of the lines of one layer."""
    norms = [((f"RMSNorm_{i}", ""), _norm(tokens, d_model)) for i in range(1, len(group.norms) + 1)]
    lines = norms[:1]
    if group.attention is not None:
        lines += _attention("MultiHeadAttention", group.attention, d_model, tokens, seq_len)
    if group.cross_attention is not None:
        lines += _attention("CrossAttention", group.cross_attention, d_model, tokens, seq_len)
    lines += norms[1:]
    lines += [((linear.name, ""), 2 * tokens * linear.d_in * linear.d_out * linear.count) for linear in group.linears]
    if group.mlp is not None:
        lines.append((("FFN", ""), _feed_forward(group.mlp, d_model, tokens)))
    return lines


def _attention(
    name: str, spec: Attention, d_model: int, tokens: int, seq_len: int
) -> list[tuple[tuple[str, str], int]]:
    *qkv, out = attention_projections(spec, d_model)
    pairs = tokens * min(seq_len, spec.window or seq_len) * spec.n_heads  # query, key pairs: b*S*S*H
    parts = {
        "QKV_proj": 2 * tokens * met_weights(qkv),  # [T, d] @ [d, 3d]
        "Attention_scores": 2 * pairs * spec.head_dim,  # [S, d_h] @ [d_h, S] for each head
        "Softmax": SOFTMAX_FLOPS * pairs,
        "Attention_weighted": 2 * pairs * spec.value_head_dim,  # [S, S] @ [S, d_h] for each head
        "O_proj": 2 * tokens * met_weights([out]),  # [T, d] @ [d, d]
    }
    lines = [((name, part), flops) for part, flops in parts.items()]
    return [*lines, ((name, f"Overall_{name}"), sum(parts.values()))]


def _feed_forward(mlp: Mlp | Moe, d_model: int, tokens: int) -> int:
    """Matmuls plus activation (and gate product) of the feed-forward parts one token meets."""
    if isinstance(mlp, Mlp):
        elements = mlp.d_ff * (ACTIVATION_FLOPS + mlp.gated)
    else:
        elements = mlp.experts_per_token * mlp.expert.d_ff * (ACTIVATION_FLOPS + mlp.expert.gated)
        if mlp.shared is not None:
            elements += mlp.shared.d_ff * (ACTIVATION_FLOPS + mlp.shared.gated)
    return 2 * tokens * met_weights(feed_forward_projections(mlp, d_model)) + tokens * elements


def plain_parameters(model: ModelConfig) -> int:
    """Parameters one token can meet, without biases and norms; look-up tables included, a tied one once."""
    width = model.embedding_dim or model.d_model
    lookup = 0 if model.tied_embeddings and model.has_head else width * model.vocab_size
    return matmul_weights(model) + lookup + model.learned_positions * model.d_model


def shortcut_6nd(model: ModelConfig, seq_len: int, micro_batch: int = 1) -> tuple[int, float]:
    """The rule of thumb 6ND (N: `plain_parameters`, D: tokens), and its ratio to the accounting table.

    >>> xl = textbook_model(
    ...     n_layers=48, d_model=1600, n_heads=25, d_ff=6400, vocab_size=50257, positions=1024
    ... )
    >>> flops, ratio = shortcut_6nd(xl, seq_len=1024)
    >>> f"{flops:,} is {ratio:.1%} of the table"
    '10,057,855,795,200 is 95.4% of the table'
    """
    shortcut = 6 * plain_parameters(model) * micro_batch * seq_len
    return shortcut, shortcut / accounting_rows(model, seq_len, micro_batch)[-1].flops


class AdamWAccounting(msgspec.Struct, frozen=True, kw_only=True):
    """Memory and work of training with AdamW, all in one precision, nothing recomputed, no fused kernels.

    Attributes:
        parameters: Parameters without biases and norms.
        static_bytes: Weights, gradients and two moments: 4 values per parameter.
        activation_bytes_per_sequence: What one sequence of the batch keeps for the backward pass.
        optimizer_flops: FLOPs of one AdamW update.
        flops_per_sequence: FLOPs of forward and backward pass for one sequence.
    """

    parameters: int
    static_bytes: int
    activation_bytes_per_sequence: int
    optimizer_flops: int
    flops_per_sequence: int

    def peak_memory_bytes(self, batch: int) -> int:
        """Peak memory as a function of the batch size."""
        return self.static_bytes + batch * self.activation_bytes_per_sequence

    def largest_batch(self, capacity_bytes: int) -> int:
        """The largest batch that fits; 0 where not even one sequence does."""
        return max(0, (capacity_bytes - self.static_bytes) // self.activation_bytes_per_sequence)

    def step_flops(self, batch: int) -> int:
        """FLOPs of one step: forward, backward, update."""
        return batch * self.flops_per_sequence + self.optimizer_flops

    def training_days(self, *, steps: int, batch: int, peak_flops_per_s: float, mfu: float) -> float:
        """Days for `steps` steps on one device that reaches the share `mfu` of its peak."""
        return steps * self.step_flops(batch) / (mfu * peak_flops_per_s) / 86400


def adamw_accounting(model: ModelConfig, seq_len: int, bytes_per_value: int = 4) -> AdamWAccounting:
    """What training `model` with AdamW needs, by the textbook.

    Activations kept per layer and sequence of S tokens: two norms 2Sd, q, k and v 3Sd, scores and
    probabilities 2HSS, weighted values Sd, output projection Sd, feed-forward up and activation 2SF, down Sd;
    after the layers the final norm Sd, logits and their softmax 2SV.
    """
    values = 0
    for group in model.groups:
        values += group.count * _activations_per_token(group, model.d_model, seq_len) * seq_len
    values += seq_len * (model.d_model + 2 * model.vocab_size)
    parameters = plain_parameters(model)
    return AdamWAccounting(
        parameters=parameters,
        static_bytes=4 * parameters * bytes_per_value,
        activation_bytes_per_sequence=values * bytes_per_value,
        optimizer_flops=ADAMW_FLOPS * parameters,
        flops_per_sequence=accounting_rows(model, seq_len)[-1].flops,
    )


def _activations_per_token(group: LayerGroup, d_model: int, seq_len: int) -> int:
    a, mlp = group.attention, group.mlp
    if a is None or not isinstance(mlp, Mlp) or a.kv_lora_rank is not None or group.cross_attention is not None:
        raise RooflineError(
            "the AdamW accounting covers dense decoders with plain attention: 'roofline memory' has others"
        )
    total = len(group.norms) * d_model
    total += a.n_heads * a.head_dim + a.n_kv_heads * (a.head_dim + a.value_head_dim)  # q, k, v
    total += 2 * a.n_heads * seq_len  # scores and probabilities
    total += a.n_heads * a.value_head_dim + d_model  # weighted values, output projection
    return total + (4 if mlp.gated else 2) * mlp.d_ff + d_model
