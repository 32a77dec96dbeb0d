"""What one timed step of a cluster says of other steps there: a part of what it missed by, they miss by too.

Runs of one source, device and software share some of their error; the rest is each configuration's own. The best
guess of another run is moved by the shared part of the logarithm of measured over expected, and its variance is what
that leaves. Scaling by the whole ratio makes runs of other configurations worse (docs/accuracy.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..arrays import Number, where
from ..config.run import TrainConfig
from ..config.stack import family_of
from ..constants import constant
from ..counting.step import Step

if TYPE_CHECKING:
    from ..hardware import Device
    from ..hardware.seen import Seen

SHARED = constant("shared_error")
REPEATS = constant("spread.repeats")


def pull(step: Step, device: Device) -> Number:
    """The factor on the step time; 1 where nothing was seen that tells of it."""
    seen = device.seen
    if seen is None or not tells_of(seen, step.train):
        return 1.0
    return where(_same(seen, step), seen.ratio, seen.ratio**SHARED)


def left(step: Step, device: Device, variance: Number) -> Number:
    """The variance of the logarithm of the step time that is left after what was seen."""
    seen = device.seen
    if seen is None or not tells_of(seen, step.train):
        return variance
    return where(_same(seen, step), REPEATS**2, (1 - SHARED**2) * variance)


def tells_of(seen: Seen, train: TrainConfig) -> bool:
    """Whether what was seen says something of a run: it is of the same software."""
    return family_of(seen.train.stack) == family_of(train.stack)


def _same(seen: Seen, step: Step) -> Number:
    """Whether a step is of the configuration that was seen, one or an array of them."""
    same: Number = seen.model == step.model
    for name in TrainConfig.__struct_fields__:
        same = same & (getattr(seen.train, name) == getattr(step.train, name))
    return same
