"""What a search may vary, and the software that each part of its layouts runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..config.checks import check_sharding
from ..config.complete import MEANT
from ..config.defaults import default_stack
from ..config.optimizer import refuse_optimizer
from ..config.options import EVERY
from ..config.run import TrainConfig
from ..config.settle import outline, settle
from ..config.sharding import SHARDINGS
from ..config.stack import load_stack
from ..errors import RooflineError
from ..model.spec import ModelConfig
from .schedules import Scheduled
from .space import DEGREES, OTHER_SHARDINGS, WORDS, Choices, Space, default_global_batch

if TYPE_CHECKING:
    from ..hardware import Device

SPLITTING = ("tp", "pp", "cp", "ep")  # degrees that split the model itself


def shardings_of(stack: str) -> tuple[str, ...]:
    """What a software profile can shard.

    >>> shardings_of("megatron"), shardings_of("fsdp")
    (('none', 'zero1'), ('none', 'zero1', 'zero2', 'fsdp'))
    """
    return load_stack(stack).shardings


class Part(msgspec.Struct, frozen=True):
    """Layouts that run on one software profile.

    Attributes:
        stack: The profile.
        shardings: What data parallelism may shard.
        split: Whether the model itself is split (tp, pp, cp or ep above 1); None: either.
        schedule: The pipeline schedule; None: 1f1b, interleaved with virtual stages.
    """

    stack: str
    shardings: tuple[str, ...]
    split: bool | None = None
    schedule: str | None = None

    def rows_of(self, space: Space) -> Space:
        """The layouts of a space that belong here."""
        if self.split is None:
            return space
        split = splits(space)
        return space.where(split if self.split else ~split)


def parts_of(device: Device, options: Mapping[str, Any]) -> tuple[Part, ...]:
    """The software profiles that layouts run on: the one given, else those that such layouts usually run on.

    What splits the model has a profile of its own (Megatron-Core); layouts that do not are priced on it as well as
    on their usual ones, so that layouts are compared, not software. Adapters are trained on software that splits no
    model, unless a degree is asked for.

    Args:
        device: The device.
        options: What was said: the profile, the shardings (else what each profile shards), what is trained, degrees.
    """
    stack, shardings = options.get("stack"), several(options.get("sharding"))
    train = options.get("train", "full")
    candidates = shardings or (OTHER_SHARDINGS if stack is None else shardings_of(stack))
    free = train == "full" or _asks_to_split(options)
    if stack is not None:
        usual = default_stack(device, {"train": train})
        whole = not free and stack == usual != default_stack(device, {"tp": 2, "train": train})
        return (Part(stack, candidates, False if whole else None),)
    found: dict[tuple[str, bool], list[str]] = {}
    for split in (False, True):
        for sharding in candidates:
            name = default_stack(device, {"tp": 2 if split else 1, "sharding": sharding, "train": train})
            if split and not free and (name, False) not in found:
                continue
            if shardings is not None or sharding in shardings_of(name):
                found.setdefault((name, split), []).append(sharding)
    if len({name for name, _ in found}) == 1:
        return (Part(next(iter(found))[0], candidates, None if len(found) > 1 else False),)
    parts = [Part(name, tuple(words), split) for (name, split), words in found.items()]
    footing = [
        msgspec.structs.replace(part, shardings=common, split=False)
        for part in parts
        if part.split and (common := tuple(w for w in part.shardings if w in shardings_of(part.stack)))
    ]
    return (*parts, *footing)


def _asks_to_split(options: Mapping[str, Any]) -> bool:
    return any(degree != 1 for name in SPLITTING for degree in several(options.get(name)) or ())


def parts_in(parts: Sequence[Part], spaces: Mapping[str, Scheduled]) -> list[tuple[Part, Space]]:
    """Each part with its layouts, by schedule; where nothing splits the model, only the usual software of such layouts.

    Args:
        parts: As `parts_of` gives them.
        spaces: The layouts of each profile, as `spaces_of` gives them.
    """
    if not any(splits(space).any() for scheduled in spaces.values() for _, space in scheduled):
        split = {part.stack for part in parts if part.split}
        parts = [part for part in parts if part.stack not in split]
    found = [
        (msgspec.structs.replace(part, schedule=schedule), part.rows_of(space))
        for part in parts
        for schedule, space in spaces[part.stack]
    ]
    return [(part, rows) for part, rows in found if len(rows.consistent)]


def joined(rows: Sequence[tuple[Part, Space]]) -> list[tuple[Part, Space]]:
    """Parts that differ in nothing but whether the model is split as one: their layouts are counted together."""
    found: dict[Part, tuple[Part, Space]] = {}
    for part, space in rows:
        either = msgspec.structs.replace(part, split=None)
        found[either] = (either, found[either][1].followed_by(space)) if either in found else (part, space)
    return list(found.values())


def splits(space: Space) -> Any:
    """Which rows split the model itself: [rows]."""
    return sum((space.columns[name] > 1).astype(int) for name in SPLITTING) > 0


def runnable(parts: Sequence[Part], train: TrainConfig) -> tuple[Part, ...]:
    """Each part with the shardings in which its software runs the optimizer.

    Raises:
        RooflineError: There is none: why not.
    """
    found: list[Part] = []
    refusal = None
    for part in parts:
        shardings = []
        for sharding in part.shardings:
            try:
                refuse_optimizer(msgspec.structs.replace(train, stack=part.stack, sharding=sharding))
            except RooflineError as error:
                refusal = error
            else:
                shardings.append(sharding)
        if shardings:
            found.append(msgspec.structs.replace(part, shardings=tuple(shardings)))
    if refusal is not None and not found:
        raise refusal
    return tuple(found)


def software_note(parts: Sequence[Part], options: Mapping[str, Any]) -> tuple[str, ...]:
    """Which software the layouts are priced on, where it is more than one, or one that splits no model."""
    split = list(dict.fromkeys(part.stack for part in parts if part.split))
    others = dict.fromkeys(part.stack for part in parts if part.stack not in split)
    whole = " and ".join(others)
    if options.get("train", "full") != "full" and "stack" not in options and not split:
        return (f"adapters are priced on {whole}, which splits no model: set --stack or a degree for other software",)
    if not whole or len(others) + len(split) == 1:
        return ()
    if not split:
        return (f"layouts are priced on {whole}, as their sharding asks: set --stack for one",)
    how = f"all layouts are priced on {' and '.join(split)}, those that split only the data on {whole} as well"
    return (f"{how}: set --stack for one",)


def several(value: Any) -> Any:
    """One value or several as a tuple; None and ``all`` stay."""
    return value if value is None or value == "all" else tuple(value) if isinstance(value, (tuple, list)) else (value,)


def choices_of(
    model: ModelConfig,
    device: Device,
    counts: Sequence[int],
    options: dict[str, Any],
    across_nodes: bool,
    parts: Sequence[Part],
) -> tuple[Choices, TrainConfig, tuple[Part, ...], tuple[str, ...]]:
    """What may vary, the configuration common to all layouts, the parts that run, and the assumptions made."""
    given: dict[str, Any] = {}
    for name in (*DEGREES, *EVERY, "micro_batch", *WORDS):
        value = several(options.pop(name, None))
        if value is not None:
            given[name] = value
    group = options.pop("dp_shard", None)  # of several devices, and of hybrids among the shardings
    run = settle(model, device, {"stack": parts[0].stack, **options, "num_devices": 1, "global_batch": 1})
    said = {name: value for name, value in run.options.items() if name in MEANT}
    base = msgspec.structs.replace(outline(run.train, model), **said, dp_shard=group)
    for name in WORDS:
        for word in given.get(name, ()):
            if name == "sequence_parallel":  # needs tp, which the layouts have
                continue
            run.changed(**{name: word})  # raises on a word that is none, and a kernel that does not run
            if name == "recompute" and word.partition(":")[0] in {"full", "uniform"} and ":" in word:
                raise RooflineError(
                    f"recompute {word}: a search takes none, selective, full, every:N, matmuls or modules; "
                    "layers by number depend on the stages: 'roofline estimate' prices them in one layout"
                )
    parts = runnable(parts, base)
    given["sharding"] = tuple(dict.fromkeys(word for part in parts for word in part.shardings))
    if not any(SHARDINGS[word].node for word in given["sharding"]):
        check_sharding(msgspec.structs.replace(base, sharding=given["sharding"][0]))
    given.setdefault("dtype", (base.dtype,))
    notes: tuple[str, ...] = ()
    batch = options.get("global_batch")
    if batch is None and model.recorded is not None:
        batch = max(counts)
        notes += (f"assumed a global batch of {batch:,} passes, one for each device: set --global-batch",)
    elif batch is None:
        fine_tunes, length = base.adapts or bool(base.freeze), int(base.sequence_length)
        batch = default_global_batch(max(counts), length, max(given.get("micro_batch", (1,))), fine_tunes=fine_tunes)
        tokens = f"{batch * base.sequence_length:,} tokens" + (", as fine-tuning takes" if fine_tunes else "")
        limits = ", the most that is assumed: it limits how far the work splits"
        most = "" if fine_tunes or batch >= max(counts) else limits
        notes += (f"assumed a global batch of {batch:,} sequences ({tokens}{most}): set --global-batch",)
    base = msgspec.structs.replace(base, global_batch=batch)
    return Choices(**given, across_nodes=across_nodes), base, parts, notes
