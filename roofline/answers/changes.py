"""The catalogue of changes: what of a run may be otherwise, a row each; every piece of advice is a filter over it.

What makes a run fit is searched in `fixes`, what makes it faster or would explain a slow one is in `advice`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..arrays import ceil_div
from ..config.defaults import FILL, LORA_RANK
from ..config.optimizer import coarse_word
from ..config.run import RECOMPUTES
from ..config.settle import Run
from ..config.sharding import SHARDINGS
from ..config.stack import load_stack
from ..errors import RooflineError
from ..model.spec import Moe

if TYPE_CHECKING:
    from ..hardware import Device

FITS, FASTER, EXPLAINS, SERVES, LAYOUTS = "fits", "faster", "explains", "serves", "layouts"  # the questions
MOST_DEVICES = 2**17
LONG = 16 * 1024  # tokens from which a sequence is worth splitting
SHORTEST = 1024  # tokens below which no sequence is cut
THROTTLED = 0.7  # clocks of a device at its power or thermal limit, over those behind its peak
SLOW_NETWORK = 4.0
VOCABULARY = 64  # rows that a vocabulary is padded to: nanoGPT's 50,257 to 50,304
DEGREES = ("tp", "pp", "cp")
RESTRICTIONS = ("sharding", "recompute", "micro_batch", "sequence_parallel", *DEGREES, "vp", "ep", "dp")
# Bytes of a served weight in the dtypes below 16 bits.
WEIGHT_BYTES = {"fp8": 1, "fp4": 0.5}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing of a run otherwise.

    Attributes:
        kind: What it changes: two of a kind do not combine.
        what: In words.
        options: The options to give; ``model`` and ``device`` stand for another model or device.
    """

    kind: str
    what: str
    options: dict[str, Any]


class Row(msgspec.Struct, frozen=True):
    """One row of the catalogue.

    Attributes:
        kind: What it changes: the option, unless `option` is another.
        questions: What it may answer.
        words: What is changed, with the value in braces, or a function of run and value.
        values: The other values worth trying; none where the change does not apply.
        option: The option that takes the value; empty: `kind`.
    """

    kind: str
    questions: tuple[str, ...]
    words: str | Callable[[Run, Any], str]
    values: Callable[[Run], Iterable[Any]]
    option: str = ""

    def changes(self, run: Run) -> Iterator[Change]:
        """The changes of this row that apply to a run."""
        for value in self.values(run):
            what = self.words.format(value) if isinstance(self.words, str) else self.words(run, value)
            options = value if isinstance(value, Mapping) else {self.option or self.kind: value}
            yield Change(kind=self.kind, what=what, options=dict(options))


def changes(question: str, run: Run) -> dict[str, list[Change]]:
    """The changes that may answer a question about a run, by kind."""
    found: dict[str, list[Change]] = {}
    for row in CATALOGUE:
        if question in row.questions:
            found.setdefault(row.kind, []).extend(row.changes(run))
    return {kind: each for kind, each in found.items() if each}


