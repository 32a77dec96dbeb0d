"""Questions about memory: does it fit, largest micro batch, longest sequence, cheapest changes that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, overload

from ..arrays import B, N, Number, is_scalar, size
from ..config.profile import sums_whole
from ..config.recompute import recompute_words
from ..config.run import TrainConfig
from ..config.settle import Run
from ..counting.ownership import expert_shard_degree, shard_degree
from ..counting.step import Step, build_step
from ..errors import RooflineError
from ..footprint.activations import in_flight
from ..footprint.parts import PARTS, Memory, fullest_stage, memory_for, memory_of
from ..footprint.spreads import SURE
from ..model.spec import ModelConfig
from ..result import Result
from ..units import format_count
from .asked import run_of
from .fit import fit_words
from .fixes import Fix, cheapest_fixes

if TYPE_CHECKING:
    from typing import Unpack

    import pandas as pd

    from ..arrays import Bools, Floats
    from ..config.typed import ArrayOptions, Options
    from .asked import Described, Named

EVEN = 0.5  # chance from which a run is likelier than not to fit
LARGEST_BATCH = 2**20
LONGEST_SEQUENCE = 2**24
SEQUENCE_STEP = 128  # tokens: the longest sequence is sought in whole tiles of the attention kernels


class MemoryFit(Result, Memory[N, B], Generic[N, B], frozen=True, kw_only=True):
    """Memory per device and what fits; attributes are the JSON keys of ``roofline memory``.

    Attributes:
        model: The model.
        device: The device; None where none was named, and then capacity and what follows from it are None too.
        train: The resolved configuration.
        explained: The arithmetic of each part, in words.
        max_micro_batch: Largest micro batch likelier than not to fit, everything else equal; 0 where none is. None
            without a device, of an array of runs and of a traced module, as the one that follows.
        sure_micro_batch: Largest that surely fits.
        most_micro_batch: Largest that the global batch that was said allows; None where none was said.
        max_seq_len: Longest sequence likelier than not to fit, in steps of 128 tokens times cp (of cp where none of
            these fits), or the one given if that is longer; 0 where none is.
        sure_seq_len: Longest that surely fits.
        fixes: The cheapest changes that make it fit; empty where it fits.
        notes: What was assumed of the run, as sentences.
        chosen: Whether the micro batch is none that was given, but the fastest that fits.
    """

    VIEW: ClassVar[str] = "memory"

    model: ModelConfig
    device: Any
    train: TrainConfig
    explained: dict[str, str]
    max_micro_batch: int | None
    sure_micro_batch: int | None
    most_micro_batch: int | None
    max_seq_len: int | None
    sure_seq_len: int | None
    fixes: tuple[Fix, ...] = ()
    notes: tuple[str, ...] = ()
    chosen: bool = False

    def __repr__(self) -> str:
        """The answer in one line."""
        where = "" if self.device is None else f" on {self.device.id}"
        words = fit_words(self) if is_scalar(self.total_bytes) else f"{size(self.total_bytes)} configurations"
        return f"<MemoryFit of {self.model.name}{where}: {words}>"

    def to_frame(self) -> pd.DataFrame:
        """Bytes by part, as a pandas frame; of an array of runs a row for each with what was asked."""
        import pandas as pd

        if not is_scalar(self.total_bytes):
            return super().to_frame()
        parts = [*PARTS, "total_bytes", "capacity_bytes"]
        return pd.DataFrame({"part": parts, "bytes": [getattr(self, name) for name in parts]})


@overload
def memory(model: Described, device: Named | None = None, **options: Unpack[Options]) -> MemoryFit: ...
@overload
def memory(
    model: Described, device: Named | None = None, **options: Unpack[ArrayOptions]
) -> MemoryFit[Floats, Bools]: ...
@overload
def memory(*, run: Run, **options: Unpack[Options]) -> MemoryFit: ...
def memory(
    model: Described | None = None, device: Named | None = None, *, run: Run | None = None, **options: Any
) -> MemoryFit[Any, Any]:
    """Peak memory of one device, and what fits; where no micro batch is given, with the fastest that fits.

    >>> memory("gpt2-xl", "h100-sxm-80gb", micro_batch=8)
    <MemoryFit of gpt2-xl on h100-sxm-80gb: fits: ... GiB needed, 79.65 GiB there: ... GiB to spare>

    Args:
        model: As for `estimate`.
        device: As for `estimate`; None: the parts alone.
        run: A settled run (`roofline.settle`), in place of both; options change it.
        **options: Fields of `TrainConfig` (see `estimate`), as plain numbers or as typed.

    Raises:
        RooflineError: Anything a user can mend.
    """
    return memory_run(run_of(model, device, options, run, needs_device=False))


def memory_run(run: Run) -> MemoryFit[Any, Any]:
    """Peak memory of a run already settled (see `memory`)."""
    step = build_step(run.model, run.train)
    used = memory_for(step, 0) if run.device is None else memory_of(step, run.device)
    parts = {name: getattr(used, name) for name in Memory.__struct_fields__}
    if run.device is None:
        parts |= {"capacity_bytes": None, "fits": None, "fit_probability": None}
    one = is_scalar(used.total_bytes)
    asked = one and run.device is not None
    shaped = asked and run.model.recorded is None  # a traced module has the batch and length it was traced with
    return MemoryFit(
        **parts,
        model=run.model,
        device=run.device,
        train=run.train,
        explained=explain(step, used) if one else {},
        max_micro_batch=max_micro_batch(run) if shaped else None,
        sure_micro_batch=max_micro_batch(run, SURE) if shaped else None,
        most_micro_batch=most_micro_batch(run) if shaped else None,
        max_seq_len=max_seq_len(run) if shaped else None,
        sure_seq_len=max_seq_len(run, SURE) if shaped else None,
        fixes=cheapest_fixes(run) if asked and not used.fits else (),
        notes=run.assumed,
        chosen=run.chosen,
    )


def explain(step: Step, used: Memory[Any, Any]) -> dict[str, str]:
    """How each part of the memory comes about, in words."""
    train = step.train
    stage, shares = fullest_stage(step, used.capacity_bytes)
    trained = (shares.trainable_dense, shares.trainable_expert)
    words = {
        "weights_bytes": _product(step, (shares.dense, shares.expert), used.weights_bytes, train.shards_parameters),
        "gradients_bytes": _gradients(step, trained, used.gradients_bytes),
        "optimizer_bytes": _product(step, trained, used.optimizer_bytes, train.sharding != "none"),
    }
    if shares.quantised_dense and shares.expert and not train.shards_parameters:  # each in a width of its own
        each = float(used.weights_bytes / shares.total)
        words["weights_bytes"] = f"{format_count(float(shares.total))} x {each:.3g} bytes on average"
    mixed = train.master_weights and train.activation_bytes == 2 and not train.adapts
    if mixed and step.stack.cast_weights:
        copies = "" if train.shards_parameters else ", and copies in 16 bits"
        words["weights_bytes"] += f" (kept in fp32{copies})"
    kept = {
        "none": "all",
        "selective": "all but what is cheap to run again",
        "full": "the input of each layer",
    }
    flight = in_flight(step, stage)
    batches = "1 micro batch" if flight == 1 else f"{flight:.3g} micro batches in flight"
    what = kept[train.recompute] if train.recompute_detail == train.recompute else f"{recompute_words(train)}: the rest"
    words["activations_bytes"] = f"{what} kept for backward, {batches}"
    if step.model.recorded is not None:
        words["activations_bytes"] = "peak of the traced pass: all kept for backward, inputs, operands in hand"
    tokens = f"{train.micro_batch * train.sequence_length:,} tokens"
    words["logits_bytes"] = f"{tokens} x vocabulary of {step.model.vocab_size:,}, with the copies of the loss"
    words["communication_bytes"] = "gathered layers" if train.shards_parameters else "gradient buckets"
    words["context_bytes"] = "driver context, libraries, what the allocator cannot reuse"
    return words


def _gradients(step: Step, trained: tuple[Number, Number], held: Number) -> str:
    """Bytes `held` as parameters x bytes each; whole where micro batches are summed before they are reduced."""
    train = step.train
    if sums_whole(train, step.stack) and held >= sum(trained) * train.activation_bytes:
        return _product(step, trained, held, False) + ", whole until the last micro batch"
    return _product(step, trained, held, train.reduces_every_pass)


def _product(step: Step, counts: tuple[Number, Number], held: Number, sharded: bool) -> str:
    """Bytes `held` as parameters x bytes each, over the ranks that share them.

    Experts and the other parameters are told apart: each has ranks of its own to be sharded over.
    """
    train, dense, expert = step.train, *map(float, counts)
    ranks = [float(shard_degree(train)), float(expert_shard_degree(train))] if sharded else [1.0, 1.0]
    rest = 0.0
    if sharded and train.pp > 1 and train.shards_parameters:
        whole = (dense + expert) * train.activation_bytes  # kept gathered beside the slices (see `memory`)
        rest = whole if float(held) > whole else 0.0
    each = (float(held) - rest) / max(dense / ranks[0] + expert / ranks[1], 1.0)

    def part(count: float, number: float) -> str:
        over = f", over {number:,.0f} ranks" if number > 1 else ""
        return f"{format_count(count)} x {each:.3g} bytes{over}"

    text = part(dense, ranks[0])
    if expert:
        text = f"experts {part(expert, ranks[1])}; the rest {text}"
    return text + ("; and all of them gathered, in 16 bits" if rest else "")


# --- what fits -------------------------------------------------------------------------------------------


def fits(run: Run, least: float = EVEN, **options: Any) -> bool:
    """Whether a run is possible with other options, and at least so likely to fit."""
    try:
        changed = run.changed(**options)
        return bool(memory_of(build_step(changed.model, changed.train), run.device).fit_probability >= least)
    except RooflineError:  # degrees that do not divide, a figure the device does not have
        return False


def max_micro_batch(run: Run, least: float = EVEN) -> int:
    """Largest micro batch that is at least so likely to fit, everything else equal; 0 where none is.

    With a global batch given, only micro batches that divide it are considered.
    """
    sizes: Sequence[int] = range(1, LARGEST_BATCH + 1)
    per_rank = most_micro_batch(run)
    if per_rank is not None:
        sizes = [size for size in sizes[:per_rank] if per_rank % size == 0]
    best = _largest(lambda index: fits(run, least, micro_batch=sizes[index - 1]), len(sizes))
    return sizes[best - 1] if best else 0


def most_micro_batch(run: Run) -> int | None:
    """Sequences of one rank in a step, where a global batch is given: no micro batch is larger."""
    given = run.options.get("global_batch")
    return None if given is None else int(given // run.train.data_parallel)


def max_seq_len(run: Run, least: float = EVEN) -> int:
    """Longest sequence at least so likely to fit: a multiple of 128 cp, where not even one is of cp; 0 where none is.

    All learned positions, and the length that is given, count whatever they are a multiple of.
    """
    positions, cp = run.model.learned_positions, int(run.train.cp)
    longest = positions or LONGEST_SEQUENCE

    def multiple(step: int) -> int:
        return step * _largest(lambda number: fits(run, least, seq_len=number * step), longest // step)

    best = multiple(SEQUENCE_STEP * cp) or multiple(cp)
    others = (positions, int(run.train.sequence_length))
    return max([best, *(length for length in others if length > best and fits(run, least, seq_len=length))])


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
