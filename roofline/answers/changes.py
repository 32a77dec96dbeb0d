"""The catalogue of changes: what of a run may be otherwise, a row each; every piece of advice is a filter over it.

What makes a run fit is searched in `fixes`, what makes it faster or would explain a slow one is in `advice`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ..arrays import ceil_div
from ..config.lora import LORA_RANK
from ..config.recompute import RECOMPUTES
from ..config.settle import Run
from ..config.stack import load_stack
from ..config.words import schedule_run
from ..errors import RooflineError
from . import alternatives as able

FITS, FASTER, EXPLAINS, SERVES, LAYOUTS = "fits", "faster", "explains", "serves", "layouts"  # the questions
ADAPTS = "adapts"  # what fits where all weights cannot be trained
DEGREES = ("tp", "pp", "cp")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing of a run otherwise.

    Attributes:
        kind: What it changes: two of a kind do not combine.
        what: In words.
        options: The options to give; ``model`` and ``device`` stand for another model or device.
        measure: What to measure, to know whether it is so.
    """

    kind: str
    what: str
    options: dict[str, Any]
    measure: str = ""


class Row(msgspec.Struct, frozen=True):
    """One row of the catalogue.

    Attributes:
        kind: What it changes: the option, unless `option` is another.
        questions: What it may answer.
        words: What is changed, with the value in braces, or a function of run and value.
        values: The other values worth trying; none where the change does not apply.
        option: The option that takes the value; empty: `kind`.
        measure: What to measure, to know whether a run has it.
    """

    kind: str
    questions: tuple[str, ...]
    words: str | Callable[[Run, Any], str]
    values: Callable[[Run], Iterable[Any]]
    option: str = ""
    measure: str = ""

    def changes(self, run: Run) -> Iterator[Change]:
        """The changes of this row that apply to a run."""
        for value in self.values(run):
            what = self.words.format(value) if isinstance(self.words, str) else self.words(run, value)
            options = value if isinstance(value, Mapping) else {self.option or self.kind: value}
            yield Change(kind=self.kind, what=what, options=dict(options), measure=self.measure)


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
    stack, schedule = load_stack(changed.train.stack), schedule_run(changed.train)
    if changed.train.sharding not in {train.sharding, *stack.shardings}:
        raise RooflineError(f"{stack.name} does not shard as {changed.train.sharding}")
    if schedule not in {None, schedule_run(train), *stack.schedules}:
        raise RooflineError(f"{stack.name} does not run {schedule} pipelines")
    if changed.train.stack != train.stack:
        options["stack"] = changed.train.stack
    return changed, options


NAMES_OF_KERNELS = "the names of the costliest kernels in a profiler ('roofline profile' reads its trace)"
MEMORY_PEAK = "the peak memory, against what 'roofline memory' says of either"

# --- the catalogue ---------------------------------------------------------------------------------------

