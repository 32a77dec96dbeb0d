"""Software profiles: what a training framework fuses, overlaps and launches. Facts in `stacks/*.toml`."""

import re
from functools import cache
from typing import TYPE_CHECKING, Literal

import msgspec

from ..arrays import Number, some
from ..constants import constant
from ..errors import RooflineError, unknown
from ..reading import packaged, read_packaged, read_toml
from .schedules import pipeline_schedule

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Fusion = Literal[
    "norm",  # a norm is one kernel (else the chain of element-wise kernels eager RMSNorm runs)
    "activation",  # activation (and gate product, and bias) is one kernel
    "clamped_activation",  # so is the clamped one of gpt-oss
    "expert_bias",  # the biases of experts' last projections are added in one kernel (else expert by expert)
    "residual",  # bias, dropout and residual addition are one kernel
    "residual_norm",  # the residual addition is fused into the next norm
    "rotary",  # rotary embedding is one kernel
    "qkv",  # queries, keys and values are one matmul whatever the model's own code does (else one each)
    "gate_up",  # so are gate and up
    "attention_layout",  # the fused attention kernel takes q, k and v as the projection leaves them, without a copy
    "softmax",  # scale, mask and softmax of unfused attention are one kernel
    "cross_entropy",  # the loss reads the logits once and writes their gradient, no fp32 copy
    "linear_cross_entropy",  # head and loss run chunk by chunk of tokens: logits are never there as a whole
    "cast",  # a norm writes the low-precision operand of the projection behind it itself
    "activation_cast",  # so does an activation
    "expert_weights",  # a router's weights multiply in the experts' activation: outputs are summed as they are, and not
    # kept for the gradients of the weights
    "expert_epilogue",  # experts' matmuls are one kernel that adds biases, activates and quantises, of sizes the host
    # never sees: where a graph holds the whole iteration
    "optimizer",  # all parameters in one multi-tensor kernel
    "wgrad_accumulation",  # weight-gradient matmuls add into the fp32 gradient themselves
    "adapter",  # low-rank adapters in the dtype of their input, added in their matmuls, without copies of it
    "padding",  # matmuls of ragged dimensions run padded to whole vectors of 16 bytes
]


Upcast = Literal["none", "norms", "all"]
USUAL_SCHEDULES = ("1f1b", "interleaved")
Word = Literal["none", "zero1", "hzero1", "zero2", "zero3", "fsdp", "hsdp"]  # keys of `sharding.SHARDINGS`


class Overlap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The share of each kind of communication that can hide behind compute running at the same time (0 to 1)."""

    tensor: float = 0.0
    data: float = 0.0
    pipeline: float = 0.0
    expert: float = 0.0
    context: float = 0.0
    host: float = 0.0  # gradients and parameters on their way to or from the host
    activations: float = 1.0  # activations likewise: copies run on engines of their own


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one release of the software brought, that those before it lack.

    Attributes:
        release: Year and month, as in 26.06, or a version, as in 4.46; a third number is a patch.
        brought: Fusions.
        before: Fields of the profile as they were until then.
        source: Where this is known from.
    """

    release: str
    brought: frozenset[Fusion] = frozenset()
    before: dict[str, bool | str] = {}
    source: str


