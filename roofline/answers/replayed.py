"""What differs from an earlier question in its batch alone is not counted again: the arithmetic is replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from ..arrays import Number, is_scalar
from ..config.run import TrainConfig
from ..counting.step import Step, lay_out
from ..model.spec import ModelConfig
from ..replay import Replays

if TYPE_CHECKING:
    from ..hardware import Device

_T = TypeVar("_T")
_REPLAYS = Replays()


def replayed(answer: Callable[[Step, Device], _T], model: ModelConfig, train: TrainConfig, device: Device) -> _T:
    """What `answer` says of the step of a configuration that is resolved already.

    Args:
        answer: A function of a module, of no effect beside its result.
        model: The model.
        train: The configuration, resolved.
        device: The device.
    """

    def of_batch(micro_batch: Number, global_batch: Number | None) -> _T:
        batch = {"micro_batch": micro_batch, "global_batch": global_batch}
        return answer(lay_out(model, msgspec.structs.replace(train, **batch)), device)

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
