"""The options of a run as type checkers see them; written by ``scripts/maintain/write_options.py``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    class Column(Protocol):
        """An array, or what NumPy makes one of: a column of pandas, a tensor."""

        def __array__(self) -> NDArray[Any]:
            """Its numbers."""

    Count: TypeAlias = int | np.integer[Any] | str  # as it is typed: 8, "2k"
    Amount: TypeAlias = float | np.floating[Any] | np.integer[Any] | str
    Counts: TypeAlias = Sequence[int] | Column
    Amounts: TypeAlias = Sequence[float] | Column
else:
    Count = Amount = Counts = Amounts = Any

Packing: TypeAlias = Literal["packed", "padded", "unpadded"]
Dtype: TypeAlias = Literal[
    "fp32",
    "tf32",
    "fp16",
    "bf16",
    "fp8",
    "mxfp8",
    "nvfp4",
    "bfloat16",
    "float16",
    "half",
    "float32",
    "float",
    "fp8_e4m3",
    "fp4",
    "mxfp4",
]
LowPrecisionRecipe: TypeAlias = Literal["delayed", "current", "rowwise", "blockwise", "mxfp8", "nvfp4"]
Sharding: TypeAlias = Literal["none", "zero1", "hzero1", "zero2", "zero3", "fsdp", "hsdp"]
Recompute: TypeAlias = Literal[
    "none",
    "selective",
    "full",
    "matmuls",
    "core_attn",
    "layernorm",
    "mla_up_proj",
    "mlp",
    "moe",
    "moe_act",
    "shared_experts",
]
Attention: TypeAlias = Literal["unfused", "flash1", "flash2", "flash3", "te"]
Optimizer: TypeAlias = Literal[
    "adamw",
    "adamw-fused",
    "adamw-foreach",
    "adamw-paged",
    "adamw-8bit",
    "adamw-8bit-paged",
    "adamw-fp8",
    "adamw-4bit",
    "adamw-schedule-free",
    "sgd",
    "sgd-momentum",
    "lion",
    "lion-8bit",
    "rmsprop",
    "adam-mini",
    "lamb",
    "sophia",
    "adafactor",
    "muon",
    "shampoo",
    "soap",
    "galore",
    "apollo",
    "apollo-mini",
    "adam",
    "adamw_torch",
    "adamw_hf",
    "adamw_torch_xla",
    "decoupled_adamw",
    "SkipStepAdamW",
    "skip_step_adamw",
    "adam_pax",
    "adamw_torch_fused",
    "adamw_apex_fused",
    "fused_adam",
    "FusedAdam",
    "distributed_fused_adam",
    "mcore_distributed_optim",
    "megatron_fused_adam",
    "adamw (Transformer Engine FusedAdam)",
    "adamw-32bit-paged",
    "paged_adamw",
    "paged_adamw_32bit",
    "PagedAdamW",
    "PagedAdamW32bit",
    "adamw_bnb_8bit",
    "adamw_torch_8bit",
    "ao_adamw_8bit",
    "AdamW8bit",
    "Adam8bit",
    "adamw-8bit (torchao)",
    "paged_adamw_8bit",
    "PagedAdamW8bit",
    "ao_adamw_fp8",
    "AdamWFp8",
    "adamw-fp8 (torchao)",
    "adamw_torch_4bit",
    "ao_adamw_4bit",
    "AdamW4bit",
    "adamw-4bit (torchao)",
    "schedule_free_adamw",
    "AdamWScheduleFree",
    "lion_32bit",
    "FusedLion",
    "decoupled_lionw",
    "Lion8bit",
    "decoupled_lionw_8b",
    "DecoupledLionW_8bit",
    "rmsprop_bnb_32bit",
    "adamini",
    "FusedLamb",
    "lamb / lars",
    "SophiaG",
    "sophia / diag-hessian",
    "dist_muon",
    "muon (Moonshot, distributed)",
    "muon (torch.optim.Muon)",
    "galore_adamw",
    "apollo_adamw",
]
Train: TypeAlias = Literal["full", "lora", "qlora"]
BaseDtype: TypeAlias = Literal["nf4", "fp4", "int8", "gptq", "awq", "bf16", "fp16", "fp32"]
BaseUpcast: TypeAlias = Literal["none", "norms", "all"]
LoraVariant: TypeAlias = Literal["lora", "rslora", "dora"]
Freeze: TypeAlias = Literal["embeddings", "positions", "towers"]
Fused: TypeAlias = Literal[
    "norm",
    "activation",
    "clamped_activation",
    "expert_bias",
    "residual",
    "residual_norm",
    "rotary",
    "qkv",
    "gate_up",
    "attention_layout",
    "softmax",
    "cross_entropy",
    "linear_cross_entropy",
    "cast",
    "activation_cast",
    "expert_weights",
    "expert_epilogue",
    "optimizer",
    "wgrad_accumulation",
    "adapter",
    "padding",
]
Schedule: TypeAlias = Literal[
    "gpipe", "1f1b", "interleaved", "circular", "zb-h1", "zb-h2", "zb-1p", "zb-2p", "zb-v", "dualpipe"
]
Dispatcher: TypeAlias = Literal["alltoall", "allgather", "deepep", "hybridep"]
ExpertBalance: TypeAlias = Literal["forced", "dropped", "natural"]
CudaGraph: TypeAlias = Literal["none", "partial", "full"]
MomentDtype: TypeAlias = Literal["fp32", "bf16", "fp16", "fp8"]
GradientDtype: TypeAlias = Literal["fp32", "bf16", "fp16", "fp8"]
MasterDtype: TypeAlias = Literal["fp32", "fp16", "bf16", "split"]
WeightDtype: TypeAlias = Literal["fp32", "bf16", "fp16", "fp8"]
SavedDtype: TypeAlias = Literal["fp32", "bf16", "fp16", "fp8"]
Offload: TypeAlias = Literal["optimizer", "parameters", "activations", "all", "none"]
OffloadTo: TypeAlias = Literal["cpu", "nvme"]


class WordOptions(TypedDict, total=False):
    """Options that are no numbers."""

    packing: Packing | None
    dtype: Dtype | None
    low_precision_recipe: LowPrecisionRecipe | None
    sharding: Sharding | None
    sync_each_batch: bool | None
    sequence_parallel: bool | None
    recompute: Recompute | Sequence[Recompute] | None
    recompute_detail: str | None
    attention: Attention | None
    optimizer: Optimizer | None
    stack: str | os.PathLike[str] | None
    dropout: bool | None
    train: Train | None
    lora_modules: str | Sequence[str] | None
    base_dtype: BaseDtype | None
    double_quant: bool | None
    base_upcast: BaseUpcast | None
    lora_variant: LoraVariant | None
    lora_dropout: float | None
    freeze: Freeze | Sequence[Freeze] | None
    fused: Fused | Sequence[Fused] | None
    master_weights: bool | None
    schedule: Schedule | None
    pp_layout: str | Sequence[int] | None
    dispatcher: Dispatcher | None
    expert_balance: ExpertBalance | float | None
    cuda_graph: CudaGraph | None
    exchange_overlap: bool | float | None
    moment_dtype: MomentDtype | Sequence[MomentDtype] | None
    gradient_dtype: GradientDtype | None
    master_dtype: MasterDtype | None
    weight_dtype: WeightDtype | None
    saved_dtype: SavedDtype | None
    offload: Offload | Sequence[Offload] | None
    offload_to: OffloadTo | None


class Options(WordOptions, total=False):
    """Options of one run (see `TrainConfig`)."""

    micro_batch: Count | None
    global_batch: Count | None
    seq_len: Count | None
    mean_len: Count | None
    images_per_sample: Amount | None
    clips_per_sample: Amount | None
    image_size: Count | None
    num_devices: Count | None
    devices_per_node: Count | None
    tp: Count | None
    pp: Count | None
    vp: Count | None
    dp: Count | None
    cp: Count | None
    ep: Count | None
    etp: Count | None
    dp_shard: Count | None
    lora_rank: Count | None
    network_gbit_per_s: Amount | None
    offload_layers: Count | None
    host_gb_per_s: Amount | None
    nvme_gb_per_s: Amount | None


class ArrayOptions(WordOptions, total=False):
    """Options of many runs at once: a number may be an array."""

    micro_batch: Count | Counts | None
    global_batch: Count | Counts | None
    seq_len: Count | Counts | None
    mean_len: Count | Counts | None
    images_per_sample: Amount | Amounts | None
    clips_per_sample: Amount | Amounts | None
    image_size: Count | Counts | None
    num_devices: Count | Counts | None
    devices_per_node: Count | Counts | None
    tp: Count | Counts | None
    pp: Count | Counts | None
    vp: Count | Counts | None
    dp: Count | Counts | None
    cp: Count | Counts | None
    ep: Count | Counts | None
    etp: Count | Counts | None
    dp_shard: Count | Counts | None
    lora_rank: Count | Counts | None
    network_gbit_per_s: Amount | Amounts | None
    offload_layers: Count | Counts | None
    host_gb_per_s: Amount | Amounts | None
    nvme_gb_per_s: Amount | Amounts | None


class LayoutChoices(TypedDict, total=False):
    """Options of a search: one value, or several to choose from."""

    micro_batch: Count | Counts | Sequence[Count] | None
    global_batch: Count | Counts | Sequence[Count] | None
    seq_len: Count | Counts | Sequence[Count] | None
    mean_len: Count | Counts | Sequence[Count] | None
    packing: Packing | Sequence[Packing] | None
    images_per_sample: Amount | Amounts | Sequence[Amount] | None
    clips_per_sample: Amount | Amounts | Sequence[Amount] | None
    image_size: Count | Counts | Sequence[Count] | None
    dtype: Dtype | Sequence[Dtype] | None
    low_precision_recipe: LowPrecisionRecipe | Sequence[LowPrecisionRecipe] | None
    devices_per_node: Count | Counts | Sequence[Count] | None
    tp: Count | Counts | Sequence[Count] | None
    pp: Count | Counts | Sequence[Count] | None
    vp: Count | Counts | Sequence[Count] | None
    dp: Count | Counts | Sequence[Count] | None
    cp: Count | Counts | Sequence[Count] | None
    ep: Count | Counts | Sequence[Count] | None
    etp: Count | Counts | Sequence[Count] | Literal["all"] | None
    sharding: Sharding | Sequence[Sharding] | None
    dp_shard: Count | Counts | Sequence[Count] | None
    sync_each_batch: bool | Sequence[bool] | None
    sequence_parallel: bool | Sequence[bool] | None
    recompute: Recompute | Sequence[Recompute] | Sequence[Recompute | Sequence[Recompute]] | None
    recompute_detail: str | Sequence[str] | None
    attention: Attention | Sequence[Attention] | None
    optimizer: Optimizer | Sequence[Optimizer] | None
    stack: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
    dropout: bool | Sequence[bool] | None
    train: Train | Sequence[Train] | None
    lora_rank: Count | Counts | Sequence[Count] | None
    lora_modules: str | Sequence[str] | Sequence[str | Sequence[str]] | None
    base_dtype: BaseDtype | Sequence[BaseDtype] | None
    double_quant: bool | Sequence[bool] | None
    base_upcast: BaseUpcast | Sequence[BaseUpcast] | None
    lora_variant: LoraVariant | Sequence[LoraVariant] | None
    lora_dropout: float | Sequence[float] | None
    freeze: Freeze | Sequence[Freeze] | None
    fused: Fused | Sequence[Fused] | None
    network_gbit_per_s: Amount | Amounts | Sequence[Amount] | None
    master_weights: bool | Sequence[bool] | None
    schedule: Schedule | Sequence[Schedule] | Literal["all"] | None
    pp_layout: str | Sequence[int] | None
    dispatcher: Dispatcher | Sequence[Dispatcher] | None
    expert_balance: ExpertBalance | float | Sequence[ExpertBalance | float] | None
    cuda_graph: CudaGraph | Sequence[CudaGraph] | None
    exchange_overlap: bool | float | Sequence[bool | float] | None
    moment_dtype: MomentDtype | Sequence[MomentDtype] | None
    gradient_dtype: GradientDtype | Sequence[GradientDtype] | None
    master_dtype: MasterDtype | Sequence[MasterDtype] | None
    weight_dtype: WeightDtype | Sequence[WeightDtype] | None
    saved_dtype: SavedDtype | Sequence[SavedDtype] | None
    offload: Offload | Sequence[Offload] | None
    offload_layers: Count | Counts | Sequence[Count] | None
    offload_to: OffloadTo | Sequence[OffloadTo] | None
    host_gb_per_s: Amount | Amounts | Sequence[Amount] | None
    nvme_gb_per_s: Amount | Amounts | Sequence[Amount] | None


class Choices(LayoutChoices, total=False):
    """Options of a comparison: one value, or several side by side."""

    num_devices: Count | Counts | Sequence[Count] | None


class ServingOptions(TypedDict, total=False):
    """Options of inference."""

    dtype: Dtype | None
    num_devices: Count | None
    devices_per_node: Count | None
    tp: Count | None
    attention: Attention | None
    stack: str | os.PathLike[str] | None
    network_gbit_per_s: Amount | None
