"""Parameters that one device holds, before data parallelism shards them."""

from __future__ import annotations

import msgspec

from ..arrays import Number
from ..config.run import BYTES, TrainConfig, known_word
from ..config.stack import Stack
from .op import Part


class Matrices(msgspec.Struct, frozen=True):
    """Matrices of one shape: rows and columns on this device, and how many of them stand side by side."""

    rows: Number
    columns: Number
    number: Number

    @property
    def parameters(self) -> Number:
        """Of all of them."""
        return self.rows * self.columns * self.number


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters that one device holds of one tensor (before any sharding over data parallelism)."""

    name: str
    part: Part
    local: Number  # parameters on this device, per layer for part="layer"
    count: Number  # layers of the whole model that have it
    trainable: bool
    expert: bool  # sharded over ep: its gradients are reduced over dp*cp*tp/ep ranks only
    layer_kind: int = 0  # which of the model's groups of equal layers, with part="layer"
    stored_bytes: float | None = None  # of each, of a quantised base, or one upcast; None: as training keeps it
    tied: bool = False  # the embedding's table, or an earlier layer's weights, once more: one stage holds it once
    matrices: tuple[Matrices, ...] = ()  # in `local`; what is left are vectors
    low_precision: bool = False  # kept in 8 bits where primary weights are


def autocasts(train: TrainConfig, stack: Stack) -> bool:
    """Whether weights are fp32 where they are used, and cast at each use: what FSDP gathers is cast before."""
    gathered_in_16_bits = stack.shards_in_fp32 and train.shards_parameters
    return stack.cast_weights and train.master_weights and train.activation_bytes < 4 and not gathered_in_16_bits


def gradient_bytes(train: TrainConfig) -> int:
    """Bytes of a gradient as summed and reduced."""
    return BYTES[known_word(train.gradient_dtype)]
