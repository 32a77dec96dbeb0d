"""``roofline plan``: days, device-hours, energy and cost of a run; or the devices a deadline needs."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from .. import units
from ..errors import RooflineError
from ..output import Cell, Table, add_format_arguments, emit
from . import options

if TYPE_CHECKING:
    from ..budget import Plan, Terms

SUMMARY = "days, device-hours, energy and cost; or the devices a deadline needs"
EXAMPLES = (
    "roofline plan llama-2-7b -d h100-sxm-80gb --num-devices 64 --tokens 2T --price 2.5/h",
    "roofline plan llama-2-7b -d a100-sxm-80gb -d h100-sxm-80gb --tokens chinchilla --deadline 7d --explain",
)
DOES_NOT_FIT = 3
KEYS = (
    "tokens", "steps", "tokens_per_step", "wall_time_s", "wall_time_low_s", "wall_time_high_s", "device_hours",
    "energy_kwh", "cost", "co2_kg", "num_devices",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser)
    options.add_device_arguments(parser, repeatable=True)
    ask = parser.add_argument_group("the run: give what is known, the rest is worked out")
    ask.add_argument("--tokens", metavar="N", type=tokens, help="tokens: 300B, 2e12, or chinchilla (20 per parameter)")
    ask.add_argument("--deadline", metavar="T", type=units.duration_s, help="time it may take: 7d, 36h")
    ask.add_argument("--budget", metavar="MONEY", type=units.positive, help="money it may cost (needs --price)")
    ask.add_argument(
        "--price", metavar="P", action="append", type=units.price,
        help="per device-hour: 2.5/h (once, or once per device in their order)",
    )  # fmt: skip
    ask.add_argument("--intensity", metavar="KG/KWH", type=intensity, help="CO2 per kWh: 0.4, or 400g")
    ask.add_argument("--pue", metavar="X", type=units.positive, default=1.0, help="data centre overhead on energy")
    ask.add_argument("--power", metavar="W", type=units.power, help="mean power of a device (default from its limit)")
    ask.add_argument(
        "--overhead", metavar="X[:LOW:HIGH]", type=overhead,
        help="whole-run time over its steps (default 1.05, from 1.0 to 1.15)",
    )  # fmt: skip
    ask.add_argument("--explain", action="store_true", help="show every line of the arithmetic")
    ask.add_argument("--ladder", action="store_true", help="model sizes that the same compute would train")
    options.add_training_arguments(parser)
    add_format_arguments(parser)


def tokens(text: str) -> int | str:
    """Read a number of tokens, or chinchilla."""
    return text.lower() if text.lower() == "chinchilla" else units.count(text)


def intensity(text: str) -> float:
    """Read kg of CO2 per kWh.

    >>> intensity("0.4"), intensity("400g"), intensity("0.4kg")
    (0.4, 0.4, 0.4)
    """
    match = re.fullmatch(r"\s*([\d.]+(?:e-?\d+)?)\s*(k?g)?\s*(?:/\s*kwh)?\s*", text.lower())
    value = None if match is None else units.positive(match[1]) / (1000 if match[2] == "g" else 1)
    if value is None or value > 2:
        raise units.UnitError(f"{text!r} is not an intensity: give kg of CO2 per kWh, such as 0.4, or grams as 400g")
    return value


def overhead(text: str) -> tuple[float, float, float]:
    """Read a factor, or a factor with its low and high.

    >>> overhead("1.1"), overhead("1.1:1:1.3")
    ((1.1, 1.1, 1.1), (1.0, 1.1, 1.3))
    """
    parts = [float(units.positive(part)) for part in text.split(":")]
    if len(parts) == 1:
        parts *= 3
    if len(parts) != 3 or not 1 <= parts[1] <= parts[0] <= parts[2]:
        raise units.UnitError(f"{text!r} is not an overhead: give a factor of at least 1, or factor:low:high as 1.05:1:1.15")
    usual, low, high = parts
    return low, usual, high


def run(args: argparse.Namespace) -> int:
    """Print the plan, or the plans of several devices; 3 where none fits."""
    from ..budget import DoesNotFit, plan

    model, devices = options.model(args), options.devices(args)
    given = options.train_options(args)
    count = given.pop("num_devices", None)
    plans: list[Plan] = []
    problems: list[str] = []
    fitting = False
    for device, terms in zip(devices, terms_of(args, len(devices)), strict=True):
        try:
            plans.append(plan(
                model, device, tokens=args.tokens, num_devices=count, deadline_s=args.deadline, budget=args.budget,
                terms=terms, doubling=len(devices) == 1, **given,
            ))  # fmt: skip
        except RooflineError as error:
            if len(devices) == 1 and not isinstance(error, DoesNotFit):
                raise
            fitting = fitting or not isinstance(error, DoesNotFit)
            problems.append(str(error))
    if not plans:
        if fitting:
            raise RooflineError("; ".join(problems))
        import sys

        sys.stderr.write("roofline: " + "; ".join(problems) + "\n")
        return DOES_NOT_FIT
    plans.sort(key=lambda one: order(one, args))
    write(args, plans, problems)
    return 0


def terms_of(args: argparse.Namespace, count: int) -> list[Terms]:
    """What each device's run is charged by."""
    from ..budget import OVERHEAD, Terms

    prices: list[float | None] = list(args.price or [None])
    if len(prices) == 1:
        prices *= count
    if len(prices) != count:
        raise RooflineError(f"{len(prices)} prices for {count} devices: give --price once, or once per --device")
    return [
        Terms(
            price=price, intensity=args.intensity, pue=float(args.pue), power_w=args.power,
            overhead=args.overhead or OVERHEAD,
        )
        for price in prices
    ]  # fmt: skip