CATALOGUE = (
    Row(
        "sequence_parallel",
        (FITS, FASTER, EXPLAINS),
        lambda _run, on: f"{'' if on else 'no '}sequence parallelism",
        lambda run: [not run.train.sequence_parallel] if run.train.tp > 1 else [],
    ),
    Row("sharding", (FITS, FASTER), "{} sharding", able.shardings),
    Row("sync_each_batch", (FITS,), "gradients reduced in every micro batch", able.synced),
    Row(
        "recompute",
        (FITS, FASTER, EXPLAINS),
        "{} recompute",
        lambda run: able.others(RECOMPUTES, run.train.recompute),
        measure=MEMORY_PEAK,
    ),
    Row("recompute", (FITS, FASTER), "{} recomputed", able.recomputed_modules),
    Row("micro_batch", (FITS,), "micro batch {}", able.micro_batches),
    Row("micro_batch", (FASTER, EXPLAINS), able.batch_words, able.micro_batches, measure=MEMORY_PEAK),
    Row("global_batch", (FASTER,), able.fuller_words, able.fuller),
    Row(
        "vp",
        (FITS, FASTER),
        "virtual stages {}",
        lambda run: able.multiples("vp", 0.5, 2)(run) if run.train.pp > 1 else [],
    ),
    Row("tp", (FITS, FASTER), "tensor parallel {}", able.degrees("tp")),
    Row("pp", (FITS, FASTER), "pipeline parallel {}", able.degrees("pp")),
    Row("cp", (FITS, FASTER), "context parallel {}", able.degrees("cp")),
    Row("ep", (FITS, FASTER), "expert parallel {}", able.expert_degrees("ep")),
    Row("etp", (FITS, FASTER), "experts split over {}", able.expert_degrees("etp")),
    Row("restrictions", (LAYOUTS,), able.free_words, able.restrictions),
    Row("num_devices", (FITS, LAYOUTS), "{:,} devices", able.more_devices),
    Row("optimizer", (FITS,), "8-bit AdamW", lambda run: able.in_place_of_adamw(run, "adamw-8bit")),
    Row("optimizer", (LAYOUTS,), "--optimizer {}", lambda run: able.in_place_of_adamw(run, "adamw-8bit")),
    Row("optimizer", (FITS, FASTER), "fused AdamW", lambda run: able.in_place_of_adamw(run, "adamw-fused")),
    Row("train", (FITS,), "a base in 4 bits (QLoRA)", able.quantised_bases),
    Row("offload", (FITS,), lambda _run, what: f"{', '.join(what)} offloaded to the host", able.offloads),
    Row("fused", (FITS, FASTER), able.loss_words, able.losses),
    Row("dtype", (FITS, FASTER), "{} mixed precision", able.better_dtype),
    Row("dtype", (EXPLAINS,), "matmuls run in {}", able.slower_dtypes, measure=NAMES_OF_KERNELS),
    Row("attention", (FITS, FASTER), lambda _run, name: able.KERNEL_WORDS[name], able.later_kernels),
    Row(
        "attention",
        (EXPLAINS,),
        able.KERNEL_WORDS["unfused"],
        lambda run: able.others(("unfused",), run.train.attention),
        measure=NAMES_OF_KERNELS,
    ),
    Row("stack", (FASTER,), "torch.compile", lambda run: ["compiled"] if run.train.stack == "eager" else []),
    Row(
        "stack",
        (EXPLAINS,),
        "kernels run one by one, nothing is compiled or fused (eager)",
        lambda run: able.others(("eager",), run.train.stack),
        measure="the kernels of one step in a profiler ('roofline profile' reads its trace)",
    ),
    Row(
        "vocabulary",
        (FASTER,),
        lambda _run, new: f"vocabulary padded to {new['model'].vocab_size:,}",
        able.padded_vocabulary,
    ),
    Row(
        "network",
        (EXPLAINS,),
        f"the network runs at 1/{able.SLOW_NETWORK:g} of its speed",
        able.slow_network,
        "network_gbit_per_s",
        "an all-reduce of 1 GB across nodes (all_reduce_perf of nccl-tests)",
    ),
    Row(
        "links",
        (EXPLAINS,),
        "devices of a node talk over PCIe (peer-to-peer over fast links is off)",
        able.over_pcie,
        measure="an all-reduce of 1 GB in one node (all_reduce_perf of nccl-tests), and nvidia-smi topo -m",
    ),
    Row(
        "host",
        (EXPLAINS,),
        f"the host launches kernels at 1/{able.SLOW_HOST:g} of the usual rate (host-bound)",
        able.slow_host,
        measure="the step at twice the micro batch: a pass that hardly takes longer waits for the host",
    ),
    Row(
        "clock",
        (EXPLAINS,),
        f"the device is throttled to {able.THROTTLED:.0%} of its clock",
        able.throttled,
        measure="clocks and power while it trains (nvidia-smi -q -d CLOCK,PERFORMANCE)",
    ),
    Row(
        "card",
        (EXPLAINS,),
        lambda _run, other: f"the card is {other['device'].id}",
        able.siblings,
        measure="the card's name and memory ('roofline detect')",
    ),
    Row("tp", (SERVES,), "--tp {0[tp]}", able.sharing),
    Row("dtype", (SERVES,), "--dtype {}", able.narrower),
    Row("micro_batch", (SERVES,), "--micro-batch {}", able.fewer_sequences),
    Row("train", (ADAPTS,), f"LoRA of rank {LORA_RANK}", able.adapters),
    Row("train", (LAYOUTS,), f"--train lora --lora-rank {LORA_RANK}", able.adapters),
    Row("seq_len", (SERVES, LAYOUTS), "--seq-len {}", able.shorter),
)
