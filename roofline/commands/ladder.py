"""What to train, for the commands that ask it: the scaling law, the means, and the sizes they allow."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .. import units
from ..config.values import Word
from ..errors import RooflineError
from . import options

if TYPE_CHECKING:
    from ..planning.cost import Plan, Terms
    from ..planning.devices import Progress
    from ..planning.ladder import Ladder


def add_law_arguments(ask: argparse._ArgumentGroup) -> None:
    """Add what a ladder of sizes needs: the law, and the means."""
    ask.add_argument(
        "--law",
        metavar="NAME",
        type=law_name,
        help="scaling law that judges size and tokens, and without MODEL says what to train: chinchilla-refit "
        "(default), kaplan, deepseek, llama-3, ... (an unknown name lists all)",
    )
    ask.add_argument("--flops", metavar="C", type=units.positive, help="compute of a run without MODEL, as 6ND: 1e24")
    ask.add_argument("--deadline", metavar="T", type=units.duration_s, help="time it may take: 7d, 36h")
    ask.add_argument("--budget", metavar="MONEY", type=units.positive, help="money it may cost (needs --price)")
    ask.add_argument(
        "--confidence",
        metavar="P",
        type=units.share,
        default=0.5,
        help="how sure deadline and budget must be: 90%% (default 50%%, an even chance)",
    )
    ask.add_argument(
        "--price",
        metavar="P",
        action="append",
        type=units.price,
        help="per device-hour: 2.5/h (once, or once per device in their order)",
    )


def law_name(text: str) -> str:
    """Read the name of a scaling law."""
    from ..planning.laws import laws

    return Word("scaling law", tuple(laws()))(text)


def ladder_of(args: argparse.Namespace, terms: Terms, progress: Progress | None = None) -> Ladder:
    """The sizes that the options ask for, on one device."""
    from ..planning.ladder import ladder
    from ..planning.laws import DEFAULT_LAW

    devices = options.devices(args)
    if len(devices) > 1:
        raise RooflineError("what to train is worked out for one device: name one")
    asked = {"flops": args.flops, "deadline_s": args.deadline, "budget": args.budget, "confidence": args.confidence}
    given = options.train_options(args)
    return ladder(devices[0], law=args.law or DEFAULT_LAW, terms=terms, progress=progress, **asked, **given)


def prices(args: argparse.Namespace, count: int) -> list[float | None]:
    """The price of each device."""
    found: list[float | None] = list(args.price or [None])
    if len(found) == 1:
        found *= count
    if len(found) != count:
        raise RooflineError(f"{len(found)} prices for {count} devices: give --price once, or once per --device")
    return found


def same_compute(one: Plan, args: argparse.Namespace) -> Ladder:
    """Sizes that the compute of a plan would train on as many devices."""
    from ..planning.ladder import ladder
    from ..planning.laws import DEFAULT_LAW, law

    chosen = law(args.law or DEFAULT_LAW)
    flops = chosen.judge(one.model, one.tokens, int(one.layout.train.sequence_length)).flops
    given: dict[str, Any] = {"seq_len": one.layout.train.seq_len, "stack": one.layout.stack}
    return ladder(one.device, law=chosen.name, flops=flops, num_devices=one.num_devices, terms=one.terms, **given)
