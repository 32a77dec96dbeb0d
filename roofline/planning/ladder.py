"""What to train with a compute, a budget or a time: the size that a scaling law finds optimal, and sizes around it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from .. import units
from ..config.options import check_names, choices, read_one
from ..errors import RooflineError
from ..gate import FUNCTION, gated
from ..hardware.errors import HardwareError
from ..model.parameters import count_parameters
from ..model.spec import ModelConfig
from ..result import Result
from .cost import Asked, Limited, Missed, Plan, Terms
from .devices import DoesNotFit, Planner, Progress
from .laws import DEFAULT_LAW, Law, Verdict, laws
from .laws import law as scaling_law
from .plan import planned, read_asked, read_terms

if TYPE_CHECKING:
    from typing import Unpack

    from ..answers.asked import Named
    from ..config.typed import LayoutChoices
    from ..hardware import Device

STEPS = (0.25, 0.5, 1.0, 2.0, 4.0)  # sizes shown, over the optimal one
FIRST = (1e9, 1e8)  # sizes that tell what the devices compute, the second where the first does not fit
ROUNDS, SAME = 6, 0.02  # until the optimal size changes by no more than this
USUAL_S = 30 * 86400.0  # where neither devices nor a deadline are given
LEAST, MOST = 1e15, 1e30  # FLOPs of a training: outside, a digit is missing or too many


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One size: its training as planned, and what the law says of it.

    Attributes:
        factor: Of the optimal size.
        parameters: All parameters.
        plan: The training.
        verdict: What the law says of size and tokens.
    """

    factor: float
    parameters: int
    plan: Plan
    verdict: Verdict


class Advised(msgspec.Struct, frozen=True, kw_only=True):
    """What a law advises for a compute.

    Attributes:
        law: Its name.
        parameters: All parameters, embeddings and head included.
        tokens: Tokens to train on.
    """

    law: str
    parameters: float
    tokens: float


class Ladder(Limited, Result, msgspec.Struct, frozen=True, kw_only=True):
    """Sizes for one compute, budget or time; attributes are the JSON keys of ``roofline plan`` without a model.

    Attributes:
        law: The scaling law.
        device: The device.
        flops: Compute of the optimal training, as the law counts it.
        rungs: Sizes from small to large, the optimal one and those around it that fit.
        best: Place of the rung of the least loss; of a law without a loss of the one nearest to the optimal size. Its
            plan says what it misses.
        advised: What each law advises for that compute.
        asked: Devices, deadline and budget.
        notes: Assumptions, and what was left out.
    """

    VIEW: ClassVar[str] = "ladder"

    law: Law
    device: Any
    flops: float
    rungs: tuple[Rung, ...]
    best: int
    advised: tuple[Advised, ...]
    asked: Asked
    notes: tuple[str, ...]

    @property
    def num_devices(self) -> int | None:
        """Devices that were given; None: as many as the limits want."""
        return self.asked.num_devices

    @property
    def missed(self) -> tuple[Missed, ...]:
        """Limits that the best size does not meet."""
        return self.rungs[self.best].plan.missed

    def __repr__(self) -> str:
        """The best size in one line."""
        one = self.rungs[self.best]
        return (
            f"<Ladder by {self.law.name}: {units.format_count(one.parameters)} parameters on "
            f"{units.format_count(one.plan.tokens)} tokens, {units.format_time(one.plan.wall_time_s)} on "
            f"{one.plan.num_devices:,} x {self.device.id}>"
        )


@gated(progress=FUNCTION)
def ladder(
    device: Named,
    *,
    law: str = DEFAULT_LAW,
    flops: float | str | None = None,
    num_devices: int | str | None = None,
    deadline_s: float | str | None = None,
    budget: float | str | None = None,
    confidence: float | str = 0.5,
    terms: Terms | None = None,
    progress: Progress | None = None,
    **options: Unpack[LayoutChoices],
) -> Ladder:
    """What to train: plain Llama-like decoders of the size that a law finds optimal, and of sizes around it.

    With `flops` each size has that compute, and the devices that finish it by the deadline; without, the tokens that
    devices, deadline and budget leave it. Where neither devices nor a deadline are given, 30 days are assumed.

    Args:
        device: As for `estimate`.
        law: A scaling law by its name (``laws.toml``).
        flops: Compute of the training, as 6ND, or text such as ``"1e24"``.
        num_devices: Devices.
        deadline_s: Seconds the whole run may take, or text with a unit such as ``"30d"``.
        budget: Money the whole run may cost; needs ``terms.price``.
        confidence: As for `plan`.
        terms: As for `plan`.
        progress: As for `plan`.
        **options: As for `plan`.

    Raises:
        DoesNotFit: No size fits in memory.
        RooflineError: Too little is given, or it makes no sense.
    """
    from ..hardware import load_device

    charged = read_terms(terms, options)
    check_names(options, "law", "flops", "num_devices", "deadline_s", "budget", "confidence", "terms", "progress")
    compute: float | None = read_one("flops", flops, units.positive)
    if compute is not None and not LEAST <= compute <= MOST:
        raise RooflineError(f"flops: {compute:.3g} is out of range: give {LEAST:g} to {MOST:g}, such as 1e24")
    asked = read_asked(num_devices, deadline_s, budget, confidence)
    if compute is None and asked.deadline_s is None and asked.budget is None:
        raise RooflineError("nothing to plan: give --flops (1e24), or a --deadline or --budget to fill")
    notes = []
    if asked.num_devices is None and asked.deadline_s is None:
        asked = msgspec.structs.replace(asked, deadline_s=USUAL_S)
        notes.append(f"assumed a deadline of {units.format_time(USUAL_S)}: set --deadline or --num-devices")
    steps = _Steps(scaling_law(law), load_device(device), asked, charged, choices(options), progress)
    return steps.ladder(compute, notes)


