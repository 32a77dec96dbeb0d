"""What a row of a table of measurements says of adapters, and of the frozen base under them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..config.lora import LORA_RANK
from .rows import number

ADAPTED = ("lora", "qlora")  # workloads
TRAINER = "hf-trainer"  # the profile of Hugging Face's Trainer, whatever shards beneath it
_SAID = re.compile(r"rank (\d{1,9}) on (\w+(?:,\w+)*)( and c_attn)?(?:, dropout ([\d.]+))?")
_MODULES = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj"}


def adapters_said(row: Mapping[str, str]) -> str:
    """The words of a source on its adapters: ``rank 16 on q,k,v,o, dropout 0.1``.

    >>> adapters_said({"notes": "no accumulation; LoRA rank 16 on q,k,v,o, dropout 0.1; base in nf4"})
    'rank 16 on q,k,v,o, dropout 0.1'
    """
    found = _SAID.search(row.get("adapters") or row.get("notes") or "")
    return found[0] if found else ""


def adapter_options(row: Mapping[str, str]) -> dict[str, Any]:
    """Options of a row that trains adapters; none of any other.

    >>> row = {"workload": "qlora", "adapters": "rank 8 on q,v, dropout 0.1", "quantization": "nf4"}
    >>> options = adapter_options(row)
    >>> options["lora_rank"], options["lora_modules"], options["lora_dropout"], options["base_dtype"]
    (8, 'q_proj,v_proj', 0.1, 'nf4')
    """
    workload = row.get("workload") or ""
    if workload not in ADAPTED:
        return {}
    options: dict[str, Any] = {"train": workload, "base_dtype": row.get("quantization") or None}
    options["base_upcast"] = _upcast(row)
    found = _SAID.search(adapters_said(row))
    if found is None:
        return {**options, "lora_rank": int(number(row, "lora_rank") or LORA_RANK)}
    modules = ",".join(_MODULES.get(word, word) for word in found[2].split(","))
    if found[3] and not number(row, "gated_mlp"):  # of a list of names those count that the model has: GPT's is one
        modules = "c_attn"
    return {
        **options,
        "lora_rank": int(found[1]),
        "lora_modules": modules,
        "lora_dropout": float(found[4]) if found[4] else None,
    }


def upcast_said(row: Mapping[str, str]) -> str:
    """What a source says of a quantised base: ``norms in fp32``, or ``base as loaded``; empty where nothing.

    The plugin of fms-acceleration prepares the base itself, without casts; baselines leave that to TRL, which casts
    norms unless the base is sharded.
    """
    if row.get("workload") != "qlora" or "fms-acceleration" not in (row.get("software") or ""):
        return ""
    baseline = "without the FSDP and casting fixes" in (row.get("notes") or "")
    return "norms in fp32" if baseline and row.get("sharding") == "none" else "base as loaded"


def _upcast(row: Mapping[str, str]) -> str | None:
    """`TrainConfig.base_upcast` of a row; None where its source does not say."""
    said = row.get("precision") or upcast_said(row)
    return {"norms in fp32": "norms", "base as loaded": "none"}.get(said)


def mixes_precision(row: Mapping[str, str]) -> bool:
    """Whether weights that are trained have fp32 copies, or run under autocast.

    A Hugging Face Trainer runs in the dtype that the base is loaded in unless it is told to mix (``bf16``, ``fp16`` of
    its arguments are off by default); over a quantised base it is, for its kernels to compute in 16 bits.
    """
    said = f"{row.get('optimizer') or ''} {row.get('precision') or row.get('notes') or ''}"
    if "no fp32 copy" in said:
        return False
    if "torchtune" in (row.get("software") or "").lower():  # its recipes have one dtype for all
        return False
    plain = row.get("workload") == "lora" and of_trainer(row)
    return not plain or bool(row.get("quantization"))


def of_trainer(row: Mapping[str, str]) -> bool:
    """Whether a Hugging Face Trainer ran it."""
    return "hf trainer" in (row.get("software") or "").lower()
