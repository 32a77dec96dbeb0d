"""What to change: what makes an estimate fit where it does not, what would make it faster where it does."""

from __future__ import annotations

import msgspec

from .capacity import max_micro_batch
from .changes import Case, Suspect, improvements
from .estimate import Estimate
from .fixes import Fix, cheapest_fixes, fuller_pipeline


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """Changes worth making.

    Attributes:
        fixes: The cheapest changes that make it fit; None where it fits.
        improvements: Changes that would make the step faster and still fit; None where it does not fit.
    """

    fixes: tuple[Fix, ...] | None = None
    improvements: tuple[Suspect, ...] | None = None


def advise(result: Estimate) -> Advice | None:
    """What to change; None for a traced module, whose shape is its author's."""
    if result.model.d_model == 0:
        return None
    if not result.fits:
        return Advice(fixes=cheapest_fixes(result.model, result.device, result.train))
    fuller = fuller_pipeline(result)
    found = improvements(Case(result.model, result.device, result.train), result)
    return Advice(improvements=found if fuller is None else (fuller, *found))


def larger_micro_batch(result: Estimate) -> int | None:
    """The largest micro batch that fits, where there is one above the estimate's and it fits itself."""
    if not result.fits or result.model.d_model == 0:
        return None
    train = msgspec.structs.replace(result.train, global_batch=None)
    largest = max_micro_batch(result.model, result.device, train)
    return largest if largest > int(result.train.micro_batch) else None
