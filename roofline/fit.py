"""Questions about memory: does it fit, largest micro batch, longest sequence, cheapest changes that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .arrays import ceil_div
from .estimate import estimate_step
from .memory import Memory, in_flight, memory_of
from .model import ModelConfig
from .presets import load_model
from .stacks import load_stack
from .step import Step, build_step, parameter_shares, shard_ranks
from .training import TrainConfig, default_dtype, resolve, train_config
from .units import format_count

if TYPE_CHECKING:
    import pandas as pd

    from hardware import Device

LARGEST_BATCH = 2**20
LONGEST_SEQUENCE = 2**24
SEQUENCE_STEP = 128  # tokens: the longest sequence is sought in whole tiles of the attention kernels
MOST_CHANGES = 3
MOST_DEVICES = 1024
DEAREST = 3.0  # a change of devices that costs four times the device-time is no advice where there is another


class Fix(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the configuration that makes it fit.

    Attributes:
        change: What to change, in words.
        options: The options to give.
        total_bytes: Peak memory per device with the change.
        saved_bytes: What it saves per device.
        step_time_s: Expected step time with the change.
        cost: Device-time per token relative to the configuration as given: 0.25 is 25 % dearer.
    """

    change: str
    options: dict[str, Any]
    total_bytes: float
    saved_bytes: float
    step_time_s: float
    cost: float


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
    train = train_config({"dtype": default_dtype(device), **options})
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
    ranks = f", over {shard_ranks(train):,} ranks"
    sharded = {
        "weights": train.shards_parameters,
        "gradients": train.sharding in {"zero2", "zero3", "fsdp", "hsdp"},
        "optimizer": train.sharding != "none",
    }
    words = {}
    for part, is_sharded in sharded.items():
        count = shares.total if part == "weights" else shares.trainable
        each = getattr(used, f"{part}_bytes") * (shard_ranks(train) if is_sharded else 1) / max(count, 1)
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


# --- what would make it fit ------------------------------------------------------------------------------

Change = tuple[str, dict[str, Any]]  # in words, as options


def cheapest_fixes(model: ModelConfig, device: Device, train: TrainConfig, limit: int = 3) -> tuple[Fix, ...]:
    """The changes that make a configuration fit with the fewest changes, and among those the least time.

    The global batch stays: a smaller micro batch means more accumulation steps. Up to three are combined;
    only where that gives too few answers, more devices are tried.
    """
    given = resolve(train, model)
    needed = float(memory_of(build_step(model, given), device).total_bytes)
    price = _device_time(model, device, given)
    dimensions = list(_changes(model, given))
    found: list[Fix] = []
    for number in range(1, MOST_CHANGES + 1):
        fixes = [
            fix
            for chosen in combinations(dimensions, number)
            for changes in product(*chosen)
            if (fix := _fix(model, device, given, changes, needed, price)) is not None
        ]
        for fix in sorted(fixes, key=lambda fix: fix.cost):
            if not any(_at_least_as_good(other, fix) for other in found):
                found.append(fix)
        if len(found) >= limit:
            return tuple(found[:limit])
    for resorts in _last_resorts(given):
        tried = (_fix(model, device, given, (change,), needed, price) for change in resorts)
        best = next((fix for fix in tried if fix is not None), None)
        if best is None or (found and best.cost > DEAREST):
            continue
        if not any(_at_least_as_good(other, best) for other in found):
            found.append(best)
    return tuple(found[:limit])


def _at_least_as_good(one: Fix, other: Fix) -> bool:
    """Whether `one` changes nothing that `other` leaves alone, and costs no more."""
    return one.options.keys() <= other.options.keys() and one.cost <= other.cost


