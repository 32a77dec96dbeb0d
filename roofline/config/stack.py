"""Software profiles: what a training framework fuses, overlaps and launches. Facts in `stacks/*.toml`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

import msgspec

from ..errors import RooflineError, unknown
from ..reading import packaged, read_packaged, read_toml

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Fusion = Literal[
    "norm",  # a norm is one kernel (else the chain of element-wise kernels eager RMSNorm runs)
    "activation",  # activation (and gate product, and bias) is one kernel
    "clamped_activation",  # so is the clamped one of gpt-oss
    "residual",  # bias, dropout and residual addition are one kernel
    "residual_norm",  # the residual addition is fused into the next norm
    "rotary",  # rotary embedding is one kernel
    "attention_layout",  # the fused attention kernel takes q, k and v as the projection leaves them, without a copy
    "softmax",  # scale, mask and softmax of unfused attention are one kernel
    "cross_entropy",  # the loss reads the logits once and writes their gradient, no fp32 copy
    "linear_cross_entropy",  # head and loss run chunk by chunk of tokens: logits are never there as a whole
    "cast",  # a norm writes the low-precision operand of the projection behind it itself
    "activation_cast",  # so does an activation
    "optimizer",  # all parameters in one multi-tensor kernel
    "wgrad_accumulation",  # weight-gradient matmuls add into the fp32 gradient themselves
    "adapter",  # low-rank adapters in the dtype of their input, added in their matmuls, without copies of it
    "padding",  # matmuls of ragged dimensions run padded to whole vectors of 16 bytes
]


Word = Literal["none", "zero1", "zero2", "zero3", "fsdp", "hsdp"]  # keys of `sharding.SHARDINGS`


class Overlap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The share of each kind of communication that can hide behind compute running at the same time (0 to 1)."""

    tensor: float = 0.0
    data: float = 0.0
    pipeline: float = 0.0
    expert: float = 0.0
    context: float = 0.0
    host: float = 0.0  # gradients and parameters on their way to or from the host
    activations: float = 1.0  # activations likewise: copies run on engines of their own


