"""Memory as people read it: parts against capacity, and the changes that make it fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..answers.fit import fit_words
from ..arrays import is_scalar
from ..config.optimizer import optimizer
from ..config.profile import profile_of
from ..config.run import TrainConfig
from ..config.words import layout_words
from ..footprint.parts import PARTS, TENSORS, Memory
from .about import model_json, train_json
from .cases import cases, sweep, trained
from .cells import points, seconds, share, size
from .table import Cell, Table, cell_text
from .words import batch_words, device_notes, method_words, model_words, sentence

if TYPE_CHECKING:
    from ..answers.capacity import MemoryFit
    from ..answers.fixes import Fix

PHASE_WORDS = {
    "loss": "in the loss",
    "backward starts": "where backward starts",
    "backward ends": "where backward ends",
    "update": "in the optimizer's update",
}
NEARLY = 0.005  # of a total: less is no row of its own


def tables(result: MemoryFit) -> list[Table]:
    """The answer, memory by part, and what makes it fit where it does not; of arrays a row a case."""
    if not is_scalar(result.total_bytes):
        return [_sweep(result)]
    found = [_summary(result), memory_table(result, result.train, result.explained), phases_table(result)]
    return found if result.fits is not False else [*found, fixes_table(result.fixes)]


def data(result: MemoryFit) -> dict[str, Any]:
    """The JSON object of one memory estimate, in bytes."""
    return {
        "model": model_json(result.model),
        "device": result.device and {"id": result.device.id, "name": result.device.name},
        "train": train_json(result.train),
        **{name: getattr(result, name) for name in Memory.__struct_fields__},
        "verdict": result.verdict,
        "max_micro_batch": result.max_micro_batch,
        "sure_micro_batch": result.sure_micro_batch,
        "most_micro_batch": result.most_micro_batch,
        "max_seq_len": result.max_seq_len,
        "sure_seq_len": result.sure_seq_len,
        "explained": result.explained,
        "fixes": result.fixes,
        "notes": result.notes,
    }


def records(result: MemoryFit[Any, Any]) -> Table:
    """The figures as one row; of arrays what was asked and the figures, one row a case."""
    figures = {name: value for name, value in data(result).items() if name != "device" and _figure(value)}
    if is_scalar(result.total_bytes):
        return cases(figures)
    device = None if result.device is None else result.device.id
    return cases({"model": result.model.name, "device": device, **trained(result.train), **figures})


def _sweep(result: MemoryFit[Any, Any]) -> Table:
    """Of arrays: what varies, and whether it fits, a row a case."""
    figures: dict[str, Any] = {
        name: (getattr(result, f"{name}_bytes"), size) for name in ("allocated", "reserved", "total")
    }
    where = ""
    if result.device is not None:
        figures |= {"capacity": (result.capacity_bytes, size), "fit": (result.verdict, str)}
        where = f" on {result.device.name}"
    return sweep(f"{model_words(result.model)}{where}", result.train, figures)


def _figure(value: Any) -> bool:
    return value is None or isinstance(value, int | float) or hasattr(value, "shape")


def notes(result: MemoryFit) -> list[str]:
    """What was assumed, and how far the device's figures can be trusted."""
    assumed = [sentence(note) for note in (*result.notes, *result.model.assumptions)]
    return assumed + ([] if result.device is None else device_notes(result.device))


def _summary(result: MemoryFit) -> Table:
    """What was asked, whether it fits, and what would at most."""
    train = result.train
    rows: list[list[Any]] = [
        ["Layout", layout_words(train)],
        ["Batch", batch_words(train, result.model, chosen=result.chosen)],
        ["Method", f"{train.dtype}, {method_words(train)}"],
        ["", ""],
        ["Answer", fit_words(result)],
    ]
    title = model_words(result.model)
    if result.device is not None and result.model.recorded is None:
        of, at = f" of {train.sequence_length:,} tokens", f" tokens at micro batch {train.micro_batch:,}"
        positions = result.model.learned_positions
        ends = f"the global batch of {train.global_batch:,} allows no more", f"the model has {positions:,} positions"
        largest = _at_most(result.max_micro_batch, result.sure_micro_batch, of, result.most_micro_batch, ends[0])
        longest = _at_most(result.max_seq_len, result.sure_seq_len, at, positions, ends[1])
        rows += [["Largest micro batch", largest], ["Longest sequence", longest]]
    title += "" if result.device is None else f" on {result.device.name}"
    return Table(title, ["", ""], rows, align="ll")


def _at_most(likely: int | None, sure: int | None, unit: str, most: int | None, end: str) -> Cell:
    """The largest that is likelier than not to fit, and the largest that surely does; what ends it, if not memory."""
    if not likely:
        return Cell(likely, "none fits")
    ended = f" ({end})" if likely == most else ""
    if sure == likely:
        return Cell(likely, f"{likely:,}{unit}: surely fits{ended}")
    return Cell(likely, f"{likely:,}{unit}: likelier than not to fit; {f'{sure:,}' if sure else 'none'} surely{ended}")


