"""Our error against published measurements: every row predicted, and the errors summarised."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import msgspec

from ..answers.times import estimate_times
from ..constants import constant
from ..counting.step import build_step
from ..errors import RooflineError
from ..gate import PATH, gated
from ..reading import packaged
from ..result import Result
from ..timing.interval import Z80, variances
from .published import Case, cases
from .rows import read_rows

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from ..config.run import TrainConfig
    from ..hardware import Device

BLANKS = constant("spread.blanks")
COVERED = {"stack parallel"}  # what it stands for is runs whose software nobody named
MEMORY_ERROR = constant("memory_error")


class Prediction(Result, msgspec.Struct, frozen=True, kw_only=True):
    """One row: measured and predicted tokens per second and device, or why it was skipped.

    Attributes:
        row: The row, as text by column.
        measured: Tokens per second and device; None where the row does not say.
        predicted: The same as expected; None where it was skipped.
        low, high: 10th and 90th percentile of that.
        variances: Of log(measured / predicted), by cause.
        stack: The software profile.
        skipped_reason: Why nothing was predicted; empty where something was.
        assumed: What the source leaves out and was filled in.
    """

    VIEW: ClassVar[str] = "prediction"

    row: Mapping[str, str]
    measured: float | None = None
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    variances: Mapping[str, float] = {}
    stack: str = ""
    skipped_reason: str = ""
    assumed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Measured beside predicted, in one line."""
        if self.skipped_reason or self.measured is None or self.predicted is None:
            return f"<Prediction of {self.id}: {self.skipped_reason or 'nothing measured'}>"
        return f"<Prediction of {self.id}: {self.predicted:,.0f} tokens/s per device, measured {self.measured:,.0f}>"

    @property
    def id(self) -> str:
        """The row's id."""
        return self.row["id"]

    @property
    def log_error(self) -> float:
        """log(predicted step time / measured step time): positive where we are too slow."""
        assert self.measured is not None
        assert self.predicted is not None
        return math.log(self.measured / self.predicted)

    @property
    def error(self) -> float:
        """Relative error of the predicted step time."""
        return math.exp(self.log_error) - 1.0

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the interval."""
        assert self.measured is not None
        assert self.low is not None
        assert self.high is not None
        return self.low <= self.measured <= self.high


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of the step time over a set of rows, as fractions.

    `coverage` is the share inside the interval, `width` the median of its end over its beginning.
    """

    name: str
    rows: int
    mape: float
    median_ape: float
    bias: float
    coverage: float
    width: float


def data_file(what: str, given: str | None = None) -> Path | Traversable:
    """The table to compare with: the file `given`, or the packaged one of runs, memory or budgets.

    ``measured`` is the packaged table of what we measured ourselves.
    """
    if given is not None and given != "measured":
        return Path(given)
    name = f"published_{what}" if given is None else "measured_runs"
    return packaged(__name__, "data") / f"{name}.csv"


def predict_runs(rows: Iterable[Mapping[str, str]]) -> list[Prediction]:
    """Predict every row of a table of runs."""
    return [_predict(case) for case in cases(rows)]


@gated(path=PATH)
def validate_runs(path: str | Path | None = None) -> list[Prediction]:
    """Predict every row of the packaged table, or of a CSV in the same columns."""
    return predict_runs(read_rows(data_file("runs") if path is None else path))


@cache
def _device(device_id: str) -> Device:
    from ..hardware import load_device

    return load_device(device_id)


