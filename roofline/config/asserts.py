"""What frameworks refuse to run, as one table: a run that its own software would stop is no run."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from ..arrays import first_where, leaves_remainder, maximum, some
from ..errors import RooflineError
from ..model.spec import ModelConfig, Moe
from .optimizer import coarse_word, refuse_optimizer
from .run import UPCASTS, TrainConfig
from .sharding import SHARDINGS
from .stack import family_of

MEGATRON = ("megatron", "nemo", "primus")  # Megatron-LM, and what stands on Megatron-Core


class RefusedError(RooflineError):
    """A configuration that its own software would not run."""


class Assert(msgspec.Struct, frozen=True):
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


def _key_heads_split(train: TrainConfig, model: ModelConfig) -> Any:
    """Whether ranks hold neither whole heads of keys and values nor share one; latent attention has one per query."""
    found: Any = False
    for group in model.groups:
        if group.attention is not None and group.attention.kv_lora_rank is None:
            heads = group.attention.n_kv_heads
            found = found | ((heads % train.tp != 0) & (train.tp % heads != 0))
    return found


def _precision_aware(train: TrainConfig) -> bool:
    """Whether Megatron-LM needs its precision-aware optimizer; gradients follow --grad-reduce-in-bf16 without it."""
    return bool(train.moment_dtype) or train.master_dtype not in {None, "fp32", "none"}


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
        MEGATRON,
        lambda train, _: (train.sequence_length % train.tp != 0) & train.sequence_parallel,
        "seq_len {seq_len} split over tp {tp} by sequence parallelism",
        "use a --seq-len that is a multiple of tp",
        "NVIDIA/Megatron-LM megatron/core/tensor_parallel/mappings.py: first dimension divisible by tp",
    ),
    Assert(
        MEGATRON,
        lambda train, model: (train.tp > 1) & _key_heads_split(train, model),
        "tp {tp}, which neither divides the heads of keys and values nor is a multiple of them",
        "use another --tp",
        "NVIDIA/Megatron-LM megatron/core/transformer/transformer_config.py: num_query_groups against "
        "tensor_model_parallel_size; attention.py lets ranks share a head where there are fewer",
    ),
    Assert(
        MEGATRON,
        lambda train, _: (train.vp > 1) & leaves_remainder(train.accumulation, train.pp),
        "{accumulation} micro batches in interleaved stages of pp {pp}",
        "use a --global-batch that makes a multiple of pp",
        "NVIDIA/Megatron-LM megatron/core/pipeline_parallel/schedules.py: groups of pp micro batches, no remainder",
    ),
    Assert(
        MEGATRON,
        lambda train, _: (train.ep > 1) & (train.dtype == "fp16"),
        "ep {ep} in fp16",
        "use --dtype bf16",
        "NVIDIA/Megatron-LM@000c4ac megatron/training/arguments.py: Expert parallelism is not supported with fp16 "
        "training",
    ),
    Assert(
        MEGATRON,
        lambda train, _: train.cuda_graph != "none" and train.recompute == "full",
        "full recompute in CUDA graphs",
        "use --recompute selective or none, or leave --cuda-graph out",
        "NVIDIA/Megatron-LM@000c4ac megatron/training/arguments.py: recompute_granularity must not be full when CUDA "
        "Graphs are enabled",
    ),
    Assert(
        MEGATRON,
        lambda train, _: (train.weight_dtype == "fp8") & (train.sharding != "zero1") & (train.data_parallel > 1),
        "primary weights in fp8 without the distributed optimizer",
        "use --sharding zero1",
        "NVIDIA/Megatron-LM@000c4ac megatron/training/arguments.py: --fp8-param-gather only supported with distributed "
        "optimizer",
    ),
    Assert(
        MEGATRON,
        lambda train, _: ("optimizer" in train.offload) & (train.sharding != "zero1") & (train.data_parallel > 1),
        "an optimizer on the host without the distributed optimizer",
        "use --sharding zero1",
        "NVIDIA/Megatron-LM@000c4ac megatron/training/arguments.py: optimizer_cpu_offload needs the precision-aware "
        "optimizer, which needs the distributed one",
    ),
    Assert(
        ("torchtitan",),
        lambda train, _: train.sequence_length % (2 * train.tp * train.cp) != 0,
        "seq_len {seq_len} that 2 x tp x cp = 2 x {tp} x {cp} does not divide",
        "use a --seq-len that is a multiple",
        "pytorch/torchtitan@0119de1 torchtitan/distributed/parallel_dims.py seq_len_divisor, asserted by every "
        "parallelize.py",
    ),
    Assert(
        ("torchtitan",),
        lambda train, _: (
            (train.ep > 1) & (train.expert_tensor_parallel != 1) & (train.expert_tensor_parallel != train.tp)
        ),
        "experts split over {expert_tensor_parallel} of tp {tp} devices",
        "use --etp 1 or tp",
        "pytorch/torchtitan@0119de1 torchtitan/distributed/parallel_dims.py: we only support ETP=TP or ETP=1",
    ),
    Assert(
        ("torchtitan",),
        lambda train, _: train.sharding == "zero1",
        "sharding zero1",
        "use --sharding fsdp, or zero2, which keeps the gathered parameters until backward",
        "pytorch/torchtitan@29624e3 torchtitan/config/job_config.py Parallelism: degrees of FSDP2 and replication, and "
        "fsdp_reshard_after_forward, are all there is",
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
        lambda train, _: (train.vp > 1) & (train.accumulation % maximum(train.accumulation // train.pp, 1) != 0),
        "{accumulation} micro batches in interleaved stages of pp {pp}",
        "use a --global-batch that makes a multiple of pp",
        "pytorch torch/distributed/pipelining/schedules.py ScheduleInterleaved1F1B: a multiple of the rounds of pp, "
        "rounded down",
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
        ("llm-c",),
        lambda train, _: train.adapts or coarse_word(train.optimizer) != "adamw",
        "{train} training with {optimizer}",
        "use --train full and --optimizer adamw, or --stack hf-trainer",
        "karpathy/llm.c train_gpt2.cu: gpt2_update steps all parameters by AdamW",
    ),
    Assert(
        ("deepspeed",),
        lambda train, _: (train.pp > 1) & SHARDINGS[train.sharding].gradients,
        "sharding {sharding} with pp {pp}",
        "use --sharding zero1",
        "deepspeedai/DeepSpeed deepspeed/runtime/pipe/engine.py: ZeRO-2 and ZeRO-3 are incompatible with pipelines",
    ),
)


@lru_cache(maxsize=256)
def asserts_of(stack: str) -> tuple[Assert, ...]:
    """What the framework behind a software profile refuses."""
    family = family_of(stack)
    return tuple(each for each in ASSERTS if family in each.stacks)


def breaks(train: TrainConfig, model: ModelConfig) -> Any:
    """Whether its own software would refuse a complete layout, whatever the optimizer; of arrays element by element."""
    found: Any = False
    for each in asserts_of(train.stack):
        found = found | each.breaks(train, model)
    return found


def refuse(train: TrainConfig, model: ModelConfig) -> None:
    """Refuse a complete configuration that its own software would.

    Raises:
        RefusedError: The first that it breaks, and what to change.
    """
    refuse_optimizer(train)
    for each in asserts_of(train.stack):
        broken = each.breaks(train, model)
        if some(broken):
            names = ("tp", "pp", "cp", "ep", "seq_len", "accumulation", "expert_tensor_parallel")
            bad = first_where(broken, *(getattr(train, name) for name in names))
            assert bad is not None
            fields = dict(zip(names, bad, strict=True))
            fields |= {name: getattr(train, name) for name in ("sharding", "base_upcast", "train", "optimizer")}
            raise RefusedError(f"{train.stack} refuses {each.says.format(**fields)}: {each.remedy}")