def order(one: Plan, args: argparse.Namespace) -> float:
    """What was asked, smallest first: cost, devices for a deadline, most tokens, else time."""
    if args.tokens is None:
        return -one.tokens
    if one.cost is not None:
        return one.cost
    return one.num_devices if args.deadline is not None and args.num_devices is None else one.wall_time_s


# --- what is written ---------------------------------------------------------------------------------------


def write(args: argparse.Namespace, plans: list[Plan], problems: list[str]) -> None:
    """The best plan in full; several devices beside each other."""
    from ..budget import ladder

    best = plans[0]
    data = json_of(best)
    tables = [summary(best, args)]
    if len(plans) > 1:
        data["plans"] = [json_of(one) for one in plans]
        tables.insert(0, comparison(plans))
    if args.explain:
        rows = [[line.what, line.how, Cell(line.value, line.value)] for line in best.arithmetic]
        tables.append(Table("The arithmetic", ["", "", ""], rows, align="llr"))
    if args.ladder:
        compute = best.tokens * 6 * parameters(best)
        rungs = ladder(compute)
        data["ladder"] = rungs
        rows = [
            [Cell(r.parameters, units.format_count(r.parameters)), Cell(r.tokens, units.format_count(r.tokens)), r.tokens_per_parameter]
            for r in rungs
        ]
        title = f"Model sizes for the same compute, {compute:.3g} FLOPs (6ND; 20 tokens per parameter is compute-optimal)"
        tables.append(Table(title, ["Parameters", "Tokens", "Tokens per parameter"], rows))
    if args.format == "csv":
        tables = [csv_table(plans)]
    emit(args, data, tables, notes_of(best, args) + [f"Left out: {problem}." for problem in problems])


def parameters(one: Plan) -> int:
    """Parameters of the plan's model."""
    from ..parameters import count_parameters

    return count_parameters(one.model).total


def json_of(one: Plan) -> dict[str, Any]:
    """The JSON object; lines that need a price, power or intensity that is not known are left out."""
    found = one.to_dict()
    for name in ("energy_kwh", "cost", "co2_kg", "doubling"):
        if found[name] is None:
            del found[name]
    return found


def csv_table(plans: list[Plan]) -> Table:
    """One plan a row."""
    keys = ["device", *KEYS, "step_time_s", "mfu"]
    rows = [
        [one.device.id, *(getattr(one, key) for key in KEYS), one.layout.step_time_s, one.layout.mfu] for one in plans
    ]
    return Table("", keys, rows)