class _Steps:
    """Plans one size after the other with the same means."""

    def __init__(
        self,
        law: Law,
        device: Device,
        asked: Asked,
        terms: Terms,
        options: dict[str, Any],
        progress: Progress | None,
    ) -> None:
        self.law, self.device, self.asked = law, device, asked
        self.terms, self.options, self.progress = terms, options, progress
        self.seq_len: int | None = read_one("seq_len", options.get("seq_len"), units.sequence_length)

    def ladder(self, compute: float | None, notes: list[str]) -> Ladder:
        flops = self._flops() if compute is None else compute
        wanted = self.law.optimal(flops).size
        rungs: list[Rung] = []
        short: RooflineError | None = None  # of the smallest size that does not fit: no larger one does
        for step in STEPS:
            model = self.law.decoder(step * wanted, self.seq_len)
            if rungs and rungs[-1].parameters == count_parameters(model).total:  # the smallest there is, again
                continue
            try:
                rungs.append(self._rung(step, model, compute))
            except (DoesNotFit, HardwareError) as error:
                short = error
                break
        if short is not None and not rungs:
            raise short
        if short is not None:
            notes.append(f"left out from this size on: {short}")
        best = _best(rungs)
        one = rungs[best].plan
        missed = self._planner(one.model).missed(one)
        rungs[best] = msgspec.structs.replace(rungs[best], plan=msgspec.structs.replace(one, missed=missed))
        return Ladder(
            law=self.law,
            device=self.device,
            flops=flops,
            rungs=tuple(rungs),
            best=best,
            advised=tuple(advice(laws().values(), flops, self.seq_len)),
            asked=self.asked,
            notes=tuple(notes),
        )

    def _rung(self, step: float, model: ModelConfig, compute: float | None) -> Rung:
        tokens = None if compute is None else round(compute / self.law.flops(self.law.size_of(model, self.seq_len), 1))
        one = self._planned(model, tokens)
        verdict = self.law.judge(model, one.tokens, self.seq_len)
        return Rung(factor=step, parameters=count_parameters(model).total, plan=one, verdict=verdict)

    def _planned(self, model: ModelConfig, tokens: int | None) -> Plan:
        return planned(self._planner(model), tokens, self.asked)

    def _planner(self, model: ModelConfig) -> Planner:
        return Planner(model, self.device, self.terms, self.options, self.asked.confidence, self.progress)

    def _flops(self) -> float:
        """The compute of the optimal size: what the means give a size, and what size that is the best for."""
        flops = 0.0
        problem: RooflineError | None = None
        size = FIRST[0]
        for _ in range(ROUNDS):
            try:
                model = self.law.decoder(size, self.seq_len)
                flops = self.law.judge(model, self._planned(model, None).tokens, self.seq_len).flops
            except (DoesNotFit, HardwareError) as error:
                problem = error
                if flops:  # the optimal size does not fit: the compute of one that does is near enough
                    return flops
                size = FIRST[1]
                continue
            wanted = self.law.optimal(flops).size
            if abs(wanted / size - 1) < SAME:
                return flops
            size = wanted
        if not flops and problem is not None:
            raise problem
        return flops


def _best(rungs: list[Rung]) -> int:
    """The place of the least loss, or else of the size that is nearest to the optimal one."""
    losses = [one.verdict.loss for one in rungs]
    known = [loss for loss in losses if loss is not None]
    if known:
        return losses.index(min(known))
    return min(range(len(rungs)), key=lambda place: abs(rungs[place].factor - 1))


def advice(chosen: Iterable[Law], flops: float, seq_len: int | None = None) -> Iterable[Advised]:
    """What laws advise for a compute."""
    for each in chosen:
        best = each.optimal(flops)
        yield Advised(law=each.name, parameters=each.parameters(best.size, seq_len), tokens=best.tokens)
