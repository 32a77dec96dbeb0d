"""A plan as people read it, as programs do, and several devices beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .. import units
from ..config.recompute import recompute_words
from ..config.words import layout_words
from ..model.parameters import count_parameters
from ..planning.overhead import facts
from ..search.layout import layout_dict
from .cells import one_unit
from .html.pieces import answer, table
from .ladder import law_words
from .layouts import bars
from .table import Cell, Shown, Table
from .words import batch_words, model_words, sentence, sentences, unit_words

if TYPE_CHECKING:
    from ..planning.cost import OtherSoftware, Plan, Scaling
    from ..planning.ladder import Ladder
    from ..planning.laws import Verdict
    from ..planning.overhead import Overhead, Range

KEYS = (
    "tokens",
    "steps",
    "tokens_per_step",
    "wall_time_s",
    "wall_time_low_s",
    "wall_time_high_s",
    "device_hours",
    "energy_kwh",
    "cost",
    "co2_kg",
    "num_devices",
)


HIDDEN = ("terms", "asked")  # in JSON: what was typed is known
AS_ADVISED = 0.05  # tokens that differ from a law's by less are the law's


def tables(result: Plan) -> list[Table]:
    """The answer, and what it rests on."""
    return [summary(result)]


def pieces(result: Plan) -> list[str]:
    """The time and the cost, where the steps' time and memory go, and what it rests on."""
    shown = summary(result)
    headline = units.format_time(result.wall_time_s)
    if result.cost is not None:
        headline += f", cost {units.format_amount(result.cost)}"
    ends = units.format_time_range(result.wall_time_low_s, result.wall_time_s, result.wall_time_high_s)
    detail = f"10-90 % range {ends}; {result.device_hours:,.0f} device-hours"
    late = result.asked.deadline_s is not None and result.wall_time_s > result.asked.deadline_s
    first = answer(shown.title, headline, detail, good=not late)
    return [first, *bars(result.layout, result.device), table(msgspec.structs.replace(shown, title=""))]


def data(result: Plan) -> dict[str, Any]:
    """The JSON object; what needs a price, power or intensity that is not known is null."""
    found = {name: getattr(result, name) for name in result.__struct_fields__ if name not in HIDDEN}
    others = [
        {
            "stack": each.stack,
            "wall_time_s": each.wall_time_s,
            "slower": each.slower,
            "layout": layout_dict(each.layout),
        }
        for each in result.other_software
    ]
    twice = result.doubling
    return {
        **found,
        "model": result.model.name,
        "device": result.device.id,
        "layout": layout_dict(result.layout),
        "doubling": None if twice is None else msgspec.structs.asdict(twice) | {"layout": layout_dict(twice.layout)},
        "other_software": others,
        **{name: getattr(result, name) for name in ("deadline_s", "budget", "confidence", "deadline_chance")},
    }


def records(result: Plan) -> Table:
    """The figures as one row."""
    return records_of([result])


def several(
    plans: Sequence[Plan], problems: Sequence[str] = (), *, explain: bool = False, sizes: Ladder | None = None
) -> Shown:
    """The best plan in full, the best first, beside the others; the arithmetic and the ladder where they are wanted."""
    best, *others = plans
    found, shown = best.to_dict(), tables(best)
    below = notes(best)
    if others:
        found["plans"] = [one.to_dict() for one in plans]
        shown.insert(0, comparison(plans))
    if explain:
        rows = [[line.what, line.how, Cell(line.value, line.value)] for line in best.arithmetic]
        shown.append(Table("The arithmetic", ["", "", ""], rows, align="llr"))
    if sizes is not None:
        found["ladder"] = sizes.to_dict()
        shown += sizes.tables()[1:]
        below += law_words(sizes)
    left_out = [f"Left out: {problem}." for problem in problems]
    return Shown(found, shown, [*below, *left_out], records_of(plans))


