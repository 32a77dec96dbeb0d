"""A measured run against what is expected: MFU by every rule, the usual mistakes, and ranked suspects."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from .. import units
from ..config.options import check_names, read_one
from ..config.settle import Run
from ..counting.mfu import mfu_by_rule
from ..errors import RooflineError
from ..result import Result
from ..units import format_ratio, format_share, format_time
from .advice import Suspect, improvements, suspects
from .asked import run_of
from .estimate import COUNTED_RULE, Estimate, WaterfallStep, estimate_run
from .findings import Finding, Measured, findings_of
from .reported import read_printed

if TYPE_CHECKING:
    from typing import Unpack

    import pandas as pd

    from ..config.typed import Options
    from .asked import Described, Named

NOTHING = (
    "nothing measured: give --step-time-s, --tokens-per-s, --tflops or --reported-mfu "
    "('roofline estimate' says what to expect)"
)


class Diagnosis(Result, msgspec.Struct, frozen=True, kw_only=True):
    """Where a measured run stands; attributes are the JSON keys of ``roofline mfu``.

    Attributes:
        mfu: By the default rule, 0 to 1, as all that follow.
        hfu: FLOPs executed over the peak, recompute included.
        mfu_causal: By the causal rule.
        mfu_6n: By 6N, all parameters, no attention.
        mfu_by_rule: All rules.
        step_time_s: Seconds of a step, measured or from tokens per second.
        tokens_per_s: Tokens per second of all devices.
        expected_mfu: What the estimate says.
        expected_mfu_low, expected_mfu_high: 10th and 90th percentile of that.
        verdict: below, within or above the expected band.
        findings: Mistakes in the input, likeliest first.
        suspects: What would explain a run below the band, best explanation first.
        improvements: Changes that would make the expected step faster and still fit.
        estimate: The estimate itself.
        notes: Assumptions.
    """

    VIEW: ClassVar[str] = "mfu"

    mfu: float
    hfu: float
    mfu_causal: float
    mfu_6n: float
    mfu_by_rule: dict[str, float]
    step_time_s: float
    tokens_per_s: float
    expected_mfu: float
    expected_mfu_low: float
    expected_mfu_high: float
    verdict: str
    findings: tuple[Finding, ...]
    suspects: tuple[Suspect, ...]
    improvements: tuple[Suspect, ...]
    estimate: Estimate
    notes: tuple[str, ...]

    @property
    def explanation(self) -> str:
        """The verdict in words."""
        return verdict_words(self)

    @property
    def mfu_rule(self) -> str:
        """What `mfu` counts, in words."""
        return self.estimate.mfu_rule

    @property
    def expected_step_time_s(self) -> float:
        """Seconds of a step that the estimate expects."""
        return float(self.estimate.step_time_s)

    @property
    def num_devices(self) -> int:
        """Devices of the run."""
        return int(self.estimate.train.num_devices)

    @property
    def waterfall(self) -> list[WaterfallStep]:
        """The way from the peak to the expected MFU."""
        return self.estimate.waterfall

    def __repr__(self) -> str:
        """The verdict, and the first suspect."""
        suspect = f"; first suspect: {self.suspects[0].what}" if self.suspects else ""
        return f"<Diagnosis: MFU {format_share(self.mfu)}, {verdict_words(self)}{suspect}>"

    def to_frame(self) -> pd.DataFrame:
        """Suspects and improvements as a pandas frame, one a row."""
        import pandas as pd

        rows = [
            {"kind": kind, **msgspec.structs.asdict(one)}
            for kind, found in (("suspect", self.suspects), ("improvement", self.improvements))
            for one in found
        ]
        return pd.DataFrame(rows, columns=["kind", *Suspect.__struct_fields__])


def diagnose(
    model: Described | None = None,
    device: Named | None = None,
    *,
    run: Run | None = None,
    step_time_s: float | str | None = None,
    tokens_per_s: float | str | None = None,
    tflops: float | str | None = None,
    reported_mfu: float | str | None = None,
    **options: Unpack[Options],
) -> Diagnosis:
    """Judge a measured run.

    Args:
        model: As for `estimate`.
        device: As for `estimate`.
        run: A settled run (`roofline.settle`), in place of both; options change it.
        step_time_s: Measured seconds of one optimizer step, or text with a unit such as ``"340ms"``.
        tokens_per_s: Measured tokens per second of all devices, checked against the step time.
        tflops: TFLOP/s of one device as the framework printed them, where no time was measured; counted as MFU is here.
        reported_mfu: The MFU the framework printed, to find out how it counts; alone, what it may really be.
        **options: Fields of `TrainConfig`: how it was trained.

    Raises:
        RooflineError: Nothing was measured, or the figures are impossible (MFU above 100 %).
    """
    check_names(options, "step_time_s", "tokens_per_s", "tflops", "reported_mfu")
    measured = Measured(
        step_s=read_one("step_time_s", step_time_s, units.step_time_s),
        rate=read_one("tokens_per_s", tokens_per_s, units.positive),
        tflops=read_one("tflops", tflops, units.positive),
        printed=None if reported_mfu is None else read_printed(reported_mfu),
    )
    if measured.only_printed and measured.printed is None:
        raise RooflineError(NOTHING)
    run = run_of(model, device, options, run).alone("a measured run")
    expected = estimate_run(run)
    seconds = measured.seconds(expected)
    rate = float(run.train.tokens_per_step) / seconds
    rules = _rules(run, rate)
    counted = expected.mfu_rule == COUNTED_RULE  # part is frozen: the rules count gradients it does not take
    mfu = float(expected.mfu * expected.step_time_s) / seconds if counted else rules["6N+12LdS"]
    low, high = band = _band(expected)
    return Diagnosis(
        mfu=mfu,
        hfu=float(expected.hfu * expected.step_time_s) / seconds,
        mfu_causal=rules["causal"],
        mfu_6n=rules["6N"],
        mfu_by_rule=rules,
        step_time_s=seconds,
        tokens_per_s=rate,
        expected_mfu=float(expected.mfu),
        expected_mfu_low=low,
        expected_mfu_high=high,
        verdict="below" if mfu < low else "above" if mfu > high else "within",
        findings=findings_of(run, expected, measured, seconds, mfu, band),
        suspects=suspects(run, expected, seconds),
        improvements=improvements(run, expected),
        estimate=expected,
        notes=run.assumed,
    )


def _band(expected: Estimate) -> tuple[float, float]:
    """The lowest and the highest MFU expected."""
    slow, fast = expected.step_time_high_s, expected.step_time_low_s
    return float(expected.mfu * expected.step_time_s / slow), float(expected.mfu * expected.step_time_s / fast)


def _rules(run: Run, tokens_per_s: float) -> dict[str, float]:
    train = run.train
    peak = run.device.peak_flops_per_s(train.dtype)
    by_rule = mfu_by_rule(run.model, train.sample_length, tokens_per_s, train.num_devices, peak)
    return {rule: float(value) for rule, value in by_rule.items()}


def verdict_words(result: Diagnosis) -> str:
    """The verdict as a sentence."""
    band = f"{format_share(result.expected_mfu_low)} to {format_share(result.expected_mfu_high)}"
    step = format_time(float(result.estimate.step_time_s))
    match result.verdict:
        case "below":
            slower = result.step_time_s / float(result.estimate.step_time_s)
            times = f"{slower:,.2f}" if slower < 100 else format_ratio(slower)
            return f"below the expected {band}: {times} times the expected step of {step}"
        case "above":
            if result.step_time_s < float(result.estimate.ideal_step_time_s):
                return f"above the expected {band}, faster than the roofline allows: check batch and sequence"
            return f"above the expected {band}: better than four of five such runs, or less work than stated"
    return f"within the expected {band}: as good as such runs are"