def pieces(result: MemoryFit) -> list[str]:
    """Whether it fits, memory against capacity, what would fit at most, what makes it fit."""
    from .html.pieces import answer, facts, table

    if not is_scalar(result.total_bytes):
        return [table(_sweep(result))]
    name = model_words(result.model)
    title = name if result.device is None else f"{name} on {result.device.name}"
    summary = [(str(row[0]), cell_text(row[1])) for row in _summary(result).rows if row[0] and row[0] != "Answer"]
    found = [answer(title, fit_words(result), good=result.fits is not False), memory_bar(result, result.train)]
    found.append(facts(summary))
    return found if result.fits is not False else [*found, table(fixes_table(result.fixes))]


def memory_bar(memory: Memory, train: TrainConfig) -> str:
    """The parts side by side against the capacity, which a line marks where they exceed it."""
    from .colours import PART_COLOURS

    labels = part_words(train)
    parts = [(labels[name], float(getattr(memory, name)), PART_COLOURS[name]) for name in PARTS]
    return parts_bar(parts, memory.capacity_bytes)


def parts_bar(parts: Sequence[tuple[str, float, str]], capacity: float | None) -> str:
    """Bytes of one device by part, each a name, its bytes and its colour, against the capacity."""
    from .html.bars import Segment, bar

    segments = [
        Segment(held, name, size(held).text, colour) for name, held, colour in sorted(parts, key=lambda part: -part[1])
    ]
    total = sum(segment.share for segment in segments)
    title = f"Memory of the fullest device: {size(total).text}"
    if capacity is None:
        return bar(title, segments, whole=total)
    there = float(capacity)
    title += f" of {size(there).text}"
    return bar(title, segments, whole=max(total, there), limit=there if total > there else None)


def part_words(train: TrainConfig) -> dict[str, str]:
    """Every part of the memory in words, the optimizer's as this configuration fills it."""
    return {**{name: part.says for name, part in PARTS.items()}, "optimizer_bytes": optimizer_words(train)}


def optimizer_words(train: TrainConfig) -> str:
    """What the optimizer's row holds: its state, the fp32 master weights (unless the weights are kept in fp32), both.

    >>> optimizer_words(TrainConfig(stack="megatron")), optimizer_words(TrainConfig(dtype="fp32"))
    ('optimizer state and master weights', 'optimizer state')
    """
    copies = bool(train.master_bytes) and not profile_of(train).cast_weights
    if not optimizer(train.optimizer).keeps:
        return "master weights" if copies else "optimizer state"
    return "optimizer state and master weights" if copies else "optimizer state"


def memory_table(memory: Memory, train: TrainConfig, explained: Mapping[str, str] | None = None) -> Table:
    """Peak bytes of the fullest device by part, the largest first; `explained` adds the arithmetic.

    What fits is judged by `needed_bytes`, which stand below the total where they are less than it.
    """
    labels = {"needed_bytes": "needed at least", **part_words(train)}
    explained = explained and {"needed_bytes": "once the allocator gives back what it keeps", **explained}
    parts = [name for name in PARTS if getattr(memory, name)]
    parts.sort(key=lambda name: -getattr(memory, name))
    rows: list[list[Any]] = []
    capacity = memory.capacity_bytes
    sums = ["total_bytes"]
    sums += [] if memory.needed_bytes > (1 - NEARLY) * memory.total_bytes else ["needed_bytes"]
    sums += [] if capacity is None else ["capacity_bytes"]
    for name in (*parts, *sums):
        value = getattr(memory, name)
        words = labels.get(name, name.removesuffix("_bytes"))
        rows.append([words, size(value), None if capacity is None else share(value / capacity)])
        if explained is not None:
            rows[-1].append(explained.get(name, ""))
    columns = ["memory per device", "peak", "of capacity"]
    if explained is None:
        return Table("", columns, rows, align="lrr")
    return Table("", [*columns, "how it comes about"], rows, align="lrrl")


def phases_table(memory: Memory) -> Table:
    """Live tensors at each moment of a step that may be the peak, which is marked; and what the device shows for it."""
    used = [part for part in TENSORS.values() if any(getattr(phase, part.tensors) for phase in memory.phases)]
    most = max((phase.total for phase in memory.phases), default=0)
    rows: list[list[Any]] = []
    for phase in memory.phases:
        figures = [size(getattr(phase, part.tensors)) for part in used]
        rows.append([PHASE_WORDS[phase.name], *figures, size(phase.total), "peak" if phase.total == most else ""])
    blank = [""] * len(used)
    rows.append(["reserved by the allocator", *blank, size(memory.reserved_bytes), ""])
    rows.append(["shown by the driver", *blank, size(memory.driver_bytes), ""])
    heads = [part.short for part in used]
    return Table("", ["live tensors", *heads, "sum", ""], rows, align="l" + "r" * (len(used) + 1) + "l")


def fixes_table(fixes: Sequence[Fix]) -> Table:
    """The cheapest changes that make it fit: what each saves, what it then needs, how surely it fits, what it costs."""
    columns = ["cheapest changes that make it fit", "saves", "needed", "sure", "step time", "device-time"]
    if not fixes:
        none = "no combination of up to three changes fits: use more devices, or larger ones"
        return Table("", columns, [[none, *[None] * 5]])
    rows = [
        [
            fix.change,
            size(fix.saved_bytes),
            size(fix.needed_bytes),
            Cell(fix.fit_probability, f"{100 * fix.fit_probability:.0f} %"),
            seconds(fix.step_time_s),
            points(fix.cost),
        ]
        for fix in fixes
    ]
    return Table("", columns, rows, align="lrrrrr")
