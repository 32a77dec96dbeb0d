"""The words every report shares: model, device, batch, method, and how far a device's figures can be trusted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..config.complete import KEPT
from ..config.recompute import recompute_words
from ..config.run import TrainConfig
from ..model.parameters import count_parameters
from ..units import format_count, format_rate

if TYPE_CHECKING:
    from ..hardware import Device
    from ..model.spec import ModelConfig


def sentences(notes: Iterable[str]) -> list[str]:
    """Notes as sentences.

    >>> sentences(["assumes tp 2"])
    ['Assumes tp 2.']
    """
    return [f"{note[0].upper()}{note[1:]}." for note in notes]


def model_words(model: ModelConfig) -> str:
    """Name and parameter count: ``mixtral-8x7b (46.7B parameters, 12.9B active)``."""
    parameters = count_parameters(model)
    active = "" if parameters.active == parameters.total else f", {format_count(parameters.active)} active"
    return f"{model.name} ({format_count(parameters.total)} parameters{active})"


def sentence(note: str) -> str:
    """A note as a sentence.

    >>> sentence("assumed: fp16 (--dtype)"), sentence("n_kv_heads is not stated")
    ('Assumed: fp16 (--dtype).', 'Note: n_kv_heads is not stated.')
    """
    return f"A{note[1:]}." if note.startswith("assume") else f"Note: {note}."


def unit_words(model: ModelConfig) -> str:
    """What a model runs on: tokens, or passes of the example inputs that it was traced with."""
    return "tokens" if model.recorded is None else "passes"


def device_words(device: Device, dtype: str) -> str:
    """Name, and the dense peak that MFU divides by."""
    return f"{device.name}, {dtype} at {format_rate(device.peak_flops_per_s(dtype))} dense peak"


def batch_words(train: TrainConfig, model: ModelConfig, *, chosen: bool = False) -> str:
    """The batch and its arithmetic, so that a wrong factor shows; `chosen` if nobody said the micro batch."""
    if model.recorded is not None:
        return f"{train.global_batch:,} pass(es) of the example inputs a step"
    accumulation = "" if train.accumulation == 1 else f" x {train.accumulation:,} accumulation steps"
    ranks = "" if train.data_parallel == 1 else f" x {train.data_parallel:,} data parallel"
    parts = f"micro batch {train.micro_batch:,}{' (assumed)' if chosen else ''}{accumulation}{ranks}"
    total = f" = {train.global_batch:,} sequences" if accumulation or ranks else ""
    length = f"{train.sequence_length:,} tokens{length_words(train)}"
    return f"{parts}{total} of {length}: {train.tokens_per_step:,} tokens a step"


def length_words(train: TrainConfig) -> str:
    """How long samples are where they are shorter than the sequence: `` (samples of 700, packed)``."""
    return "" if train.mean_len == train.seq_len else f" (samples of {train.mean_len:,}, {train.packing})"


def method_words(train: TrainConfig) -> str:
    """Optimizer, kernels, recompute and software."""
    words = [train.optimizer, f"{train.attention} attention"]
    words.append(recompute_words(train))
    words += [f"{train.stack} stack"]
    words += ["dropout"] if train.dropout else []
    words += [] if train.master_weights or train.activation_bytes == 4 else ["no fp32 master weights"]
    words += _kept_words(train)
    words += [f"fused {', '.join(train.fused).replace('_', '-')}"] if train.fused else []
    if train.adapts:
        words.insert(0, adapter_words(train))
    if train.freeze:
        words.insert(0, f"frozen {' and '.join(train.freeze)}")
    return ", ".join(words)


_KEPT = {
    "gradient_dtype": "gradients",
    "master_dtype": "masters",
    "weight_dtype": "primary weights",
    "saved_dtype": "saved activations",
}


def _kept_words(train: TrainConfig) -> list[str]:
    """What is kept in another dtype than its software usually does."""
    kept = [f"moments in {' and '.join(train.moment_dtype)}"] if train.moment_dtype else []
    kept += [
        f"{_KEPT[name]} in {getattr(train, name)}"
        for name, usual in KEPT.items()
        if getattr(train, name) != usual(train)
    ]
    where = "on NVMe" if train.offload_to == "nvme" else "on the host"
    return kept + ([f"{' and '.join(train.offload)} {where}"] if train.offload else [])


def adapter_words(train: TrainConfig) -> str:
    """What is trained beside a frozen base, and how that is stored: ``LoRA of rank 16 on all projections over nf4``."""
    name = {"rslora": "rsLoRA", "dora": "DoRA"}.get(train.lora_variant or "", "LoRA")
    words = f"{name} of rank {train.lora_rank} on {train.lora_modules} projections"
    words += f" with dropout {train.lora_dropout:g}" if train.lora_dropout else ""
    if train.base_dtype in {None, train.kept_dtype}:
        return words
    return f"{words} over a base in {train.base_dtype}{' (scales quantised as well)' if train.double_quant else ''}"


def device_notes(device: Device) -> list[str]:
    """Low confidence and caveats of the device's figures."""
    notes = []
    if device.confidence not in {"high", "measured"}:
        notes.append(f"Note: the figures of {device.id} are of {device.confidence} confidence.")
    return notes + [f"Note: {caveat.rstrip('.')}." for caveat in (*device.caveats, *device.family.caveats)]
