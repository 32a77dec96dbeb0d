"""The cheapest changes that make a configuration fit in memory, each with what it saves and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import msgspec

from ..arrays import ceil_div
from ..config.defaults import FILL
from ..config.optimizer import coarse_word
from ..config.run import TrainConfig
from ..config.settle import Run
from ..config.stack import load_stack
from ..counting.step import build_step
from ..errors import RooflineError
from ..footprint.parts import memory_of
from ..model.spec import ModelConfig
from .changes import Suspect
from .estimate import Estimate, estimate_step

if TYPE_CHECKING:
    from ..hardware import Device

MOST_CHANGES = 3
MOST_DEVICES = 1024
MOST_TIMES = 8  # more devices alone: beyond, recompute or another optimizer comes first
DEAREST = 3.0  # more devices that cost four times the device-time are no advice where there is another
LONG = 16 * 1024  # tokens from which a sequence is worth splitting
# Kinds of change, the first choice first.
KINDS = (
    "sharding",
    "recompute",
    "micro_batch",
    "num_devices",
    "dtype",
    "attention",
    "fused",
    "split",
    "optimizer",
)
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


def cheapest_fixes(run: Run, limit: int = 3) -> tuple[Fix, ...]:
    """The changes that make a configuration fit, each led by another kind of change (`KINDS`), the fewest first.

    For each kind the fewest changes that fit, at most three together, and among those the least device-time. The
    global batch stays: a smaller micro batch means more accumulation steps. Where the software profile is the usual
    one of the layout, a change of layout takes the profile that is usual for the new one (``stack`` in its options);
    another profile is kept.
    """
    model, device, given = run.model, run.device, run.train
    needed = float(memory_of(build_step(model, given), device).total_bytes)
    price = _device_time(model, device, given)

    def fix(*changes: Change) -> Fix | None:
        return _fix(run, changes, needed, price)

    found: list[Fix] = []
    led: set[str] = set()
    for number in range(1, MOST_CHANGES + 1):
        kinds = _changes(model, device, given, alone=number == 1)
        candidates = _together(kinds, number, fix)
        candidates += [({"num_devices"}, more) for more in _more_devices(given, number, fix)]
        new: list[Fix] = []
        for kind in KINDS:
            able = [one for names, one in candidates if kind in names - led and _says_more(one, (*found, *new))]
            best = min(able, key=lambda one: one.cost, default=None)
            if best is None or (kind == "num_devices" and found and best.cost > DEAREST):
                continue
            new.append(best)
            led |= {kind} - {"num_devices"}  # fewer devices with one change more are another answer
        found += sorted(new[: limit - len(found)], key=lambda one: one.cost)
        if len(found) == limit:
            break
    return tuple(found)


def _says_more(fix: Fix, found: Iterable[Fix]) -> bool:
    """Whether a fix is none of those found with something added, and takes fewer devices than they do."""
    for other in found:
        fewest = other.options.get("num_devices")
        if other.options.items() <= fix.options.items():
            return False
        if fewest is not None and fix.options.get("num_devices", 0) >= fewest:
            return False
    return True


def _together(
    kinds: Mapping[str, Sequence[Change]], number: int, fix: Callable[..., Fix | None]
) -> list[tuple[set[str], Fix]]:
    """What fits of `number` changes of different kinds, with the kinds."""
    return [
        (set(names), found)
        for names in combinations(kinds, number)
        for changes in product(*(kinds[name] for name in names))
        if (found := fix(*changes)) is not None
    ]


def _changes(model: ModelConfig, device: Device, given: TrainConfig, *, alone: bool) -> dict[str, list[Change]]:
    """The alternatives to `given` that save memory, by kind.

    Selective recompute saves little where attention is fused: it is one only `alone`.
    """
    sizes = {given.micro_batch // 2**power for power in range(1, 21) if given.micro_batch % 2**power == 0}
    sizes |= {1} if given.micro_batch > 1 else set()
    steps = given.accumulation * given.micro_batch
    recomputes = {"none": ("selective", "full"), "selective": ("full",), "full": ()}[given.recompute]
    recomputes = recomputes if alone or given.attention == "unfused" else recomputes[-1:]
    kernels = [name for name in ("flash2", "flash1") if name in device.family.attention]
    ladder = ("none", "zero1", "zero2", "fsdp")
    stronger = ladder[ladder.index(given.sharding) + 1 :] if given.sharding in ladder else ()
    kinds: dict[str, list[Change]] = {
        "micro_batch": [
            (f"micro batch {size} x {steps // size:,} accumulation steps", {"micro_batch": size})
            for size in sorted(sizes, reverse=True)
        ],
        "recompute": [(f"{how} recompute", {"recompute": how}) for how in recomputes],
        "attention": [("flash attention", {"attention": name}) for name in kernels[:1]],
        "fused": [("fused cross-entropy", {"fused": (*given.fused, "cross_entropy")})],
        "sharding": [(f"{how} sharding", {"sharding": how}) for how in stronger],
        "optimizer": [("8-bit AdamW", {"optimizer": "adamw-8bit"})],
        "dtype": [("bf16", {"dtype": "bf16"})],
        "split": list(_splits(model, given)),
    }
    possible = {
        "attention": given.attention == "unfused",
        "fused": "cross_entropy" not in {*given.fused, *load_stack(given.stack).fused},
        "sharding": given.data_parallel > 1 and not given.shards_parameters,
        "optimizer": coarse_word(given.optimizer) == "adamw",
        "dtype": given.activation_bytes == 4 and "bf16" in device.peaks,
    }
    return {kind: changes for kind, changes in kinds.items() if changes and possible.get(kind, True)}


def _splits(model: ModelConfig, given: TrainConfig) -> Iterator[Change]:
    """Larger parallel degrees on the devices given, data parallelism giving way."""
    degrees = [("tp", "tensor"), ("pp", "pipeline")]
    degrees += [("cp", "context")] if given.sequence_length >= LONG else []
    for degree, what in degrees:
        for power in range(1, 4):
            value = getattr(given, degree) * 2**power
            if given.data_parallel % 2**power == 0 and model.n_layers > 1:
                yield f"{what} parallel {value}", {degree: value}


def _fix(run: Run, changes: tuple[Change, ...], needed: float, price: float) -> Fix | None:
    """The fix that `changes` make together; None where they do not fit, or are not possible."""
    device, given = run.device, run.train
    options: dict[str, Any] = {}
    for _, change in changes:
        options |= change
    stays: dict[str, Any] = {
        name: getattr(given, name) for name in ("micro_batch", "global_batch", "num_devices") if name not in options
    }
    if options.keys() & {"tp", "pp", "cp", "num_devices"}:
        stays["dp"] = None
    try:
        changed = run.changed(**stays, **options)
        step = build_step(run.model, changed.train)
        used = memory_of(step, device)
        if not used.fits:
            return None
        result = estimate_step(step, device)
    except RooflineError:  # degrees that do not divide, a figure the device does not have
        return None
    tokens, stack = step.train.tokens_per_step, step.train.stack
    if stack != given.stack:
        options["stack"] = stack
    return Fix(
        change=" + ".join([words for words, _ in changes] + ([f"{stack} stack"] if "stack" in options else [])),
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


def _more_devices(given: TrainConfig, number: int, fix: Callable[..., Fix | None]) -> list[Fix]:
    """What fits on the fewest devices with sharded parameters and `number` - 1 further changes."""
    most = given.num_devices * MOST_TIMES if number == 1 else max(MOST_DEVICES, given.num_devices * MOST_TIMES)
    for power in range(1, 11):
        devices = given.num_devices * 2**power
        if devices > most:
            break
        tried = (
            fix(_on_devices(given, devices, extras), *extras)
            for extras in combinations(_beside_devices(given, devices), number - 1)
        )
        found = [one for one in tried if one is not None]
        if found:
            return found
    return []


def _beside_devices(given: TrainConfig, devices: int) -> Iterator[Change]:
    """What saves memory beside more devices: a batch spread over them, recompute, optimizer, split sequences."""
    size = given.accumulation * given.micro_batch * given.num_devices // devices
    if 1 <= size < given.micro_batch:
        yield f"micro batch {size}", {"micro_batch": size}
    if given.recompute != "full":
        yield "full recompute", {"recompute": "full"}
    if coarse_word(given.optimizer) == "adamw":
        yield "8-bit AdamW", {"optimizer": "adamw-8bit"}
    if given.sequence_length >= LONG:
        yield f"context parallel {8 * given.cp}", {"cp": 8 * given.cp}


def _on_devices(given: TrainConfig, num_devices: int, extras: Sequence[Change]) -> Change:
    """`num_devices` with parameters sharded over data parallelism, and at least as large a batch."""
    extra = {name: value for _, options in extras for name, value in options.items()}
    ranks = max(num_devices // (given.tp * given.pp * extra.get("cp", given.cp)), 1)
    per_pass = extra.get("micro_batch", given.micro_batch) * ranks
    sequences = given.accumulation * given.micro_batch * given.data_parallel
    batch = ceil_div(sequences, per_pass) * per_pass
    options = {"num_devices": num_devices, "sharding": "fsdp", "global_batch": batch}
    return f"{num_devices:,} devices with fsdp", options
