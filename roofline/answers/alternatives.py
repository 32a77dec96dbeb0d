"""Which other values of a run are worth trying, for each row of the catalogue of changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..arrays import ceil_div
from ..config.asserts import MEGATRON
from ..config.base import base_dtype
from ..config.defaults import FILL
from ..config.lora import LORA_RANK
from ..config.optimizer import coarse_word
from ..config.profile import sums_whole
from ..config.recompute import recompute_modules
from ..config.run import OFFLOADS
from ..config.settle import Run
from ..config.sharding import SHARDINGS
from ..config.stack import family_of, load_stack
from ..counting.step import build_ops
from ..errors import RooflineError
from ..hardware.device import SAME_ENGINE
from ..model.spec import Moe

if TYPE_CHECKING:
    from ..hardware import Device

MOST_DEVICES = 2**17
LONG = 16 * 1024  # tokens from which a sequence is worth splitting
SHORTEST = 1024  # tokens below which no sequence is cut
THROTTLED = 0.7  # clocks of a device at its power or thermal limit, over those behind its peak
SLOW_NETWORK = 4.0
SLOW_HOST = 3.0  # host time per kernel, where other work or a virtual machine slows the launching thread
VOCABULARY = 64  # rows that a vocabulary is padded to: nanoGPT's 50,257 to 50,304
RESTRICTIONS = ("sharding", "recompute", "micro_batch", "sequence_parallel", "tp", "pp", "cp", "vp", "ep", "dp")
LOW_PRECISION = ("fp8", "nvfp4")  # in which served weights take half and a quarter of their 16 bits


def narrower(run: Run) -> list[str]:
    """Dtypes below 16 bits that the device has an engine for."""
    peaks = run.device.peaks
    return others((name for name in LOW_PRECISION if SAME_ENGINE.get(name, name) in peaks), run.train.dtype)


def others(values: Iterable[Any], own: Any) -> list[Any]:
    """Those that are not the run's own."""
    return [value for value in values if value != own]


def multiples(name: str, *factors: float) -> Callable[[Run], list[int]]:
    """A degree of the run times each factor, where that is whole and at least 1."""

    def values(run: Run) -> list[int]:
        scaled = (getattr(run.train, name) * factor for factor in factors)
        return [int(value) for value in scaled if value >= 1 and value == int(value)]

    return values


def degrees(name: str) -> Callable[[Run], list[int]]:
    """Other parallel degrees on the same devices, data parallelism giving way."""
    scaled = multiples(name, 0.5, 2, 4, 8)

    def values(run: Run) -> list[int]:
        train: Any = run.train
        own = getattr(train, name)
        if run.model.n_layers < 2 or (name == "cp" and train.sequence_length < LONG and own == 1):
            return []
        return [value for value in scaled(run) if own * train.data_parallel % value == 0]

    return values


def expert_degrees(name: str) -> Callable[[Run], list[int]]:
    """Other degrees of the experts, where there are any."""

    def values(run: Run) -> list[int]:
        train: Any = run.train
        if not any(isinstance(group.mlp, Moe) for group in run.model.groups):
            return []
        if name == "ep":
            return multiples("ep", 0.5, 2, 4, 8)(run)
        return others((1, train.tp), train.expert_tensor_parallel) if train.sequence_parallel else []

    return values


def shardings(run: Run) -> list[str]:
    """What else the software shards; a pipeline keeps gradients, and gathers no parameters for every micro batch."""
    train: Any = run.train
    if train.data_parallel * train.cp == 1:
        return []
    able = load_stack(train.stack).shardings
    rows = {name: SHARDINGS[name] for name in others(able, train.sharding)}
    return [name for name, row in rows.items() if train.pp == 1 or not (row.gradients or row.parameters)]


def synced(run: Run) -> list[bool]:
    """Gradients reduced in every micro batch, where whole ones are summed over several."""
    return [True] if sums_whole(run.train, load_stack(run.train.stack)) and run.train.accumulation > 1 else []


def micro_batches(run: Run) -> list[int]:
    """The other powers of two that the work of one rank and step holds a whole number of times, and one sequence."""
    each = int(run.train.global_batch or 1) // int(run.train.data_parallel)
    return others((size for size in (2**power for power in range(11)) if each % size == 0), run.train.micro_batch)


def batch_words(run: Run, size: int) -> str:
    """The micro batch, and the passes that then make up the step."""
    steps = int(run.train.accumulation * run.train.micro_batch) // size
    return f"micro batch {size} x {steps:,} accumulation steps"


def fuller(run: Run) -> list[int]:
    """A global batch that fills the pipeline, where there are fewer micro batches than stages."""
    train: Any = run.train
    if train.pp == 1 or train.accumulation >= train.pp:
        return []
    return [FILL * train.pp * train.micro_batch * train.data_parallel]


def fuller_words(run: Run, batch: int) -> str:
    """What the global batch fills."""
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


def more_devices(run: Run) -> list[int]:
    """More devices than the run has, fewest first."""
    own = run.train.num_devices
    return [count for count in device_counts(int(run.device.devices_per_node)) if count > own]


def recomputed_modules(run: Run) -> list[str]:
    """Modules of the run's layers that may run again alone, where its software recomputes by module (Megatron-Core)."""
    if family_of(run.train.stack) not in MEGATRON:
        return []
    there = {op.module for op in build_ops(run.model, run.train)}
    words = (name for name, word in recompute_modules().items() if not there.isdisjoint(word.modules))
    return others(words, run.train.recompute_detail)


