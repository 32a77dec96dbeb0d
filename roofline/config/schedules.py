"""Pipeline schedules: facts of each in `schedules.toml`."""

from collections.abc import Mapping
from functools import cache
from typing import Literal

import msgspec

from ..arrays import Number, where
from ..errors import look_up
from ..reading import packaged, read_packaged

Placement = Literal["rounds", "v", "both_ends"]


class Bubble(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a stage waits for, as shares of the time of the other stages of one micro batch."""

    forward: float
    data: float  # gradients of data
    weight: float  # gradients of weights


class InFlight(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Micro batches that stage s of p holds: p*`p` + s*`s` + `constant`, and (p - 1 - 2s)/v where interleaved."""

    p: float = 0.0
    s: float = 0.0
    constant: float = 0.0
    interleaved: bool = False


class PipelineSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pipeline schedule.

    Attributes:
        summary: One line.
        bubble: What a stage waits for.
        divided: Whether virtual stages divide the bubble.
        halved: Whether (p/2 - 1) of (p - 1) stages are waited for: micro batches come from both ends.
        in_flight: Micro batches a stage holds; all of a step.
        chunks: Virtual stages it needs; 0: any number.
        placement: Which device holds a chunk: in rounds, in a V, or each stage with its mirror image.
        weight_copies: How often a device holds the weights of a stage.
        hides_exchange: Whether the exchange of expert parallelism runs beside another micro batch's compute.
        of_one_chunk: What it is called with one stage on each device, where that has a name of its own.
        source: Paper and table.
    """

    summary: str
    bubble: Bubble
    divided: bool = False
    halved: bool = False
    in_flight: InFlight | Literal["all"]
    chunks: int = 0
    placement: Placement = "rounds"
    weight_copies: int = 1
    hides_exchange: bool = False
    of_one_chunk: str | None = None
    source: str

    @property
    def by_pass(self) -> bool:
        """Whether what a stage waits for depends on how long each pass is, and not on their sum alone."""
        return not self.bubble.forward == self.bubble.data == self.bubble.weight

    def held(self, pp: Number, vp: Number, stage: Number) -> Number | None:
        """Micro batches in flight on a stage; None: all of the step."""
        rule = self.in_flight
        if isinstance(rule, str):
            return None
        held = rule.p * pp + rule.s * stage + rule.constant
        if rule.interleaved:
            alone = schedules()[str(self.of_one_chunk)]
            return where(vp > 1, held + (pp - 1 - 2 * stage) / vp, alone.held(pp, 1, stage))
        return held


@cache
def schedules() -> Mapping[str, PipelineSchedule]:
    """All of them by name."""
    return read_packaged(packaged(__name__, "schedules.toml"), dict[str, PipelineSchedule])


def pipeline_schedule(name: str) -> PipelineSchedule:
    """One by name.

    Raises:
        RooflineError: There is none of that name.
    """
    return look_up("schedule", name, schedules())