def _predict(case: Case | tuple[Mapping[str, str], str]) -> Prediction:
    if isinstance(case, tuple):
        return Prediction(row=case[0], skipped_reason=case[1])
    try:
        device = _device(case.device_id)
        outcomes = [_tokens(case, candidate, device) for candidate in case.candidates]
    except RooflineError as error:
        return Prediction(row=case.row, measured=case.measured, skipped_reason=str(error))
    outcomes += _part_recomputed(case, outcomes)
    feasible = [outcome for outcome in outcomes if outcome.fullness <= MEMORY_ERROR] or outcomes
    # people run the best of the choices a source leaves open
    best = max(feasible, key=lambda outcome: outcome.expected)
    causes = {**best.variances, "blanks": BLANKS**2 if set(case.assumed) - COVERED else 0.0}
    width = math.exp(Z80 * math.sqrt(sum(causes.values())))
    return Prediction(
        row=case.row,
        measured=case.measured,
        predicted=best.expected,
        low=best.expected / width,
        high=min(best.expected * width, best.ideal),
        variances=causes,
        stack=case.candidates[0].stack,
        assumed=case.assumed,
    )


class _Outcome(NamedTuple):
    """Tokens per second and device of one choice, expected and at the speed of light; its memory over the capacity."""

    expected: Any
    ideal: Any
    variances: Mapping[str, float]
    fullness: float


def _tokens(case: Case, train: TrainConfig, device: Device) -> _Outcome:
    step = build_step(case.model, train)
    times = estimate_times(step, device)
    per_device = step.train.tokens_per_step / step.train.num_devices
    fullness = float(times.memory.total_bytes / times.memory.capacity_bytes)
    causes = {cause: float(value) for cause, value in variances(step, device, times.schedule).items()}
    return _Outcome(per_device / times.expected, per_device / times.ideal, causes, fullness)


def _part_recomputed(case: Case, outcomes: Sequence[_Outcome]) -> list[_Outcome]:
    """Where recompute is not stated and only full recompute fits: as many layers recomputed as memory asks for.

    Time and memory lie between those without and with recompute, in proportion to the layers.
    """
    found = []
    choices = list(zip(case.candidates, outcomes, strict=True))
    for (train, kept), (other, redone) in pairwise(choices):
        pair = (train.recompute, other.recompute) == ("none", "full")
        if pair and redone.fullness <= MEMORY_ERROR < kept.fullness:
            share = (kept.fullness - MEMORY_ERROR) / (kept.fullness - redone.fullness)
            expected = 1 / ((1 - share) / kept.expected + share / redone.expected)
            found.append(_Outcome(expected, kept.ideal, redone.variances, MEMORY_ERROR))
    return found


# --- summaries ---------------------------------------------------------------------------------------------------


def summarise(name: str, predictions: Sequence[Prediction]) -> Summary:
    """Errors over predicted rows."""
    errors = [abs(p.error) for p in predictions]
    logs = sorted(p.log_error for p in predictions)
    ordered = sorted(errors)
    return Summary(
        name=name,
        rows=len(predictions),
        mape=sum(errors) / len(errors),
        median_ape=ordered[len(ordered) // 2],
        bias=math.exp(sum(logs) / len(logs)) - 1.0,
        coverage=sum(p.inside for p in predictions) / len(predictions),
        width=sorted((p.high or 0.0) / (p.low or 1.0) for p in predictions)[len(predictions) // 2],
    )


def predicted(predictions: Iterable[Prediction]) -> list[Prediction]:
    """The rows that could be predicted."""
    return [p for p in predictions if not p.skipped_reason]


def group_by(predictions: Iterable[Prediction], key: Callable[[Prediction], str]) -> list[Summary]:
    """A summary per group, largest group first."""
    groups: dict[str, list[Prediction]] = {}
    for p in predictions:
        groups.setdefault(key(p), []).append(p)
    return sorted((summarise(name, rows) for name, rows in groups.items()), key=lambda s: (-s.rows, s.name))


def regime_of(p: Prediction) -> str:
    """``dense``, or ``experts`` of a mixture of them: their step times are known unlike well."""
    return "experts" if (p.row.get("n_experts") or "").strip() else "dense"


def source_of(p: Prediction) -> str:
    """The source of a row: the part of its id before the first dash."""
    return p.id.split("-")[0]
