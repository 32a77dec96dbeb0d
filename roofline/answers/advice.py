"""What to change: what makes a run fit, what would make it faster, what would explain one that is slow."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ..config.settle import Run
from ..errors import RooflineError
from ..footprint.parts import memory_of
from ..footprint.spreads import SURE
from ..units import format_time
from .changes import EXPLAINS, FASTER, Change, applied, changes
from .estimate import Estimate
from .replayed import replayed
from .times import step_time

if TYPE_CHECKING:
    from .fixes import Fix

SHARE = 0.10  # a suspect that explains less of the gap is not one
FASTER_BY = 0.02
# How near another suspect must come to the measured time to be likelier than waiting for data, as a logarithm: images
# are read and decoded, of text there are a few bytes a token.
WAITS_IMAGES, WAITS_TEXT = math.log(1.1), math.log(1.5)


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that may be otherwise than stated, and what the run would take then.

    Attributes:
        what: In words.
        options: The options that say so, beside micro batch, global batch and software of the run, which stay; empty
            where it is another model or device.
        step_time_s: Expected time of as many tokens as the run's step.
        mfu: The run's FLOPs over that time.
        explains: Share of the gap between expected and measured time, above 1 more than the gap; of an improvement
            the share of the step that it saves.
        measure: What to measure, to know whether it is so; empty where nothing is suggested.
    """

    what: str
    options: dict[str, Any]
    step_time_s: float
    mfu: float
    explains: float
    measure: str = ""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """Changes worth making.

    Attributes:
        fixes: The cheapest changes that make it fit; None where it fits.
        improvements: Changes that would make the step faster and surely fit; None where it does not fit.
    """

    fixes: tuple[Fix, ...] | None = None
    improvements: tuple[Suspect, ...] | None = None


def advise(result: Estimate) -> Advice | None:
    """What to change; None for a step that no run was settled for."""
    if result.run is None:
        return None
    if not result.fits:
        from .fixes import cheapest_fixes

        return Advice(fixes=cheapest_fixes(result.run))
    return Advice(improvements=improvements(result.run, result))


def improvements(run: Run, expected: Estimate) -> tuple[Suspect, ...]:
    """Changes that would make the expected step at least 2 % faster and surely fit, the largest gain first."""
    step = float(expected.step_time_s)
    found: list[Suspect] = []
    for each in changes(FASTER, run).values():
        tried = [_tried(run, change, expected, -step) for change in each]
        faster = [one for one, sure in filter(None, tried) if one.explains > FASTER_BY and sure() >= SURE]
        found += sorted(faster, key=lambda one: one.step_time_s)[:1]
    return tuple(sorted(found, key=lambda one: one.step_time_s))


def suspects(run: Run, expected: Estimate, measured_s: float) -> tuple[Suspect, ...]:
    """What would explain a run slower than expected, one thing changed at a time, the best of each kind first.

    What does not fit is no suspect, as the run was there to be measured; unless the run as given fits no more surely.
    """
    if measured_s <= float(expected.step_time_high_s):
        return ()

    def distance(one: Suspect) -> float:
        return abs(math.log(one.step_time_s / measured_s))

    gap = measured_s - float(expected.step_time_s)
    least = min(1 - SURE, float(expected.memory.fit_probability))
    found: list[Suspect] = []
    for each in changes(EXPLAINS, run).values():
        tried = [_tried(run, change, expected, gap) for change in each]
        slower = [one for one, sure in filter(None, tried) if one.explains >= SHARE and sure() >= least]
        found += sorted(slower, key=distance)[:1]
    alone = format_time(float(expected.step_time_s))
    input_bound = Suspect(
        what=f"each step waits {format_time(gap)} for data (input-bound)",
        options={},
        step_time_s=measured_s,
        mfu=float(expected.mfu * expected.step_time_s) / measured_s,
        explains=1.0,
        measure=f"the step on one batch that stays on the device: about {alone} if so",
    )
    # what waits for data takes as long as it takes: it explains any time, and so stands where others explain it badly
    waits = WAITS_IMAGES if run.model.kind == "vision" else WAITS_TEXT
    ranked = [(distance(one), one) for one in found] + [(waits, input_bound)]
    return tuple(one for _, one in sorted(ranked, key=lambda pair: pair[0]))


def _tried(run: Run, change: Change, expected: Estimate, gap: float) -> tuple[Suspect, Callable[[], float]] | None:
    """A run with one change on the same software, and what says how surely it fits; None where it cannot be run."""
    try:
        changed, options = applied(run, (change,), same_software="stack" not in change.options)
        expected_s = replayed(step_time, changed.model, changed.train, changed.device)
    except RooflineError:  # no such engine, no such figure
        return None
    before = float(expected.step_time_s)
    seconds = float(expected_s * run.train.tokens_per_step / changed.train.tokens_per_step)
    found = Suspect(
        what=change.what,
        options=options,
        step_time_s=seconds,
        mfu=float(expected.mfu) * before / seconds,
        explains=(seconds - before) / gap,
        measure=change.measure,
    )
    return found, partial(_surety, changed)


def _surety(run: Run) -> float:
    """How surely a run fits: its step is the one that was just timed."""
    return float(replayed(memory_of, run.model, run.train, run.device).fit_probability)
