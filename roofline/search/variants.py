"""Which configurations of a search are counted together: those that differ in what few formulas read."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..config.base import upcast_of
from ..config.lora import are_units
from ..config.profile import profile_of
from ..config.run import TrainConfig
from ..counting.weights import autocasts


def plain_of(train: TrainConfig) -> TrainConfig:
    """The configuration that recomputes nothing, and is alike in all else."""
    return msgspec.structs.replace(train, recompute="none", recompute_detail=None)


def recomputed_as(other: TrainConfig, train: TrainConfig) -> TrainConfig:
    """The configuration that recomputes what another does."""
    return msgspec.structs.replace(train, recompute=other.recompute, recompute_detail=other.recompute_detail)


def alike(trains: Sequence[TrainConfig]) -> list[list[int]]:
    """Places of the configurations that differ in what they recompute alone, put together."""
    found: dict[TrainConfig, list[int]] = {}
    for place, train in enumerate(trains):
        found.setdefault(plain_of(train), []).append(place)
    return list(found.values())


def counted_as(sharding: str, train: TrainConfig) -> str:
    """The sharding by which ops of one micro batch are counted: parameters may be gathered in 16 bits."""
    whole, shared = (msgspec.structs.replace(train, sharding=word) for word in ("none", sharding))
    profiles = [(each, profile_of(each)) for each in (whole, shared)]
    alike = all(how(*profiles[0]) == how(*profiles[1]) for how in (autocasts, upcast_of, are_units))
    return "none" if alike else sharding