class Stack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One software profile.

    Attributes:
        name: Id, equal to the file name.
        summary: One line.
        fused: Which fusions hold (see `Fusion`).
        overlap: What communication hides behind compute.
        attention: The attention kernel it runs where nothing is said.
        trains: Whether it can train; an inference engine cannot.
        launch: How kernels are launched: one framework call each (eager), generated code (compiled), CUDA graph.
        efficiency: Rate of matmuls and attention in runs on this software relative to the best software on the same
            device: synchronisation, allocation and contiguity copies between kernels.
        spread: Standard deviation of log(measured / predicted) over published runs of this software.
        selective: What "selective" recompute means here: the attention core (Megatron, arXiv:2205.05198), or half of
            each layer (PyTorch's selective activation checkpointing: every second matmul, or every second layer).
        shardings: What a search for layouts lets data parallelism shard (see `sharding.SHARDINGS`).
        sharding: Which of them it runs with where nothing is said, and there is more than one rank.
        sequence_parallel: Whether it shards norms and residuals over tp where nothing is said.
        zero1: How stage 1 of ZeRO reduces gradients: reduce_scatter, or all_reduce and drop.
        vocab_multiple: The vocabulary is padded to a multiple of this times tp.
        host_us: Host time per kernel, in microseconds, where the framework's own code costs more than the launch; None:
            the device file's launch time.
        gradient_dtype: Dtype gradients are kept and reduced in: "fp32" or "model".
        adapter_dtype: Dtype adapters are kept and run in where nothing fuses them: "fp32" or "model".
        cast_weights: Whether weights are kept in fp32 and cast at each use (autocast), not kept in 16 bits beside an
            fp32 master copy.
        shards_in_fp32: Whether sharded weights are kept in fp32 alone and cast as they are gathered (FSDP's mixed
            precision), not in 16 bits beside an fp32 master copy (ZeRO stage 3).
        loss_copies: fp32 copies of the logits that a loss makes before its kernels: one as a whole, one shifted.
        loss_frees_logits: Whether the 16-bit logits are gone by then.
        bucket_mb: Payload of one data-parallel collective, in MB; None: everything at once. Sharded parameters are
            gathered layer by layer whatever it says.
        bucket_buffers: How many such buckets the optimizer allocates beside the gradients.
        loss_metrics: Cross entropies computed anew in every step, without gradient, for the metrics it logs.
        static_memory: Whether all activations lie in one allocation, so that no allocator loses any.
        keeps_gradients: Whether gradients have buffers of their own that stand through the whole step.
        dispatcher: How tokens travel to experts where nothing is said (see `dispatch`).
        expert_launches: How the matmuls of a device's experts are launched: each on its own, or grouped in one kernel.
        expert_us: Host time per kernel of an expert layer that no graph captures, in microseconds: a framework's own
            bookkeeping for each expert's tensors; None: as for any kernel.
        dispatch_us: Host time per expert layer and micro batch that no graph captures, in microseconds: permutation
            maps, and waiting for token counts from the device.
        fp8_recipe: How it scales fp8 operands where nothing is said (see `recipes`).
        quantised_gathers: Whether tensor parallelism gathers operands, and data parallelism parameters, as they were
            cast (Transformer Engine).
        ends_in_16_bit: Layers at either end that a recipe leaves in 16 bits, by recipe.
        software: Names, in lower case, by which published runs call this software.
        source: Where the facts come from.
    """

    name: str
    summary: str
    fused: frozenset[Fusion] = frozenset()
    overlap: Overlap = Overlap()
    attention: str = "flash2"
    launch: Literal["eager", "compiled", "graph"] = "eager"
    trains: bool = True
    vocab_multiple: int = 1
    host_us: float | None = None
    gradient_dtype: Literal["fp32", "model"] = "fp32"
    adapter_dtype: Literal["fp32", "model"] = "model"
    cast_weights: bool = False
    shards_in_fp32: bool = False
    loss_copies: int = 0
    loss_frees_logits: bool = False
    bucket_mb: float | None = None
    bucket_buffers: int = 0
    efficiency: float = 1.0
    spread: float = 0.15
    selective: Literal["core", "half"] = "core"
    shardings: tuple[Word, ...] = ("none", "zero1", "zero2", "fsdp")
    sharding: Word = "none"
    sequence_parallel: bool = False
    zero1: Literal["reduce_scatter", "all_reduce"] = "reduce_scatter"
    loss_metrics: int = 0
    static_memory: bool = False
    keeps_gradients: bool = False
    dispatcher: str = "alltoall"
    expert_launches: Literal["each", "grouped"] = "grouped"
    expert_us: float | None = None
    dispatch_us: float = 0.0
    fp8_recipe: str = "current"
    quantised_gathers: bool = False
    ends_in_16_bit: dict[str, int] = {}
    software: tuple[str, ...] = ()
    source: str

    def gradient_bytes(self, dtype: str, es: int, *, master: bool = True) -> int:
        """Bytes of a gradient element as summed and reduced, for activations of `es` bytes and fp32 `master` weights.

        fp16 gradients are scaled to stay in range and kept as they are; bf16 has too few digits to sum in (Megatron-LM
        turns on accumulate_allreduce_grads_in_fp32 with bf16 only). Gradients of fp32 weights are fp32, those of pure
        16-bit training are of the weights' dtype.
        """
        if not master:
            return es
        return 4 if self.cast_weights or (self.gradient_dtype == "fp32" and dtype != "fp16") else es


def _folder() -> Traversable:
    """Where the packaged profiles are."""
    return packaged(__name__, "stacks")


@cache
def stack_names() -> tuple[str, ...]:
    """Ids of all packaged software profiles."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@cache
def load_stack(name: str) -> Stack:
    """Load a software profile by id, or from the path of a `.toml` file.

    Raises:
        RooflineError: Unknown id, unreadable file, or a key or value outside the schema.
    """
    if not name.endswith(".toml"):
        if name not in stack_names():
            raise unknown("stack", name, stack_names(), "'roofline stacks' lists all; a path to a .toml works too")
        return read_packaged(_folder() / f"{name}.toml", Stack)
    try:
        return msgspec.convert(read_toml(name, "stack file"), Stack)
    except msgspec.ValidationError as error:
        raise RooflineError(f"stack file {name}: {error}") from error


def _particular(name: str) -> bool:
    """Whether a name of software carries what is in brackets, or a version: then it is looked for in all words."""
    return "(" in name or name[-1].isdigit()


def stack_of_software(words: str) -> str | None:
    """The profile whose software names occur in `words`; the longest name wins. None where none does.

    What is in brackets (the container, the version of PyTorch) decides only where nothing else does.

    >>> stack_of_software("NeMo 24.07 container (PyTorch 2.3)"), stack_of_software("Megatron-DeepSpeed")
    ('nemo', 'deepspeed')
    """
    words = words.lower()
    named = [(word, name) for name in stack_names() for word in load_stack(name).software]
    for text in (words.partition("(")[0], words):
        found = [
            (word[-1].isdigit(), len(word), name)
            for word, name in named
            if word in (words if _particular(word) else text)
        ]
        if found:
            return max(found)[2]
    return None