def quantised_bases(run: Run) -> list[dict[str, Any]]:
    """A base in 4 bits under adapters, where it is whole and the device has kernels for it."""
    return [{"train": "qlora"}] if run.train.train == "lora" and base_dtype(run.train.base_dtype) is None else []


def losses(run: Run) -> list[tuple[str, ...]]:
    """Losses that keep fewer copies of the logits than the run's."""
    fused = {*run.train.fused, *load_stack(run.train.stack).fused}
    losses = ("cross_entropy", "linear_cross_entropy")
    known = max((place for place, loss in enumerate(losses) if loss in fused), default=-1)
    return [(*run.train.fused, loss) for loss in losses[known + 1 :]] if run.model.has_head else []


def loss_words(_run: Run, fused: tuple[str, ...]) -> str:
    """The last of the fusions, in words."""
    return {"cross_entropy": "fused cross-entropy", "linear_cross_entropy": "fused linear cross-entropy"}[fused[-1]]


def offloads(run: Run) -> list[tuple[str, ...]]:
    """One thing more in the host's memory."""
    there = run.train.offload
    return [tuple(each for each in OFFLOADS if each in {*there, name}) for name in OFFLOADS if name not in there]


def in_place_of_adamw(run: Run, name: str) -> list[str]:
    """Another form of AdamW, where the run has some AdamW."""
    return others((name,), run.train.optimizer) if coarse_word(run.train.optimizer) == "adamw" else []


def better_dtype(run: Run) -> list[str]:
    """Mixed precision, where the run has none."""
    return ["bf16"] if run.train.activation_bytes == 4 and "bf16" in run.device.peaks else []


def slower_dtypes(run: Run) -> list[str]:
    """What matmuls run in where mixed precision is off."""
    peaks = run.device.peaks
    own = peaks.get(run.train.dtype, 0)
    return [name for name in ("bf16", "tf32", "fp32") if peaks.get(name, own) < own]


def later_kernels(run: Run) -> list[str]:
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


def padded_vocabulary(run: Run) -> list[dict[str, Any]]:
    """The model with a vocabulary of whole tiles, where neither the software nor its matmuls pad it."""
    stack, size = load_stack(run.train.stack), run.model.vocab_size
    whole = ceil_div(size, VOCABULARY) * VOCABULARY
    if not run.model.has_head or whole == size or stack.vocab_multiple != 1 or "padding" in stack.fused:
        return []
    return [{"model": msgspec.structs.replace(run.model, vocab_size=whole)}]


def slow_network(run: Run) -> list[float]:
    """The rate of a network that is slower than stated, in Gbit/s."""
    from ..timing.ranks import network_bytes_per_s

    if run.train.num_devices == 1:
        return []
    stated = network_bytes_per_s(run.train)
    try:
        rate = run.device.network_bytes_per_s if stated is None else stated
    except RooflineError:
        return []
    return [float(rate) * 8e-9 / SLOW_NETWORK]


def over_pcie(run: Run) -> list[dict[str, Any]]:
    """The device with its peers behind PCIe, where it has faster links."""
    from ..hardware import override

    device = run.device
    if run.train.num_devices == 1 or device.needs_host or not {"scale_up", "pcie"} <= device.links.keys():
        return []
    return [{"device": override(device, topology="p2p-root")}]


def throttled(run: Run) -> list[dict[str, Any]]:
    """The device at the clocks it falls to."""
    from ..hardware import override

    peaks = {dtype: peak * THROTTLED / 1e12 for dtype, peak in run.device.peaks.items()}
    return [{"device": override(run.device, peak_tflops=peaks)}]


def slow_host(run: Run) -> list[dict[str, Any]]:
    """The device behind a host that launches kernels at a fraction of the usual rate."""
    measured = run.device.measured
    launch = msgspec.structs.replace(measured.launch, slowdown=SLOW_HOST)
    return [{"device": msgspec.structs.replace(run.device, measured=msgspec.structs.replace(measured, launch=launch))}]


def siblings(run: Run) -> Iterator[dict[str, Any]]:
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


def shorter(run: Run) -> Iterator[int]:
    """Sequences halved, down to `SHORTEST`."""
    length = int(run.train.sequence_length) // 2
    while length >= SHORTEST:
        yield length
        length //= 2


def sharing(run: Run) -> list[dict[str, Any]]:
    """More devices that share a model that is served, and no replicas."""
    return [{"tp": run.train.tp * 2**power, "num_devices": None} for power in range(1, 7)]


def fewer_sequences(run: Run) -> list[int]:
    """Micro batches halved."""
    return [run.train.micro_batch // 2**power for power in range(1, 21) if run.train.micro_batch >= 2**power]


def restrictions(run: Run) -> list[dict[str, Any]]:
    """What of the options restricts a search for layouts."""
    given = [name for name in RESTRICTIONS if run.options.get(name) is not None]
    return [dict.fromkeys(given)] if given else []


def free_words(_run: Run, given: Mapping[str, Any]) -> str:
    """The options to leave out."""
    return f"leave {', '.join('--' + name.replace('_', '-') for name in given)} out"


def adapters(run: Run) -> list[dict[str, Any]]:
    """Adapters in place of all weights."""
    return [] if run.train.adapts else [{"train": "lora", "lora_rank": LORA_RANK}]
