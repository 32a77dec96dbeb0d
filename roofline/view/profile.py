"""A profile as people read it: where a step goes, measured beside expected, collectives, ranks."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from ..profiling.meaning import meaning
from ..timing.terms import TERMS
from ..units import format_bytes, format_rate, format_share, format_si, format_time, format_time_range
from .cells import seconds, share, size
from .table import Cell, Table
from .words import sentences

if TYPE_CHECKING:
    from ..profiling.beside import Beside
    from ..profiling.result import MeasuredOp, Profile

COSTLIEST = 15
VISIBLE = 5e-4  # shares of a step below this are not shown
_WORDS = {"idle": "idle (waiting on events or other streams)", "copy": "copies", "other": "other kernels"}


def tables(result: Profile, gaps: int = COSTLIEST) -> list[Table]:
    """Summary, terms, ops by gap, collectives, ranks, and what stays without operator."""
    found = [summary_table(result), terms_table(result)]
    if result.ops:
        found += gaps_tables(result, gaps)
    if result.collectives:
        found.append(collectives_table(result))
    if len(result.ranks) > 1:
        found.append(ranks_table(result))
    if result.unattributed:
        found.append(unattributed_table(result))
    return found


def summary_table(result: Profile) -> Table:
    """The step, the device, and how much of it is explained."""
    count = len(result.steps)
    rows: list[list[Any]] = [
        ["Step", f"{format_time(result.step_time_s)}{_over(count)}"],
        ["Busy", f"{format_share(_busy(result))} of the steps a kernel or copy runs"],
        ["Device", _device_words(result)],
    ]
    if result.mfu is not None:
        rows.append(["MFU", f"{format_share(result.mfu)} ({result.mfu_rule})"])
    explained = f"{format_share(result.attributed_share)} of kernel time has an operator with shapes, or bytes sent"
    if result.linked_share - result.attributed_share > 0.001:
        explained += f"; {format_share(result.linked_share)} an operator"
    rows.append(["Attributed", explained])
    if result.peak_allocated_bytes:
        rows.append(["Memory", f"{format_bytes(result.peak_allocated_bytes)} allocated at the peak"])
    return Table(_title(result), ["", ""], rows, align="ll")


def _title(result: Profile) -> str:
    files = result.files
    name = files[0].rsplit("/", 1)[-1]
    return name if len(files) == 1 else f"{name} and {len(files) - 1} more ranks"


def _over(count: int) -> str:
    if count == 1:
        return " (one step)"
    return f" (median of {max(count - 2, 1)} of {count} steps: without the first and the last)" if count > 2 else ""


def _busy(result: Profile) -> float:
    whole = sum(step.time_s for step in result.steps)
    gone = result.terms.get("launch", 0.0) + result.terms.get("idle", 0.0)
    return 1 - gone / whole if whole else 0.0


def _device_words(result: Profile) -> str:
    if result.device is None:
        return result.device_name or "not named"
    peak = result.device.peaks.get(result.dtype or "")
    words = f", {result.dtype} at {format_rate(peak)} dense peak" if peak else ""
    return f"{result.device.name}{words}"


def term_words(term: str) -> str:
    """A term of the step, in words."""
    if term.endswith("_exposed"):
        return f"exposed {term.removesuffix('_exposed').replace('_', '-')}"
    return TERMS[term].says if term in TERMS else _WORDS.get(term, term)


def terms_table(result: Profile) -> Table:
    """Where a step goes: the terms sum to the step."""
    count = len(result.steps)
    whole = sum(result.terms.values())
    expected = _expected_by_term(result)
    rows = []
    for term, time in result.terms.items():
        if time < VISIBLE * whole:
            continue
        ours = expected.get(term)
        rows.append([term_words(term), seconds(time / count), share(time / whole), _expected(ours, count)])
    return Table("Where a step goes", ["", "Per step", "Share", "Expected"], rows, align="lrrr")


def _expected(ours: float | None, count: int) -> Cell:
    return Cell(None, "-") if ours is None else seconds(ours / count)


def _expected_by_term(result: Profile) -> dict[str, float]:
    """Our time of the ops of each term; only where all of them have one."""
    sums: dict[str, float] = {}
    known: dict[str, float] = {}
    for op in result.ops:
        term = term_of(op)
        sums[term] = sums.get(term, 0.0) + op.time_s
        if op.expected_time_s is not None:
            known[term] = known.get(term, 0.0) + op.time_s
    ours: dict[str, float] = {}
    for op in result.ops:
        if op.expected_time_s is not None and op.kind != "collective":
            ours[term_of(op)] = ours.get(term_of(op), 0.0) + op.expected_time_s
    named = {term_of_kind(kernel.kind, "forward") for kernel in result.unattributed}
    return {
        term: time for term, time in ours.items() if known.get(term, 0.0) >= 0.98 * sums[term] and term not in named
    }


def term_of(op: MeasuredOp) -> str:
    """The term that an op's time belongs to."""
    return f"{op.name}_exposed" if op.kind == "collective" else term_of_kind(op.kind, op.phase)


