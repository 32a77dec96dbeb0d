"""Bytes that micro batches in flight keep for backward, of the loss, and of gathered parameters."""

from __future__ import annotations

from ..arrays import Number, maximum, minimum, where
from ..config.schedules import pipeline_schedule
from ..constants import constant
from ..counting.stages import Stage
from ..counting.step import Step

GIB = 2**30
REDUCTION_BYTES = constant("reduction_gib") * GIB


def in_flight(step: Step, stage: Stage | None = None) -> Number:
    """Micro batches whose activations a stage (by default the first) holds at once, in units of one stage's.

    1F1B: pp on the first stage, one less on each that follows, 1 on the last; interleaved, (pp-1)/vp more on the first
    (arXiv:2104.04473, section 2.2) and ((vp-1)*pp+1)/vp on the last; other schedules as their facts say. Never more
    than there are: a step of few micro batches holds them all.
    """
    train = step.train
    index: Number = 0 if stage is None else stage.index
    if train.schedule is None:
        one, several = (pipeline_schedule(name).held(train.pp, train.vp, index) for name in ("1f1b", "interleaved"))
        depth = where(train.vp > 1, several, one)
    else:
        held = pipeline_schedule(train.schedule).held(train.pp, train.vp, index)
        depth = where(train.pp > 1, step.accumulation if held is None else held, 1)
    return minimum(depth, step.accumulation)


def kept_bytes(step: Step, stage: Stage) -> Number:
    """What every micro batch in flight keeps for backward on a stage."""
    kept: dict[tuple[str, int], Number] = {}
    for op in step.ops:
        if op.part in {"layer", "tower", "embedding"}:
            place = (op.part, op.layer_kind)
            kept[place] = kept.get(place, 0) + op.saved_bytes * op.count
    return stage.holds(kept, step.model) * in_flight(step, stage)


def logits_bytes(step: Step) -> Number:
    """Tensors of tokens x vocabulary alive at once in the loss: on the last stage only.

    Unfused, its forward pass has the 16-bit logits, the copies that the software makes of them and the fp32
    log-probabilities (saved); its backward pass the logits, these and their gradient in fp32: 10 bytes a logit (12 in
    fp32), measured on an H100. Fused, the gradient takes the place of the logits (saved).
    """
    kept: Number = 0
    logits: Number = 0  # elements
    es = step.train.activation_bytes
    for op in step.ops:
        if op.part == "head" and op.phase == "forward":
            kept = kept + op.saved_bytes
            if op.role == "logits":
                logits = op.bytes_written * step.train.longest / es
    stack, fused = step.stack, step.stack.fused
    if "linear_cross_entropy" in fused:
        return kept
    upcasts = any(group.attention is not None and group.attention.rotary for group in step.model.groups)
    # Llama-era code takes the loss in fp32; older code shifts the logits as they are
    copies = 4 * stack.loss_copies if upcasts else min(stack.loss_copies, 1) * es
    freed = es if upcasts and stack.loss_frees_logits else 0
    if "cross_entropy" in fused:
        return kept + logits * (copies - freed)
    return kept + logits * max(es - freed + copies, es + 4)


def gathered_bytes(step: Step) -> Number:
    """Gathered parameters and gradient buckets.

    Under FSDP the embedding and head stay gathered through the pass, beside the layer in use, the one prefetched and
    the gradients of the one behind them (arXiv:2304.11277, sections 3.3.2 and 4.2).
    """
    train = step.train
    if train.shards_parameters:
        parts: dict[str, Number] = {"layer": 0, "tower": 0, "embedding": 0, "head": 0}
        for weight in step.weights:
            stored = weight.stored_bytes
            held = weight.local * weight.count * (train.activation_bytes if stored is None else stored)
            parts[weight.part] = parts[weight.part] + (0 if weight.tied else held)
        encoders = sum(tower.encoder.n_layers for tower in step.model.towers)
        layer = maximum(parts["layer"] / max(step.model.n_layers, 1), parts["tower"] / max(encoders, 1))
        gathered = parts["embedding"] + parts["head"] + 3 * layer
        return where(train.pp > 1, 0, gathered)
    buckets = step.stack.bucket_buffers * (step.stack.bucket_mb or 0) * 1e6
    return where(train.data_parallel > 1, REDUCTION_BYTES, 0) + buckets
