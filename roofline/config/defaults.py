"""What a training runs on where nothing is said: dtype, software, attention kernel; and that it was assumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..arrays import Number, is_scalar, maximum, minimum, some, where
from .base import base_dtype, check_base, upcast_of
from .checks import check_attention, check_engine, check_trains
from .lora import LORA_RANK
from .offload import offload_note
from .optimizer import optimizer
from .run import TrainConfig
from .sharding import SHARDINGS
from .stack import Stack, load_stack

if TYPE_CHECKING:
    from ..hardware import Device

BASE_DTYPE = "nf4"  # of qlora, its scales quantised as well: arXiv:2305.14314, section 3
FILL = 4  # micro batches per pipeline stage where no global batch is given: a fifth of the step is bubble


def said(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say something: None is what is not said."""
    return {name: value for name, value in options.items() if value is not None}


def defaults(device: Device | None, options: Mapping[str, Any], *, serves: bool = False) -> dict[str, Any]:
    """`options`, with the dtype, the software profile and its attention kernel where they do not say.

    The name of an instance says how many devices train, too.
    """
    usual = "serving" if serves else default_stack(device, options)
    given = {"dtype": default_dtype(device), "stack": usual, **said(options)}
    if (
        device is not None
        and device.num_devices is not None
        and not serves
        and not {"num_devices", "dp"} & given.keys()
    ):
        given["num_devices"] = device.num_devices
    if not serves:
        check_trains(given["stack"])
    stack = load_stack(given["stack"])
    usual_kernel = default_attention(device, given["stack"])
    given = {"attention": usual_kernel, "master_weights": stack.master_weights, **given}
    if device is not None:
        check_attention(device, given.get("attention"))
        check_engine(device, given["dtype"])
        check_base(device, given.get("base_dtype") or usual_base(given.get("train", "full")))
    if serves:
        return given
    given = {**usual_layout(stack, given), **given}
    return {**usual_replica(device, given), **given} if SHARDINGS[given["sharding"]].node else given


def usual_layout(stack: Stack, given: Mapping[str, Any]) -> dict[str, Any]:
    """How a software profile shards where nothing is said: data parallelism where there is any, norms where tp > 1."""
    return {
        "sharding": stack.sharding if some(_ranks(given) > 1) else "none",
        "sequence_parallel": stack.sequence_parallel and some(given.get("tp", 1) > 1),
    }


def _ranks(given: Mapping[str, Any]) -> Number:
    """Ranks of data and context parallelism that options amount to."""
    tp, pp, cp = (given.get(name, 1) for name in ("tp", "pp", "cp"))
    ranks: Number = given["dp"] * cp if "dp" in given else given.get("num_devices", tp * pp * cp) // (tp * pp)
    return ranks