def none_fits(problems: Sequence[str]) -> Shown:
    """The answer where nothing fits: why, and what would."""
    columns = list(records_of([]).columns)
    found = {"fits": False, "plans": [], "problems": list(problems)}
    return Shown(
        found, [Table("Nothing fits", [""], [[problem] for problem in problems], align="l")], [], Table("", columns, [])
    )


def parameters(one: Plan) -> int:
    """Parameters of the plan's model."""
    return count_parameters(one.model).total


def records_of(plans: Sequence[Plan]) -> Table:
    """One plan a row."""
    keys = ["device", *KEYS, "step_time_s", "mfu"]
    rows = [
        [one.device.id, *(getattr(one, key) for key in KEYS), one.layout.step_time_s, one.layout.mfu] for one in plans
    ]
    return Table("", keys, rows)


def summary(one: Plan) -> Table:
    """The answer, and what it rests on."""
    layout, train = one.layout, one.layout.train
    tail = "" if layout.recompute == "none" else f", {recompute_words(layout.train)}"
    count = units.format_count(one.tokens)
    steps = f"{units.format_number(one.steps, 'step')} of {one.tokens_per_step:,}"
    ends = units.format_time_range(one.wall_time_low_s, one.wall_time_s, one.wall_time_high_s)
    rows = [["Time", f"{units.format_time(one.wall_time_s)} ({ends})"]]
    rows = [*deadline_rows(one), *budget_rows(one), *rows]
    rows.append(["Devices", f"{one.num_devices:,} x {one.device.name}"])
    rows.append(["Device-hours", units.format_amount(one.device_hours)])
    if one.cost is not None:
        rows.append(["Cost", between(one, one.cost, units.format_amount)])
    if one.energy_kwh is not None:
        rows.append(["Energy", between(one, one.energy_kwh, energy)])
    if one.co2_kg is not None:
        rows.append(["CO2", f"{one.co2_kg / 1000:,.3g} t"])
    step = f"{units.format_time(layout.step_time_s)}, MFU {units.format_share(layout.mfu)}"
    rows += [
        [unit_words(one.model).capitalize(), f"{count}{read_as(one)}: {steps}"],
        ["Layout", f"{layout_words(train)}{tail}; {train.stack} software"],
        ["Batch", batch_words(train, one.model)],
        ["Step", step],
    ]
    rows += [[f"By {one.verdict.law}", verdict_words(one.verdict, one.tokens)]] if one.verdict is not None else []
    rows += [["Twice the devices", doubling_words(one.doubling)]] if one.doubling is not None else []
    rows += [[f"On {other.stack}", other_words(other)] for other in one.other_software]
    title = f"{model_words(one.model)} on {one.num_devices:,} x {one.device.id}"
    return Table(title, ["", ""], rows, align="ll")


def deadline_rows(one: Plan) -> list[list[str]]:
    """Whether the deadline is met and how surely, or by how much it is missed; nothing without one."""
    deadline = one.asked.deadline_s
    if deadline is None:
        return []
    said = units.format_time(deadline)
    late = next((each for each in one.missed if each.what == "deadline"), None)
    if late is None:
        return [["Deadline", f"{said} is met, {chance_words(one, deadline, units.format_time(one.wall_time_high_s))}"]]
    return [["Deadline", f"{said} IS MISSED by {units.format_time(late.by)}{at_confidence(one)}: {late.why}"]]


def budget_rows(one: Plan) -> list[list[str]]:
    """Whether the budget suffices, or by how much it is exceeded; nothing without one."""
    budget = one.asked.budget
    if budget is None or one.cost is None:
        return []
    given = units.format_amount(budget)
    over = next((each for each in one.missed if each.what == "budget"), None)
    if over is None:
        most = units.format_amount(one.cost * one.wall_time_high_s / one.wall_time_s)
        return [["Budget", f"{given} suffices, {chance_words(one, one.wall_time_s * budget / one.cost, most)}"]]
    by = units.format_amount(over.by)
    return [["Budget", f"{given} IS EXCEEDED by {by}{at_confidence(one)}: {over.why}"]]


