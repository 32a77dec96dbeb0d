"""Our error on whole published trainings: device-hours as they ran, as far as published, with what a run adds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from ..counting.mfu import model_flops_per_token
from ..errors import RooflineError
from ..model.load import load_model
from ..planning.cost import Terms
from ..planning.overhead import doublings
from ..planning.plan import plan
from ..reading import packaged
from .memory import as_run
from .row_config import SCHEDULES, fusions_of, named_stack, usual_attention
from .row_model import model_of
from .rows import Skipped, integer, number, read_table

if TYPE_CHECKING:
    from ..hardware import Device

WHOLE_RUNS = ("single pre-training run", "released model")  # as the table names its scopes
COLUMNS = ("id", "hardware", "tokens", "device_hours", "scope")  # without them there is nothing to compare
NUMBERS = ("tp", "pp", "cp", "ep", "micro_batch", "devices_per_node")
# Where the source does not say how many devices: the power of two that takes at most so long at so much of the peak.
USUAL_S, USUAL_MFU = 30 * 86400, 0.4
BATCH, BATCH_EXPONENT = 0.2920, 0.3271  # tokens a step by the compute (arXiv:2401.02954, equation 1)
WITHIN = 1.5


class BudgetPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """One training: device-hours published and predicted, with the 10th and 90th percentile.

    Attributes:
        row: The row of the table.
        measured: Device-hours published.
        predicted: Device-hours expected.
        low: Their 10th percentile.
        high: Their 90th percentile.
        practice: The factor of practice in them.
        doublings: The power of the whole factor that this is.
        skipped_reason: Why nothing is predicted.
    """

    row: Mapping[str, str]
    measured: float = math.nan
    predicted: float = math.nan
    low: float = math.nan
    high: float = math.nan
    practice: float = 1.0
    doublings: float = 0.0
    skipped_reason: str = ""

    @property
    def id(self) -> str:
        """The row's id."""
        return self.row["id"]

    @property
    def ratio(self) -> float:
        """Measured over predicted device-hours."""
        return self.measured / self.predicted

    @property
    def error(self) -> float:
        """Relative error of the predicted device-hours."""
        return self.predicted / self.measured - 1.0

    @property
    def beyond(self) -> float:
        """What the training took over steps and overhead, as a factor for as many nodes as practice grows with."""
        return (self.ratio * self.practice) ** (1 / self.doublings)


class BudgetSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of the device-hours, how many are within a factor of 1.5, and how many inside low to high."""

    name: str
    rows: int
    mape: float
    median_ape: float
    bias: float
    within: float
    median_ratio: float
    coverage: float


def predict_budgets(rows: Iterable[Mapping[str, str]], stack: str | None = None) -> list[BudgetPrediction]:
    """Predict every row of a table of whole trainings.

    Args:
        rows: The table.
        stack: Software to search the best layout on, in place of what ran or is taken to have run.
    """
    result = []
    for row in rows:
        try:
            result.append(_predict(row, stack))
        except RooflineError as error:
            result.append(BudgetPrediction(row=row, skipped_reason=str(error)))
    return result


def _predict(published: Mapping[str, str], stack: str | None) -> BudgetPrediction:
    from ..hardware import load_device

    row = with_layout(published)
    hours, tokens = number(row, "device_hours"), number(row, "tokens")
    scope = row.get("scope") or ""
    if not scope.startswith(WHOLE_RUNS):
        raise Skipped(f"scope: {scope}")
    if not hours or not tokens:
        raise Skipped("tokens or device-hours are not stated")
    device = load_device(row["hardware"])
    seq_len = int(number(row, "seq_len") or 4096)
    as_published = {**as_run(row), "seq_len": str(seq_len)}
    model = load_model(row["preset"]) if row.get("preset") else model_of(as_published)
    dtype = _dtype(row, device)
    flops = float(model_flops_per_token(model, seq_len)) * tokens
    sequences = _batch_tokens(row, flops) / seq_len
    num_devices = int(number(row, "n_devices") or _devices(device, flops, sequences, dtype))
    stated = _stated(row)
    options: dict[str, Any] = {
        "num_devices": num_devices,
        "seq_len": seq_len,
        "global_batch": _whole_batch(sequences, num_devices, stated),
        "dtype": dtype,
        "stack": stack or _stack(row, device, num_devices),
        "attention": row.get("attention") or usual_attention(row, device),
        "fused": fusions_of(row),
        "dropout": bool(number(row, "dropout")),
        **stated,
    }
    run = plan(model, device, tokens=int(tokens), terms=Terms(settled=stack is None), **options)
    return BudgetPrediction(
        row=published,
        measured=hours,
        predicted=run.device_hours,
        low=run.device_hours * run.wall_time_low_s / run.wall_time_s,
        high=run.device_hours * run.wall_time_high_s / run.wall_time_s,
        practice=run.overhead.practice[1] if run.overhead.practice else 1.0,
        doublings=doublings(num_devices / int(device.devices_per_node)),
    )


def with_layout(row: Mapping[str, str]) -> dict[str, str]:
    """A row with what its paper, model card or files say of its layout."""
    return {**row, **_layouts().get(row["id"], {})}


@cache
def _layouts() -> dict[str, dict[str, str]]:
    """What papers and model cards say of the packaged trainings' layouts, by row, beside the table's own columns."""
    rows = read_table(packaged(__name__, "data") / "budget_layouts.csv")
    return {row["id"]: {name: text for name, text in row.items() if text} for row in rows}


def _stated(row: Mapping[str, str]) -> dict[str, Any]:
    """What a row says of its layout, as options that restrict the search for one."""
    numbers = {name: integer(row, name) for name in NUMBERS}
    words = {name: row.get(name) or None for name in ("sharding", "recompute")}
    schedule = SCHEDULES.get(row.get("schedule") or "")
    stated = {**numbers, **words, "schedule": schedule, "network_gbit_per_s": number(row, "network_gbit_per_s")}
    return {name: value for name, value in stated.items() if value is not None}


def _whole_batch(sequences: float, num_devices: int, stated: Mapping[str, Any]) -> int:
    """Sequences a step that the replicas of a stated layout share evenly; of any, as many devices as have one each.

    >>> _whole_batch(2048, 384, {"tp": 4, "pp": 12, "micro_batch": 2}), _whole_batch(2048, 16384, {})
    (2048, 2048)
    """
    group = stated["tp"] * stated["pp"] if "tp" in stated and "pp" in stated else 1
    share = num_devices // group * stated.get("micro_batch", 1)
    while share > sequences and share % 2 == 0:
        share //= 2
    return max(round(sequences / share), 1) * share


def _batch_tokens(row: Mapping[str, str], flops: float) -> float:
    """Tokens a step; where none are stated, or they changed, what DeepSeek LLM found best for the compute."""
    usual = BATCH * flops**BATCH_EXPONENT
    try:
        return number(row, "global_batch_tokens") or usual
    except RooflineError:  # such as "3M then 6M tokens"
        return usual


def _devices(device: Device, flops: float, sequences: float, dtype: str) -> int:
    """Devices assumed for a training: whole nodes, a power of two, a node for each sequence of a step at most."""
    node = int(device.devices_per_node)
    least = flops / (device.peak_flops_per_s(dtype) * USUAL_MFU * USUAL_S)
    return max(2 ** math.floor(math.log2(min(2 ** math.ceil(math.log2(least)), sequences * node))), node)


def _stack(row: Mapping[str, str], device: Any, num_devices: int) -> str | None:
    """Software of a training: as named; else JAX on TPUs, in-house PyTorch on several nodes of GPUs, as for runs."""
    unnamed = "jax" if device.kind == "tpu" else "parallel" if num_devices > device.devices_per_node else None
    return named_stack(row) or unnamed


def _dtype(row: Mapping[str, str], device: Any) -> str:
    dtype = as_run(row)["dtype"]
    return dtype or ("bf16" if "bf16" in device.peaks else "fp16")


def held_out(predictions: Sequence[BudgetPrediction]) -> list[BudgetPrediction]:
    """Each training with the factor of practice that those of all other sources have in the median.

    The one that `planning.overhead` takes is read off the same trainings; this says what it is worth for new ones.
    """
    result = []
    for one in predictions:
        source = one.row.get("source")
        others = [each.beyond for each in predictions if each.doublings and each.row.get("source") != source]
        factor = (median(others) ** one.doublings if others else one.practice) / one.practice
        scaled = {name: getattr(one, name) * factor for name in ("predicted", "low", "high")}
        result.append(msgspec.structs.replace(one, **scaled))
    return result


def summarise(name: str, predictions: Sequence[BudgetPrediction]) -> BudgetSummary:
    """Errors over predicted rows."""
    ratios = sorted(p.ratio for p in predictions)
    errors = sorted(abs(p.error) for p in predictions)
    return BudgetSummary(
        name=name,
        rows=len(ratios),
        mape=sum(errors) / len(errors),
        median_ape=median(errors),
        bias=math.exp(-sum(math.log(ratio) for ratio in ratios) / len(ratios)) - 1,
        within=sum(1 / WITHIN <= ratio <= WITHIN for ratio in ratios) / len(ratios),
        median_ratio=median(ratios),
        coverage=sum(p.low <= p.measured <= p.high for p in predictions) / len(ratios),
    )
