"""Questions about memory: does it fit, largest micro batch, longest sequence, cheapest changes that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .fixes import Fix, cheapest_fixes
from .memory import Memory, in_flight, memory_of
from .model import ModelConfig
from .presets import load_model
from .step import Step, build_step, parameter_shares, shard_degree
from .training import TrainConfig, defaults, resolve, train_config
from .units import format_count

if TYPE_CHECKING:
    import pandas as pd

    from hardware import Device

LARGEST_BATCH = 2**20
LONGEST_SEQUENCE = 2**24
SEQUENCE_STEP = 128  # tokens: the longest sequence is sought in whole tiles of the attention kernels


class MemoryFit(Memory, frozen=True, kw_only=True):
    """Memory per device and what fits; attributes are the JSON keys of ``roofline memory``.

    Attributes:
        model: The model.
        device: The device.
        train: The resolved configuration.
        explained: The arithmetic of each part, in words.
        max_micro_batch: Largest micro batch that fits, everything else equal; 0 where none does.
        max_seq_len: Longest sequence that fits, in steps of 128 tokens (times cp); 0 where none does.
        fixes: The cheapest changes that make it fit; empty where it fits.
    """

    model: ModelConfig
    device: Any
    train: TrainConfig
    explained: dict[str, str]
    max_micro_batch: int
    max_seq_len: int
    fixes: tuple[Fix, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Bytes by part, as a pandas frame."""
        import pandas as pd

        parts = [name for name in Memory.__struct_fields__ if name.endswith("_bytes")]
        return pd.DataFrame({"part": parts, "bytes": [getattr(self, name) for name in parts]})

    def to_dict(self) -> dict[str, Any]:
        """The JSON object that ``roofline memory --format json`` prints."""
        from .report import memory_json

        return memory_json(self)


def memory(model: str | Path | ModelConfig, device: str | Path | Device, **options: Any) -> MemoryFit:
    """Peak memory of one device, and what fits.

    Args:
        model: Preset id, path of a ``.toml`` or ``config.json``, or a `ModelConfig`.
        device: Catalog id, path of a device ``.toml``, ``local``, or a `Device`.
        **options: Fields of `TrainConfig`, as plain numbers.

    Raises:
        RooflineError: Anything a user can mend.
    """
    from hardware import load_device

    model, device = load_model(model), load_device(device)
    train = train_config(defaults(device, options))
    step = build_step(model, train)
    used = memory_of(step, device)
    return MemoryFit(
        **{name: getattr(used, name) for name in Memory.__struct_fields__},
        model=model,
        device=device,
        train=step.train,
        explained=explain(step, used),
        max_micro_batch=max_micro_batch(model, device, train),
        max_seq_len=max_seq_len(model, device, train),
        fixes=() if used.fits else cheapest_fixes(model, device, train),
    )


def explain(step: Step, used: Memory) -> dict[str, str]:
    """How each part of the memory comes about, in words."""
    train = step.train
    shares = parameter_shares(step.model, train, step.weights)
    ranks = f", over {shard_degree(train):,} ranks"
    sharded = {
        "weights": train.shards_parameters,
        "gradients": train.sharding in {"zero2", "zero3", "fsdp", "hsdp"},
        "optimizer": train.sharding != "none",
    }
    words = {}
    for part, is_sharded in sharded.items():
        count = shares.total if part == "weights" else shares.trainable
        each = getattr(used, f"{part}_bytes") * (shard_degree(train) if is_sharded else 1) / max(count, 1)
        words[f"{part}_bytes"] = f"{format_count(float(count))} x {each:.3g} bytes" + (
            ranks if is_sharded else ""
        )
    kept = {
        "none": "all",
        "selective": "all but what is cheap to run again",
        "full": "the input of each layer",
    }
    flight = in_flight(step)
    batches = "1 micro batch" if flight == 1 else f"{flight:.3g} micro batches in flight"
    words["activations_bytes"] = f"{kept[train.recompute]} kept for backward, {batches}"
    tokens = f"{train.micro_batch * train.sequence_length:,} tokens"
    words["logits_bytes"] = f"{tokens} x vocabulary of {step.model.vocab_size:,}, with the copies of the loss"
    words["communication_bytes"] = "gathered layers" if train.shards_parameters else "gradient buckets"
    words["context_bytes"] = "driver context, libraries, what the allocator cannot reuse"
    return words


# --- what fits -------------------------------------------------------------------------------------------


def fits(model: ModelConfig, device: Device, train: TrainConfig) -> bool:
    """Whether a configuration is possible and fits."""
    try:
        return bool(memory_of(build_step(model, train), device).fits)
    except ValueError:  # degrees that do not divide, a figure the device does not have
        return False


def max_micro_batch(model: ModelConfig, device: Device, train: TrainConfig) -> int:
    """Largest micro batch that fits, everything else equal; 0 where none does.

    With a global batch given, only micro batches that divide it are considered.
    """
    sizes: Sequence[int] = range(1, LARGEST_BATCH + 1)
    if train.global_batch is not None:
        per_rank = int(train.global_batch // resolve(train, model).data_parallel)
        sizes = [size for size in sizes[:per_rank] if per_rank % size == 0]

    def at(index: int) -> bool:
        return fits(model, device, msgspec.structs.replace(train, micro_batch=sizes[index - 1]))

    best = _largest(at, len(sizes))
    return sizes[best - 1] if best else 0


def max_seq_len(model: ModelConfig, device: Device, train: TrainConfig) -> int:
    """Longest sequence that fits, a multiple of 128 cp (or all learned positions); 0 where none does."""
    step = SEQUENCE_STEP * int(train.cp)
    longest = model.learned_positions or LONGEST_SEQUENCE

    def at(multiple: int) -> bool:
        return fits(model, device, msgspec.structs.replace(train, seq_len=multiple * step))

    best = _largest(at, longest // step) * step
    whole = model.learned_positions
    if whole and fits(model, device, msgspec.structs.replace(train, seq_len=whole)):
        return whole
    return best


def _largest(holds: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` for which `holds`: true up to some number and false beyond."""
    if limit < 1 or not holds(1):
        return 0
    low, high = 1, 2
    while high <= limit and holds(high):
        low, high = high, 2 * high
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