def chance_words(one: Plan, seconds: float, most: str) -> str:
    """How surely so many seconds suffice, and what does at the slow end."""
    sure = min(max(round(100 * one.chance(seconds)), 1), 99)
    return f"{sure} % sure (90 % sure: {most})"


def at_confidence(one: Plan) -> str:
    """The confidence that was asked for, where it is no even chance."""
    confidence = one.asked.confidence
    return "" if confidence == 0.5 else f" with {100 * confidence:.3g} % confidence"


def doubling_words(twice: Scaling) -> str:
    """What twice the devices give."""
    speedup = f"{twice.speedup:.2f} times as fast"
    if twice.speedup > 2:
        speedup = f"{speedup}, as less lies on each: {twice.why}" if twice.why else "about twice as fast"
    return f"{units.format_time(twice.wall_time_s)} on {twice.num_devices:,}: {speedup}"


def verdict_words(verdict: Verdict, tokens: int) -> str:
    """What a scaling law says of size and tokens: what they are over the optimal ones, and what would do better."""
    share = tokens / verdict.optimal_tokens
    words = f"the size is best with {units.format_count(round(verdict.optimal_tokens))} tokens"
    if abs(share - 1) > AS_ADVISED:
        words += f" and has {units.format_ratio(share)} times as many"
        better, on = (units.format_count(round(x)) for x in (verdict.better_parameters, verdict.better_tokens))
        less = "as much" if verdict.loss is None else f"{100 * (1 - verdict.least_flops / verdict.flops):.0f} % less"
        what = "does more" if verdict.loss is None else "does the same"
        words += f"; {less} compute {what} with {better} parameters on {on}"
    return words if verdict.loss is None else f"loss {verdict.loss:.3f}; {words}"


def other_words(other: OtherSoftware) -> str:
    """The run on another software profile."""
    recompute = "" if other.layout.recompute == "none" else f", {other.layout.recompute} recompute"
    layout = f"{layout_words(other.layout.train)}{recompute}"
    return f"{units.format_time(other.wall_time_s)} ({100 * other.slower:+.0f} %): {layout}"


def between(one: Plan, value: float, written: Callable[[float], str]) -> str:
    """A figure proportional to the time, with its low and high end."""
    low, high = one.wall_time_low_s / one.wall_time_s, one.wall_time_high_s / one.wall_time_s
    return f"{written(value)} ({written(value * low)} to {written(value * high)})"


def read_as(one: Plan) -> str:
    """Tokens over parameters."""
    return f" ({units.format_ratio(one.tokens / parameters(one))} per parameter)"


def energy(kwh: float) -> str:
    """kWh, or MWh where there are many."""
    return f"{kwh / 1000:,.1f} MWh" if kwh >= 10_000 else f"{kwh:,.0f} kWh" if kwh >= 10 else f"{kwh:.2g} kWh"


def comparison(plans: Sequence[Plan]) -> Table:
    """Several devices, one a row, best first."""
    priced = any(one.cost is not None for one in plans)
    powered = any(one.energy_kwh is not None for one in plans)
    columns = ["Device", "Devices", "Time", "Low", "High", "Tokens", "Device-hours", "Step", "MFU"]
    columns += ["Energy"] * powered + ["Cost"] * priced
    rows = []
    spans = [(one.wall_time_s, one.wall_time_low_s, one.wall_time_high_s) for one in plans]
    span, step = (
        one_unit(t for ends in spans for t in ends),
        one_unit(one.layout.step_time_s for one in plans),
    )
    for one, ends in zip(plans, spans, strict=True):
        times = [Cell(t, span(t)) for t in ends]
        row = [
            one.device.id,
            one.num_devices,
            *times,
            Cell(one.tokens, units.format_count(one.tokens)),
            Cell(one.device_hours, units.format_amount(one.device_hours)),
            Cell(one.layout.step_time_s, step(one.layout.step_time_s)),
            Cell(one.layout.mfu, units.format_share(one.layout.mfu)),
        ]
        if powered:
            row.append(None if one.energy_kwh is None else Cell(one.energy_kwh, energy(one.energy_kwh)))
        if priced:
            row.append(None if one.cost is None else Cell(one.cost, units.format_amount(one.cost)))
        rows.append(row)
    return Table("Devices, best first by what was asked", columns, rows)