def summary(one: Plan, args: argparse.Namespace) -> Table:
    """The answer, and what it rests on."""
    from .. import report

    layout, train = one.layout, one.layout.train
    tail = "" if layout.recompute == "none" else f", {layout.recompute} recompute"
    step = f"{units.format_time(layout.step_time_s)}, MFU {units.format_share(layout.mfu)}"
    rows = [
        ["Time", f"{duration(one.wall_time_s)} ({duration(one.wall_time_low_s)} to {duration(one.wall_time_high_s)})"],
        ["Devices", f"{one.num_devices:,} x {one.device.name}"],
        ["Device-hours", f"{one.device_hours:,.0f}"],
    ]
    if one.cost is not None:
        rows.append(["Cost", f"{money(one.cost)} ({money(low(one, one.cost))} to {money(high(one, one.cost))})"])
    if one.energy_kwh is not None:
        rows.append(["Energy", f"{energy(one.energy_kwh)} ({energy(low(one, one.energy_kwh))} to {energy(high(one, one.energy_kwh))})"])
    if one.co2_kg is not None:
        rows.append(["CO2", f"{one.co2_kg / 1000:,.3g} t"])
    rows += [
        ["Tokens", f"{units.format_count(one.tokens)}{read_as(one, args)}: {one.steps:,} steps of {one.tokens_per_step:,}"],
        ["Layout", report.layout_words(train) + tail],
        ["Batch", report.batch_words(train, one.model)],
        ["Step", step],
    ]
    if args.deadline is not None:
        spare = "is met" if one.wall_time_s <= args.deadline else "IS MISSED"
        rows.insert(1, ["Deadline", f"{duration(args.deadline)} {spare} (at the slow end: {duration(one.wall_time_high_s)})"])
    if one.doubling is not None:
        twice = one.doubling
        rows.append([
            "Twice the devices", f"{duration(twice.wall_time_s)} on {twice.num_devices:,}: {twice.speedup:.2f} times as fast",
        ])  # fmt: skip
    return Table(f"{report.model_words(one.model)} on {one.num_devices:,} x {one.device.id}", ["", ""], rows, align="ll")


def low(one: Plan, value: float) -> float:
    """The low end of what is proportional to the time."""
    return value * one.wall_time_low_s / one.wall_time_s


def high(one: Plan, value: float) -> float:
    """The high end of what is proportional to the time."""
    return value * one.wall_time_high_s / one.wall_time_s


def read_as(one: Plan, args: argparse.Namespace) -> str:
    """How the tokens were worked out, or read."""
    per_parameter = f"{one.tokens / parameters(one):.3g} per parameter"
    return f" (chinchilla: {per_parameter})" if args.tokens == "chinchilla" else f" ({per_parameter})"


def duration(seconds: float) -> str:
    """Days where there are several, else as other times."""
    return units.format_time(seconds)


def money(value: float) -> str:
    """Money, whole units where there are many."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def energy(kwh: float) -> str:
    """kWh, or MWh where there are many."""
    return f"{kwh / 1000:,.1f} MWh" if kwh >= 10_000 else f"{kwh:,.0f} kWh" if kwh >= 10 else f"{kwh:.2g} kWh"


def comparison(plans: list[Plan]) -> Table:
    """Several devices, one a row, best first."""
    priced = any(one.cost is not None for one in plans)
    powered = any(one.energy_kwh is not None for one in plans)
    columns = ["Device", "Devices", "Time", "Low", "High", "Tokens", "Device-hours", "Step", "MFU"]
    columns += ["Energy"] * powered + ["Cost"] * priced
    rows = []
    for one in plans:
        times = [Cell(t, duration(t)) for t in (one.wall_time_s, one.wall_time_low_s, one.wall_time_high_s)]
        row = [
            one.device.id, one.num_devices, *times, Cell(one.tokens, units.format_count(one.tokens)),
            Cell(one.device_hours, f"{one.device_hours:,.0f}"), Cell(one.layout.step_time_s, units.format_time(one.layout.step_time_s)),
            Cell(one.layout.mfu, units.format_share(one.layout.mfu)),
        ]  # fmt: skip
        if powered:
            row.append(None if one.energy_kwh is None else Cell(one.energy_kwh, energy(one.energy_kwh)))
        if priced:
            row.append(None if one.cost is None else Cell(one.cost, money(one.cost)))
        rows.append(row)
    return Table("Devices, best first by what was asked", columns, rows)


def notes_of(one: Plan, args: argparse.Namespace) -> list[str]:
    """Assumptions behind the figures, and what was left out."""
    least, usual, most = one.overhead
    notes = [
        f"Low and high are the 10th and 90th percentile. Restarts, evaluation and checkpoints are assumed to add "
        f"{100 * (usual - 1):.0f} % to the steps ({100 * (least - 1):.0f} to {100 * (most - 1):.0f} %; --overhead)."
    ]
    if one.energy_kwh is None:
        notes.append("No energy: the power of this device is not in the catalog (--power).")
    elif args.power is None:
        share = one.layout.energy_share
        notes.append(
            f"Energy is that of the devices alone: assumes their power limit of {one.device.tdp_w:,.0f} W while kernels run "
            f"and half of it while waiting, {100 * share:.0f} % on average (--power, --pue)."
        )
    notes += [f"{note[0].upper()}{note[1:]}." for note in one.notes]
    return notes
