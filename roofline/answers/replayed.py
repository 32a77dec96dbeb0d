"""What differs from an earlier question in its batch alone is not counted again: the arithmetic is replayed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import msgspec

from ..arrays import Number, is_scalar
from ..config.run import TrainConfig
from ..counting.step import Step, lay_out
from ..model.spec import ModelConfig
from ..replay import NotReplayable, Replays

if TYPE_CHECKING:
    from ..hardware import Device

_T = TypeVar("_T")
_REPLAYS = Replays()
KEPT = 8  # steps: the micro batches that `choice` tries


@lru_cache(maxsize=KEPT)
def _laid_out(model: ModelConfig, train: TrainConfig) -> Step:
    """The step of one configuration: what is asked of it next, as whether it fits once it is faster, counts no more."""
    return lay_out(model, train)


def replayed(answer: Callable[[Step, Device], _T], model: ModelConfig, train: TrainConfig, device: Device) -> _T:
    """What `answer` says of the step of a configuration that is resolved already.

    Args:
        answer: A function of a module, of no effect beside its result.
        model: The model.
        train: The configuration, resolved.
        device: The device.
    """

    def of_batch(micro_batch: Number, global_batch: Number | None) -> _T:
        there = msgspec.structs.replace(train, micro_batch=micro_batch, global_batch=global_batch)
        try:
            step = _laid_out(model, there)
        except (TypeError, NotReplayable):  # arrays, and arithmetic that is recorded, have no hash
            step = lay_out(model, there)
        return answer(step, device)

    batch = train.micro_batch, train.global_batch
    key = answer, id(model), id(device), msgspec.structs.replace(train, micro_batch=1, global_batch=1)
    try:
        hash(key)
    except TypeError:  # arrays
        return of_batch(*batch)
    if not is_scalar(*batch):
        return of_batch(*batch)
    found: _T = _REPLAYS.call(key, (model, device), of_batch, batch)
    return found