def applied(run: Run, made: Iterable[Change], *, same_software: bool = False) -> tuple[Run, dict[str, Any]]:
    """The run with changes made, and the options that make it from the one given.

    Batch and devices stay unless they are changed: a smaller micro batch means more accumulation steps, and more
    devices take at least as large a batch. Software that was not named is the usual one of the new layout, unless it
    must be the same.

    Raises:
        RooflineError: The run is not possible.
    """
    train = run.train
    options = {name: value for change in made for name, value in change.options.items()}
    model, device = options.pop("model", run.model), options.pop("device", run.device)
    stays: dict[str, Any] = {
        name: getattr(train, name) for name in ("micro_batch", "global_batch", "num_devices", "dtype")
    }
    if options.keys() & {*DEGREES, "num_devices"}:
        stays["dp"] = None
    if same_software:
        stays["stack"] = train.stack
    if "num_devices" in options:
        together = math.prod(int(options.get(name, getattr(train, name))) for name in DEGREES)
        each = options.get("micro_batch", train.micro_batch) * max(options["num_devices"] // together, 1)
        batch = ceil_div(train.global_batch, each) * each
        options |= {"global_batch": batch} if batch != train.global_batch else {}
    there = msgspec.structs.replace(run, model=model, device=device)
    changed = there.changed(**{**stays, **options})
    if changed.train.sharding not in {train.sharding, *load_stack(changed.train.stack).shardings}:
        raise RooflineError(f"{changed.train.stack} does not shard as {changed.train.sharding}")
    if changed.train.stack != train.stack:
        options["stack"] = changed.train.stack
    return changed, options


# --- which values are worth trying -----------------------------------------------------------------------


def _others(values: Iterable[Any], own: Any) -> list[Any]:
    return [value for value in values if value != own]


def _times(name: str, *factors: float) -> Callable[[Run], list[int]]:
    """A degree of the run times each factor, where that is whole and at least 1."""

    def values(run: Run) -> list[int]:
        scaled = (getattr(run.train, name) * factor for factor in factors)
        return [int(value) for value in scaled if value >= 1 and value == int(value)]

    return values


def _degrees(name: str) -> Callable[[Run], list[int]]:
    """Other parallel degrees on the same devices, data parallelism giving way."""
    scaled = _times(name, 0.5, 2, 4, 8)

    def values(run: Run) -> list[int]:
        train: Any = run.train
        own = getattr(train, name)
        if run.model.n_layers < 2 or (name == "cp" and train.sequence_length < LONG and own == 1):
            return []
        return [value for value in scaled(run) if own * train.data_parallel % value == 0]

    return values


def _experts(name: str) -> Callable[[Run], list[int]]:
    """Other degrees of the experts, where there are any."""

    def values(run: Run) -> list[int]:
        train: Any = run.train
        if not any(isinstance(group.mlp, Moe) for group in run.model.groups):
            return []
        if name == "ep":
            return _times("ep", 0.5, 2, 4, 8)(run)
        return _others((1, train.tp), train.expert_tensor_parallel) if train.sequence_parallel else []

    return values


def _shardings(run: Run) -> list[str]:
    """What else the software shards; a pipeline keeps gradients, and gathers no parameters for every micro batch."""
    train: Any = run.train
    if train.data_parallel * train.cp == 1:
        return []
    able = load_stack(train.stack).shardings
    rows = {name: SHARDINGS[name] for name in _others(able, train.sharding)}
    return [name for name, row in rows.items() if train.pp == 1 or not (row.gradients or row.parameters)]


def _micro_batches(run: Run) -> list[int]:
    """The other powers of two that the work of one rank and step holds a whole number of times, and one sequence."""
    each = int(run.train.global_batch or 1) // int(run.train.data_parallel)
    return _others((size for size in (2**power for power in range(11)) if each % size == 0), run.train.micro_batch)


def _batch_words(run: Run, size: int) -> str:
    steps = int(run.train.accumulation * run.train.micro_batch) // size
    return f"micro batch {size} x {steps:,} accumulation steps"


def _fuller(run: Run) -> list[int]:
    """A global batch that fills the pipeline, where there are fewer micro batches than stages."""
    train: Any = run.train
    if train.pp == 1 or train.accumulation >= train.pp:
        return []
    return [FILL * train.pp * train.micro_batch * train.data_parallel]


def _fuller_words(run: Run, batch: int) -> str:
    train = run.train
    return (
        f"--global-batch {batch}: {FILL} micro batches per pipeline stage, not {train.accumulation} for "
        f"{train.pp} stages (time of {train.global_batch} sequences)"
    )


def device_counts(node: int, most: int = MOST_DEVICES) -> Iterator[int]:
    """1, 2, 4, ... within a node, then 1, 2, 3, 4, 6, 8, 12, ... nodes.

    >>> list(device_counts(8, 96))
    [1, 2, 4, 8, 16, 24, 32, 48, 64, 96]
    """
    count = 1
    while count < node:
        yield count
        count *= 2
    nodes = 1
    while node * nodes <= most:
        yield node * nodes
        if nodes >= 2 and node * nodes * 3 // 2 <= most:
            yield node * nodes * 3 // 2
        nodes *= 2


def _more_devices(run: Run) -> list[int]:
    own = run.train.num_devices
    return [count for count in device_counts(int(run.device.devices_per_node)) if count > own]


def _losses(run: Run) -> list[tuple[str, ...]]:
    """Losses that keep fewer copies of the logits than the run's."""
    fused = {*run.train.fused, *load_stack(run.train.stack).fused}
    losses = ("cross_entropy", "linear_cross_entropy")
    known = max((place for place, loss in enumerate(losses) if loss in fused), default=-1)
    return [(*run.train.fused, loss) for loss in losses[known + 1 :]] if run.model.has_head else []


def _loss_words(_run: Run, fused: tuple[str, ...]) -> str:
    return {"cross_entropy": "fused cross-entropy", "linear_cross_entropy": "fused linear cross-entropy"}[fused[-1]]


def _in_place_of_adamw(run: Run, name: str) -> list[str]:
    return _others((name,), run.train.optimizer) if coarse_word(run.train.optimizer) == "adamw" else []


def _better_dtype(run: Run) -> list[str]:
    return ["bf16"] if run.train.activation_bytes == 4 and "bf16" in run.device.peaks else []


def _slower_dtypes(run: Run) -> list[str]:
    """What matmuls run in where mixed precision is off."""
    peaks = run.device.peaks
    own = peaks.get(run.train.dtype, 0)
    return [name for name in ("bf16", "tf32", "fp32") if peaks.get(name, own) < own]


def _kernels(run: Run) -> list[str]:
    """Later attention kernels that the device runs."""
    order = ("unfused", "flash1", "flash2", "flash3")
    if run.train.attention not in order:
        return []
    later = order[order.index(run.train.attention) + 1 :]
    return [name for name in later if name in run.device.family.attention]


KERNEL_WORDS = {
    "unfused": "attention is not fused (no FlashAttention)",
    "flash1": "memory-efficient attention (flash1)",
    "flash2": "FlashAttention-2",
    "flash3": "FlashAttention-3",
}


def _padded(run: Run) -> list[dict[str, Any]]:
    """The model with a vocabulary of whole tiles, where neither the software nor its matmuls pad it."""
    stack, size = load_stack(run.train.stack), run.model.vocab_size
    whole = ceil_div(size, VOCABULARY) * VOCABULARY
    if not run.model.has_head or whole == size or stack.vocab_multiple != 1 or "padding" in stack.fused:
        return []
    return [{"model": msgspec.structs.replace(run.model, vocab_size=whole)}]


def _slow_network(run: Run) -> list[float]:
    from ..timing.ranks import network_bytes_per_s

    if run.train.num_devices == 1:
        return []
    stated = network_bytes_per_s(run.train)
    try:
        rate = run.device.network_bytes_per_s if stated is None else stated
    except RooflineError:
        return []
    return [float(rate) * 8e-9 / SLOW_NETWORK]


def _over_pcie(run: Run) -> list[dict[str, Any]]:
    """The device with its peers behind PCIe, where it has faster links."""
    from ..hardware import override

    device = run.device
    if run.train.num_devices == 1 or device.needs_host or not {"scale_up", "pcie"} <= device.links.keys():
        return []
    return [{"device": override(device, topology="p2p-root")}]


def _throttled(run: Run) -> list[dict[str, Any]]:
    from ..hardware import override

    peaks = {dtype: peak * THROTTLED / 1e12 for dtype, peak in run.device.peaks.items()}
    return [{"device": override(run.device, peak_tflops=peaks)}]


def _siblings(run: Run) -> Iterator[dict[str, Any]]:
    """Slower cards of the same family: those whose ids start alike (a100-..., rtx-4090-...)."""
    from ..hardware import device_ids, load_device

    device, dtype = run.device, run.train.dtype
    family = _family(device.id)
    for name in device_ids():
        if name != device.id and _family(name) == family:
            other: Device = load_device(name)
            if other.peaks.get(dtype, math.inf) < 0.95 * device.peaks.get(dtype, 0):
                yield {"device": other}


def _family(device_id: str) -> tuple[str, ...]:
    """The card in an id; a first word without a digit is a brand.

    >>> _family("h100-sxm-80gb"), _family("rtx-4090")
    (('h100',), ('rtx', '4090'))
    """
    words = device_id.split("-")
    return tuple(words[: 1 if any(letter.isdigit() for letter in words[0]) else 2])


def _shorter(run: Run) -> Iterator[int]:
    length = int(run.train.sequence_length) // 2
    while length >= SHORTEST:
        yield length
        length //= 2


def _sharing(run: Run) -> list[dict[str, Any]]:
    """More devices that share a model that is served, and no replicas."""
    return [{"tp": run.train.tp * 2**power, "num_devices": None} for power in range(1, 7)]


def _fewer_sequences(run: Run) -> list[int]:
    return [run.train.micro_batch // 2**power for power in range(1, 21) if run.train.micro_batch >= 2**power]


def _restrictions(run: Run) -> list[dict[str, Any]]:
    """What of the options restricts a search for layouts."""
    given = [name for name in RESTRICTIONS if run.options.get(name) is not None]
    return [dict.fromkeys(given)] if given else []


def _free_words(_run: Run, given: Mapping[str, Any]) -> str:
    return f"leave {', '.join('--' + name.replace('_', '-') for name in given)} out"


def _adapters(run: Run) -> list[dict[str, Any]]:
    return [] if run.train.train == "lora" else [{"train": "lora", "lora_rank": LORA_RANK}]


# --- the catalogue ---------------------------------------------------------------------------------------

CATALOGUE = (
    Row(
        "sequence_parallel",
        (FITS, FASTER, EXPLAINS),
        lambda _run, on: f"{'' if on else 'no '}sequence parallelism",
        lambda run: [not run.train.sequence_parallel] if run.train.tp > 1 else [],
    ),
    Row("sharding", (FITS, FASTER), "{} sharding", _shardings),
    Row("recompute", (FITS, FASTER, EXPLAINS), "{} recompute", lambda run: _others(RECOMPUTES, run.train.recompute)),
    Row("micro_batch", (FITS, FASTER, EXPLAINS), _batch_words, _micro_batches),
    Row("global_batch", (FASTER,), _fuller_words, _fuller),
    Row("vp", (FITS, FASTER), "virtual stages {}", lambda run: _times("vp", 0.5, 2)(run) if run.train.pp > 1 else []),
    Row("tp", (FITS, FASTER), "tensor parallel {}", _degrees("tp")),
    Row("pp", (FITS, FASTER), "pipeline parallel {}", _degrees("pp")),
    Row("cp", (FITS, FASTER), "context parallel {}", _degrees("cp")),
    Row("ep", (FITS, FASTER), "expert parallel {}", _experts("ep")),
    Row("etp", (FITS, FASTER), "experts split over {}", _experts("etp")),
    Row("restrictions", (LAYOUTS,), _free_words, _restrictions),
    Row("num_devices", (FITS, LAYOUTS), "{:,} devices", _more_devices),
    Row("optimizer", (FITS,), "8-bit AdamW", lambda run: _in_place_of_adamw(run, "adamw-8bit")),
    Row("optimizer", (FITS, FASTER), "fused AdamW", lambda run: _in_place_of_adamw(run, "adamw-fused")),
    Row("fused", (FITS, FASTER), _loss_words, _losses),
    Row("dtype", (FITS, FASTER), "{} mixed precision", _better_dtype),
    Row("dtype", (EXPLAINS,), "matmuls run in {}", _slower_dtypes),
    Row("attention", (FITS, FASTER), lambda _run, name: KERNEL_WORDS[name], _kernels),
    Row("attention", (EXPLAINS,), KERNEL_WORDS["unfused"], lambda run: _others(("unfused",), run.train.attention)),
    Row("stack", (FASTER,), "torch.compile", lambda run: ["compiled"] if run.train.stack == "eager" else []),
    Row(
        "stack",
        (EXPLAINS,),
        "kernels run one by one, nothing is compiled or fused (eager)",
        lambda run: _others(("eager",), run.train.stack),
    ),
    Row("vocabulary", (FASTER,), lambda _run, new: f"vocabulary padded to {new['model'].vocab_size:,}", _padded),
    Row(
        "network",
        (EXPLAINS,),
        f"the network runs at 1/{SLOW_NETWORK:g} of its speed",
        _slow_network,
        "network_gbit_per_s",
    ),
    Row("links", (EXPLAINS,), "devices of a node talk over PCIe (peer-to-peer over fast links is off)", _over_pcie),
    Row("clock", (EXPLAINS,), f"the device is throttled to {THROTTLED:.0%} of its clock", _throttled),
    Row("card", (EXPLAINS,), lambda _run, other: f"the card is {other['device'].id}", _siblings),
    Row("tp", (SERVES,), "--tp {0[tp]}", _sharing),
    Row(
        "dtype",
        (SERVES,),
        "--dtype {}",
        lambda run: _others((name for name in WEIGHT_BYTES if name in run.device.peaks), run.train.dtype),
    ),
    Row("micro_batch", (SERVES,), "--micro-batch {}", _fewer_sequences),
    Row("train", (LAYOUTS,), f"--train lora --lora-rank {LORA_RANK}", _adapters),
    Row("seq_len", (SERVES, LAYOUTS), "--seq-len {}", _shorter),
)
