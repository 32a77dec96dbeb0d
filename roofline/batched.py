"""Prices many layouts in one call: op times on the few axes they depend on, the schedule on all layouts.

An op's time depends on tp, cp, ep and the micro batch (and on whether gradients accumulate), so ops are counted and
timed on that small grid, summed by cause, and spread to the layouts; memory and schedule are the very functions that
price one layout.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from .arrays import Number, is_scalar
from .memory import memory_of
from .model import ModelConfig
from .op import Op
from .pricing import PricedOp, price
from .schedule import Schedule, schedule, term_of
from .space import Space
from .step import Step, build_step, update_ops
from .tape import Weights
from .training import TrainConfig

if TYPE_CHECKING:
    from hardware import Device

_GRID = ("tp", "cp", "ep")  # what op times depend on, beside the micro batch


class Grid(msgspec.Struct, frozen=True):
    """A space with the index of every row and layout in the small grid [2, keys, micro batches].

    The leading axis is one micro batch per step, or several: accumulation adds gradients up.
    """

    space: Space
    keys: dict[str, Any]  # degree -> [keys]
    key_of_row: Any  # [rows]
    shape: tuple[int, int, int]


def grid_of(space: Space) -> Grid:
    """Find the distinct (tp, cp, ep) of a space."""
    import numpy as np

    stacked = np.stack([space.columns[name] for name in _GRID], axis=1)
    keys, key_of_row = np.unique(stacked, axis=0, return_inverse=True)
    columns = {name: keys[:, i].astype(np.float64) for i, name in enumerate(_GRID)}
    return Grid(space, columns, key_of_row.reshape(-1), (2, len(keys), len(space.micro_batches)))


class Variant:
    """One choice of words (sharding apart) for a whole space: its ops, counted and timed on the small grid."""

    def __init__(self, model: ModelConfig, device: Device, grid: Grid, train: TrainConfig) -> None:
        import numpy as np

        self.device, self.grid, self.train = device, grid, train
        micro = grid.space.micro_batches.astype(np.float64)  # [m]
        small = msgspec.structs.replace(
            train,
            **{name: column[:, None] for name, column in grid.keys.items()},  # [k, 1]
            pp=1,
            vp=1,
            dp=1,
            num_devices=1,
            micro_batch=micro,
            global_batch=np.array([1.0, 2.0])[:, None, None] * micro,  # [2, 1, m]
        )
        step = build_step(model, small)
        self.step = msgspec.structs.replace(step, ops=tuple(op for op in step.ops if op.part != "step"))
        self.saved = _merged(self.step.ops, _memory_key)
        self.weights = _merged_weights(step.weights)
        self._priced: list[PricedOp] | None = None

    @property
    def priced(self) -> list[PricedOp]:
        """Ops summed by cause, timed when first needed: nothing is priced where nothing fits."""
        if self._priced is None:
            self._priced = _summed_times(price(self.step, self.device))
        return self._priced

    def memory_floor(self, sharding: str, rows: Any) -> Any:
        """Bytes each row needs whatever the micro batch: what holds no activations. [rows]"""
        index = self.grid.key_of_row[rows] * self.grid.shape[2]
        return memory_of(self._step(sharding, rows, 1, index, ()), self.device).total_bytes

    def memory(self, sharding: str, rows: Any, micro: Any) -> Any:
        """Bytes each layout needs. [layouts]"""
        index = self._index(rows, micro)
        ops = tuple(self._spread(op, index, "saved_bytes", "bytes_written") for op in self.saved)
        sizes = self.grid.space.micro_batches[micro]
        return memory_of(self._step(sharding, rows, sizes, index, ops), self.device).total_bytes

    def schedule(self, sharding: str, rows: Any, micro: Any) -> Schedule:
        """The terms of each layout's step time. [layouts]"""
        index = self._index(rows, micro)
        sizes = self.grid.space.micro_batches[micro]
        ops = [self._spread(item.op, index, "kernels") for item in self.priced]
        priced = [
            PricedOp(op, 0, self._take(item.expected, index)) for op, item in zip(ops, self.priced, strict=True)
        ]
        step = self._step(sharding, rows, sizes, index, tuple(ops))
        update = tuple(update_ops(step))
        priced += price(msgspec.structs.replace(step, ops=update), self.device)
        return schedule(msgspec.structs.replace(step, ops=(*ops, *update)), self.device, priced)

    def _index(self, rows: Any, micro: Any) -> Any:
        space = self.grid.space
        batch = self.train.global_batch
        several = batch > space.columns["dp"][rows] * space.micro_batches[micro]
        return (several * self.grid.shape[1] + self.grid.key_of_row[rows]) * self.grid.shape[2] + micro

    def _take(self, value: Number, index: Any) -> Number:
        if is_scalar(value):
            return value
        import numpy as np

        return np.broadcast_to(value, self.grid.shape).reshape(-1).take(index)

    def _spread(self, op: Op, index: Any, *fields: str) -> Op:
        return msgspec.structs.replace(op, **{name: self._take(getattr(op, name), index) for name in fields})

    def _step(self, sharding: str, rows: Any, micro: Any, index: Any, ops: tuple[Op, ...]) -> Step:
        space = self.grid.space
        degrees = {name: column[rows].astype(float) for name, column in space.columns.items()}
        size = micro if is_scalar(micro) else micro.astype(float)
        train = msgspec.structs.replace(
            self.train, **degrees, num_devices=space.num_devices, micro_batch=size, sharding=sharding
        )
        weights = tuple(
            msgspec.structs.replace(weight, local=self._take(weight.local, index)) for weight in self.weights
        )
        saved = self._take(self.step.layer_saved, index) if ops else 0
        return msgspec.structs.replace(self.step, train=train, ops=ops, weights=weights, layer_saved=saved)