class Stack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One software profile.

    Attributes:
        name: Id, equal to the file name, and the release where it is one.
        summary: One line.
        fused: Which fusions hold (see `Fusion`).
        overlap: What communication hides behind compute.
        attention: The attention kernel it runs where nothing is said.
        trains: Whether it can train; an inference engine cannot.
        launch: How kernels are launched: one framework call each (eager), generated code (compiled), CUDA graph.
        efficiency: Rate of matmuls and attention in runs on this software relative to the best software on the same
            device: synchronisation, allocation and contiguity copies between kernels.
        spread: Standard deviation of log(measured / predicted) that no term of the step explains. One figure for all
            software: one for each comes out worse on sources left out (`scripts/maintain/fit_spreads.py`).
        selective: What "selective" recompute means here: the attention core (Megatron, arXiv:2205.05198), or half of
            each layer (PyTorch's selective activation checkpointing: every second matmul, or every second layer).
        shardings: What a search for layouts lets data parallelism shard (see `sharding.SHARDINGS`).
        sharding: Which of them it runs with where nothing is said, and there is more than one rank.
        schedules: Pipeline schedules that it has (see `schedules`), those that run where nothing is said first.
        sequence_parallel: Whether it shards norms and residuals over tp where nothing is said.
        zero1: How stage 1 of ZeRO reduces gradients: reduce_scatter, or all_reduce and drop.
        zero_engine: Which stages of ZeRO keep 16-bit gradients as DeepSpeed's engine does here, beside stage 3 (see
            `profile.profile_of`).
        broadcasts: Whether ranks of ZeRO-1 own whole matrices, and broadcast them one after another after the update.
        vocab_multiple: The vocabulary is padded to a multiple of this times tp.
        host_us: Host time per kernel, in microseconds, where the framework's own code costs more than the launch; None:
            the device file's launch time.
        gradient_dtype: Dtype gradients are kept and reduced in: "fp32" or "model".
        sums_in_fp32: Names among `software` that sum bf16 gradients in fp32 by themselves, where the profile does not.
        adapter_dtype: Dtype adapters are kept and run in where nothing fuses them: "fp32" or "model".
        master_weights: Whether 16-bit training keeps fp32 weights where nothing is said.
        cast_weights: Whether weights are kept in fp32 and cast at each use (autocast), not kept in 16 bits beside an
            fp32 master copy.
        base_upcast: Which parameters of a base that bitsandbytes quantised are cast to fp32 before training: "none",
            "norms", or "all" that are not quantised; none where parameters are sharded.
        shards_in_fp32: Whether sharded weights are kept in fp32 alone and cast as they are gathered (FSDP's mixed
            precision), not in 16 bits beside an fp32 master copy (ZeRO stage 3).
        defers_reduction: Whether FSDP sums gradients of a step's micro batches whole, in the dtype of its units, and
            reduces them in the last alone (`no_sync`).
        context: How context parallelism attends: keys and values are gathered and their gradients scattered, or go
            round a "ring" whose steps are merged in fp32.
        loss_upcasts: Models whose logits are copied to fp32 before the loss's kernels: "none", those with "rotary"
            positions, "all".
        loss_shifts: Whether the loss shifts logits into another tensor, and not the labels.
        loss_gathers: Whether logits are gathered over tensor parallelism, and every rank takes the loss of all.
        loss_frees_logits: Whether the 16-bit logits are gone once there is an fp32 copy.
        outputs_in_fp32: Whether what a model returns under autocast is copied to fp32.
        wide_tables: Whether moments of embedding tables stay in fp32 under 8-bit optimizers of bitsandbytes.
        asks_for_caches: Whether models that hand keys and values back do so in training too.
        joined_experts: Whether the experts of a layer are one parameter, and no linear modules: bitsandbytes, which
            replaces those, leaves them in 16 bits.
        reentrant_recompute: Whether layers run again as PyTorch's reentrant checkpoints (`use_reentrant=True`).
        recompute_ends_early: Whether layers run again only up to the last tensor that backward reads: what follows it,
            the last matmul of most, does not.
        bucket_mb: Payload of one data-parallel collective, in MB; None: everything at once. Sharded parameters are
            gathered layer by layer whatever it says.
        bucket_buffers: How many such buckets the optimizer allocates beside the gradients.
        loss_metrics: Cross entropies computed anew in every step, without gradient, for the metrics it logs.
        static_memory: Whether all activations lie in one allocation, so that no allocator loses any.
        expandable_segments: Whether its allocator's segments expand (`PYTORCH_ALLOC_CONF`), so that it loses none.
        keeps_gradients: Whether gradients stand through the whole step: in buffers of their own, or zeroed in place.
        softmax_keeps_scores: Whether softmax keeps what it is of beside its result (PyTorch before 1.11).
        foreach: Whether an update of many kernels runs over lists of all tensors, not over one after the other.
        loads_all_kernels: Whether all of its libraries' kernels lie on the device from the start (PyTorch before 1.13).
        one_graph: Whether one compiled graph runs the whole backward pass, and hands all gradients back at its end.
        dispatcher: How tokens travel to experts where nothing is said (see `dispatch`).
        expert_launches: How the matmuls of a device's experts are launched: each on its own, or grouped in one kernel;
            in a "loop", all else of an expert is, too, before the next.
        expert_us: Host time per kernel of an expert layer that no graph captures, in microseconds; None: as for any
            kernel.
        dispatch_us: Host time of dealing tokens out to experts, per layer and pass that no graph captures, in
            microseconds: the router's small kernels, permutation maps, and waiting for token counts from the device.
        unit_us: Host time of gathering and freeing an FSDP unit, per pass, in microseconds, where each matrix of an
            adapter is one of its own; 0: adapters are gathered with their layer.
        splits_experts: Whether experts are split over tp where nothing is said of them.
        releases: What releases brought; the profile itself is the newest.
        versions: Names before a version in the words of a source; None: releases are years and months.
        fp8_recipe: How it scales fp8 operands where nothing is said (see `recipes`).
        quantised_gathers: Recipes under which tensor parallelism gathers operands, and data parallelism parameters, as
            they were cast (Transformer Engine).
        ends_in_16_bit: Layers at either end that a recipe leaves in 16 bits, by recipe.
        software: Names, in lower case, by which published runs call this software.
        source: Where what it fuses, launches and overlaps is known from.
        sources: Where each other figure and word is, by field: repository, file and option, or a reason that begins
            with "assumes".
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
    sums_in_fp32: tuple[str, ...] = ()
    adapter_dtype: Literal["fp32", "model"] = "model"
    master_weights: bool = True
    cast_weights: bool = False
    base_upcast: Upcast = "none"
    shards_in_fp32: bool = False
    defers_reduction: bool = False
    context: Literal["gather", "ring"] = "gather"
    loss_upcasts: Literal["none", "rotary", "all"] = "none"
    loss_shifts: bool = False
    loss_gathers: bool = False
    loss_frees_logits: bool = False
    outputs_in_fp32: bool = False
    wide_tables: bool = False
    asks_for_caches: bool = False
    joined_experts: bool = False
    reentrant_recompute: bool = False
    recompute_ends_early: bool = False
    bucket_mb: float | None = None
    bucket_buffers: int = 0
    efficiency: float = 1.0
    spread: float = constant("spread.software")
    selective: Literal["core", "half"] = "core"
    shardings: tuple[Word, ...] = ("none", "zero1", "zero2", "fsdp")
    sharding: Word = "none"
    schedules: tuple[str, ...] = USUAL_SCHEDULES
    sequence_parallel: bool = False
    zero1: Literal["reduce_scatter", "all_reduce"] = "reduce_scatter"
    zero_engine: tuple[Word, ...] = ()
    broadcasts: bool = False
    loss_metrics: int = 0
    static_memory: bool = False
    expandable_segments: bool = False
    keeps_gradients: bool = False
    softmax_keeps_scores: bool = False
    foreach: bool = True
    loads_all_kernels: bool = False
    one_graph: bool = False
    dispatcher: str = "alltoall"
    expert_launches: Literal["each", "grouped", "loop"] = "grouped"
    expert_us: float | None = None
    dispatch_us: float = 0.0
    unit_us: float = 0.0
    fp8_recipe: str = "current"
    quantised_gathers: frozenset[str] = frozenset()
    ends_in_16_bit: dict[str, int] = {}
    splits_experts: bool = False
    releases: tuple[Release, ...] = ()
    versions: tuple[str, ...] = ()
    software: tuple[str, ...] = ()
    source: str
    sources: dict[str, str] = {}

    def usual_schedule(self, vp: Number) -> str:
        """The schedule of a pipeline where nothing is said of it.

        In arrays of layouts that of virtual stages stands for that of one stage a device, too (`of_one_chunk`).
        """
        divided = some(vp > 1)
        plans = {name: pipeline_schedule(name) for name in (*self.schedules, *USUAL_SCHEDULES)}
        return next(name for name, plan in plans.items() if plan.divided == divided and not plan.chunks)

    def gradient_bytes(self, dtype: str, es: int, *, master: bool = True) -> int:
        """Bytes of a gradient element as summed and reduced, for activations of `es` bytes and fp32 `master` weights.

        fp16 gradients are scaled to stay in range and kept as they are; bf16 has too few digits to sum in (Megatron-LM
        turns on accumulate_allreduce_grads_in_fp32 with bf16 only). Gradients of fp32 weights are fp32, those of pure
        16-bit training are of the weights' dtype.
        """
        if not master:
            return es
        return 4 if self.cast_weights or (self.gradient_dtype == "fp32" and dtype != "fp16") else es


