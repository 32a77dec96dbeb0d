"""The configurations that a row of a table of measurements may mean: what it says, and every choice it leaves open."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import msgspec

from ..config.asserts import RefusedError
from ..config.run import OFFLOADS, TrainConfig
from ..config.settle import settle
from ..config.sharding import SHARDINGS
from ..config.stack import family_of, load_stack, release_of, stack_of_software
from ..errors import RooflineError
from ..hardware import Device, device_ids, load_device
from ..model.parameters import count_parameters
from ..model.spec import ModelConfig, Moe
from .row_adapters import ADAPTED, TRAINER, adapter_options, mixes_precision, of_trainer
from .row_network import stated_network
from .rows import Skipped, integer, number

SHARDED_ALONE = 30e9  # parameters from which a blank micro batch under FSDP is 1
SCHEDULES = {"gpipe": "gpipe", "zb-1p": "zb-1p", "zb-2p": "zb-2p", "zero-bubble": "zb-h1", "dualpipe": "dualpipe"}
SHARDED = {"fsdp", "zero3", "hsdp"}  # parameters, by PyTorch's FSDP where nothing else is named
WHOLE_BATCHES = {"jax"}  # AI-Hypercomputer/maxtext src/maxtext/configs/base.yml: gradient_accumulation_steps 1
COMPILED = {"fsdp": "fsdp-compiled", "eager": "compiled"}  # profiles under torch.compile
FLASH_YEAR = 2023
FSDP_YEAR = 2025  # Megatron-FSDP, whose README and example (NVIDIA/Megatron-LM examples/megatron_fsdp) reduce in bf16
DROPS = ("megatron", "deepspeed", TRAINER)  # profiles of GPT-era code
SEQUENCE_PARALLEL_SINCE = 2022  # arXiv:2205.05198
# What training code ran by default: FlashAttention appeared in May 2022 (arXiv:2205.14135), its second version in
# July 2023 (arXiv:2307.08691), and is behind most of that year's figures.
BRINGS = {  # by the name of the software
    "nanochat": "flash3",  # karpathy/nanochat nanochat/flash_attention.py: FlashAttention-3 where it runs
    "llm.c": "te",  # karpathy/llm.c llmc/cudnn_att.cpp: cuDNN's
}
MUON = {"nanochat", "modded-nanogpt"}  # software that trains with it
ATTENTION_SINCE = ((FLASH_YEAR, "flash2"), (2022.5, "flash1"), (0, "unfused"))


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The configurations a row may mean, and what was assumed for its blanks."""

    candidates: tuple[TrainConfig, ...]
    assumed: tuple[str, ...]


def config_of(row: Mapping[str, str], model: ModelConfig) -> Config:
    """Every configuration that fits what a row says.

    Raises:
        Skipped: Something without which no prediction is possible is not stated.
    """
    assumed = ["default power limit"] if number(row, "power_limited") else []  # the source: lowered, not to what
    base = _base_config(row, model, assumed)
    device, given = _device(row), msgspec.structs.asdict(base)
    size = count_parameters(model).total
    choices = {
        "dtype": _dtypes(row, base, assumed),
        "lora_modules": _lora_modules(base, assumed),
        "sequence_parallel": _sequence_parallel(row, base, assumed),
        "vp": _virtual_stages(row, base, model, assumed),
        "micro_batch": _micro_batches(row, base, size, assumed),
        "recompute": _recomputes(row, assumed),
    }
    candidates: list[TrainConfig] = []
    refusal: RefusedError | None = None
    for chosen in product(*choices.values()):
        try:
            candidates.append(settle(model, device, {**given, **dict(zip(choices, chosen, strict=True))}).train)
        except RefusedError as error:  # what its own software would not run is none of the choices
            refusal = error
    if refusal is not None and not candidates:
        raise refusal
    return Config(candidates=tuple(candidates), assumed=tuple(assumed))


