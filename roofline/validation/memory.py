"""Our memory error against published measurements: peak bytes, and whether a configuration ran or ran out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..config.run import DTYPES
from ..counting.ownership import parameter_shares
from ..counting.step import Step, build_step
from ..errors import RooflineError
from ..footprint.activations import GIB
from ..footprint.parts import Memory, memory_for
from ..footprint.spreads import LIVE, Z80, spread_of, verdict
from .row_config import config_of
from .row_model import model_of
from .rows import Skipped, number

# What a row's peak counts, by the words of its source: the figure of ours that it compares with.
COLUMNS = ("allocated", "reserved", "driver")
WORDS_OF = {
    "states": ("parameters+gradients+optimizer",),
    "activations": ("activations only",),
    "allocated": ("max_memory_allocated",),
    "reserved": ("max_memory_reserved", "not stated"),
}
NOT_A_PEAK = ("ratio", "largest", "analysis", "weights loaded")


class MemoryPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of a row: bytes measured and predicted, and whether it ran.

    Attributes:
        row: The row.
        kind: What the figure counts: allocated, reserved, driver, activations, states; outcome where there is none.
        measured_bytes, predicted_bytes: The figure, where one is published.
        spread: Standard deviation of the logarithm of measured over predicted bytes.
        ran: Whether it ran, where the row says; told by the first figure of a row alone.
        fit_probability: How likely we think it fits.
        skipped_reason: Why it is not predicted.
    """

    row: Mapping[str, str]
    kind: str = ""
    measured_bytes: float | None = None
    predicted_bytes: float | None = None
    spread: float = LIVE
    ran: bool | None = None
    fit_probability: float | None = None
    skipped_reason: str = ""

    @property
    def id(self) -> str:
        """The row's id."""
        return self.row["id"]

    @property
    def predicted_fits(self) -> bool | None:
        """Whether we think it fits."""
        return None if self.fit_probability is None else self.fit_probability >= 0.5

    @property
    def verdict(self) -> str:
        """fits, borderline or does not fit."""
        return "" if self.fit_probability is None else verdict(self.fit_probability)

    @property
    def error(self) -> float | None:
        """Relative error of predicted bytes."""
        if self.measured_bytes is None or self.predicted_bytes is None:
            return None
        return self.predicted_bytes / self.measured_bytes - 1.0

    @property
    def low_bytes(self) -> float | None:
        """10th percentile of the peak, by the spread of our residuals."""
        return None if self.predicted_bytes is None else self.predicted_bytes * math.exp(-Z80 * self.spread)

    @property
    def high_bytes(self) -> float | None:
        """90th percentile of the peak."""
        return None if self.predicted_bytes is None else self.predicted_bytes * math.exp(Z80 * self.spread)

    @property
    def inside(self) -> bool:
        """Whether the measured peak lies between the two."""
        low, high, measured = self.low_bytes, self.high_bytes, self.measured_bytes
        return None not in {low, high, measured} and low <= measured <= high  # type: ignore[operator]

    @property
    def right(self) -> bool | None:
        """Whether the ran / out-of-memory decision is right."""
        if self.ran is None or self.predicted_fits is None:
            return None
        return self.ran == self.predicted_fits


def predict_memory(rows: Iterable[Mapping[str, str]]) -> list[MemoryPrediction]:
    """Predict every figure of every row of a table of memory measurements."""
    result = []
    for row in rows:
        try:
            result += _predict(row)
        except RooflineError as error:
            result.append(MemoryPrediction(row=row, skipped_reason=str(error)))
    return result


def _predict(row: Mapping[str, str]) -> list[MemoryPrediction]:
    kind = (row.get("memory_kind") or "").lower()
    capacity = number(row, "device_memory_gib")
    if any(word in kind for word in NOT_A_PEAK):
        raise Skipped(f"{kind}: not a measured peak of one configuration")
    if capacity is None:
        raise Skipped("device memory is not stated")
    normal = as_run(row)
    model = model_of(normal)
    steps = [build_step(model, train) for train in config_of(normal, model).candidates]
    memories = [memory_for(step, usable_bytes(capacity)) for step in steps]
    # where the source leaves a choice open, the smallest demand decides: people run what fits
    memory = min(memories, key=lambda m: m.total_bytes)
    step = steps[memories.index(memory)]
    fits = number(row, "fits")
    ran = None if fits is None or "only" in kind else bool(fits)
    sure = sum(float(m.fit_probability) for m in memories) / len(memories)  # of one that ran out we know no more
    found = [
        MemoryPrediction(
            row=row,
            kind=what,
            measured_bytes=gib * GIB,
            predicted_bytes=_comparable(step, memory, what),
            spread=float(spread_of(step.train) if what in {"driver", "reserved"} else LIVE),
            fit_probability=sure,
        )
        for what, gib in figures_of(row, kind).items()
    ]
    found = found or [MemoryPrediction(row=row, kind="outcome", fit_probability=sure)]
    return [msgspec.structs.replace(found[0], ran=ran), *found[1:]]


