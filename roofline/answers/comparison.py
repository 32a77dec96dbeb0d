"""Cases side by side: every combination of models, devices and swept options, and why their speeds differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from ..config.options import choices, several_of
from ..errors import RooflineError
from ..model.load import names_function
from ..model.spec import ModelConfig
from ..result import Result
from ..timing.terms import TERMS
from .asked import described, run_of
from .estimate import Estimate, estimate
from .measured import learnt

if TYPE_CHECKING:
    from typing import Unpack

    from ..config.typed import Choices
    from ..hardware import Device
    from .asked import Described, Named

MOST_CASES = 10_000


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One combination.

    Attributes:
        model: The model; text where it is a function that builds one.
        device: The device.
        options: Fields of `TrainConfig` that were given.
        varied: What tells this case from the others, in the order it was given.
    """

    model: ModelConfig | str
    device: Any
    options: dict[str, Any]
    varied: dict[str, Any]


class Skipped(msgspec.Struct, frozen=True):
    """A combination that cannot be.

    Attributes:
        varied: What tells it from the others.
        reason: Why it cannot be, as the error says.
    """

    varied: dict[str, Any]
    reason: str


class Sweep(msgspec.Struct, frozen=True):
    """Every combination of models, devices and options that hold a choice of several values, the last varying fastest.

    Attributes:
        models: Models, or functions that build one.
        devices: Devices.
        options: Fields of `TrainConfig` that were given.
    """

    models: tuple[ModelConfig | str, ...]
    devices: tuple[Any, ...]
    options: dict[str, Any]

    @property
    def swept(self) -> dict[str, tuple[Any, ...]]:
        """The options of several values."""
        return {name: value for name, value in self.options.items() if several_of(name, value)}

    def __len__(self) -> int:
        """How many combinations there are."""
        return math.prod(map(len, (self.models, self.devices, *self.swept.values())))

    def between(self, first: int, last: int) -> Iterator[Case]:
        """Those from the number `first` to before `last`, as far as there are so many."""
        swept = self.swept
        told = ["model"] * (len(self.models) > 1) + ["device"] * (len(self.devices) > 1)
        axes = [range(len(self.models)), range(len(self.devices)), *swept.values()]
        for number in range(first, min(last, len(self))):
            places, left = [], number
            for axis in reversed(axes):
                left, place = divmod(left, len(axis))
                places.append(axis[place])
            which, where, *values = reversed(places)
            model, device, chosen = self.models[which], self.devices[where], dict(zip(swept, values, strict=True))
            named = {"model": getattr(model, "name", model), "device": getattr(device, "id", device)}
            varied = {**{name: named[name] for name in told}, **chosen}
            yield Case(model=model, device=device, options={**self.options, **chosen}, varied=varied)


def combinations(
    models: Described | Sequence[Described], devices: Named | Sequence[Named], options: Mapping[str, Any]
) -> Sweep:
    """Every combination of one model or several, one device or several, and options (see `compare`).

    Raises:
        RooflineError: There is no such model, device or option.
    """
    from ..hardware import load_device

    return Sweep(tuple(map(_read, _listed(models))), tuple(map(load_device, _listed(devices))), choices(options))


def cases(models: Sequence[ModelConfig | str], devices: Sequence[Device], options: Mapping[str, Any]) -> list[Case]:
    """Every combination of `models`, `devices` and the options that hold a choice of several values.

    Raises:
        RooflineError: There are more than ten thousand.
    """
    return _each(Sweep(tuple(models), tuple(devices), dict(options)))


def _each(sweep: Sweep) -> list[Case]:
    if len(sweep) > MOST_CASES:
        raise RooflineError(
            f"these options make {len(sweep):,} cases: give at most {MOST_CASES:,}, or write them with --all "
            "(in Python roofline.sweep)"
        )
    return list(sweep.between(0, len(sweep)))


def labelled(case: Case, label: str) -> Case:
    """The same case, told apart by `label` first."""
    return msgspec.structs.replace(case, varied={"case": label, **case.varied})


