"""Pipeline stages: which layers each holds, of which kind, and who has the embedding and the head.

Layers are dealt out in the model's own order, so a stage of dense layers weighs what its layers weigh. In arrays of
layouts the stages are looked up by (pp, vp): there are few of those, whatever the number of layouts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, reduce
from operator import add
from typing import Any

import msgspec

from ..arrays import Number, divide, is_scalar, where
from ..config.run import TrainConfig, known_word
from ..config.schedules import Placement, pipeline_schedule
from ..model.spec import ModelConfig


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """What one pipeline stage holds; every figure may be an array over layouts.

    Attributes:
        index: Its place in the pipeline: 0 is the first.
        layers: Layers of each of the model's groups.
        embedding: 1 where it holds the embedding, and the encoders ahead of it, else 0 (a half where it runs them for
            half of the micro batches).
        head: The same of the head and the loss.
    """

    index: Number
    layers: tuple[Number, ...]
    embedding: Number
    head: Number

    def holds(self, sums: Mapping[tuple[str, int], Number], model: ModelConfig) -> Number:
        """What the stage has of a figure that is summed by (part, layer group) over the whole model."""
        held: list[Number] = []
        for (part, kind), figure in sums.items():
            if part in {"embedding", "tower"}:
                held.append(figure * self.embedding)
            elif (part, kind) == ("head", 0):
                held.append(figure * self.head)
        for kind, (count, group) in enumerate(zip(self.layers, model.groups, strict=True)):
            if ("layer", kind) in sums:
                held.append(divide(sums["layer", kind] * count, group.count))
        return reduce(add, held) if held else 0

    def replaced(self, condition: Any, other: Stage) -> Stage:
        """This stage, and the other where the condition holds."""
        return Stage(
            index=where(condition, other.index, self.index),
            layers=tuple(where(condition, yes, no) for yes, no in zip(other.layers, self.layers, strict=True)),
            embedding=where(condition, other.embedding, self.embedding),
            head=where(condition, other.head, self.head),
        )

    @property
    def depth(self) -> Number:
        """Layers of the stage."""
        return sum(self.layers)


def chunk_sizes(layers: int, pp: int, vp: int) -> list[int]:
    """Layers of each of the pp * vp chunks, in the model's order.

    Evenly where they divide. Otherwise, where counting embedding and head as a layer each makes them divide, both ends
    hold one layer less (BLOOM, arXiv:2211.05100; Llama 3, arXiv:2407.21783, section 3.3.2); else the first chunks hold
    one layer more than the last, as where counting the head alone makes them divide.

    >>> chunk_sizes(8, 4, 1), chunk_sizes(126, 16, 1)[:2], chunk_sizes(126, 16, 1)[-1], chunk_sizes(61, 4, 1)
    ([2, 2, 2, 2], [7, 8], 7, [16, 15, 15, 15])
    """
    chunks = pp * vp
    if (layers + 2) % chunks == 0:  # so it is of even layers in two chunks, and of any in one
        return [(layers + 2) // chunks - (place == 0) - (place == chunks - 1) for place in range(chunks)]
    each, more = divmod(layers, chunks)
    return [each + (place < more) for place in range(chunks)]


class _Dealt(msgspec.Struct, frozen=True):
    """How layers are dealt out to stages: the model's of each kind and their order, the layout and placement asked for.

    An empty `order` is kind after kind.
    """

    order: tuple[int, ...]
    counts: tuple[int, ...]
    sizes: tuple[int, ...] | None
    placement: Placement


def device_of(chunk: int, pp: int, placement: Placement) -> int:
    """The device that holds a chunk; a V turns round at the last device."""
    return 2 * pp - 1 - chunk if placement == "v" and chunk >= pp else chunk % pp


@lru_cache(maxsize=4096)
def _composition(dealt: _Dealt, pp: int, vp: int) -> tuple[tuple[float, ...], ...]:
    """(index, embedding, head, layers of each group) of every stage that may be the slowest or the fullest.

    A stage is left out where an earlier one has all it has: that one also holds more micro batches in flight.
    Where micro batches come from both ends, a device runs its stage and the mirror image for half of them each.
    """
    order = dealt.order or tuple(kind for kind, count in enumerate(dealt.counts) for _ in range(count))
    sizes = dealt.sizes or chunk_sizes(len(order), pp, vp)
    held: list[list[float]] = [[0] * (2 + len(dealt.counts)) for _ in range(pp)]
    held[0][0] += 1
    held[device_of(len(sizes) - 1, pp, dealt.placement)][1] += 1
    place = 0
    for chunk, size in enumerate(sizes):
        for kind in order[place : place + size]:
            held[device_of(chunk, pp, dealt.placement)][2 + kind] += 1
        place += size
    if dealt.placement == "both_ends":
        held = [
            [(a + b) / 2 for a, b in zip(one, other, strict=True)] for one, other in zip(held, held[::-1], strict=True)
        ]
    rows = [(s, *held[s]) for s in range(pp)]
    kept: list[tuple[float, ...]] = []
    for row in rows:
        if not any(all(a >= b for a, b in zip(other[1:], row[1:], strict=True)) for other in kept):
            kept.append(row)
    return tuple(kept)


def chunks(model: ModelConfig, train: TrainConfig) -> tuple[Stage, ...]:
    """Every chunk of one pipeline (a stage, or a virtual stage) in the order that a micro batch runs through them."""
    order, held, place = model.layer_order, [], 0
    sizes = _asked_for(model, train) or chunk_sizes(len(order), int(train.pp), int(train.vp))
    for index, size in enumerate(sizes):
        layers = [0] * len(model.groups)
        for kind in order[place : place + size]:
            layers[kind] += 1
        place += size
        first, last = int(index == 0), int(index == len(sizes) - 1)
        held.append(Stage(index=index, layers=tuple(layers), embedding=first, head=last))
    return tuple(held)


def _asked_for(model: ModelConfig, train: TrainConfig) -> tuple[int, ...] | None:
    """Layers of each chunk where a layout says; None: dealt out evenly."""
    if train.pp_layout == "even":
        return None
    from ..config.stage_layout import chunk_layers

    return chunk_layers(known_word(train.pp_layout), model)


def stages(model: ModelConfig, train: TrainConfig) -> tuple[Stage, ...]:
    """The stages of a pipeline that matter, first to last; in arrays of layouts some may be repeated."""
    dealt = _Dealt(
        order=model.order,
        counts=tuple([group.count for group in model.groups]),
        sizes=_asked_for(model, train),
        placement=pipeline_schedule(known_word(train.schedule)).placement,
    )
    if is_scalar(train.pp, train.vp):
        rows = _composition(dealt, int(train.pp), int(train.vp))
        return tuple(
            Stage(index=index, embedding=first, head=last, layers=tuple(layers)) for index, first, last, *layers in rows
        )
    return _stages_of_arrays(dealt, train)


def _stages_of_arrays(dealt: _Dealt, train: TrainConfig) -> tuple[Stage, ...]:
    import numpy as np

    pp, vp = (np.asarray(each).astype(np.int64) for each in (train.pp, train.vp))
    width = int(vp.max()) + 1
    codes = pp * width + vp
    used = np.bincount(codes.ravel()) > 0
    found = [_composition(dealt, *divmod(int(code), width)) for code in used.nonzero()[0]]
    which = (used.cumsum() - 1).take(codes)  # of those found
    stages = []
    for place in range(max(map(len, found))):
        rows = np.array([each[min(place, len(each) - 1)] for each in found], dtype=float)  # [which, figure]
        index, embedding, head, *layers = (column.take(which) for column in rows.T)
        stages.append(Stage(index=index, embedding=embedding, head=head, layers=tuple(layers)))
    return tuple(stages)
