"""The result of a search as people read it and as programs do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from .. import units
from ..answers.estimate import waterfall as lost_to
from ..config.recompute import recompute_words
from ..config.stack import load_stack
from ..config.words import layout_words as degrees_words
from ..search.layout import HARDLY, WAITING_DRAW, layout_dict, unsure, worse_by
from .cells import one_unit
from .table import Cell, Table
from .words import device_words, length_words, model_words, sentence, sentences

if TYPE_CHECKING:
    from ..hardware import Device
    from ..search.layout import Layout, SearchResult

BUDGETS_GIB = (8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128, 141, 180, 192, 256, 288)
SHOWN_FRONT = 10
WORDS = {"time": "fastest", "cost": "cheapest", "energy": "most frugal", "memory": "smallest"}
METHODS = {"pipeline_schedule": "Schedule", "sharding": "Sharding", "recompute": "Recompute", "sequence_parallel": "SP"}
EXTRAS: dict[str, Callable[[float], str]] = {
    "cost_per_billion_tokens": lambda value: f"{value:,.2f}",
    "energy_j_per_step": lambda value: units.format_si(value, "J"),
}
CSV_KEYS = (
    "num_devices",
    "tp",
    "pp",
    "vp",
    "dp",
    "cp",
    "ep",
    "etp",
    "pipeline_schedule",
    "micro_batch",
    "accumulation",
    "sharding",
    "sequence_parallel",
    "recompute",
    "dtype",
    "attention",
    "stack",
    "step_time_s",
    "step_time_low_s",
    "step_time_high_s",
    "tokens_per_s",
    "mfu",
    "memory_bytes",
    "fits",
    "device_seconds_per_step",
)


def figures(layout: Layout, result: SearchResult) -> dict[str, Any]:
    """A layout as a JSON object; energy and cost only where the power and the price are known."""
    found = layout_dict(layout)
    share = found.pop("energy_share")
    if result.device.tdp_w is not None:
        found["energy_j_per_step"] = layout.device_seconds_per_step * result.device.tdp_w * share
    if result.price is not None:
        tokens = layout.train.tokens_per_step
        found["cost_per_billion_tokens"] = layout.device_seconds_per_step / 3600 * result.price / tokens * 1e9
    found["near_tie"] = bool(result.layouts) and result.ties(layout)
    return found


def data(result: SearchResult) -> dict[str, Any]:
    """The JSON object."""

    def written(found: list[Layout]) -> list[dict[str, Any]]:
        return [figures(layout, result) for layout in found]

    return {
        "evaluated": result.evaluated,
        "fitting": result.fitting,
        "seconds": result.seconds,
        "interrupted": result.interrupted,
        "objective": result.objective,
        "global_batch": result.global_batch,
        "layouts": written(result.layouts),
        "by_software": written(result.by_software),
        "simplest": None if result.simplest is None else written([result.simplest])[0],
        "front": written(result.front),
        "smallest": None if result.smallest is None else written([result.smallest])[0],
    }


def records(result: SearchResult) -> Table:
    """One layout a row, in the same columns whatever was searched for; what is not known is empty."""
    known = {"energy_j_per_step": None, "cost_per_billion_tokens": None}
    found = [
        {**known, **figures(layout, result), "remark": remark_of(layout, result)} for layout in shown_layouts(result)
    ]
    keys = [*CSV_KEYS, *known, "near_tie", "simplest", "remark"]
    rows = [[{**one, "simplest": one["remark"] == "simplest"}[key] for key in keys] for one in found]
    return Table("", keys, rows)


def shown_layouts(result: SearchResult) -> list[Layout]:
    """The best layouts, the simplest, and the best on each other software; where none fits, the smallest."""
    shown = list(result.layouts)
    if not shown:
        return [] if result.smallest is None else [result.smallest]
    if result.simplest is not None and result.simplest not in shown:
        shown.append(result.simplest)
    for layout in result.by_software:
        if layout.stack not in {one.stack for one in shown}:
            shown.append(layout)
    return shown


def tables(result: SearchResult) -> list[Table]:
    """What to run, and the best layouts."""
    return [header(result), _best(result)]


def pieces(result: SearchResult) -> list[str]:
    """The layout to run, where its time and its memory go, and the others."""
    from .html.pieces import answer, table

    chosen = result.simplest or next(iter(result.layouts), None)
    head = header(result)
    if chosen is None:
        title = f"{model_words(result.model)} on {result.device.name}"
        return [answer(title, "No layout fits", " ".join(result.remedy), good=False), table(head), table(_best(result))]
    headline = f"{layout_words(chosen)}: {units.format_time(chosen.step_time_s)} a step"
    first = answer(head.title, headline, _why(result))
    facts = table(msgspec.structs.replace(head, title=""))
    return [first, *bars(chosen, result.device), facts, table(_best(result))]


def _why(result: SearchResult) -> str:
    """The reason of the recommendation."""
    return recommendation(result)[1][1]


def bars(layout: Layout, device: Device) -> list[str]:
    """Where the peak goes on a layout, and its memory against the capacity."""
    from .colours import ORANGE
    from .estimate import peak_bar
    from .memory import parts_bar

    times = layout.schedule
    steps = lost_to(times, layout.mfu * times.total)
    return [peak_bar(layout.mfu, steps), parts_bar([("in all", layout.memory_bytes, ORANGE)], device.memory_bytes)]


def full_tables(result: SearchResult) -> list[Table]:
    """The same, the fastest within usual memory sizes, and the front of time against memory."""
    return [*tables(result), *_tradeoffs(result)]


def _best(result: SearchResult) -> Table:
    if not result.layouts:
        return ranking("No layout fits; the one that needs least memory", shown_layouts(result), result)
    return ranking(f"The {WORDS[result.objective]} layouts, and the simplest", shown_layouts(result), result)


def _tradeoffs(result: SearchResult) -> list[Table]:
    if len(result.front) < 2:
        return []
    step = -(-len(result.front) // SHOWN_FRONT)
    front = result.front[::-1][::step][::-1]
    return [budgets(result), ranking("Time against memory: none is both faster and smaller", front, result)]


def header(result: SearchResult) -> Table:
    """What was searched for: model, device and its peak, batch, software."""
    found = result.layouts or ([] if result.smallest is None else [result.smallest])
    rows = [*recommendation(result), ["Device", device_words(result.device, found[0].dtype if found else "bf16")]]
    if found:
        length = found[0].train.sequence_length
        sequences = f"{result.global_batch:,} sequences of {length:,} tokens{length_words(found[0].train)}"
        traced = f"{result.global_batch:,} passes of the example inputs"
        rows.append(["Batch", f"{sequences if result.model.recorded is None else traced} a step"])
        best = {layout.stack: layout for layout in result.by_software[::-1] or found}
        rows.append(["Software", ", ".join(list(best)[::-1])])
    devices = sorted({layout.num_devices for layout in found})
    count = f" on {' or '.join(f'{n:,}' for n in devices)} x {result.device.id}" if devices else ""
    return Table(f"{model_words(result.model)}{count}", ["", ""], rows, align="ll")


def recommendation(result: SearchResult) -> list[list[str]]:
    """What to run, and why: two lines."""
    if not result.layouts:
        return []
    best, simplest = result.layouts[0], result.simplest
    ties = len(result.near_ties)
    others = "no other can be told to be as good" if ties == 1 else f"{ties} of the {len(result.layouts)} best tie"
    if unsure(best):
        chosen, why = best, f"none surely fits: it needs least, and is {unsure(best)}"
    elif simplest is None or simplest.train == best.train:
        why = f"it is the {WORDS[result.objective]}" + ("" if ties == 1 else f" of {ties} that cannot be told apart")
        chosen, why = best, f"{why}, and none simpler is within {100 * HARDLY:g} %" if simplest is not None else why
    else:
        least, expected, most = worse_by(best, simplest, result.objective, result.device)
        chosen = simplest
        why = (
            f"the simplest within {100 * HARDLY:g} % that cannot be told from the {WORDS[result.objective]}: "
            f"{100 * expected:+.1f} % "
            f"({100 * least:+.1f} to {100 * most:+.1f} %); {others}"
        )
    step, memory = units.format_time(chosen.step_time_s), units.format_bytes(chosen.memory_bytes)
    figures = f"{step} a step, MFU {units.format_share(chosen.mfu)}, {memory}"
    return [["Run", f"{layout_words(chosen)}, {chosen.stack}: {figures}"], ["Because", why]]


def ranking(title: str, found: list[Layout], result: SearchResult) -> Table:
    """Layouts, one a row; degrees that are 1 everywhere are left out, and said in the title what all do alike."""
    degrees = [
        (name, name)
        for name in ("num_devices", "tp", "pp", "vp", "cp", "ep", "etp", "dp")
        if name in {"tp", "pp", "dp"}
        or len({getattr(layout, name) for layout in found} - {1}) > (name == "num_devices")
        if name != "etp" or any(layout.etp != layout.train.usual_etp for layout in found)
    ]
    head = [{"num_devices": "Devices"}.get(name, name) for name, _ in degrees]
    told = list(METHODS)
    if all(layout.pipeline_schedule in {None, load_stack(layout.stack).usual_schedule(layout.vp)} for layout in found):
        told.remove("pipeline_schedule")  # vp says it
    methods = [name for name in told if len({_word(layout, name) for layout in found}) > 1]
    if len(methods) < len(told):
        title += f" (all with {', '.join(_method(found[0], name) for name in told if name not in methods)})"
    columns = [*head, "Batch", *(METHODS[name] for name in methods), "Step", "10-90 % range", "MFU", "Memory"]
    keys = [*(key for _, key in degrees), "micro_batch", *methods, "step_time_s"]
    keys += ["step_time_low_s", "mfu", "memory_bytes"]
    words = [name for name in ("dtype", "stack") if len({_word(layout, name) for layout in found}) > 1]
    if len({(layout.stack, layout.attention) for layout in found}) > len({one.stack for one in found}):
        words.append("attention")  # where it does not follow from the software
    extras = [name for name in ("cost_per_billion_tokens",) if result.price is not None]
    extras += ["energy_j_per_step"] if result.objective == "energy" and result.device.tdp_w is not None else []
    rows = []
    marked = result.simplest is not None
    step = one_unit(layout.step_time_low_s for layout in found)
    for layout in found:
        data = figures(layout, result)
        remark = remark_of(layout, result)
        rows.append(
            [
                *(data[key] for _, key in degrees),
                Cell(layout.micro_batch, f"{layout.micro_batch} x {layout.accumulation}"),
                *(_word(layout, name) for name in methods),
                Cell(layout.step_time_s, step(layout.step_time_s)),
                _interval(layout, step),
                Cell(layout.mfu, units.format_share(layout.mfu)),
                Cell(layout.memory_bytes, units.format_bytes(layout.memory_bytes)),
                *(
                    Cell(data[name], EXTRAS[name](data[name])) if name in EXTRAS else data[name]
                    for name in words + extras
                ),
                *([Cell(remark == "simplest", "its best" if remark.startswith("best") else remark)] if marked else []),
            ]
        )
    titles = {
        "dtype": "Dtype",
        "attention": "Attention",
        "stack": "Software",
        "cost_per_billion_tokens": "Cost/1B tokens",
        "energy_j_per_step": "Energy/step",
    }
    columns += [titles.get(name, name) for name in words + extras] + [""] * marked
    return Table(title, columns, rows, keys=[*keys, *words, *extras, *["simplest"] * marked], names=len(degrees))


def _method(layout: Layout, name: str) -> str:
    """What a layout does, as words that stand alone."""
    value = _word(layout, name)
    if name == "sequence_parallel":
        return "sequence parallelism" if value else "no sequence parallelism"
    return f"{'no' if value == 'none' else value} {name.removeprefix('pipeline_')}"


def remark_of(layout: Layout, result: SearchResult) -> str:
    """What is special about a layout: the simplest, or the best on a software other than the best one's."""
    if result.simplest is not None and layout.train == result.simplest.train:
        return "simplest"
    others = [one for one in result.by_software if one.stack != result.layouts[0].stack]
    return f"best on {layout.stack}" if any(layout.train == one.train for one in others) else ""


