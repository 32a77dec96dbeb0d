"""What a whole run adds to its steps: failures, checkpoints, evaluation, data; and what published trainings took."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from ..config.settle import resolve
from ..counting.ownership import updates_of
from ..counting.step import without_updates
from ..errors import RooflineError
from ..footprint.phases import weight_bytes
from ..reading import packaged, read_packaged
from ..units import format_number, format_time

if TYPE_CHECKING:
    from ..config.run import TrainConfig
    from ..hardware import Device
    from ..model.spec import ModelConfig

Range = tuple[float, float, float]  # low, usual, high


class Fleet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Unexpected interruptions that a fleet published, and over how many device-hours."""

    name: str
    device_hours: float
    interruptions: float
    source: str


class Assumed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure with its range, and where it is from."""

    low: float
    usual: float
    high: float
    source: str


class Writing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one node writes a checkpoint at."""

    bytes_per_s: float
    source: str


class Practice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Published trainings over their steps and overhead, from so many nodes on: on the best layout, as they ran."""

    nodes: int
    best: Assumed
    own: Assumed


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``fleets.toml``."""

    fleet: tuple[Fleet, ...]
    restart: Assumed
    checkpoint: Writing
    evaluation: Assumed
    data: Assumed
    practice: Practice


@cache
def facts() -> Facts:
    """The figures that a run's overhead rests on, with their sources."""
    return read_packaged(packaged(__name__) / "fleets.toml", Facts)


class Overhead(msgspec.Struct, frozen=True, kw_only=True):
    """Whole-run time over the time of its steps.

    Attributes:
        low: 10th percentile.
        usual: Expected: the product of the parts, or the factor that was given.
        high: 90th percentile.
        failures: Factor of work lost and restarts; the parts are None where the whole was given.
        checkpoints: Factor of writing checkpoints.
        evaluation: Factor of evaluation.
        data: Factor of waiting for data.
        practice: What published trainings took over that and their steps: low, expected and high factor, beside the
            overhead; None where the whole was given.
        settled: Whether that is over the steps of their own layouts, not of the best.
        mtbf_s: Seconds between two failures of the whole run.
        checkpoint_every_s: Seconds of training between two checkpoints.
        checkpoint_bytes: Weights that are trained, and optimizer state.
        checkpoint_s: Seconds that writing one takes.
        restart_s: Seconds from a failure to the next useful step.
    """

    low: float
    usual: float
    high: float
    failures: float | None = None
    checkpoints: float | None = None
    evaluation: float | None = None
    data: float | None = None
    practice: Range | None = None
    settled: bool = False
    mtbf_s: float | None = None
    checkpoint_every_s: float | None = None
    checkpoint_bytes: float | None = None
    checkpoint_s: float | None = None
    restart_s: float | None = None

    @property
    def range(self) -> Range:
        """Low, expected and high factor of the whole run over its steps, practice included."""
        own = self.low, self.usual, self.high
        return own if self.practice is None else _product(own, self.practice)

    @property
    def parts(self) -> dict[str, float]:
        """The factors of the overhead by name; none where the whole was given."""
        names = ("failures", "checkpoints", "evaluation", "data")
        return {name: factor for name in names if (factor := getattr(self, name)) is not None}


def device_mtbf_s() -> Range:
    """Seconds between failures of one device: the worst fleet, the geometric mean, the best.

    >>> [round(seconds / 3600) for seconds in device_mtbf_s()]
    [13605, 37265, 82051]
    """
    hours = [fleet.device_hours / fleet.interruptions for fleet in facts().fleet]
    mean = math.exp(sum(map(math.log, hours)) / len(hours))
    return min(hours) * 3600, mean * 3600, max(hours) * 3600


