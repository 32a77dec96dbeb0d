"""What data parallelism may shard: one row for each word, read by counting, memory, search and the commands alike."""

from __future__ import annotations

import msgspec


class Sharding(msgspec.Struct, frozen=True):
    """One way to share a training's state among the ranks of data parallelism.

    Attributes:
        optimizer: Whether each rank keeps only its slice of the optimizer's state.
        gradients: Of the gradients, reduced after every micro batch.
        parameters: Of the parameters, gathered for each pass over a layer.
        node: Whether groups of ranks share, those of a node where nobody says, and repeat each other.
        says: In words.
        wraps: Whether modules are wrapped in units that gather together (FSDP); ZeRO-3 fetches each as it is used.
    """

    optimizer: bool
    gradients: bool
    parameters: bool
    node: bool
    says: str
    wraps: bool = False


# ZeRO stages: arXiv:1910.02054, section 5; FSDP and its hybrid: arXiv:2304.11277, section 3.2
SHARDINGS: dict[str, Sharding] = {
    "none": Sharding(False, False, False, False, "every rank holds everything (DDP)"),
    "zero1": Sharding(True, False, False, False, "the optimizer's state (ZeRO-1, Megatron's distributed optimizer)"),
    "hzero1": Sharding(True, False, False, True, "as zero1 within a node, each node a replica (InternEvo's zero1)"),
    "zero2": Sharding(True, True, False, False, "gradients as well (ZeRO-2, FSDP's SHARD_GRAD_OP)"),
    "zero3": Sharding(True, True, True, False, "parameters as well (ZeRO-3)"),
    "fsdp": Sharding(True, True, True, False, "parameters as well (FSDP's FULL_SHARD)", wraps=True),
    "hsdp": Sharding(
        True, True, True, True, "as fsdp within a node, each node a replica (FSDP's HYBRID_SHARD)", wraps=True
    ),
}
