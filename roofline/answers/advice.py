"""What to change: what makes an estimate fit where it does not, what would make it faster where it does."""

from __future__ import annotations

import msgspec

from .changes import Suspect, improvements
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
    """What to change; None for a step that no run was settled for."""
    if result.run is None:
        return None
    if not result.fits:
        return Advice(fixes=cheapest_fixes(result.run))
    fuller = fuller_pipeline(result)
    found = improvements(result.run, result)
    return Advice(improvements=found if fuller is None else (fuller, *found))
