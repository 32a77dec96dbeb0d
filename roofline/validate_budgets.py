"""Our error on whole published trainings: device-hours from the best layout, with what a real run adds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from .budget import plan
from .errors import RooflineError
from .runs import Skipped, model_of
from .validate_memory import as_run

WHOLE_RUNS = ("single pre-training run", "released model")  # as the table names its scopes
FEW, MANY = (
    64,
    512,
)  # devices assumed where the source does not say, below and above a model of LARGE parameters
LARGE = 10e9
STACK_OF_KIND = {
    "tpu": "jax"
}  # software assumed by the kind of device: JAX on TPUs, Megatron's fusions on GPUs
WITHIN = 1.5


class BudgetPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """One training: device-hours published and predicted, with the 10th and 90th percentile."""

    row: Mapping[str, str]
    measured: float = math.nan
    predicted: float = math.nan
    low: float = math.nan
    high: float = math.nan
    skipped_reason: str = ""

    @property
    def id(self) -> str:
        """The row's id."""
        return self.row["id"]

    @property
    def ratio(self) -> float:
        """Measured over predicted device-hours."""
        return self.measured / self.predicted


class BudgetSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How many trainings come out within a factor of 1.5, and inside low to high."""

    rows: int
    within: float
    median_ratio: float
    coverage: float


def predict_budgets(rows: Iterable[Mapping[str, str]]) -> list[BudgetPrediction]:
    """Predict every row of a table of whole trainings."""
    result = []
    for row in rows:
        try:
            result.append(_predict(row))
        except (RooflineError, ValueError) as error:
            result.append(BudgetPrediction(row=row, skipped_reason=str(error)))
    return result


def _predict(row: Mapping[str, str]) -> BudgetPrediction:
    from hardware import load_device

    hours, tokens = _number(row, "device_hours"), _number(row, "tokens")
    scope = row.get("scope") or ""
    if not scope.startswith(WHOLE_RUNS):
        raise Skipped(f"scope: {scope}")
    if not hours or not tokens:
        raise Skipped("tokens or device-hours are not stated")
    device = load_device(device_word(row["hardware"]))
    seq_len = int(_number(row, "seq_len") or 4096)
    model = model_of({**as_run(row), "seq_len": str(seq_len)})
    size = _number(row, "n_params_reported") or 0
    num_devices = int(_number(row, "n_devices") or (MANY if size >= LARGE else FEW))
    batch_tokens = _number(row, "global_batch_tokens") or 4 * 2**20
    options: dict[str, Any] = {
        "num_devices": num_devices,
        "seq_len": seq_len,
        "global_batch": max(num_devices, round(batch_tokens / seq_len / num_devices) * num_devices),
        "dtype": _dtype(row, device),
        "stack": STACK_OF_KIND.get(device.kind, "megatron"),
    }
    run = plan(model, device, tokens=int(tokens), **options)
    return BudgetPrediction(
        row=row,
        measured=hours,
        predicted=run.device_hours,
        low=run.device_hours * run.wall_time_low_s / run.wall_time_s,
        high=run.device_hours * run.wall_time_high_s / run.wall_time_s,
    )


def device_word(name: str) -> str:
    """A device as tables of trainings write it, in the catalog's style.

    >>> device_word("H800-SXM5-80GB"), device_word("TPUv4")
    ('h800-sxm-80gb', 'tpu-v4')
    """
    return re.sub(r"^tpuv", "tpu-v", re.sub(r"sxm\d", "sxm", name.lower()))


def _dtype(row: Mapping[str, str], device: Any) -> str:
    dtype = as_run(row)["dtype"]
    return dtype or ("bf16" if "bf16" in device.peaks else "fp16")


def _number(row: Mapping[str, str], key: str) -> float | None:
    text = (row.get(key) or "").strip()
    return float(text) if text else None


def summarise(predictions: Sequence[BudgetPrediction]) -> BudgetSummary:
    """Errors over predicted rows."""
    ratios = sorted(p.ratio for p in predictions)
    return BudgetSummary(
        rows=len(ratios),
        within=sum(1 / WITHIN <= ratio <= WITHIN for ratio in ratios) / len(ratios),
        median_ratio=ratios[len(ratios) // 2],
        coverage=sum(p.low <= p.measured <= p.high for p in predictions) / len(ratios),
    )
