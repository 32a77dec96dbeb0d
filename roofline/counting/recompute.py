"""What recompute does to the ops of a step: what is kept no longer, and what runs forward again in backward.

Which modules run again is `config/recompute`'s; whose tensors an op keeps is `Op.saved`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ..arrays import Number, divide, maximum, minimum, some, where
from ..config.recompute import Module, Recompute, RecomputeModule, recompute_modules, recompute_of
from ..config.run import TrainConfig
from ..config.stack import Stack
from ..model.spec import ModelConfig
from .live import Keeper, in_hand
from .op import Op


class Recomputed(msgspec.Struct, frozen=True, kw_only=True):
    """Ops with recompute, and what stands beside the kept tensors.

    Attributes:
        ops: All ops, those that run again with phase recompute right after their first run.
        working: Bytes beyond what is kept while a layer runs backward.
        last: Bytes of the layer that runs backward last, with what it keeps.
    """

    ops: list[Op]
    working: Number
    last: Number


def recomputed(
    ops: list[Op], model: ModelConfig, train: TrainConfig, stack: Stack, entries: Mapping[int, Number], es: int
) -> Recomputed:
    """Drop what recompute does not keep and add the forward ops it runs again.

    Args:
        ops: Ops of a step without recompute.
        model: The model.
        train: The configuration.
        stack: The software profile.
        entries: Bytes of a layer's input, the residual stream, by the place of the first op of each group of layers.
        es: Bytes of an element of a gradient in flight.
    """
    how = recompute_of(train, stack.selective)
    regions = _regions(() if how is None else how.words)
    share = 0 if how is None else _share(how, model, train)
    unread = _unread(ops) if stack.recompute_ends_early else frozenset()
    result: list[Op] = []
    layers: dict[tuple[str, int], list[Keeper]] = {}  # as they are recomputed, by the kind of layer
    streams: dict[tuple[str, int], Number] = {}
    for place, op in enumerate(ops):
        if op.phase != "forward" or op.part not in {"layer", "tower"}:
            result.append(op)
            continue
        kind = (op.part, op.layer_kind)
        streams[kind] = maximum(streams.get(kind, 0), entries.get(place, 0))
        kept, again = _fate(op, how, regions, entries.get(place, 0), train)
        if place in unread and how is not None and how.whole:
            again = again - 1 / how.group  # of layers that run again together, the last is not finished
        here = regions.get(op.module)
        region = None if here is None else here.modules
        layers.setdefault(kind, []).append(Keeper(op=op, kept=kept, region=region))
        result.append(msgspec.structs.replace(op, saved_bytes=share * kept + (1 - share) * op.saved_bytes))
        if again:
            count = op.count * share * again
            result.append(msgspec.structs.replace(op, phase="recompute", saved_bytes=0, model_flops=0, count=count))
    working: list[Number] = [0, *streams.values()]
    last: list[Number] = [0, *streams.values()]
    for each, layer in layers.items():
        found = _working(layer, how, streams[each], es, train.longest)
        last.append(found + sum(keeper.kept for keeper in layer))
        if how is not None and how.layers is not None:  # the last layers of a stage are not recomputed, and come first
            plain = [msgspec.structs.replace(keeper, kept=keeper.op.saved_bytes) for keeper in layer]
            found = where(share < 1, in_hand(plain, streams[each], es, train.longest), found)
        working.append(found)
    return Recomputed(ops=result, working=maximum(*working), last=maximum(*last))


def _unread(ops: list[Op]) -> frozenset[int]:
    """Places of the ops at the end of each kind of layer whose results backward does not read.

    The last that keeps something among them, where that is its input: it is there before the op runs.
    """
    unread: list[int] = []
    read: set[tuple[str, int]] = set()  # kinds of layers of which all that is left is read
    for place in reversed(range(len(ops))):
        op = ops[place]
        kind = (op.part, op.layer_kind)
        if op.phase != "forward" or op.part not in {"layer", "tower"} or kind in read:
            continue
        if some(op.saved_bytes > op.saved.input):
            read.add(kind)
            continue
        unread.append(place)
        if some(op.saved.input > 0):
            read.add(kind)
    return frozenset(unread)


def _fate(
    op: Op, how: Recompute | None, regions: Mapping[Module | None, RecomputeModule], entry: Number, train: TrainConfig
) -> tuple[Number, Number]:
    """Bytes an op keeps, and how often it runs again; `entry` is the layer's input, where the op is the first."""
    if how is None:
        return op.saved_bytes, 0
    if how.words:
        return _kept_by_module(op, regions), int(op.module in regions)
    if how.matmuls:
        return _kept_by_matmul(op, entry, how.matmuls, train)
    return divide(entry, how.group), 1


def _working(layer: list[Keeper], how: Recompute | None, stream: Number, es: int, longest: Number) -> Number:
    """Bytes beyond what is kept while a layer runs backward: of several from one input, all are made anew."""
    others = 0 if how is None else how.group - 1
    return in_hand(layer, stream, es, longest) + others * sum(keeper.op.saved_bytes for keeper in layer)


def _share(how: Recompute, model: ModelConfig, train: TrainConfig) -> Number:
    """Of all layers, those that are recomputed."""
    if how.layers is not None:  # of every stage, or of the first stages' where the last has fewer
        return minimum(1, divide(how.layers * train.pp * train.vp, model.n_layers))
    return 1 if how.every == 1 else 1 / how.every


def _regions(words: Iterable[str]) -> Mapping[Module | None, RecomputeModule]:
    """What runs again, by module; a whole part takes in what discards within it."""
    found: dict[Module | None, RecomputeModule] = {}
    for word in sorted((recompute_modules()[word] for word in words), key=lambda each: not each.discards):
        found |= dict.fromkeys(word.modules, word)
    return found


def _kept_by_module(op: Op, regions: Mapping[Module | None, RecomputeModule]) -> Number:
    """Bytes an op keeps: of what runs again, the input where nothing else makes it anew, and the result others read."""
    saved, here, before = op.saved, regions.get(op.module), regions.get(op.saved.made_by)
    made_anew = before is not None and before.discards
    if here is None:
        return op.saved_bytes - (saved.input if made_anew else 0)
    inputs = 0 if made_anew or here is before else saved.whole
    return inputs + (0 if here.discards else saved.output)


def _kept_by_matmul(op: Op, entry: Number, every: int, train: TrainConfig) -> tuple[Number, Number]:
    """Bytes an op keeps and how often it runs again, where the results of matmuls, attention and sums are kept.

    A sum over ranks takes the place of what it sums, but where it is scattered.
    """
    if op.kind == "matmul" and op.form != "batched":  # batched ones of unfused attention run again
        kept = 1 / every
        return entry + op.bytes_written * kept, 1 - kept
    if op.kind == "attention":
        return entry + op.saved_bytes - op.saved.input, 0
    if op.collective == "all_reduce":
        return entry + op.bytes_sent * (1 - 1 / every), 0
    if op.collective == "reduce_scatter" and op.group is not None:
        return entry + divide(op.bytes_sent, train.ranks_of(op.group)), 0
    return entry, 1