def term_of_kind(kind: str, phase: str) -> str:
    """The term of a kind of work in a phase."""
    if phase in {"recompute", "optimizer"}:
        return phase
    if kind in {"matmul", "attention", "optimizer"}:
        return kind
    return "memory_bound" if kind in {"elementwise", "normalization", "softmax", "embedding"} else "other"


def gaps_tables(result: Profile, most: int) -> list[Table]:
    """Measured against expected, the biggest gaps first, and what such gaps usually mean.

    Collectives have a table of their own: one rank's time of them includes waiting.
    """
    ops = [op for op in result.ops if op.kind != "collective"]
    known = sorted((op for op in ops if op.gap_s is not None), key=lambda op: -(op.gap_s or 0.0))
    unknown = [op for op in ops if op.gap_s is None]
    shown = [*known, *unknown][:most]
    count = len(result.steps)
    words = list(dict.fromkeys(filter(None, (meaning(op, result.device) for op in shown))))
    rows = [_gap_row(op, count, words, meaning(op, result.device)) for op in shown]
    columns = ["Op", "Phase", "Shape", "Runs", "Measured", "Expected", "Ratio", "Gap", "Why"]
    title = "Measured against expected per step, biggest gaps first" if known else "Ops per step, the costliest first"
    left = len(ops) - len(shown)
    if left:
        title += f" ({len(shown)} of {len(ops)}: --top)"
    found = [Table(title, columns, rows, align="lllrrrrrl")]
    if words:
        why = [[_letter(place), word] for place, word in enumerate(words)]
        found.append(Table("What such gaps usually mean", ["", ""], why, align="ll"))
    return found


def _letter(place: int) -> str:
    return chr(ord("a") + place)


def _gap_row(op: MeasuredOp, count: int, words: list[str], word: str) -> list[Any]:
    ratio, gap = op.ratio, op.gap_s
    return [
        op_words(op),
        op.phase,
        shape_words(op),
        Cell(op.count / count, f"{op.count / count:.3g}"),
        seconds(op.time_s / count),
        _expected(op.expected_time_s, count),
        Cell(ratio, "-" if ratio is None else f"{ratio:.2f}x"),
        Cell(gap, "-" if gap is None else f"{'-' if gap < 0 else ''}{format_time(abs(gap) / count)}"),
        _letter(words.index(word)) if word else "",
    ]


def op_words(op: MeasuredOp) -> str:
    """An op's name without its namespace."""
    name = op.name.removeprefix("aten::").removeprefix("torch::autograd::CppNode<").split("<")[0].strip(">")
    return name if len(name) <= 34 else f"{name[:33]}…"


def shape_words(op: MeasuredOp) -> str:
    """m, n, k of a matmul, the shapes of attention, or of the largest tensor; the payload of a collective."""
    if op.kind == "collective":
        return format_bytes((op.bytes or 0) / op.count)
    if op.kind == "matmul" and op.matmul is not None:
        m, n, k, batch = op.matmul
        return f"{m}x{n}x{k}" + (f" x {batch}" if batch > 1 else "")
    largest = max(op.shapes, key=prod, default=())
    return "x".join(map(str, largest))


def records(result: Profile) -> Table:
    """Every op with exact sums over the steps: the CSV."""
    keys = [
        "name",
        "kind",
        "phase",
        "dtype",
        "shapes",
        "count",
        "time_s",
        "flops",
        "bytes",
        "expected_time_s",
        "ideal_time_s",
        "ratio",
        "meaning",
    ]
    rows = [
        [
            op.name,
            op.kind,
            op.phase,
            op.dtype,
            " ".join("x".join(map(str, shape)) for shape in op.shapes),
            op.count,
            op.time_s,
            op.flops,
            op.bytes,
            op.expected_time_s,
            op.ideal_time_s,
            op.ratio,
            meaning(op, result.device),
        ]
        for op in result.ops
    ]
    return Table("Ops", keys, rows)


