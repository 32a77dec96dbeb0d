"""``roofline plan``: days, device-hours, energy and cost of a run; the devices a deadline needs; what to train."""

from __future__ import annotations

import argparse
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from .. import units
from ..errors import RooflineError
from . import measured, options
from .ladder import add_law_arguments, ladder_of, prices, same_compute
from .output import DOES_NOT_FIT, add_format_arguments, emit, show
from .training import add_training_arguments

if TYPE_CHECKING:
    from ..planning.cost import Plan, Terms
    from ..planning.devices import Progress

EXAMPLES = (
    "roofline plan llama-2-7b -d h100-sxm-80gb --num-devices 64 --tokens 2T --price 2.5/h",
    "roofline plan llama-2-7b -d a100-sxm-80gb -d h100-sxm-80gb --tokens chinchilla --deadline 7d --explain",
    "roofline plan -d h100-sxm-80gb --law chinchilla-refit --budget 1M --deadline 30d --price 2.5/h",
)
SLOW_S = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser, nargs="?")
    options.add_device_arguments(parser, repeatable=True)
    ask = parser.add_argument_group("the run: give what is known, the rest is worked out")
    ask.add_argument(
        "--tokens", metavar="N", type=tokens, help="tokens: 300B, 2e12, or a law's: chinchilla (20 per parameter)"
    )
    add_law_arguments(ask)
    ask.add_argument("--intensity", metavar="KG/KWH", type=intensity, help="CO2 per kWh: 0.4, or 400g")
    ask.add_argument("--pue", metavar="X", type=units.overhead, default=1.0, help="data centre overhead on energy")
    ask.add_argument("--power", metavar="W", type=units.power, help="mean power of a device (default from its limit)")
    ask.add_argument(
        "--overhead",
        metavar="X[:LOW:HIGH]",
        type=overhead,
        help="whole-run time over its steps (default: derived; and what published trainings took beside)",
    )
    ask.add_argument(
        "--mtbf",
        metavar="T",
        type=units.duration_s,
        help="time between failures of one device (default as published fleets, about 37,000h)",
    )
    ask.add_argument(
        "--checkpoint-every",
        metavar="T",
        type=units.duration_s,
        help="training between checkpoints: 30min (default what loses least)",
    )
    ask.add_argument("--explain", action="store_true", help="show every line of the arithmetic")
    ask.add_argument(
        "--ladder", action="store_true", help="model sizes that the same compute would train, on as many devices"
    )
    add_training_arguments(parser, searches=True)
    measured.add_arguments(parser)
    add_format_arguments(parser)


def tokens(text: str) -> int | str:
    """Read a number of tokens, or the name of a law."""
    from ..planning.laws import laws

    return text.lower() if text.lower() in laws() else units.count(text)


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
        raise units.UnitError(
            f"{text!r} is not an overhead: give a factor of at least 1, or factor:low:high as 1.3:1:2"
        )
    usual, low, high = parts
    return low, usual, high


def run(args: argparse.Namespace) -> int:
    """Print the plan, or the plans of several devices; 3 where none fits, or a deadline or budget is not met."""
    from ..planning.plan import DoesNotFit
    from ..view.plan import none_fits, several

    if args.model is None:
        return what_to_train(args)
    if args.flops is not None:
        raise RooflineError(f"--flops says what to train without a MODEL: for {args.model}, give --tokens")
    with Trying() as progress:
        plans, refusals = plans_of(args, progress)
    problems = [str(refusal) for refusal in refusals]
    if not plans:
        if not all(isinstance(refusal, DoesNotFit) for refusal in refusals):
            raise RooflineError("; ".join(problems))
        emit(args, *none_fits(problems))
        return DOES_NOT_FIT
    plans.sort(key=lambda one: (bool(one.missed), order(one, args)))
    sizes = same_compute(plans[0], args) if args.ladder else None
    emit(args, *several(plans, problems, explain=args.explain, sizes=sizes))
    return DOES_NOT_FIT if plans[0].missed else 0


def plans_of(args: argparse.Namespace, progress: Progress) -> tuple[list[Plan], list[RooflineError]]:
    """The plan of each device that has one, and why others have none; an only device's error is the command's."""
    from ..planning.plan import DoesNotFit, plan

    model, devices = options.model(args), options.devices(args)
    given, seen = options.train_options(args), measured.given(args)
    if seen and len(devices) > 1:
        raise RooflineError("--measured is a step on one device: give one --device")
    wanted = {"tokens": args.tokens, "law": args.law, "num_devices": given.pop("num_devices", None)}
    limits = {"deadline_s": args.deadline, "budget": args.budget, "confidence": args.confidence}
    asked: dict[str, Any] = {**wanted, **limits, "doubling": len(devices) == 1, "progress": progress, **seen, **given}
    plans: list[Plan] = []
    refusals: list[RooflineError] = []
    for device, terms in zip(devices, terms_of(args, len(devices)), strict=True):
        try:
            plans.append(plan(model, device, terms=terms, **asked))
        except RooflineError as error:
            if len(devices) == 1 and not isinstance(error, DoesNotFit):
                raise
            refusals.append(error)
    return plans, refusals


def what_to_train(args: argparse.Namespace) -> int:
    """Print the sizes that a compute, a budget or a time allow; 3 where none fits, or the best misses what is asked."""
    from ..planning.plan import DoesNotFit
    from ..view.plan import none_fits

    if args.law is None and args.flops is None:
        raise RooflineError("missing MODEL ('roofline models' lists all); or --law NAME or --flops C for what to train")
    if args.tokens is not None:
        raise RooflineError("--tokens needs a MODEL: without one, give --flops, --deadline or --budget")
    try:
        with Trying() as progress:
            found = ladder_of(args, terms_of(args, 1)[0], progress)
    except DoesNotFit as error:
        emit(args, *none_fits([str(error)]))
        return DOES_NOT_FIT
    show(args, found)
    return DOES_NOT_FIT if found.rungs[found.best].plan.missed else 0


class Trying:
    """Names on a terminal the number of devices that is tried, once the answer takes longer than a moment."""

    def __init__(self) -> None:
        self.start, self.shown = time.perf_counter(), False

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __call__(self, num_devices: int) -> None:
        """Say which number is tried."""
        if sys.stderr.isatty() and time.perf_counter() - self.start > SLOW_S:
            sys.stderr.write(f"\r\x1b[Ktrying {num_devices:,} devices ...")
            sys.stderr.flush()
            self.shown = True

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        if self.shown:
            sys.stderr.write("\r\x1b[K")


def terms_of(args: argparse.Namespace, count: int) -> list[Terms]:
    """What each device's run is charged by."""
    from ..planning.cost import Terms

    if args.overhead is not None and (args.mtbf is not None or args.checkpoint_every is not None):
        raise RooflineError("--overhead is the whole: leave it out to derive it from --mtbf and --checkpoint-every")
    return [
        Terms(
            price=price,
            intensity=args.intensity,
            pue=float(args.pue),
            power_w=args.power,
            overhead=args.overhead,
            mtbf_s=args.mtbf,
            checkpoint_every_s=args.checkpoint_every,
        )
        for price in prices(args, count)
    ]


def order(one: Plan, args: argparse.Namespace) -> float:
    """What was asked, smallest first: cost, devices for a deadline, most tokens, else time."""
    if args.tokens is None:
        return -one.tokens
    if one.cost is not None:
        return one.cost
    return one.num_devices if args.deadline is not None and args.num_devices is None else one.wall_time_s