def _memory_key(op: Op) -> Hashable:
    """Memory tells parts, phases and the logits apart."""
    return (op.part, op.phase, op.name if op.part == "head" else "")


def _merged(ops: Iterable[Op], key: Callable[[Op], Hashable]) -> list[Op]:
    """Ops that keep bytes for backward, or write logits, added up by `key`; ``count`` becomes 1."""
    merged: dict[Hashable, Op] = {}
    for op in ops:
        if op.part != "head" and is_scalar(op.saved_bytes) and op.saved_bytes == 0:
            continue
        group = key(op)
        saved = op.saved_bytes * op.count
        if group in merged:
            saved = merged[group].saved_bytes + saved
        merged[group] = msgspec.structs.replace(op, saved_bytes=saved, count=1)
    return list(merged.values())


def _merged_weights(weights: Iterable[Weights]) -> list[Weights]:
    """Weights added up by where they are, how they are reduced, and whether they may be tied."""
    merged: dict[Hashable, Weights] = {}
    for weight in weights:
        name = weight.name if weight.part == "head" else ""
        group = (weight.part, weight.expert, weight.trainable, name)
        local = weight.local * weight.count
        if group in merged:
            local = merged[group].local + local
        merged[group] = msgspec.structs.replace(weight, local=local, count=1)
    return list(merged.values())


def _summed_times(priced: Iterable[PricedOp]) -> list[PricedOp]:
    """Op times and launches added up by the part of the model and the term of the schedule they go to."""
    sums: dict[Hashable, PricedOp] = {}
    for item in priced:
        op = item.op
        group = (op.part, term_of(item), op.phase, op.kind == "collective")
        seconds, kernels = item.expected * op.count, op.kernels * op.count
        if group in sums:
            seconds, kernels = sums[group].expected + seconds, sums[group].op.kernels + kernels
        sums[group] = PricedOp(msgspec.structs.replace(op, kernels=kernels, count=1), 0, seconds)
    return list(sums.values())
