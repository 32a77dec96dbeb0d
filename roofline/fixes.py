"""The cheapest changes that make a configuration fit in memory, each with what it saves and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import msgspec

from .arrays import ceil_div
from .estimate import Estimate, estimate_step
from .memory import memory_of
from .model import ModelConfig
from .stacks import load_stack
from .step import build_step
from .suspects import Suspect
from .training import FILL, TrainConfig, default_stack, resolve

if TYPE_CHECKING:
    from hardware import Device

MOST_CHANGES = 3
MOST_DEVICES = 1024
DEAREST = 3.0  # a change of devices that costs four times the device-time is no advice where there is another
Change = tuple[str, dict[str, Any]]  # in words, as options


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


def cheapest_fixes(model: ModelConfig, device: Device, train: TrainConfig, limit: int = 3) -> tuple[Fix, ...]:
    """The changes that make a configuration fit with the fewest changes, and among those the least time.

    The global batch stays: a smaller micro batch means more accumulation steps. Up to three are combined;
    only where that gives too few answers, more devices are tried. Where the software profile is the usual one of
    the layout, a change of layout takes the profile that is usual for the new one (``stack`` in its options);
    another profile is kept.
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
    stack = implied_stack(device, given, options)
    if stack != given.stack:
        options["stack"] = stack
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
        change=" + ".join(
            [words for words, _ in changes] + ([f"{stack} stack"] if "stack" in options else [])
        ),
        options=options,
        total_bytes=float(used.total_bytes),
        saved_bytes=needed - float(used.total_bytes),
        step_time_s=float(result.step_time_s),
        cost=float(result.step_time_s * step.train.num_devices / tokens) / price - 1,
    )


def implied_stack(device: Device, given: TrainConfig, changes: Mapping[str, Any]) -> str:
    """The software profile once `changes` are made: the usual one where `given` has its usual one, else its own."""
    layout = {name: getattr(given, name) for name in given.__struct_fields__}
    if given.stack != default_stack(device, layout):
        return given.stack
    return default_stack(device, {**layout, **changes})


def _device_time(model: ModelConfig, device: Device, train: TrainConfig) -> float:
    """Device-seconds per token."""
    result = estimate_step(build_step(model, train), device)
    return float(result.step_time_s * train.num_devices / train.tokens_per_step)


def fuller_pipeline(result: Estimate) -> Suspect | None:
    """A global batch that fills the pipeline, where there are fewer micro batches than stages and it fits.

    The step then trains on more sequences: its time is given for as many as before.
    """
    train: Any = result.train
    if train.pp == 1 or train.accumulation >= train.pp:
        return None
    batch = FILL * train.pp * train.micro_batch * train.data_parallel
    fuller = msgspec.structs.replace(train, global_batch=batch)
    better = estimate_step(build_step(result.model, fuller), result.device)
    if not better.fits:
        return None
    seconds = float(better.step_time_s * train.global_batch / batch)
    return Suspect(
        what=f"--global-batch {batch}: {FILL} micro batches per pipeline stage, not {train.accumulation} for "
        f"{train.pp} stages (time of {train.global_batch} sequences)",
        step_time_s=seconds,
        mfu=float(better.mfu),
        explains=1 - seconds / float(result.step_time_s),
    )


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
        lora = {"train": "lora", "lora_rank": 16, "freeze": ()}
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
