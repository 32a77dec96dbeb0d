"""Plans a whole training run: tokens, devices, deadline and budget, each from the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from .. import units
from ..answers.asked import described
from ..answers.measured import of_search
from ..config.options import check_names, choices, read_flag, read_one
from ..counting.mfu import model_flops_per_token
from ..errors import RooflineError, shown
from ..gate import FUNCTION, gated
from ..model.parameters import count_parameters
from ..model.spec import ModelConfig
from .cost import Asked, Plan, Terms, run_cost
from .devices import DoesNotFit, Planner, Progress
from .laws import Law, best_batch, laws
from .laws import law as scaling_law

if TYPE_CHECKING:
    from typing import Unpack

    from ..answers.asked import Described, Named
    from ..config.typed import LayoutChoices
    from ..search.layout import Layout

__all__ = ["DoesNotFit", "plan"]

FINE_TUNING = 0.02  # tokens per parameter, below which a training is taken for fine-tuning
FEWEST_TOKENS, MOST_TOKENS = 1000, 10**16  # outside, a unit is missing or a digit too many


@gated(progress=FUNCTION)
def plan(
    model: Described,
    device: Named,
    *,
    tokens: int | str | None = None,
    law: str | None = None,
    num_devices: int | str | None = None,
    deadline_s: float | str | None = None,
    budget: float | str | None = None,
    confidence: float | str = 0.5,
    terms: Terms | None = None,
    doubling: bool = False,
    progress: Progress | None = None,
    measured: float | str | None = None,
    measured_at: Mapping[str, Any] | str | None = None,
    **options: Unpack[LayoutChoices],
) -> Plan:
    """Plan a training run on the best layout, or on the one that `options` leave.

    Tokens and devices give time and cost; tokens and a deadline give the devices; tokens and a budget give
    the most devices that it pays for and that are worth it (each further one adds at least half of what one before
    it does); devices and a deadline or budget give the tokens; a deadline and a budget give both.

    Args:
        model: As for `estimate`.
        device: As for `estimate`.
        tokens: Tokens to train on, such as ``10**12`` or ``"1T"``, or a scaling law's name, such as ``chinchilla`` for
            20 per parameter.
        law: A scaling law (``laws.toml``) that judges size and tokens, and says them where nothing else does.
        num_devices: Devices; default 1 with tokens, unless it is what is asked for.
        deadline_s: Seconds the whole run may take, or text with a unit such as ``"30d"``.
        budget: Money the whole run may cost; needs ``terms.price``.
        confidence: How sure it must be that deadline and budget suffice, such as 0.9 or ``"90%"``; an even chance.
        terms: Price, carbon intensity, power, overhead, failures and checkpoints.
        doubling: Whether to work out what twice the devices give.
        progress: Called with each number of devices that is tried.
        measured: What one step took on the cluster in question, as for `estimate`.
        measured_at: The layout that step was timed on, as for `layouts`.
        **options: Fields of `TrainConfig`; they restrict the search for a layout (see `search.layouts`).

    Raises:
        DoesNotFit: No layout fits in memory.
        RooflineError: Too little is given, or it makes no sense. What was given and cannot be met is no error: the
            plan's `missed` says by how much.
    """
    from ..hardware import load_device

    charged = read_terms(terms, options)
    check_names(options, "tokens", "law", "deadline_s", "budget", "confidence", "terms", "doubling", "progress")
    doubling = read_flag("doubling", doubling)
    asked = read_asked(num_devices, deadline_s, budget, confidence)
    device = load_device(device)
    model, left = described(model, device, options)
    device = of_search(model, device, {**left, "num_devices": asked.num_devices}, measured, measured_at)
    planner = Planner(model, device, charged, choices(left), asked.confidence, progress)
    chosen = None if law is None else scaling_law(law)
    if tokens is None and chosen is not None and asked.deadline_s is None and asked.budget is None:
        tokens = chosen.name
    one = planned(planner, read_tokens(tokens, planner.model, planner.seq_len), asked)
    if isinstance(tokens, str) and tokens.strip().lower() in laws():
        one = msgspec.structs.replace(one, notes=(*one.notes, tokens_words(scaling_law(tokens), planner.model)))
    if chosen is not None:
        one = msgspec.structs.replace(one, verdict=chosen.judge(planner.model, one.tokens, planner.seq_len))
    return _answered(planner, one, doubling=doubling)


def read_asked(
    num_devices: int | str | None,
    deadline_s: float | str | None,
    budget: float | str | None,
    confidence: float | str | None,
) -> Asked:
    """What a run is given, as numbers."""
    sure: float = read_one("confidence", 0.5 if confidence is None else confidence, units.share)
    if sure >= 1:
        raise RooflineError(f"confidence: {shown(confidence)} is certainty: give a share below 1, such as 90%")
    if sure != 0.5 and deadline_s is None and budget is None:
        raise RooflineError(
            f"confidence: {shown(confidence)} is how surely a deadline or a budget must suffice: "
            "add --deadline or --budget"
        )
    return Asked(
        num_devices=read_one("num_devices", num_devices, units.positive_int),
        deadline_s=read_one("deadline_s", deadline_s, units.duration_s),
        budget=read_one("budget", budget, units.positive),
        confidence=sure,
    )


def planned(planner: Planner, count: int | None, asked: Asked) -> Plan:
    """The run of so many tokens, or of as many as what is asked leaves, on its best layout.

    Raises:
        RooflineError: Nothing says how long it may go on; a budget has no price.
    """
    if asked.budget is not None and planner.terms.price is None:
        raise RooflineError("a budget in money needs a price per device-hour: add --price, such as --price 2.5/h")
    layout, count = _sized(planner, count, asked.num_devices, asked.deadline_s, asked.budget)
    notes = planner.notes[layout.num_devices]
    if asked.budget is not None and asked.num_devices is None and planner.lacking is not None:
        notes = (*notes, f"larger numbers of devices are left out: {planner.lacking}")
    one = run_cost(planner.model, planner.device, layout, count, planner.terms, notes)
    return msgspec.structs.replace(one, asked=asked)


def _sized(
    planner: Planner, tokens: int | None, devices: int | None, deadline: float | None, money: float | None
) -> tuple[Layout, int]:
    """The layout, with its devices, and the tokens: whichever of the two is not given is what is asked.

    Raises:
        RooflineError: Neither tokens nor a limit to fill is given.
    """
    if tokens is not None and planner.model.recorded is None:
        planner.fine_tunes = tokens < FINE_TUNING * count_parameters(planner.model).total
        compute = float(model_flops_per_token(planner.model, planner.seq_len)) * tokens
        planner.largest_batch = math.sqrt(2) * best_batch(compute)  # halved until it is less: 0.7 to 1.4 of it
    if tokens is None:
        if deadline is None and money is None:
            raise RooflineError(
                "nothing to plan: give --tokens (300B, or chinchilla), or a --deadline or --budget to fill"
            )
        return planner.tokens_within(devices, deadline, money)
    if devices is None and (deadline is not None or money is not None):
        return planner.devices_for(tokens, deadline, money), tokens
    return planner.on(devices or planner.device.num_devices or 1), tokens


def _answered(planner: Planner, one: Plan, *, doubling: bool) -> Plan:
    """The plan with what it misses, what other software takes and what twice the devices give."""
    missed = planner.missed(one)
    one = msgspec.structs.replace(
        one,
        missed=missed,
        devices_in_time=next((each.devices for each in missed if each.what == "deadline"), None),
        other_software=planner.other_software(one),
        doubling=planner.doubled(one) if doubling else None,
    )
    return msgspec.structs.replace(one, notes=(*one.notes, *planner.faster(one)))


def read_tokens(tokens: int | str | None, model: ModelConfig, seq_len: int) -> int | None:
    """Tokens as typed, or the name of a scaling law that says them; None stays.

    Raises:
        RooflineError: So few or so many that a unit is missing or a digit too many.
    """
    if isinstance(tokens, str) and tokens.strip().lower() in laws():
        return optimal_tokens(scaling_law(tokens), model, seq_len)
    count: int | None = read_one("tokens", tokens, units.count)
    if count is not None and count < FEWEST_TOKENS:
        raise RooflineError(
            f"tokens: {count} is less than one sequence: did you mean {count}B ({count}e9) or {count}T?"
        )
    if count is not None and count > MOST_TOKENS:
        raise RooflineError(
            f"tokens: {count:.3g} is out of range: give {FEWEST_TOKENS:,} to {MOST_TOKENS:.0e}, such as 300B"
        )
    return count


def read_terms(terms: Terms | None, options: Iterable[str] = ()) -> Terms:
    """What a run is charged by, numbers as typed; none of it stands among the other `options`."""
    for name in options:
        if name in Terms.__struct_fields__:
            raise RooflineError(f"{name} is one of the terms of a run: give terms=roofline.Terms({name}=...)")
    if terms is None:
        return Terms()
    if not isinstance(terms, Terms):
        raise RooflineError(f"terms must be roofline.Terms(...), got {shown(terms)}")
    return msgspec.structs.replace(
        terms,
        price=read_one("price", terms.price, units.price),
        intensity=read_one("intensity", terms.intensity, units.positive),
        pue=read_one("pue", 1.0 if terms.pue is None else terms.pue, units.overhead),
        power_w=read_one("power_w", terms.power_w, units.power),
        overhead=None if terms.overhead is None else _read_overhead(terms.overhead),
        mtbf_s=read_one("mtbf_s", terms.mtbf_s, units.duration_s),
        checkpoint_every_s=read_one("checkpoint_every_s", terms.checkpoint_every_s, units.duration_s),
        settled=read_flag("settled", terms.settled),
    )


def _read_overhead(factors: object) -> tuple[float, float, float]:
    """Low, expected and high factor, as numbers that rise."""
    if not isinstance(factors, tuple | list) or len(factors) != 3:
        raise RooflineError(f"overhead must be three factors, low, expected and high, got {shown(factors)}")
    low, expected, high = (read_one("overhead", factor, units.overhead) for factor in factors)
    if not low <= expected <= high:
        raise RooflineError(f"overhead must rise from low to expected to high, got {shown(factors)}")
    return low, expected, high


def tokens_words(chosen: Law, model: ModelConfig) -> str:
    """Where the tokens are from, and what of a mixture of experts the law counts."""
    counted = count_parameters(model)
    visited = " (of a mixture of experts those that a token visits count)" if counted.active != counted.total else ""
    return f"tokens by {chosen.name}{visited}: {chosen.source}"


def optimal_tokens(chosen: Law, model: ModelConfig, seq_len: int) -> int:
    """The tokens at which a law finds a model's size the optimal one."""
    return round(chosen.optimal_tokens(chosen.size_of(model, seq_len)))