class Comparison(Result, msgspec.Struct, frozen=True, kw_only=True):
    """Estimates side by side.

    Attributes:
        cases: The combinations that can be, in the order they were given.
        estimates: The estimate of each.
        skipped: The combinations that cannot be.
    """

    VIEW: ClassVar[str] = "comparison"

    cases: tuple[Case, ...]
    estimates: tuple[Estimate, ...]
    skipped: tuple[Skipped, ...]

    def __repr__(self) -> str:
        """How many of which cases."""
        return f"<Comparison of {len(self.cases)} cases, {len(self.skipped)} left out>"


def run_cases(
    chosen: Sequence[Case], measured: float | str | None = None, measured_at: Mapping[str, Any] | str | None = None
) -> Comparison:
    """Estimate each case; one that cannot be (a batch that does not divide) is set aside with its reason.

    A step that was `measured` is that of the first case, but for `measured_at`; it tells of all cases on its device.

    Raises:
        RooflineError: No case can be: the reason of the first.
    """
    results, skipped = [], []
    for case in _told(chosen, measured, measured_at):
        try:
            results.append((case, estimate(case.model, case.device, **case.options)))
        except RooflineError as error:
            skipped.append(Skipped(case.varied, str(error)))
    if not results:
        raise RooflineError(skipped[0].reason if skipped else "nothing to compare: name a model and a device")
    done, estimates = zip(*results, strict=True)
    return Comparison(cases=done, estimates=estimates, skipped=tuple(skipped))


def _told(chosen: Sequence[Case], measured: Any, measured_at: Any) -> Sequence[Case]:
    """The cases, those on the first one's device with what was seen there."""
    if not chosen or (measured is None and measured_at is None):
        return chosen
    first = chosen[0]
    device = learnt(run_of(first.model, first.device, first.options), measured, measured_at)
    return [msgspec.structs.replace(case, device=device) if case.device == first.device else case for case in chosen]


def compare(
    models: Described | Sequence[Described],
    devices: Named | Sequence[Named],
    *,
    measured: float | str | None = None,
    measured_at: Mapping[str, Any] | str | None = None,
    **options: Unpack[Choices],
) -> Comparison:
    """Estimate every combination of models, devices and options.

    >>> compare("gpt2", ["a100-sxm-80gb", "h100-sxm-80gb"], micro_batch=[1, 2])
    <Comparison of 4 cases, 0 left out>

    Args:
        models: One model as `estimate` takes it, or a list.
        devices: One device as `estimate` takes it, or a list.
        measured: What a step of the first combination took, as for `estimate`; it tells of all on that device.
        measured_at: Options in which the step that was timed differs from the first combination.
        **options: Fields of `TrainConfig`; a list or tuple is a choice, but for `fused`, `freeze`, `offload`,
            `moment_dtype` and `pp_layout`, where several words are one value.

    Raises:
        RooflineError: No combination is possible, or there are too many.
    """
    return run_cases(_each(combinations(models, devices, options)), measured, measured_at)


def _read(model: Any) -> ModelConfig | str:
    """A model, as far as it is one whatever it is trained in: a file's module is traced in the dtype of its case."""
    return str(model) if names_function(model) else described(model, None, {})[0]


def _listed(given: Any) -> Sequence[Any]:
    return given if isinstance(given, (list, tuple)) else [given]


def device_time_per_token(result: Estimate) -> dict[str, float]:
    """Device-seconds per token by cause; they add up to what a token costs."""
    scale = result.train.num_devices / result.train.tokens_per_step
    return {term: getattr(result.schedule, term) * scale for term in TERMS}


def difference(first: Estimate, other: Estimate) -> dict[str, float]:
    """Device-seconds per token that `other` spends more than `first`, by cause, the largest first."""
    before, after = device_time_per_token(first), device_time_per_token(other)
    changes = {term: after[term] - before[term] for term in TERMS}
    return dict(sorted(changes.items(), key=lambda item: -abs(item[1])))
