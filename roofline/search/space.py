"""Which parallel layouts make sense: degrees that divide what they must, as columns of one table.

A row is (tp, pp, vp, dp, cp, ep), and etp where it varies; micro batches are a second axis, words (sharding,
recompute, ...) a third.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Literal

import msgspec

from ..arrays import Number
from ..config.recompute import RECOMPUTES, recompute_fields
from ..config.run import TrainConfig, known
from ..config.schedules import pipeline_schedule
from ..errors import RooflineError
from ..model.spec import Mlp, ModelConfig, Moe
from ..units import format_number

DEGREES = ("tp", "pp", "vp", "dp", "cp", "ep")
WORDS = ("sharding", "recompute", "sequence_parallel", "dtype", "attention")
OTHER_SHARDINGS = ("none", "zero1", "zero2", "fsdp")
SHORTEST_SLICE = 1024  # tokens of a sequence per context-parallel rank: shorter slices only add communication
MOST_UNEVEN = 1.15  # layers of the fullest stage over the average: beyond it, devices mostly wait
LARGEST_MICRO_BATCH = 128
# Tokens of the largest step assumed: that of DeepSeek-V3, 15,360 sequences of 4,096 (arXiv:2412.19437, section 4.2)
LARGEST_BATCH = 2**26
FINE_TUNING_BATCH = 64  # sequences of supervised fine-tuning (Llama 2: arXiv:2307.09288, section 3.1)
LONGEST_SEARCH = 2_000_000_000


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What a search may vary; None means every value that makes sense.

    Attributes:
        tp, pp, vp, dp, cp, ep: Degrees allowed.
        etp: Degrees allowed of the experts' tensor parallelism; None: the usual one alone, ``all``: every one.
        micro_batch: Sequences per pass allowed.
        sharding, recompute, sequence_parallel, dtype, attention: Words allowed; no attention: the profile's own.
        schedule: Pipeline schedules asked for; none: 1f1b, interleaved with virtual stages; ``all``: what the software
            has.
        across_nodes: Whether tensor parallelism may leave the domain of fast links.
    """

    tp: tuple[int, ...] | None = None
    pp: tuple[int, ...] | None = None
    vp: tuple[int, ...] | None = None
    dp: tuple[int, ...] | None = None
    cp: tuple[int, ...] | None = None
    ep: tuple[int, ...] | None = None
    etp: tuple[int, ...] | Literal["all"] | None = None
    micro_batch: tuple[int, ...] | None = None
    sharding: tuple[str, ...] = OTHER_SHARDINGS
    recompute: tuple[str, ...] = RECOMPUTES
    sequence_parallel: tuple[bool, ...] = (False, True)
    dtype: tuple[str, ...] = ("bf16",)
    attention: tuple[str, ...] = ()
    schedule: tuple[str, ...] | Literal["all"] = ()
    across_nodes: bool = False

    @property
    def degrees(self) -> tuple[str, ...]:
        """What makes up a row."""
        return DEGREES if self.etp is None else (*DEGREES, "etp")

    def words(self, *names: str) -> Iterator[dict[str, Any]]:
        """Every combination of the words `names`, as fields of TrainConfig."""
        for values in product(*(getattr(self, name) for name in names)):
            detail = {"recompute_detail": None} if "recompute" in names else {}
            yield recompute_fields(detail | dict(zip(names, values, strict=True)))