def overhead_of(
    model: ModelConfig,
    device: Device,
    train: TrainConfig,
    mtbf_s: float | None = None,
    checkpoint_every_s: float | None = None,
    *,
    settled: bool = False,
) -> Overhead:
    """The overhead of a run on `train.num_devices`.

    Args:
        model: The model.
        device: The device.
        train: The layout.
        mtbf_s: Seconds between failures of one device; None: as published fleets.
        checkpoint_every_s: Seconds of training between checkpoints; None: what loses least.
        settled: Whether the layout is the one that will run, not the best of a search.

    Raises:
        RooflineError: Failures come so fast that nothing is ever finished.
    """
    known, devices = facts(), int(train.num_devices)
    nodes = devices / int(train.devices_per_node or device.devices_per_node)
    state = checkpoint_bytes(model, train)
    writing = state / (known.checkpoint.bytes_per_s * max(nodes, 1))
    worst, usual, best = (mtbf_s,) * 3 if mtbf_s is not None else device_mtbf_s()
    every = checkpoint_every_s or best_interval_s(writing, usual / devices)
    checkpoints = 1 + writing / every
    failures: Range = tuple(  # type: ignore[assignment]
        with_failures(every, writing, restart, mtbf / devices) / checkpoints
        for restart, mtbf in zip(_range(known.restart), (best, usual, worst), strict=True)
    )
    share = doublings(nodes)
    practice: Range = tuple(factor**share for factor in _range(known.practice.own if settled else known.practice.best))
    evaluation, data = (_factor(_range(one)) for one in (known.evaluation, known.data))
    if math.isinf(failures[1]):
        raise RooflineError(
            f"mtbf: a failure every {format_time(usual / devices)} on {format_number(devices, 'device')} leaves no "
            f"time for {format_time(every)} between checkpoints: give a longer --mtbf or a shorter --checkpoint-every"
        )
    low, expected, high = _product(failures, (checkpoints,) * 3, evaluation, data)
    return Overhead(
        low=max(low, 1.0),
        usual=expected,
        high=high,
        failures=failures[1],
        checkpoints=checkpoints,
        evaluation=evaluation[1],
        data=data[1],
        practice=practice,
        settled=settled,
        mtbf_s=usual / devices,
        checkpoint_every_s=every,
        checkpoint_bytes=state,
        checkpoint_s=writing,
        restart_s=known.restart.usual,
    )


def doublings(nodes: float) -> float:
    """Doublings of one node up to the number from which practice grows no more, as a share of them.

    >>> doublings(1), doublings(4), doublings(64)
    (0.0, 0.5, 1.0)
    """
    return min(math.log2(max(nodes, 1)) / math.log2(facts().practice.nodes), 1.0)


def checkpoint_bytes(model: ModelConfig, train: TrainConfig) -> float:
    """Bytes of all that is trained, as weights or their copies that are updated, and of the optimizer's state.

    Parts that are frozen are saved as they are kept: a module's state_dict() holds them too (torch.nn.Module). The base
    of adapters lies where the run read it: PEFT saves adapters alone (`PeftModel.save_pretrained`).
    """
    whole = msgspec.structs.replace(resolve(train, model), tp=1, ep=1, etp=1)  # undivided
    [step] = without_updates(model, [whole])
    weights = [weight for weight in step.weights if not weight.tied]
    frozen = 0 if train.adapts else sum(weight.count * weight.local for weight in weights if not weight.trainable)
    return float(frozen * weight_bytes(step)) + sum(
        float(weight.count * (number * whole.updated_bytes + state))
        for weight in weights
        if weight.trainable
        for _, number, state in updates_of(weight, whole)
    )


def best_interval_s(writing_s: float, mtbf_s: float) -> float:
    """Seconds of work between checkpoints that lose least (Daly 2006, equation 37; Young's sqrt(2 d M) to first order).

    >>> round(best_interval_s(60, 86400))  # sqrt(2 x 60 x 86,400) = 3,220, less about the 60
    3180
    """
    if writing_s >= 2 * mtbf_s:
        return mtbf_s
    x = writing_s / (2 * mtbf_s)
    return math.sqrt(2 * writing_s * mtbf_s) * (1 + math.sqrt(x) / 3 + x / 9) - writing_s


def with_failures(every_s: float, writing_s: float, restart_s: float, mtbf_s: float) -> float:
    """Wall time over work, with checkpoints and exponentially distributed failures (Daly 2006, equation 20).

    Infinite where failures come so fast that nothing is ever finished.

    >>> round(with_failures(every_s=3600, writing_s=36, restart_s=0, mtbf_s=1e12), 4)
    1.01
    """
    try:
        return mtbf_s * math.exp(restart_s / mtbf_s) * math.expm1((every_s + writing_s) / mtbf_s) / every_s
    except OverflowError:
        return math.inf


def _range(one: Assumed) -> Range:
    return one.low, one.usual, one.high


def _factor(shares: Range) -> Range:
    return 1 + shares[0], 1 + shares[1], 1 + shares[2]


def _product(*parts: Range) -> Range:
    """Product of independent factors: each side is log-normal."""
    usual = math.prod(part[1] for part in parts)
    low = math.hypot(*(math.log(part[1] / part[0]) for part in parts))
    high = math.hypot(*(math.log(part[2] / part[1]) for part in parts))
    return usual * math.exp(-low), usual, usual * math.exp(high)