def _folder() -> "Traversable":
    """Where the packaged profiles are."""
    return packaged(__name__, "stacks")


@cache
def stack_names() -> tuple[str, ...]:
    """Ids of all packaged software profiles."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@cache
def load_stack(name: str) -> Stack:
    """Load a software profile by id, as of a release (``nemo@26.04``), or from the path of a `.toml` file.

    Raises:
        RooflineError: Unknown id, a release of a profile without any, unreadable file, or a key or value outside the
            schema.
    """
    if not name.endswith(".toml"):
        family, dated, release = name.partition("@")
        if family not in stack_names():
            raise unknown("stack", family, stack_names(), "'roofline stacks' lists all; a path to a .toml works too")
        stack = read_packaged(_folder() / f"{family}.toml", Stack)
        return as_of(stack, release) if dated else stack
    try:
        return msgspec.convert(read_toml(name, "stack file"), Stack)
    except msgspec.ValidationError as error:
        raise RooflineError(f"stack file {name}: {error}") from error


def as_of(stack: Stack, release: str) -> Stack:
    """The profile as it was at a release, given as year and month, or by its version.

    Raises:
        RooflineError: No such release, or none of the profile is known to differ.
    """
    if stack.versions and not re.fullmatch(_VERSION, release):
        raise RooflineError(f"stack {stack.name}@{release}: a release is its version, as in {stack.name}@4.48")
    if not (stack.versions or re.fullmatch(_RELEASE, release)):
        raise RooflineError(f"stack {stack.name}@{release}: a release is its year and month, as in {stack.name}@26.04")
    if not stack.releases:
        raise RooflineError(f"stack {stack.name}@{release}: {stack.name} has no dated variants, use {stack.name}")
    later = [each for each in stack.releases if _date(each.release) > _date(release)]
    later.sort(key=lambda each: _date(each.release), reverse=True)  # what the earliest of them changed was so
    lacks = frozenset[Fusion]().union(*(each.brought for each in later))
    before = {name: value for each in later for name, value in each.before.items()}
    fields = {**before, "name": f"{stack.name}@{release}", "fused": stack.fused - lacks}
    return msgspec.convert({**msgspec.structs.asdict(stack), **fields}, Stack)


_RELEASE = r"\d\d\.(0[1-9]|1[0-2])(\.\d+)?"
_VERSION = r"\d+\.\d+(\.\d+)?"


def _date(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))


def family_of(stack: str) -> str:
    """The profile without its release.

    >>> family_of("nemo@26.04"), family_of("nemo")
    ('nemo', 'nemo')
    """
    return stack if stack.endswith(".toml") else stack.partition("@")[0]


def release_of(words: str, stack: str, year: float | None) -> str:
    """The variant of a profile that ran: the release in the words of its software, else that of the year's end.

    The newest where neither is known.

    >>> release_of("NeMo 26.04 / Megatron-Bridge", "nemo", 2026), release_of("NeMo (MLPerf v5.1)", "nemo", 2025)
    ('nemo@26.04', 'nemo@25.12')
    >>> release_of("Megatron-LM", "megatron", 2021)
    'megatron'
    >>> release_of("HF Trainer (torch 2.4.1, transformers 4.48.1)", "hf-trainer", 2025)
    'hf-trainer@4.48.1'
    """
    if stack.endswith(".toml") or not load_stack(stack).releases:
        return stack
    if names := load_stack(stack).versions:
        version = re.search(rf"\b(?:{'|'.join(names)}) ({_VERSION})", words.lower())
        return f"{stack}@{version[1]}" if version else stack
    found = re.search(_RELEASE, words.partition("(")[0])
    if not found and year is None:
        return stack
    return f"{stack}@{found[0]}" if found else f"{stack}@{int(year or 0) % 100:02d}.12"


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
