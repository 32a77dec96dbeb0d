"""Published runs as cases to predict: one row of a table -> model, device, and every configuration it may mean.

Columns are those of `data/published_runs.csv`. A blank is what the source does not say: it is never filled in
silently, but predicted over the plausible choices, or the row is skipped with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ..config.run import TrainConfig
from ..errors import RooflineError
from ..model.spec import ModelConfig
from .row_config import config_of
from .row_model import model_of
from .rows import Skipped, number


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One published run and the configurations that fit what its source says.

    Attributes:
        row: The row as read, blanks as empty strings.
        model: The model.
        device_id: Catalog id of the device.
        candidates: Configurations to predict, one where the row is complete.
        measured: Tokens per second and device.
        assumed: What was assumed for blanks, as words.
    """

    row: Mapping[str, str]
    model: ModelConfig
    device_id: str
    candidates: tuple[TrainConfig, ...]
    measured: float
    assumed: tuple[str, ...]


def case_of(row: Mapping[str, str]) -> Case:
    """Read one row.

    Raises:
        Skipped: Something without which no prediction is possible is not stated.
    """
    measured = number(row, "tokens_per_s_per_device")
    if not measured:
        raise Skipped("no measured throughput")
    model = model_of(row)
    config = config_of(row, model)
    return Case(
        row=row,
        model=model,
        device_id=row["device"],
        candidates=config.candidates,
        measured=measured,
        assumed=config.assumed,
    )


def cases(rows: Iterable[Mapping[str, str]]) -> list[Case | tuple[Mapping[str, str], str]]:
    """Every row as a case, or with the reason it is skipped."""
    result: list[Case | tuple[Mapping[str, str], str]] = []
    for row in rows:
        try:
            result.append(case_of(row))
        except RooflineError as error:
            result.append((row, str(error)))
    return result
