"""What recompute does to the ops of a step: what is kept no longer, and what runs forward again in backward.

Which modules run again is `config/recompute`'s; whose tensors an op keeps is `Op.saved`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ..arrays import Number, divide, maximum, minimum, where
from ..config.recompute import Module, Recompute, RecomputeModule, recompute_modules, recompute_of
from ..config.run import TrainConfig
from ..config.stack import Stack
from ..model.spec import ModelConfig
from .op import Op

RESULTS = ("all_reduce", "reduce_scatter")  # collectives that sum, whose results torch's policies keep


class Recomputed(msgspec.Struct, frozen=True, kw_only=True):
    """Ops with recompute, and what stands beside the kept tensors while it runs.

    Attributes:
        ops: All ops, those that run again with phase recompute right after their first run.
        working: Bytes of the layer in hand that are made anew for its backward pass.
    """

    ops: list[Op]
    working: Number


def recomputed(
    ops: list[Op], model: ModelConfig, train: TrainConfig, stack: Stack, first_ops: set[int], layer_input: Number
) -> Recomputed:
    """Drop what recompute does not keep and add the forward ops it runs again.

    Args:
        ops: Ops of a step without recompute.
        model: The model.
        train: The configuration.
        stack: The software profile.
        first_ops: Places of the first op of each group of equal layers.
        layer_input: Bytes of a layer's input.
    """
    how = recompute_of(train, stack.selective)
    if how is None:
        return Recomputed(ops=ops, working=0)
    regions = _regions(how.words)
    share = _share(how, model, train)
    result: list[Op] = []
    dropped: dict[int, Number] = {}  # of a layer that is recomputed, by the kind of layer
    for place, op in enumerate(ops):
        if op.phase != "forward" or op.part != "layer":
            result.append(op)
            continue
        entry: Number = layer_input if place in first_ops else 0
        again: Number
        if how.words:
            kept, again = _kept_by_module(op, regions), int(op.module in regions)
        elif how.matmuls:
            kept, again = _kept_by_matmul(op, entry, how.matmuls)
        else:
            kept, again = divide(entry, how.group), 1
        dropped[op.layer_kind] = dropped.get(op.layer_kind, 0) + op.saved_bytes - kept
        result.append(msgspec.structs.replace(op, saved_bytes=share * kept + (1 - share) * op.saved_bytes))
        if again:
            count = op.count * share * again
            result.append(msgspec.structs.replace(op, phase="recompute", saved_bytes=0, model_flops=0, count=count))
    layer = maximum(0, *dropped.values())
    # the first layers of a stage are recomputed when the others' tensors are gone
    beside = 1 if how.layers is None else where(share < 1, 0, 1)
    return Recomputed(ops=result, working=layer * how.group * beside)


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


def _kept_by_matmul(op: Op, entry: Number, every: int) -> tuple[Number, Number]:
    """Bytes an op keeps and how often it runs again, where the results of matmuls, attention and sums are kept."""
    if op.kind == "matmul" and op.form != "batched":  # batched ones of unfused attention run again
        kept = 1 / every
        return entry + op.bytes_written * kept, 1 - kept
    if op.kind == "attention":
        return entry + op.saved_bytes - op.saved.input, 0
    if op.collective in RESULTS:
        return entry + op.bytes_sent, 0
    return entry, 1