def _word(layout: Layout, name: str) -> Any:
    """A word of a layout; of recompute what exactly runs again."""
    return layout.train.recompute_detail if name == "recompute" else getattr(layout, name)


def _interval(layout: Layout, written: Callable[[float], str]) -> Cell:
    low, high = written(layout.step_time_low_s), written(layout.step_time_high_s)
    return Cell(layout.step_time_low_s, f"{low.split()[0]} to {high}")


def budgets(result: SearchResult) -> Table:
    """The fastest layout within each usual memory size up to the device's."""
    rows: list[list[Any]] = []
    seen = None
    step = one_unit(layout.step_time_s for layout in result.front)
    sizes = [size * 2**30 for size in BUDGETS_GIB if size * 2**30 < result.device.memory_bytes]
    for size in [*sizes, result.device.memory_bytes]:
        within = [layout for layout in result.front if layout.memory_bytes <= size]
        if not within or within[-1] is seen:
            continue
        seen = best = within[-1]
        rows.append(
            [
                Cell(size, units.format_bytes(size)),
                layout_words(best),
                best.stack,
                Cell(best.step_time_s, step(best.step_time_s)),
                Cell(best.memory_bytes, units.format_bytes(best.memory_bytes)),
            ]
        )
    columns = ["Budget", "Layout", "Software", "Step", "Memory"]
    return Table("The fastest within a memory budget per device", columns, rows)


def layout_words(layout: Layout) -> str:
    """A layout in words."""
    recompute = "" if layout.recompute == "none" else f", {recompute_words(layout.train)}"
    return f"{degrees_words(layout.train)}, micro batch {layout.micro_batch}{recompute}"


def notes(result: SearchResult) -> list[str]:
    """How much was searched, near-ties, what would fit, assumptions."""
    return [*_searched(result), *result.remedy, *map(sentence, result.model.assumptions)]


def _searched(result: SearchResult) -> list[str]:
    """How much was searched, near-ties, assumptions."""
    capacity = units.format_bytes(result.device.memory_bytes)
    found = [f"{result.evaluated:,} layouts searched: {result.fitting:,} surely fit in {capacity}."]
    if result.interrupted:
        found.insert(0, "Interrupted: these are the best of the layouts searched so far.")
    if not result.layouts:
        return found
    found += sentences(result.notes)
    if result.objective == "energy":
        found.append(
            f"Assumes a device draws its power limit while kernels run, {WAITING_DRAW:.0%} of it while waiting."
        )
    return found