def collectives_table(result: Profile) -> Table:
    """Collectives by size and group, with the bus bandwidth of the quickest."""
    count = len(result.steps)
    rows = []
    for each in result.collectives[:COSTLIEST]:
        bandwidth = each.bus_bandwidth_bytes_per_s
        expected = None if each.expected_time_s is None else each.expected_time_s
        ranks = "-" if each.group_size is None else f"{each.group_size}{'?' if each.assumed else ''}"
        rows.append(
            [
                each.collective.replace("_", "-"),
                Cell(None, "-") if each.payload_bytes is None else size(each.payload_bytes),
                ranks + (f" ({each.group})" if each.group else ""),
                Cell(each.count / count, f"{each.count / count:.3g}"),
                seconds(each.time_s / count),
                seconds(each.exposed_s / count),
                _expected(expected, count),
                Cell(bandwidth, "-" if bandwidth is None else format_si(bandwidth, "B/s")),
            ]
        )
    columns = ["Collective", "Size", "Ranks", "Runs", "Time", "Exposed", "Expected", "Bus bandwidth"]
    return Table("Collectives per step", columns, rows, align="lrlrrrrr")


def ranks_table(result: Profile) -> Table:
    """The ranks side by side: who computes longest waits least."""
    rows = []
    latest = max(result.ranks, key=lambda rank: rank.compute_s)
    for rank in result.ranks:
        waits = Cell(None, "-") if rank.waiting_s is None else seconds(rank.waiting_s)
        word = "slowest" if rank is latest else ""
        rows.append(
            [rank.rank, seconds(rank.step_time_s), seconds(rank.compute_s), seconds(rank.communication_s), waits, word]
        )
    return Table(
        "Ranks per step", ["Rank", "Step", "Compute", "Collectives", "of it waiting", ""], rows, align="rrrrrl"
    )


def beside_tables(found: Beside, most: int) -> list[Table]:
    """The measured step beside the expected one, op by op."""
    ends = format_time_range(found.expected_low_s, found.expected_step_s, found.expected_high_s)
    rows: list[list[Any]] = [
        ["Measured", format_time(found.measured_step_s)],
        ["Expected", f"{format_time(found.expected_step_s)} ({ends})"],
        ["Matched", f"{format_share(found.matched_share)} of the operators' time, {', '.join(found.phases)}"],
    ]
    pairs = [
        [
            pair.name if len(pair.name) <= 44 else f"{pair.name[:43]}…",
            pair.phase,
            "x".join(map(str, pair.shape)) if pair.shape else pair.kind,
            Cell(pair.measured_runs, f"{pair.measured_runs:.3g}" if pair.measured_runs else "-"),
            Cell(pair.expected_runs, f"{pair.expected_runs:.3g}" if pair.expected_runs else "-"),
            seconds(pair.measured_s) if pair.measured_s else Cell(0.0, "-"),
            seconds(pair.expected_s) if pair.expected_s else Cell(0.0, "-"),
            Cell(pair.gap_s, f"{'-' if pair.gap_s < 0 else '+'}{format_time(abs(pair.gap_s))}"),
        ]
        for pair in found.pairs[:most]
    ]
    columns = ["Ours", "Phase", "Shape", "Runs", "Ours", "Measured", "Expected", "Gap"]
    return [
        Table(f"Beside the estimate of {found.model}", ["", ""], rows, align="ll"),
        Table("Op by op per step, largest gaps first", columns, pairs, align="lllrrrrr"),
    ]


def unattributed_table(result: Profile) -> Table:
    """Kernels that stay names."""
    count = len(result.steps)
    rows = [
        [
            kernel.name[:60],
            kernel.kind,
            kernel.why,
            Cell(kernel.count / count, f"{kernel.count / count:.3g}"),
            seconds(kernel.time_s / count),
        ]
        for kernel in result.unattributed[:6]
    ]
    left = len(result.unattributed) - len(rows)
    title = "Kernels known by name alone" + (f" (and {left} more)" if left else "")
    return Table(title, ["Kernel", "Kind", "Because of", "Runs", "Per step"], rows, align="lllrr")


def notes(result: Profile) -> list[str]:
    """What a reader has to know, as sentences."""
    found = sentences(result.notes)
    launch = result.terms.get("launch", 0.0)
    if result.after_synchronization_s > 0.2 * launch > 0:
        found.append(
            f"{format_share(result.after_synchronization_s / launch)} of the launch gaps follow a synchronization "
            "(.item(), .cpu(), print of a tensor): the host waits, then the device."
        )
    if any(each.assumed for each in result.collectives):
        found.append("Ranks with '?': the trace does not say who takes part; assumes all ranks.")
    without = sum(op.time_s for op in result.ops if op.expected_time_s is None)
    whole = sum(op.time_s for op in result.ops)
    if whole and without > 0.02 * whole and result.device is not None:
        found.append(
            f"{format_share(without / whole)} of the attributed time is in operators without a rule (custom ones), or "
            "collectives whose ranks are not known: measured alone."
        )
    return found
