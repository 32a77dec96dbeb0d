"""Bytes that micro batches in flight keep for backward, of the loss, and of gathered parameters."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..arrays import Number, maximum, minimum, where
from ..config.base import hands_out_fp32
from ..config.run import known_word
from ..config.schedules import pipeline_schedule
from ..constants import constant
from ..counting.op import Op, Part
from ..counting.stages import Stage
from ..counting.step import Step
from ..model.spec import ModelConfig

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
    held = pipeline_schedule(known_word(train.schedule)).held(train.pp, train.vp, index)
    depth = where(train.pp > 1, step.accumulation if held is None else held, 1)
    return minimum(depth, step.accumulation)


def kept_bytes(step: Step, stage: Stage, *parts: Part) -> Number:
    """What every micro batch in flight keeps for backward on a stage: in `parts`, by default all but the head."""
    kept = ((op, op.saved_bytes) for op in step.ops if op.part in (parts or ("layer", "tower", "embedding")))
    return _held(step, stage, kept) * in_flight(step, stage)


def cache_bytes(step: Step, stage: Stage) -> Number:
    """Keys and values that a model hands back beside its logits, although layers run again: until the loss is there.

    They are views of what the projection returned, which so stays whole.
    """
    if not step.stack.asks_for_caches:
        return 0
    kinds = [group.attention is not None and group.attention.hands_back_cache for group in step.model.groups]
    again = (op for op in step.ops if op.phase == "recompute" and op.role == "attention_entry" and op.part == "layer")
    wide = 4 / step.train.activation_bytes if hands_out_fp32(step.train, step.stack, step.model) else 1
    return _held(step, stage, ((op, op.saved.whole * wide) for op in again if kinds[op.layer_kind]))


def _held(step: Step, stage: Stage, kept: Iterable[tuple[Op, Number]]) -> Number:
    """What a stage holds of the bytes of these ops."""
    found: dict[tuple[str, int], Number] = {}
    for op, size in kept:
        place, held = (op.part, op.layer_kind), size * op.count
        found[place] = found[place] + held if place in found else held
    return stage.holds(found, step.model)


def layer_inputs_held(step: Step, stage: Stage) -> Number:
    """Inputs of frozen layers, and their gradients, that FSDP's hooks hold until backward ends.

    A unit without trained parameters waits for the gradient of its input (torch/distributed/fsdp/_runtime_utils.py,
    `_register_post_backward_reshard_only_hook`), and a reentrant checkpoint makes that input anew as a leaf: both stay,
    of all layers but the one in hand. Other checkpoints hold nothing, nor do layers that are trained.
    """
    train = step.train
    whole = train.recompute_detail == "full"
    if not (train.adapts and train.shards_parameters and step.stack.reentrant_recompute and whole):
        return 0
    return 2 * kept_bytes(step, stage, "layer") * (1 - 1 / stage.depth)


def logits_bytes(step: Step) -> Number:
    """Tensors of tokens x vocabulary alive at once in the loss, with what else the head keeps: on the last stage only.

    Unfused, the fuller of two moments (tensors of PyTorch's kernels; copies as the stack's loss makes them):

    | tensor                                   | log_softmax        | its backward |
    |------------------------------------------|--------------------|--------------|
    | logits of the head                       | 16 bit, unless freed | -          |
    | copy that is upcast                      | fp32               | -            |
    | copy that is shifted                     | as what it is of   | -            |
    | copy that autocast makes of bf16         | fp32               | -            |
    | log-probabilities (saved)                | wide               | wide         |
    | their gradient                           | -                  | wide         |
    | gradient of what log_softmax took        | -                  | as that      |

    Wide is fp32 where logits are, or under autocast, whose log_softmax reads fp16 as it is and bf16 from a copy
    (pytorch/pytorch aten/src/ATen/native/SoftMax.cpp, `log_softmax` with a dtype): 10 bytes of a logit without other
    copies, 12 in fp32 (both measured on an H100). Pure 16-bit training takes 16 bits. Fused, the gradient takes the
    place of the logits (saved), and what the model hands back in fp32 stands beside them.
    """
    kept: Number = 0
    for op in step.ops:
        if op.part == "head" and op.phase == "forward":
            kept = kept + (0 if op.role == "loss" else op.saved_bytes)
    return kept + _logits(step) * _per_logit(step)[0]


def logit_blocks(step: Step) -> Number:
    """What the blocks of the loss take beyond its tensors alive at once, on the last stage.

    Those in fp32 and in 16 bits do not take each other's places. Unfused, there are three of the wide ones (the
    log-probabilities, their gradient, that of what they are of); a gradient in 16 bits takes the place of one of
    these, but has a block of its own beside a fused loss, whose gradient lies in the wide ones, or where the narrow
    logits were freed before.
    """
    live, blocks = _per_logit(step)
    return _logits(step) * (blocks - live)


def _logits(step: Step) -> Number:
    """Elements of tokens x vocabulary on a device."""
    elements: Number = 0
    for op in step.ops:
        if op.role == "logits" and op.phase == "forward":
            elements = op.bytes_written * step.train.longest / step.train.activation_bytes
    return elements * (step.train.tp if step.stack.loss_gathers else 1)


def _per_logit(step: Step) -> tuple[int, int]:
    """Bytes of a logit in the loss: of tensors alive at once, and of the blocks that all of them take."""
    train, stack, es = step.train, step.stack, step.train.activation_bytes
    if "linear_cross_entropy" in stack.fused:
        return 0, 0
    asked = stack.loss_upcasts == "all" or (stack.loss_upcasts == "rotary" and _rotates(step.model))
    upcasts = asked and es < 4  # of fp32, `float()` is no copy
    freed, shifts = upcasts and stack.loss_frees_logits, stack.loss_shifts
    taken = 4 if upcasts else es  # bytes of a logit that the loss takes
    copies = 0 if freed else es
    copies = copies + (4 if upcasts else 0) + (taken if shifts else 0)
    narrow = 1 + (shifts and not upcasts)  # blocks in 16 bits
    autocast = es < 4 and train.master_weights
    if "cross_entropy" in stack.fused:
        returns = autocast and stack.outputs_in_fp32 and not freed
        live = max(copies, es + taken + 4 if returns else 0)
        wide_blocks = upcasts + max(upcasts and shifts, returns)
        mixed, narrow = wide_blocks > 0, narrow + 1
    else:
        wide = 4 if upcasts or train.master_weights else es
        cast = 4 if autocast and not upcasts and train.dtype != "fp16" else 0
        live = max(copies + cast + wide, 2 * wide + taken)
        wide_blocks = 2 + (upcasts or cast > 0)
        mixed, narrow = es < wide, narrow + freed
    return live, max(live, 4 * wide_blocks + es * narrow) if mixed else live


def _rotates(model: ModelConfig) -> bool:
    """Whether positions are rotated into queries and keys."""
    return any(group.attention is not None and group.attention.rotary for group in model.groups)


class Gathered(msgspec.Struct, frozen=True):
    """Bytes of gathered parameters and communication buffers at the moments of a step (see `phases.Phase`)."""

    loss: Number
    start: Number
    end: Number
    update: Number


def gathered_bytes(step: Step) -> Gathered:
    """Gathered parameters and gradient buckets.

    Under FSDP the embedding and head stay gathered through the pass. Beside them stand, in backward, the layer in use
    and the gradients of the one behind it, and until the first layer the one that is prefetched (arXiv:2304.11277,
    sections 3.3.2 and 4.2); a layer is freed after its forward pass.
    """
    train, es = step.train, step.train.activation_bytes
    if not train.shards_parameters:
        buckets = step.stack.bucket_buffers * (step.stack.bucket_mb or 0) * 1e6
        always = where(train.data_parallel > 1, REDUCTION_BYTES, 0) + buckets
        return Gathered(always, always, always, always)
    root: Number = 0
    layers: dict[str, Number] = {"layer": 0, "tower": 0}
    gradients: dict[str, Number] = {"layer": 0, "tower": 0}
    for weight in step.weights:
        held = weight.local * weight.count * (weight.stored_bytes or es)
        if weight.part in layers:
            layers[weight.part] = layers[weight.part] + held
            gradients[weight.part] = gradients[weight.part] + weight.local * weight.count * es * weight.trainable
        elif not weight.tied:
            root = root + held
    depth = max(step.model.n_layers, 1), max(sum(tower.encoder.n_layers for tower in step.model.towers), 1)
    layer, behind = (maximum(of["layer"] / depth[0], of["tower"] / depth[1]) for of in (layers, gradients))
    moments = (root, root + 2 * layer + behind, root + layer + behind, 0)
    return Gathered(*(where(train.pp > 1, 0, held) for held in moments))