class Space(msgspec.Struct, frozen=True):
    """The consistent layouts of one or several numbers of devices.

    Attributes:
        columns: Degree, or num_devices -> [rows].
        micro_batches: Sequences per pass, [micro batches].
        consistent: Whether row and micro batch go together, [rows, micro batches].
    """

    columns: dict[str, Any]
    micro_batches: Any
    consistent: Any

    def where(self, rows: Any) -> Space:
        """Those of its `rows`, a mask: [rows]."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Space(columns, self.micro_batches, self.consistent[rows])

    def followed_by(self, other: Space) -> Space:
        """Its rows and those of another space of the same columns and micro batches."""
        import numpy as np

        columns = {name: np.concatenate([column, other.columns[name]]) for name, column in self.columns.items()}
        return Space(columns, self.micro_batches, np.concatenate([self.consistent, other.consistent]))


def divisors(number: int) -> list[int]:
    """All divisors, rising.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    low = [n for n in range(1, int(number**0.5) + 1) if number % n == 0]
    return low + [number // n for n in reversed(low) if n * n != number]


def space_of(
    model: ModelConfig, train: TrainConfig, choices: Choices, domain: int, num_devices: Sequence[int]
) -> Space:
    """The consistent layouts.

    Args:
        model: The model.
        train: global_batch and seq_len, resolved scalars; the schedule, or None for the usual ones.
        choices: What may vary.
        domain: Devices joined by fast links: tensor parallelism stays within, unless asked.
        num_devices: Numbers of devices; those without a consistent layout are left out.

    Raises:
        RooflineError: No layout is consistent; the message names the constraint that leaves none.
    """
    import numpy as np

    batch = int(known(train.global_batch))
    rows, problem = [], None
    for devices in num_devices:
        try:
            rows += [(*row, devices) for row in _rows(model, train, choices, domain, devices)]
        except RooflineError as error:
            problem = error
    if problem is not None and not rows:
        raise problem
    table = np.array(rows, dtype=np.int64)  # [rows, degrees]
    columns = {name: table[:, i] for i, name in enumerate((*choices.degrees, "num_devices"))}
    tried = choices.micro_batch or [n for n in divisors(batch) if n <= LARGEST_MICRO_BATCH]
    micro = np.array(sorted(set(tried)), dtype=np.int64)
    consistent = _consistent(columns, batch, micro)
    if not consistent.any():
        degrees = sorted(set(columns["dp"].tolist()))
        raise RooflineError(
            f"global_batch {batch} is not micro_batch x dp x a whole number of accumulation steps"
            f"{', a multiple of pp where stages interleave' if (columns['vp'] > 1).all() else ''} for any "
            f"micro_batch ({_few(micro.tolist())}) and dp ({_few(degrees)}) allowed: "
            f"{_batches_that_work(columns, batch, int(micro[0]))}"
        )
    return Space(columns, micro, consistent)


def _consistent(columns: dict[str, Any], batch: int, micro: Any) -> Any:
    """Whether a row and a micro batch make up the batch: [rows, micro batches]."""
    import numpy as np

    accumulation, left = np.divmod(batch, columns["dp"][:, None] * micro)
    # interleaving runs micro batches in rounds of pp (arXiv:2104.04473, section 2.2)
    rounds = (columns["vp"][:, None] == 1) | (accumulation % columns["pp"][:, None] == 0)
    return (left == 0) & rounds


def _batches_that_work(columns: dict[str, Any], batch: int, micro: int) -> str:
    """The nearest global batches for a micro batch, and the micro batches for a global batch."""
    import numpy as np

    step = micro * int(columns["num_devices"].min())  # a multiple of every dp, in rounds of every pp
    below = batch // step * step
    way = f"use global_batch {below} or {below + step}" if below else f"use global_batch {step}"
    others = [n for n in divisors(batch) if _consistent(columns, batch, np.array([n])).any()]
    return f"{way}, or micro_batch {' or '.join(map(str, others[:4]))}" if others else way


def _few(values: list[int]) -> str:
    return ", ".join(map(str, values if len(values) <= 8 else [*values[:3], "...", *values[-2:]]))


def _next_multiple(value: int, of: int) -> int:
    return -(-value // of) * of


def _rows(model: ModelConfig, train: TrainConfig, choices: Choices, domain: int, devices: int) -> list[tuple[int, ...]]:
    """Every combination of `choices.degrees` that makes up the number of devices."""
    batch = int(known(train.global_batch))
    tensor = _tensor_degrees(model, devices, choices, domain)
    context = _context_degrees(model, devices, train.sequence_length, choices)
    stages = _stage_degrees(model, devices, choices, train.schedule)
    experts = _expert_degrees(model, choices)
    sharing = _sharing_degrees(model, devices, choices, domain)
    virtual = {pp: _virtual_degrees(model.n_layers, pp, choices, train.schedule) for pp in stages}
    rows: list[tuple[int, ...]] = []
    for tp, cp, pp in product(tensor, context, stages):
        dp, left = divmod(devices, tp * cp * pp)
        if left or batch % dp or not (choices.dp is None or dp in choices.dp):
            continue
        rows += [
            (tp, pp, vp, dp, cp, ep, *etp)
            for vp in virtual[pp]
            for ep in experts
            for etp in sharing
            if (dp * cp * tp) % math.prod((ep, *etp)) == 0
        ]
    if not any(virtual.values()):
        raise _no_virtual(choices, stages, train.schedule)
    if not rows:
        raise RooflineError(
            f"no layout: tp ({_few(tensor)}) x cp ({_few(context)}) x pp ({_few(stages)}) x dp must "
            f"be {format_number(devices, 'device')}, "
            f"with global_batch {batch} a multiple of dp"
            + (f" in ({_few(list(choices.dp))})" if choices.dp else "")
            + f": allow more degrees, or use global_batch {_next_multiple(batch, devices)}"
        )
    return rows


def _allowed(given: tuple[int, ...] | None, sensible: list[int]) -> list[int]:
    return sensible if given is None else sorted(set(given))


def _tensor_degrees(model: ModelConfig, devices: int, choices: Choices, domain: int) -> list[int]:
    heads = {group.attention.n_heads for group in model.groups if group.attention is not None}
    widths = {group.mlp.d_ff for group in model.groups if isinstance(group.mlp, Mlp)}
    within = devices if choices.across_nodes or choices.tp else domain
    found = [
        tp
        for tp in _allowed(choices.tp, divisors(devices))
        if tp <= within and devices % tp == 0 and all(n % tp == 0 for n in heads | widths)
    ]
    if not found:
        raise RooflineError(
            f"no tp of ({_few(list(choices.tp or ()))}) divides both the {format_number(devices, 'device')} "
            f"and the model's {'/'.join(map(str, sorted(heads)))} attention heads"
        )
    return found


def _context_degrees(model: ModelConfig, devices: int, seq_len: Number, choices: Choices) -> list[int]:
    length = int(seq_len)
    longest = max(1, length // SHORTEST_SLICE) if choices.cp is None else length
    has_attention = any(group.attention is not None for group in model.groups)
    found = [
        cp
        for cp in _allowed(choices.cp, divisors(devices) if has_attention else [1])
        if cp <= longest and devices % cp == 0 and length % cp == 0
    ]
    if not found:
        there = format_number(devices, "device")
        raise RooflineError(f"no cp of ({_few(list(choices.cp or ()))}) divides {there} and seq_len {length}")
    return found


def _stage_degrees(model: ModelConfig, devices: int, choices: Choices, schedule: str | None) -> list[int]:
    layers = model.n_layers
    paired = schedule is not None and pipeline_schedule(schedule).placement == "both_ends"
    found = [
        pp
        for pp in _allowed(
            choices.pp, [1] if any(group.shares_weights for group in model.groups) else divisors(devices)
        )
        if pp <= layers
        and devices % pp == 0
        and not (paired and pp % 2)
        and (choices.pp is not None or -(-layers // pp) * pp <= MOST_UNEVEN * layers)
    ]
    if not found:
        raise RooflineError(
            f"no pp of ({_few(list(choices.pp or ()))}) divides {format_number(devices, 'device')} "
            f"within the model's {layers} layers{f', in pairs for {schedule}' if paired else ''}"
        )
    return found


def _virtual_degrees(layers: int, pp: int, choices: Choices, schedule: str | None) -> list[int]:
    """Virtual stages hold whole layers, the same number each, and are as many as a schedule that is asked for runs."""
    sensible = [1, *(vp for vp in divisors(layers // pp) if vp > 1)] if pp > 1 and layers % pp == 0 else [1]
    if schedule is not None:
        plan = pipeline_schedule(schedule)
        most = layers if plan.divided else plan.chunks or 1
        sensible = [vp for vp in sensible if (plan.chunks or 1) <= vp <= most]
    return [vp for vp in sensible if choices.vp is None or vp in choices.vp]


def _no_virtual(choices: Choices, stages: list[int], schedule: str | None) -> RooflineError:
    """No virtual stages are left: why."""
    chunks = 0 if schedule is None else pipeline_schedule(schedule).chunks
    allowed = f" of ({_few(list(choices.vp))})" if choices.vp else f" {chunks}" if chunks else ""
    runs = f" for schedule {schedule}" if schedule is not None else ""
    ways = f"use --vp {chunks}" if chunks and choices.vp else "allow another --pp" + (" or --vp" if choices.vp else "")
    return RooflineError(f"no vp{allowed} divides the layers of a stage of pp ({_few(stages)}){runs}: {ways}")


def _expert_degrees(model: ModelConfig, choices: Choices) -> list[int]:
    counts = {group.mlp.n_experts for group in model.groups if isinstance(group.mlp, Moe)}
    if not counts:
        if choices.ep not in {None, (1,)}:
            raise RooflineError(
                f"ep {_few(list(choices.ep or ()))} needs a mixture of experts, and {model.name} has none"
            )
        return [1]
    most = math.gcd(*counts)
    found = [ep for ep in _allowed(choices.ep, divisors(most)) if most % ep == 0]
    if not found:
        raise RooflineError(f"no ep of ({_few(list(choices.ep or ()))}) divides the {sorted(counts)} experts")
    return found


def _sharing_degrees(model: ModelConfig, devices: int, choices: Choices, domain: int) -> list[tuple[int, ...]]:
    """Every (etp,) allowed, the devices that share an expert; where it does not vary, the empty row."""
    if choices.etp is None:
        return [()]
    widths = {group.mlp.expert.d_ff for group in model.groups if isinstance(group.mlp, Moe)}
    if not widths:
        raise RooflineError(f"etp needs a mixture of experts, and {model.name} has none: leave it out")
    given = None if choices.etp == "all" else choices.etp
    within = devices if choices.across_nodes or given else domain
    found = [
        etp
        for etp in _allowed(given, divisors(devices))
        if etp <= within and devices % etp == 0 and all(width % etp == 0 for width in widths)
    ]
    if not found:
        there = format_number(devices, "device")
        wide = "/".join(map(str, sorted(widths)))
        raise RooflineError(
            f"no etp of ({_few(list(given or ()))}) divides both the {there} and an expert's width {wide}"
        )
    return [(etp,) for etp in found]


def default_global_batch(
    num_devices: int,
    seq_len: int,
    micro_batch: int = 1,
    *,
    fine_tunes: bool = False,
    largest: float = LARGEST_BATCH,
) -> int:
    """Sequences of about a million tokens, a power of two or a multiple of the devices: assumed where none is given.

    Fine-tuning takes fewer (`FINE_TUNING_BATCH`). So many devices that this exceeds `largest` tokens share
    sequences: a divisor of their number is left, where one does, by powers of two, which split models.

    >>> default_global_batch(64, 2048), default_global_batch(8, 4096), default_global_batch(1, 257)
    (512, 256, 4096)
    >>> default_global_batch(98304, 4096)
    12288
    >>> default_global_batch(8, 4096, fine_tunes=True)
    64
    """
    each = num_devices * micro_batch
    wanted = FINE_TUNING_BATCH if fine_tunes else 2 ** max(round(math.log2(2**20 / seq_len)), 0)
    most = max(min(largest, LARGEST_BATCH) // seq_len, wanted)
    if each > most:
        shares = [n for n in divisors(num_devices) if n == 1 or n * micro_batch <= most]
        halved = [n for n in shares if (num_devices // n).bit_count() == 1]
        return micro_batch * max(halved or shares)
    return each * max(1, -(-wanted // each))
