"""What frameworks refuse to run, as one table: a run that its own software would stop is no run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..arrays import first_where, some
from ..errors import RooflineError
from ..model.spec import ModelConfig, Moe
from .optimizer import coarse_word, refuse_optimizer
from .run import UPCASTS, TrainConfig
from .sharding import SHARDINGS
from .stack import family_of

MEGATRON = ("megatron", "nemo", "primus")  # Megatron-LM, and what stands on Megatron-Core


class Assert(NamedTuple):
    """One refusal of one framework's code.

    Attributes:
        stacks: The software profiles that stand for it.
        breaks: Whether a complete configuration breaks it, element by element.
        says: What breaks it, with fields in braces.
        remedy: What to change.
        source: Where the framework says so.
    """

    stacks: tuple[str, ...]
    breaks: Callable[[TrainConfig, ModelConfig], Any]
    says: str
    remedy: str
    source: str


def _experts(model: ModelConfig) -> bool:
    return any(isinstance(group.mlp, Moe) for group in model.groups)


def _precision_aware(train: TrainConfig) -> bool:
    """Whether Megatron-LM needs its precision-aware optimizer; gradients follow --grad-reduce-in-bf16 without it."""
    return bool(train.moment_dtype) or train.master_dtype not in {None, "fp32"}


ASSERTS = (
    Assert(
        MEGATRON,
        lambda train, model: (train.tp > 1) & (_experts(model) & (not train.sequence_parallel)),
        "a mixture of experts with tp {tp} and no sequence parallelism",
        "leave --no-sequence-parallel out",
        "NVIDIA/Megatron-LM megatron/training/arguments.py: When using MoE and tensor parallelism, sequence "
        "parallelism must be used",
    ),
    Assert(
        MEGATRON,
        lambda train, _: (train.cp > 1) & (train.sequence_length % (2 * train.cp) != 0),
        "seq_len {seq_len} that 2 x cp = 2 x {cp} does not divide",
        "use a --seq-len that is a multiple",
        "NVIDIA/Megatron-LM megatron/training/arguments.py: each rank holds two chunks, one from either end",
    ),
    Assert(
        (*MEGATRON, "torchtitan"),
        lambda train, _: (train.sequence_length % train.tp != 0) & train.sequence_parallel,
        "seq_len {seq_len} split over tp {tp} by sequence parallelism",
        "use a --seq-len that is a multiple of tp",
        "NVIDIA/Megatron-LM megatron/core/tensor_parallel/mappings.py (first dimension divisible by tp); "
        "pytorch/torchtitan torchtitan/distributed/parallel_dims.py (seq_len_divisor)",
    ),
    Assert(
        MEGATRON,
        lambda train, _: bool(_precision_aware(train)) & (train.sharding != "zero1") & (train.data_parallel > 1),
        "moments or masters in a dtype of their own without the distributed optimizer",
        "use --sharding zero1",
        "NVIDIA/Megatron-LM@0075637 megatron/core/optimizer/optimizer_config.py: --use-precision-aware-optimizer is "
        "only supported with the distributed optimizer",
    ),
    Assert(
        MEGATRON,
        lambda train, _: bool(_precision_aware(train)) & (coarse_word(train.optimizer) != "adamw"),
        "moments or masters in a dtype of their own with an optimizer that is not AdamW",
        "use --optimizer adamw",
        "NVIDIA/Megatron-LM@0075637, the same file: --use-precision-aware-optimizer is only supported with adam",
    ),
    Assert(
        ("torchtitan",),
        lambda train, _: (train.vp > 1) & (train.accumulation % train.pp != 0),
        "{accumulation} micro batches in interleaved stages of pp {pp}",
        "use a --global-batch that makes a multiple of pp",
        "pytorch torch/distributed/pipelining/schedules.py ScheduleInterleaved1F1B: number of micro batches",
    ),
    Assert(
        ("hf-trainer", "axolotl", "fsdp"),
        lambda train, _: train.base_upcast not in {None, *UPCASTS[:1]} and train.shards_parameters,
        "base_upcast {base_upcast} with sharding {sharding}",
        "use --base-upcast none, or leave it out",
        "huggingface/trl trl/trainer/sft_trainer.py: is_sharded_qlora leaves the base as it is; pytorch "
        "torch/distributed/fsdp/_flat_param.py: Must flatten tensors with uniform dtype",
    ),
    Assert(
        ("deepspeed",),
        lambda train, _: (train.pp > 1) & SHARDINGS[train.sharding].gradients,
        "sharding {sharding} with pp {pp}",
        "use --sharding zero1",
        "deepspeedai/DeepSpeed deepspeed/runtime/pipe/engine.py: ZeRO-2 and ZeRO-3 are incompatible with pipelines",
    ),
)


def asserts_of(stack: str) -> Iterator[Assert]:
    """What the framework behind a software profile refuses."""
    return (each for each in ASSERTS if family_of(stack) in each.stacks)


def breaks(train: TrainConfig, model: ModelConfig) -> Any:
    """Whether its own software would refuse a complete layout, whatever the optimizer; of arrays element by element."""
    found: Any = False
    for each in asserts_of(train.stack):
        found = found | each.breaks(train, model)
    return found


def refuse(train: TrainConfig, model: ModelConfig) -> None:
    """Refuse a complete configuration that its own software would.

    Raises:
        RooflineError: The first that it breaks, and what to change.
    """
    refuse_optimizer(train)
    for each in asserts_of(train.stack):
        broken = each.breaks(train, model)
        if some(broken):
            names = ("tp", "pp", "cp", "seq_len", "accumulation")
            bad = first_where(broken, *(getattr(train, name) for name in names))
            assert bad is not None
            fields = dict(zip(names, bad, strict=True))
            fields |= {name: getattr(train, name) for name in ("sharding", "base_upcast")}
            raise RooflineError(f"{train.stack} refuses {each.says.format(**fields)}: {each.remedy}")