def _changes(model: ModelConfig, given: TrainConfig) -> Iterator[list[Change]]:
    """The alternatives to each option of `given` that save memory, one list per option."""
    sizes = {given.micro_batch // 2**power for power in range(1, 21) if given.micro_batch % 2**power == 0}
    sizes |= {1} if given.micro_batch > 1 else set()
    if sizes:
        steps = given.accumulation * given.micro_batch
        yield [
            (f"micro batch {size} x {steps // size:,} accumulation steps", {"micro_batch": size})
            for size in sorted(sizes, reverse=True)
        ]
    recomputes = {"none": ("selective", "full"), "selective": ("full",), "full": ()}[given.recompute]
    if recomputes:
        yield [(f"{how} recompute", {"recompute": how}) for how in recomputes]
    if given.attention == "unfused":
        yield [("flash attention", {"attention": "flash2"})]
    if "cross_entropy" not in {*given.fused, *load_stack(given.stack).fused}:
        yield [("fused cross-entropy", {"fused": (*given.fused, "cross_entropy")})]
    if given.data_parallel > 1 and not given.shards_parameters:
        ladder = ("none", "zero1", "zero2", "fsdp")
        stronger = ladder[ladder.index(given.sharding) + 1 :]
        yield [(f"{how} sharding", {"sharding": how}) for how in stronger]
    if given.optimizer == "adamw":
        yield [("8-bit AdamW", {"optimizer": "adamw-8bit"})]
    if given.activation_bytes == 4:
        yield [("bf16", {"dtype": "bf16"})]
    yield from _splits(model, given)


def _splits(model: ModelConfig, given: TrainConfig) -> Iterator[list[Change]]:
    """Larger parallel degrees on the devices given, data parallelism giving way."""
    for degree, what in (("tp", "tensor"), ("pp", "pipeline"), ("cp", "context")):
        now = getattr(given, degree)
        choices = [now * 2**power for power in range(1, 4) if given.data_parallel % 2**power == 0]
        if choices and model.n_layers > 1:
            yield [(f"{what} parallel {value}", {degree: value}) for value in choices]


def _fix(
    model: ModelConfig,
    device: Device,
    given: TrainConfig,
    changes: tuple[Change, ...],
    needed: float,
    price: float,
) -> Fix | None:
    """The fix that `changes` make together; None where they do not fit, or are not possible."""
    options: dict[str, Any] = {}
    for _, change in changes:
        options |= change
    split = {"dp": None} if options.keys() & {"tp", "pp", "cp", "num_devices"} else {}
    try:
        step = build_step(model, msgspec.structs.replace(given, **options, **split))
        used = memory_of(step, device)
        if not used.fits:
            return None
        result = estimate_step(step, device)
    except ValueError:  # degrees that do not divide, a figure the device does not have
        return None
    tokens = step.train.tokens_per_step
    return Fix(
        change=" + ".join(words for words, _ in changes),
        options=options,
        total_bytes=float(used.total_bytes),
        saved_bytes=needed - float(used.total_bytes),
        step_time_s=float(result.step_time_s),
        cost=float(result.step_time_s * step.train.num_devices / tokens) / price - 1,
    )


def _device_time(model: ModelConfig, device: Device, train: TrainConfig) -> float:
    """Device-seconds per token."""
    result = estimate_step(build_step(model, train), device)
    return float(result.step_time_s * train.num_devices / train.tokens_per_step)


def _last_resorts(given: TrainConfig) -> Iterator[list[Change]]:
    """What helps where nothing else does; of each list the first that fits is enough.

    More devices (doubling) with sharded parameters, the same with full recompute, then with long sequences
    split as well; and training adapters only.
    """
    most = max(MOST_DEVICES, 8 * given.num_devices)
    numbers = [given.num_devices * 2**power for power in range(1, 11)]
    for extra in ({}, {"recompute": "full"}, {"recompute": "full", "cp": 8 * given.cp}):
        yield [_on_devices(given, number, extra) for number in numbers if number <= most]
    if given.train == "full":
        lora = {"train": "lora", "lora_rank": 16}
        yield [
            ("LoRA of rank 16 (trains adapters only)", lora),
            ("LoRA of rank 16 + full recompute", {**lora, "recompute": "full"}),
        ]


def _on_devices(given: TrainConfig, num_devices: int, extra: dict[str, Any]) -> Change:
    """`num_devices` with parameters sharded over data parallelism, and at least as large a batch."""
    ranks = max(num_devices // (given.tp * given.pp * extra.get("cp", given.cp)), 1)
    per_pass = given.micro_batch * ranks
    sequences = given.accumulation * given.micro_batch * given.data_parallel
    batch = ceil_div(sequences, per_pass) * per_pass
    words = [f"{num_devices:,} devices with fsdp"]
    words += ["full recompute"] if "recompute" in extra else []
    words += [f"context parallel {extra['cp']}"] if "cp" in extra else []
    options = {"num_devices": num_devices, "sharding": "fsdp", "global_batch": batch, **extra}
    return " + ".join(words), options
