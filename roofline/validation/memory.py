"""Our memory error against published measurements: peak bytes, and whether a configuration ran or ran out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..counting.step import build_step
from ..errors import RooflineError
from ..footprint.activations import GIB
from ..footprint.parts import Memory, memory_for
from ..timing.interval import Z80
from .published import Skipped, config_of, model_of, number

# What a row's peak counts, by the words of its source: the figure of ours that it compares with.
STATES = ("parameters+gradients+optimizer",)
ACTIVATIONS = ("activations only",)
SPREAD = 0.10  # standard deviation of log(predicted / measured peak) over the packaged table
NOT_A_PEAK = ("ratio", "largest", "analysis", "weights loaded")


class MemoryPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """One row: peak bytes measured and predicted (where published), and the ran / out-of-memory outcome."""

    row: Mapping[str, str]
    measured_bytes: float | None = None
    predicted_bytes: float | None = None
    ran: bool | None = None
    predicted_fits: bool | None = None
    skipped_reason: str = ""

    @property
    def id(self) -> str:
        """The row's id."""
        return self.row["id"]

    @property
    def error(self) -> float | None:
        """Relative error of predicted bytes."""
        if self.measured_bytes is None or self.predicted_bytes is None:
            return None
        return self.predicted_bytes / self.measured_bytes - 1.0

    @property
    def low_bytes(self) -> float | None:
        """10th percentile of the peak, by the spread of our residuals."""
        return None if self.predicted_bytes is None else self.predicted_bytes * math.exp(-Z80 * SPREAD)

    @property
    def high_bytes(self) -> float | None:
        """90th percentile of the peak."""
        return None if self.predicted_bytes is None else self.predicted_bytes * math.exp(Z80 * SPREAD)

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
    """Predict every row of a table of memory measurements."""
    result = []
    for row in rows:
        try:
            result.append(_predict(row))
        except RooflineError as error:
            result.append(MemoryPrediction(row=row, skipped_reason=str(error)))
    return result


def _predict(row: Mapping[str, str]) -> MemoryPrediction:
    kind = (row.get("memory_kind") or "").lower()
    capacity = number(row, "device_memory_gib")
    if any(word in kind for word in NOT_A_PEAK):
        raise Skipped(f"{kind}: not a measured peak of one configuration")
    if capacity is None:
        raise Skipped("device memory is not stated")
    normal = as_run(row)
    model = model_of(normal)
    memories = [
        memory_for(build_step(model, train), _usable(capacity)) for train in config_of(normal, model).candidates
    ]
    # where the source leaves a choice open, the smallest demand decides: people run what fits
    memory = min(memories, key=lambda m: m.total_bytes)
    peak = number(row, "peak_memory_gib")
    fits = number(row, "fits")
    return MemoryPrediction(
        row=row,
        measured_bytes=None if peak is None else peak * GIB,
        predicted_bytes=None if peak is None else _comparable(memory, kind),
        ran=None if fits is None or "only" in kind else bool(fits),
        predicted_fits=bool(memory.fits),
    )


def _usable(capacity_gib: float) -> float:
    """Bytes the driver reports for a card sold as so many GB: 79.6 GiB of 80 (81,559 MiB on an A100 or H100)."""
    return capacity_gib * GIB * 0.995


def _comparable(memory: Memory, kind: str) -> Any:
    if any(word in kind for word in STATES):
        return memory.weights_bytes + memory.gradients_bytes + memory.optimizer_bytes
    if any(word in kind for word in ACTIVATIONS):
        return memory.activations_bytes + memory.logits_bytes
    return memory.total_bytes


def as_run(row: Mapping[str, str]) -> dict[str, str]:
    """A row of a memory table in the columns of a table of runs: words cut down to the allowed ones."""
    run: dict[str, Any] = dict(row)
    run["device"] = row.get("hardware", "")
    run["sharding"] = (row.get("sharding") or "").split(" ")[0]
    recompute = (row.get("recompute") or "").split(" ")[0]
    run["recompute"] = recompute if recompute in {"none", "selective", "full"} else ""
    dtype = (row.get("dtype") or "").split("/")[0].split(" ")[0]
    either = "fp16/bf16" in (row.get("dtype") or "")
    run["dtype"] = dtype if dtype in {"fp32", "tf32", "fp16", "bf16", "fp8"} and not either else ""
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