def figures_of(row: Mapping[str, str], words: str) -> dict[str, float]:
    """GiB that a row measures, by what they count: its columns, and its peak by the words of the source.

    What the driver showed of a run that ran out is no peak: it ended before one.
    """
    if number(row, "fits") == 0:
        return {}
    found = {kind: value for kind in COLUMNS if (value := number(row, f"{kind}_gib")) is not None}
    peak = number(row, "peak_memory_gib")
    kind = next((kind for kind, marks in WORDS_OF.items() if any(mark in words for mark in marks)), "driver")
    if peak is not None and kind not in found:
        found[kind] = peak
    if not all(found.values()):
        raise Skipped("measured memory of 0 GiB")
    return found


def usable_bytes(capacity_gib: float) -> float:
    """Bytes the driver reports for a card sold as so many GB: 79.6 GiB of 80 (81,559 MiB on an A100 or H100)."""
    return capacity_gib * GIB * 0.995


def _comparable(step: Step, memory: Memory, kind: str) -> Any:
    """Our figure of a kind; states of a model that a pipeline splits are published of a mean device, not the fullest.

    That of arXiv:2205.05198, figure 1, is 18 bytes of all parameters over all devices, to 1 %.
    """
    if kind == "states":
        mean = sum(weight.local * weight.count for weight in step.weights if not weight.tied) / step.train.pp
        return memory.kept_bytes * mean / parameter_shares(step.model, step.train, step.weights).total
    if kind == "activations":
        return memory.phases[0].activations + memory.phases[0].logits
    return getattr(memory, f"{kind}_bytes")


def as_run(row: Mapping[str, str]) -> dict[str, str]:
    """A row of a memory table in the columns of a table of runs: words cut down to the allowed ones."""
    run: dict[str, Any] = dict(row)
    run["device"] = row.get("hardware", "")
    run["sharding"] = (row.get("sharding") or "").split(" ")[0]
    recompute = (row.get("recompute") or "").split(" ")[0]
    run["recompute"] = recompute if recompute in {"none", "selective", "full"} else ""
    dtype = (row.get("dtype") or "").split("/")[0].split(" ")[0]
    either = "fp16/bf16" in (row.get("dtype") or "")
    frozen = re.match(r"(nf4|fp4|int8|gptq|awq) base \+ (\w+) LoRA", row.get("dtype") or "")
    if frozen:
        run["workload"], run["quantization"], dtype = "qlora", frozen[1], frozen[2]
    run["dtype"] = dtype if dtype in {*DTYPES} - {"nvfp4"} and not either else ""
    kernel = (row.get("attention_kernel") or "").lower()
    run["attention_note"] = kernel
    if not kernel:
        run["attention"] = ""
    elif re.search(r"flash_?attention_?2", kernel):
        run["attention"] = "flash2"
    else:
        run["attention"] = "flash1" if "flash" in kernel else "unfused"
    run["seq_len"] = row.get("seq_len") or "2048"
    return run


class MemorySummary(msgspec.Struct, frozen=True, kw_only=True):
    """Errors over a set of rows: of the bytes, and of the decisions."""

    name: str
    rows: int
    bytes_rows: int
    mape: float | None
    median_ape: float | None
    bias: float | None
    coverage: float | None
    decision_rows: int
    decisions_right: float | None


def summarise(name: str, predictions: Sequence[MemoryPrediction]) -> MemorySummary:
    """Errors over predicted rows."""
    errors = [p.error for p in predictions if p.error is not None]
    decisions = [p.right for p in predictions if p.right is not None]
    return MemorySummary(
        name=name,
        rows=len(predictions),
        bytes_rows=len(errors),
        mape=sum(map(abs, errors)) / len(errors) if errors else None,
        median_ape=sorted(map(abs, errors))[len(errors) // 2] if errors else None,
        bias=math.exp(sum(math.log1p(e) for e in errors) / len(errors)) - 1 if errors else None,
        coverage=sum(p.inside for p in predictions) / len(errors) if errors else None,
        decision_rows=len(decisions),
        decisions_right=sum(decisions) / len(decisions) if decisions else None,
    )