def notes(one: Plan) -> list[str]:
    """Assumptions behind the figures, and what was left out."""
    found = ["Low and high are the 10th and 90th percentile.", *overhead_words(one.overhead)]
    if one.energy_kwh is None:
        found.append("No energy: the power of this device is not in the catalog (--power).")
    elif one.terms.power_w is None:
        share = one.layout.energy_share
        found.append(
            "Energy is that of the devices alone: assumes their power limit of "
            f"{one.device.tdp_w:,.0f} W while kernels run "
            f"and half of it while waiting, {100 * share:.0f} % on average (--power, --pue)."
        )
    found += price_words(one)
    found += sentences(one.notes)
    found += [sentence(note) for note in one.model.assumptions]
    return found


def price_words(one: Plan) -> list[str]:
    """What a price is of, where the device was named by an instance of several: clouds state the instance's."""
    price, several = one.terms.price, one.device.num_devices or 1
    if price is None or several == 1 or "instance" not in one.device.sources:
        return []
    of_all = f"{price * several:g} for the {several} devices of the instance"
    remedy = f"if {price:g} is what the instance costs, set --price {price / several:.4g}"
    return [f"Cost is at {price:g} per device-hour, {of_all}: {remedy}."]


def overhead_words(overhead: Overhead) -> list[str]:
    """What the whole run adds to its steps, by part, and what that rests on."""
    low, expected, high = overhead.low, overhead.usual, overhead.high
    least, usual, most = (units.format_ratio(100 * (factor - 1)) for factor in (low, expected, high))
    added = f"the whole run adds {usual} % to its steps ({least} to {most} %; --overhead)"
    if not overhead.parts or overhead.practice is None:
        return [f"As given, {added}."]
    percent = {name: float(f"{100 * (factor - 1):.2g}") for name, factor in overhead.parts.items()}
    shares = {name: f"{units.format_ratio(share)} %" for name, share in percent.items()}
    known = facts()
    failing = (
        f"a failure every {units.format_time(overhead.mtbf_s or 0)} ({', '.join(f.name for f in known.fleet)}; --mtbf)"
    )
    every = units.format_time(overhead.checkpoint_every_s or 0)
    size, writing = units.format_bytes(overhead.checkpoint_bytes or 0), units.format_time(overhead.checkpoint_s or 0)
    return [
        (
            f"{added[0].upper()}{added[1:]}: failures {shares['failures']}, checkpoints {shares['checkpoints']}, "
            f"evaluation {shares['evaluation']}, data {shares['data']}."
        ),
        *_practice_words(overhead.practice, settled=overhead.settled),
        (
            f"Failures: {failing}, {units.format_time(overhead.restart_s or 0)} to restart (assumed). Checkpoints: "
            f"{size} in {writing} ({known.checkpoint.bytes_per_s / 1e9:g} GB/s a node, synchronous: assumed) "
            f"every {every} (--checkpoint-every)."
        ),
    ]


def _practice_words(practice: Range, *, settled: bool) -> list[str]:
    """What published trainings took beyond steps and overhead; nothing within one node."""
    least, usual, most = practice
    if usual == 1:
        return []
    over = "the layout they ran" if settled else "the best layout (less with --stack, --tp and --pp as you will run it)"
    less = f"; less within {facts().practice.nodes} nodes"
    took = f"{usual:.2f} times in the median, {least:.2f} to {most:.2f}"
    return [f"Beside that the time has what published trainings took over {over}: {took}{less}."]