def usual_replica(device: Device | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What holds one copy of what a hybrid shards where nothing is said: a node of the device, of TPUs a slice.

    Slices are joined by the data centre's network alone, over which MaxText's mesh lays data (dcn_data_parallelism).
    """
    if device is None or device.kind != "tpu":
        return {} if device is None else {"devices_per_node": device.devices_per_node}
    ranks = _ranks(given)
    size = minimum(ranks, maximum(device.scale_up_devices // given.get("tp", 1), 1))
    return {"dp_shard": where(ranks % size == 0, size, ranks)}


def default_dtype(device: Device | None) -> str:
    """What training runs in where nothing is said: bf16; fp16 on a GPU without it, fp32 on a CPU without it."""
    if device is None:
        return "bf16"
    wanted = ("bf16", "fp32") if device.kind == "cpu" else ("bf16", "fp16", "fp32")
    slow = device.peaks.get("fp16", 0) < device.peaks.get("fp32", 0)  # GTX 16: no tensor cores
    return next((dtype for dtype in wanted if dtype in device.peaks and not (dtype == "fp16" and slow)), "bf16")


def default_attention(device: Device | None, stack: str) -> str:
    """The kernel of a software profile; unfused attention where that does not run on the device."""
    kernel = load_stack(stack).attention
    return kernel if device is None or kernel in device.family.attention else "unfused"


# by vendor and kind of a chip: what all training on it is compiled with
COMPILERS = {("Google", "tpu"): "jax", ("AWS", "accelerator"): "neuron"}


def default_stack(device: Device | None, options: Mapping[str, Any]) -> str:
    """The software profile where nothing is said: what such a layout is usually trained with.

    What compiles for it on a TPU or Trainium (`COMPILERS`); Megatron-Core for tensor, pipeline, context or expert
    parallelism (nemo, on AMD's GPUs primus), and on GeForce cards, which nobody runs it on, PyTorch's own (fsdp);
    Hugging Face's Trainer and PEFT for adapters; FSDP where parameters are sharded; else PyTorch with torch.compile.
    """
    if device is not None and (device.vendor, device.kind) in COMPILERS:
        return COMPILERS[device.vendor, device.kind]
    if any(some(options.get(degree, 1) != 1) for degree in ("tp", "pp", "cp", "ep")):
        if device is not None and device.variant == "geforce":
            return "fsdp"
        return "primus" if device is not None and device.vendor == "AMD" else "nemo"
    if options.get("train", "full") != "full":
        return "hf-trainer"
    return "fsdp" if SHARDINGS[options.get("sharding", "none")].parameters else "compiled"


def assumed(train: TrainConfig, device: Device | None, options: Mapping[str, Any]) -> tuple[str, ...]:
    """What follows from the layout or the device where `options` do not say, as sentences."""
    notes = []
    if "stack" not in options and train.stack != "compiled":
        notes.append(f"assumed: the {train.stack} profile, because {_profile_reason(train, device)} (--stack)")
    if "global_batch" not in options and some(train.pp > 1):
        batch = f"a global batch of {train.global_batch:,}" if is_scalar(train.global_batch) else "global batches"
        notes.append(f"assumed: {batch}, {FILL} micro batches per pipeline stage (--global-batch)")
    if "sharding" not in options and train.sharding != "none":
        notes.append(f"assumed: {train.sharding}, the usual sharding of {train.stack} (--sharding)")
    if "packing" not in options and train.mean_len is not None:
        notes.append("assumed: samples share sequences (--packing), of equal length each")
    notes += _assumed_adapters(train, options)
    notes += _assumed_update(train, options)
    if "sequence_parallel" not in options and train.sequence_parallel:
        notes.append(f"assumed: sequence parallelism, which {train.stack} runs with tp > 1 (--no-sequence-parallel)")
    if device is None:
        return tuple(notes)
    notes += filter(None, (offload_note(train, device),))
    if "dtype" not in options and train.dtype == "fp16":
        notes.append(f"assumed: fp16, because {device.id} has no bf16 engine (--dtype)")
    usual = load_stack(train.stack).attention
    if "attention" not in options and train.attention != usual:
        notes.append(f"assumed: {train.attention} attention, because {usual} does not run on {device.id} (--attention)")
    return tuple(notes)


def usual_base(train: str) -> str | None:
    """How the base is stored where nothing is said: of qlora as published; None: in the dtype of the activations."""
    return BASE_DTYPE if train == "qlora" else None


def doubles(name: str | None) -> bool:
    """Whether scales of a base are quantised as well where nothing is said: wherever they can be."""
    known = base_dtype(name)
    return known is not None and known.double_block > 0


UPCAST = {"norms": "norms of the base", "all": "what the base does not quantise"}


def _assumed_adapters(train: TrainConfig, options: Mapping[str, Any]) -> list[str]:
    """What was assumed of adapters and the base under them."""
    if not train.adapts:
        return []
    notes = []
    if "train" not in options:
        notes.append(f"assumed: adapters over the {train.base_dtype} weights of the checkpoint (--train)")
    if "base_dtype" not in options and "train" in options and train.train == "qlora":
        notes.append(f"assumed: a base in {train.base_dtype} (--base-dtype)")
    if "double_quant" not in options and train.double_quant is not None:
        twice = "quantised as well" if train.double_quant else "in fp32"
        notes.append(f"assumed: scales of the {train.base_dtype} base {twice} (--[no-]double-quant)")
    upcast = upcast_of(train, load_stack(train.stack))
    if train.base_upcast is None and upcast in UPCAST:
        notes.append(f"assumed: {UPCAST[upcast]} in fp32, as {train.stack} prepares it (--base-upcast)")
    if "lora_rank" not in options:
        notes.append(f"assumed: adapters of rank {LORA_RANK} (--lora-rank)")
    return notes


def _assumed_update(train: TrainConfig, options: Mapping[str, Any]) -> list[str]:
    """What was assumed of the optimizer, and of the weights it updates."""
    notes, how = [], optimizer(train.optimizer)
    if "master_weights" not in options and not train.master_weights and train.activation_bytes < 4:
        notes.append(f"assumed: no fp32 copies of the weights, which {train.stack} never keeps")
    if how.rank > 1:
        notes.append(f"assumed: {train.optimizer} projects to rank {how.rank}")
    if how.paged:
        notes.append(f"pages of {train.optimizer} that leave a full device for its host are not in the time")
    if how.whole and some(train.tp > 1):
        notes.append(f"assumed: {train.optimizer} updates each tensor-parallel slice of a matrix by itself (blockwise)")
    return notes


def _profile_reason(train: TrainConfig, device: Device | None) -> str:
    """Why `default_stack` chose what it did."""
    if device is not None and (device.vendor, device.kind) in COMPILERS:
        return "the device is a TPU" if device.kind == "tpu" else f"the device is {device.vendor}'s"
    degree = next((name for name in ("tp", "pp", "cp", "ep") if some(getattr(train, name) > 1)), None)
    if degree or not train.adapts:
        return f"{degree} > 1" if degree else f"{train.sharding} shards the parameters"
    return "adapters are usually trained on it"
