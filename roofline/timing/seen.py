"""What one timed step of a cluster says of other steps there: a part of what it missed by, they miss by too.

Runs of one source, device and software share some of their error, the more the nearer they are; the rest is each
configuration's own. The best guess of another run is moved by the shared part of the logarithm of measured over
expected, and its variance is what that leaves. Moved by the whole, other models come out worse (docs/accuracy.md).
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

# The part that other runs share, by what is the same.
SHARED = {
    "layout": constant("shared_error.layout"),
    "model": constant("shared_error.model"),
    "software": constant("shared_error.software"),
}
REPEATS = constant("spread.repeats")
# Two runs with these in common have one layout: they differ in batch, recompute, attention and the like.
LAYOUT = ("num_devices", "devices_per_node", "tp", "pp", "cp", "ep", "etp", "sharding", "seq_len", "dtype", "train")


def pull(step: Step, device: Device) -> Number:
    """The factor on the step time; 1 where nothing was seen that tells of it."""
    seen = device.seen
    if seen is None:
        return 1.0
    factor: Number = seen.ratio ** part(seen, step)
    return factor


def left(step: Step, device: Device, variance: Number) -> Number:
    """The variance of the logarithm of the step time that is left after what was seen, itself not to the last digit."""
    seen = device.seen
    return variance if seen is None else remaining(variance, part(seen, step))


def remaining(variance: Number, part: Number) -> Number:
    """What is left of a variance of which `part`, as a correlation, was seen in one run.

    >>> remaining(0.01, 0.0), round(remaining(0.01, 1.0), 6) == REPEATS**2
    (0.01, True)
    """
    return (1 - part**2) * variance + part**2 * REPEATS**2


def part(seen: Seen, step: Step) -> Number:
    """The part of what was missed that a step shares: all of it where it is of the configuration that was seen."""
    if not tells_of(seen, step.train):
        return 0.0
    if seen.model != step.model:
        return SHARED["software"]
    near = where(_same(seen, step, LAYOUT), SHARED["layout"], SHARED["model"])
    return where(_same(seen, step, TrainConfig.__struct_fields__), 1.0, near)


def tells_of(seen: Seen, train: TrainConfig) -> bool:
    """Whether what was seen says something of a run: it is of the same software."""
    return family_of(seen.train.stack) == family_of(train.stack)


def _same(seen: Seen, step: Step, fields: tuple[str, ...]) -> Number:
    """Whether a step of the model that was seen agrees in some fields, one or an array of them."""
    same: Number = seen.model == step.model
    for name in fields:
        same = same & (getattr(seen.train, name) == getattr(step.train, name))
    return same