def _base_config(row: Mapping[str, str], model: ModelConfig, assumed: list[str]) -> TrainConfig:
    degrees = {key: integer(row, key) for key in ("tp", "pp", "vp", "cp", "ep")}
    for key in ("tp", "pp"):
        if degrees[key] is None and integer(row, "n_devices") != 1:
            if row.get("sharding") not in {"fsdp", "zero3"}:
                raise Skipped(f"{key} is not stated")
            assumed.append(f"{key} 1")
    sizes: dict[str, Any] = {key: value or 1 for key, value in degrees.items()}
    packed = integer(row, "packed") or 0
    n_devices, seq_len = integer(row, "n_devices"), integer(row, "seq_len")
    if not n_devices or not seq_len:
        raise Skipped("n_devices or seq_len is not stated")
    if packed == 1:
        assumed.append("samples as long as the sequence they are packed in")
    group = sizes["tp"] * sizes["pp"] * sizes["cp"]
    if n_devices % group:
        raise Skipped(f"n_devices {n_devices} is not a multiple of tp*pp*cp = {group}")
    dtype = row.get("dtype") or ""
    if dtype == "int8":
        raise Skipped("it trains in int8, which is not estimated")
    if not dtype and row.get("workload") in ADAPTED:
        raise Skipped("dtype is not stated, and frozen weights may be in any")
    stack = _stack(row, assumed)
    attention = _attention(row, stack, assumed)
    sharding = _sharding(row, stack, n_devices // group, assumed)
    if degrees["ep"] is None and any(isinstance(layers.mlp, Moe) for layers in model.groups):
        raise Skipped("ep of a mixture of experts is not stated")
    known = SHARDINGS.get(sharding)  # any other word is told where configurations are checked
    gpt = not row.get("gated_mlp") or not integer(row, "gated_mlp")
    return TrainConfig(
        seq_len=seq_len,
        mean_len=packed if 1 < packed <= seq_len else None,
        num_devices=n_devices,
        global_batch=integer(row, "global_batch_sequences"),
        devices_per_node=integer(row, "devices_per_node"),
        dtype=dtype or "bf16",
        low_precision_recipe=(row.get("low_precision_recipe") or "").removeprefix("fp8-") or None,
        sharding=sharding,
        dp_shard=integer(row, "zero_group") if known is not None and known.node else None,
        sequence_parallel=bool(number(row, "seq_parallel")) and sizes["tp"] > 1,
        attention=attention,
        stack=release_of(row.get("software") or "", stack, _dated(row)),
        # GPT-era code trains with dropout 0.1 (GPT-3's Megatron recipes; GPT2Config and its like in transformers), and
        # BERT (arXiv:1810.04805, appendix A.2); Llama-era code and MPT do not
        dropout=gpt and (stack in DROPS or "bert" in (row.get("model") or "").lower()),
        fused=fusions_of(row),
        network_gbit_per_s=stated_network(row),
        optimizer=_optimizer(row),
        master_weights=mixes_precision(row),
        gradient_dtype=_gradient_dtype(row, stack, dtype),
        schedule=SCHEDULES.get(row.get("schedule") or ""),
        etp=_expert_split(row, stack, sizes["tp"]),
        dispatcher=row.get("dispatcher") or None,
        expert_balance=row.get("expert_balance") or "natural",
        exchange_overlap=_flag(row, "a2a_overlap"),
        cuda_graph=row.get("cuda_graph") or "none",
        **_offload(row),
        **sizes,
        **adapter_options(row),
    )


def _sharding(row: Mapping[str, str], stack: str, ranks: int, assumed: list[str]) -> str:
    """What `ranks` of data parallelism shard: as stated, else the software's usual."""
    sharding = row.get("sharding") or ""
    if sharding == "zero1" and (integer(row, "zero_group") or ranks) < ranks:
        return "hzero1"  # states are sharded over less than all ranks: those of a node
    if sharding or ranks == 1:
        return sharding or "none"
    assumed.append(f"sharding {load_stack(stack).sharding}")
    return load_stack(stack).sharding


def _offload(row: Mapping[str, str]) -> dict[str, Any]:
    """What lives on the host: ``adamw-cpu``, ``parameters``, ``activations`` or ``activations:20`` (layers)."""
    words = (row.get("offload") or "").replace("adamw-cpu", "optimizer")
    notes = dict(re.findall(r"\b(opt|param) offload=([YN])", row.get("notes") or ""))  # as a table's own notes say
    said = [word for word in words.split("+") if word]
    said += [word for key, word in (("opt", "optimizer"), ("param", "parameters")) if notes.get(key) == "Y"]
    layers = re.search(r"activations(?::| of )(\d{1,9})", f"{words} {row.get('notes') or ''}")
    found = {word.partition(":")[0] for word in said}
    chosen = tuple(word for word in OFFLOADS if word in found)
    return {"offload": chosen, "offload_layers": int(layers[1]) if layers and "activations" in found else None}


def _expert_split(row: Mapping[str, str], stack: str, tp: int) -> int | None:
    """Devices that share each expert: as stated; else tp where the software splits experts like other layers."""
    if integer(row, "ep") is None:
        return None
    return integer(row, "etp") or (tp if load_stack(stack).splits_experts else None)


def _gradient_dtype(row: Mapping[str, str], stack: str, dtype: str) -> str | None:
    """fp32 where the software named sums in it by default, unlike what its profile is made for; else the profile's."""
    words, told = (row.get("software") or "").lower(), row.get("sharding") in SHARDED and _year(row) >= FSDP_YEAR
    named = any(name in words for name in load_stack(stack).sums_in_fp32)
    return "fp32" if named and dtype != "fp16" and not told else None


def _flag(row: Mapping[str, str], key: str) -> bool | None:
    """A yes or no; None where the source does not say."""
    value = number(row, key)
    return None if value is None else bool(value)


def named_stack(row: Mapping[str, str]) -> str | None:
    """The profile of the software that the row names, or whose name its source or model carries; None: no words do."""
    words = (row.get("software") or "", f"{row.get('source') or ''} {row.get('model') or ''}")
    return next(filter(None, map(stack_of_software, words)), None)


def _stack(row: Mapping[str, str], assumed: list[str]) -> str:
    """The profile of the software that ran (see `named_stack`); else plain PyTorch."""
    stack = named_stack(row)
    if of_trainer(row) and not (stack or "").startswith(TRAINER):
        stack = TRAINER
    if stack is None:
        sharding, degrees = row.get("sharding") or "", [number(row, key) or 1 for key in ("tp", "pp")]
        stack = "parallel" if max(degrees) > 1 or sharding.startswith("zero") else "eager"
        stack = "fsdp" if sharding in SHARDED else stack
        assumed.append(f"stack {stack}")
    if stack == "eager" and row.get("sharding") in SHARDED:  # "PyTorch" is the name of either
        stack = "fsdp"
    return COMPILED.get(stack, stack) if _flag(row, "compiled") else stack


FUSION_WORDS = {
    "rms": "norm",
    "rmsnorm": "norm",
    "norm": "norm",
    "layernorm": "norm",
    "softmax": "softmax",
    "ce": "cross_entropy",
    "cross-entropy": "cross_entropy",
    "linear-cross-entropy": "linear_cross_entropy",
    "rotary": "rotary",
    "rope": "rotary",
    "swiglu": "activation",
    "adamw": "optimizer",
    "lora": "adapter",
}
LOSSES = {"cross_entropy", "linear_cross_entropy"}


def fusions_of(row: Mapping[str, str]) -> tuple[str, ...]:
    """Fusions that the source names beside the software's own: "RMS kernel", "fused CE/rotary/swiglu".

    A Trainer's plugins bring kernels for layers like Llama's: RMS norms, rotary positions, q, k and v apart. Of GPT's
    they replace the loss (foundation-model-stack/fms-acceleration plugins/fused-ops-and-kernels/src/
    fms_acceleration_foak/models/gpt_bigcode.py).
    """
    said = row["fused"].split("/") if (row.get("fused") or "").strip() else _fusions_in_words(row)
    return tuple(sorted(set(said) & LOSSES if of_trainer(row) and not number(row, "gated_mlp") else said))


def _fusions_in_words(row: Mapping[str, str]) -> set[str]:
    text = " ".join(row.get(key) or "" for key in ("attention", "attention_note", "sharding_note", "notes")).lower()
    words = [word for match in re.findall(r"fused[ _]([a-z/-]+)", text) for word in match.split("/")]
    words += re.findall(r"([a-z]+) kernel", text)
    words += ["linear-cross-entropy"] if "linear cross entropy" in text else []
    if not row.get("quantization"):  # Unsloth's kernels in a plugin that leaves them out of a base in 16 bits
        words = [word for word in words if word != "lora"]
    return {FUSION_WORDS[word] for word in words if word in FUSION_WORDS}


def _dated(row: Mapping[str, str]) -> float | None:
    """When it ran: as stated, else half a year before the paper it is from; None where neither is said."""
    paper = re.search(r"arXiv:(\d\d)(\d\d)\.", row.get("source") or "")
    return number(row, "year") or (2000 + int(paper[1]) + int(paper[2]) / 12 - 0.5 if paper else None)


def _year(row: Mapping[str, str]) -> float:
    """The same, or since when fused attention is common."""
    return _dated(row) or FLASH_YEAR


def usual_attention(row: Mapping[str, str], device: Device | None) -> str:
    """The attention that training code of a row's time ran by default on a device."""
    if device is not None and "flash2" not in device.family.attention:
        return "unfused"
    brought = BRINGS.get(_software(row))
    if brought is not None and device is not None and brought in device.family.attention:
        return brought
    return next(kernel for since, kernel in ATTENTION_SINCE if _year(row) >= since)


def _software(row: Mapping[str, str]) -> str:
    """The name of the software that a row states, without its version."""
    return (row.get("software") or "").split(" ")[0].lower()


def _attention(row: Mapping[str, str], stack: str, assumed: list[str]) -> str:
    attention = row.get("attention") or ""
    if attention == "fused_softmax":
        return "unfused"
    if not attention:
        attention = usual_attention(row, _device_like(row))
        attention = "te" if stack == "nemo" else attention  # its default from the start
        assumed.append(f"attention {attention}")
    return attention


def _dtypes(row: Mapping[str, str], base: TrainConfig, assumed: list[str]) -> tuple[str, ...]:
    """As stated; else bf16, or fp8 where software made for it (Transformer Engine) ran on a device that has it."""
    if row.get("dtype"):
        return (base.dtype,)
    device = _device(row)
    able = family_of(base.stack) == "nemo" and device is not None and "fp8" in device.peaks
    assumed.append("dtype bf16 or fp8" if able else "dtype bf16")
    return ("bf16", "fp8") if able else ("bf16",)


def _device(row: Mapping[str, str]) -> Device | None:
    """The row's device; None where a table of memory does not say which it is."""
    try:
        return load_device(row.get("device") or "")
    except RooflineError:
        return None


def _device_like(row: Mapping[str, str]) -> Device | None:
    """The row's device, or one of its architecture where its words leave the form open ("V100-16GB")."""
    device = _device(row)
    if device is not None:
        return device
    word = (row.get("device") or "").lower().split("-")[0]
    found = [load_device(name) for name in device_ids() if name.split("-")[0] == word]
    return found[0] if len({device.architecture for device in found}) == 1 else None


def _optimizer(row: Mapping[str, str]) -> str:
    """The optimizer where a table names one, or its software."""
    words = (row.get("optimizer") or "").lower() or ("muon" if _software(row) in MUON else "")
    named = next((name for name in ("adafactor", "sgd", "lion", "muon") if words.startswith(name)), "adamw")
    if named != "adamw":
        return named
    return "adamw" + ("-8bit" if re.search("8-?bit", words) else "") + ("-paged" if "paged" in words else "")


def _lora_modules(base: TrainConfig, assumed: list[str]) -> tuple[str | None, ...]:
    """Which projections have adapters: as stated; attention's alone are as common as all."""
    if not base.adapts or base.lora_modules is not None:
        return (base.lora_modules,)
    assumed.append("adapters in attention or everywhere")
    return ("attention", "all")


def _sequence_parallel(row: Mapping[str, str], base: TrainConfig, assumed: list[str]) -> tuple[bool, ...]:
    """Whether norms are sharded over tp: as stated; else as the software of the time does (from 2022 on)."""
    if (row.get("seq_parallel") or "").strip() or base.tp == 1:
        return (base.sequence_parallel,)
    usual = load_stack(base.stack).sequence_parallel and _year(row) > SEQUENCE_PARALLEL_SINCE
    if usual:
        assumed.append("sequence parallelism")
    return (usual,)


def _virtual_stages(
    row: Mapping[str, str], base: TrainConfig, model: ModelConfig, assumed: list[str]
) -> tuple[int, ...]:
    """Stages per device: as stated; else one, or the most that divide the layers where the software interleaves."""
    stated, pp = integer(row, "vp"), int(base.pp)
    plain = pp == 1 or row.get("schedule") == "1f1b"
    if stated or plain or family_of(base.stack) not in {"megatron", "nemo", "fsdp", "fsdp-compiled"}:
        return (stated or 1,)
    # embedding and head may count as layers (see `shares.stages`)
    counts = (model.n_layers, model.n_layers + 2)
    most = next((layers // pp for layers in counts if layers % pp == 0), 1)
    if most > 1:
        assumed.append(f"1 or {most} virtual stages")
    return (1, most) if most > 1 else (1,)


def _micro_batches(row: Mapping[str, str], base: TrainConfig, size: int, assumed: list[str]) -> tuple[int, ...]:
    """As stated; else what is plausible: 1 of a large model whose parameters are sharded, as people run these."""
    micro, total = integer(row, "micro_batch_sequences"), base.global_batch
    data = base.num_devices // (base.tp * base.pp * base.cp)
    if micro:
        return (micro,)
    if total and family_of(base.stack) in WHOLE_BATCHES:
        assumed.append("no accumulation")
        return (max(int(total // data), 1),)
    if base.sharding in SHARDED and size > SHARDED_ALONE:
        assumed.append("micro batch 1")
        return (1,)
    if not total:
        assumed.append("micro batch 1 to 4, no accumulation")
        return (1, 2, 4)
    plausible = tuple(m for m in (1, 2, 4, 8) if total % (m * data) == 0)
    # a pipeline is run with at least as many micro batches as stages
    plausible = tuple(m for m in plausible if total // (m * data) >= base.pp) or plausible[:1]
    if not plausible:
        raise Skipped("micro batch is not stated, and none divides the global batch")
    assumed.append(f"micro batch {' or '.join(map(str, plausible))}")
    return plausible


def _recomputed_share(row: Mapping[str, str]) -> float | None:
    """The share of a forward pass that ran again, where both HFU and MFU are printed: a third of what is beyond 1."""
    hfu, mfu = number(row, "hfu_printed"), number(row, "mfu_printed")
    return 3 * (hfu / mfu - 1) if hfu and mfu else None


def _recomputes(row: Mapping[str, str], assumed: list[str]) -> tuple[str, ...]:
    detail = row.get("recompute_detail")
    if detail:
        return (detail,)
    recompute = row.get("recompute") or ""
    if recompute == "selective" and (_recomputed_share(row) or 0) > (1 + 0.5) / 2:
        recompute = "full"  # nearer to it than to half of each layer
    if recompute in {"none", "selective", "full"}:
        return (recompute,)
    assumed.append("recompute none or full")
    return ("none", "full")
