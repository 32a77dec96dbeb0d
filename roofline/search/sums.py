"""Adds ops up by cause, so that a few sums price many layouts: bytes by part, seconds by term, weights by place."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import msgspec

from ..arrays import is_scalar
from ..config.optimizer import optimizer
from ..counting.op import Op
from ..counting.step import Step
from ..counting.weights import Weights
from ..timing.ranks import PricedOp
from ..timing.schedule import deals_out, launches_forward, term_of

FIELDS = ("saved_bytes", "bytes_written", "kernels", "units", "seconds")
Sums = dict[Hashable, tuple[Op, dict[str, Any]]]  # by cause: an op that stands for the others, and their figures


def by_memory(ops: Iterable[Op]) -> Sums:
    """Bytes kept for backward by part; logits and loss, told by their role, stay apart."""
    sums: Sums = {}
    for op in ops:
        told = op.role if op.role in {"logits", "loss"} and op.phase == "forward" else None
        if told != "logits" and is_scalar(op.saved_bytes) and op.saved_bytes == 0:
            continue
        key = (op.part, op.layer_kind, told)
        _add(sums, key, op, saved_bytes=op.saved_bytes * op.count)
        if told == "logits":
            sums[key][1]["bytes_written"] = op.bytes_written
    return sums


def by_term(priced: Iterable[PricedOp], *, by_pass: bool) -> Sums:
    """Seconds by part of the model and term of the schedule; launches by part alone, at its first term.

    Also `by_pass` (forward, gradients of data, of weights), where a pipeline schedule tells them apart.
    """
    sums: Sums = {}
    launching: dict[Hashable, Hashable] = {}
    priced = tuple(priced)
    dealt = any(deals_out(item.op) for item in priced)
    for item in priced:
        op, varies = item.op, item.op.role if of_passes(item.op) else None
        # what the host's time depends on; where it deals tokens out, forward and backward each have their own
        passes = deals_out(op), launches_forward(op) if dealt else None
        place = (op.part, op.layer_kind, varies, op.routed, op.library, *passes)
        key = (*place, term_of(item), (op.phase, op.gradient) if by_pass else ())
        first = launching.setdefault(place, key)
        _add(sums, key, op, seconds=item.expected * op.count)
        _add(sums, first, op, kernels=op.kernels * op.count, units=op.units * op.count)
    return sums


def accumulates(op: Op) -> bool:
    """Whether it adds whole gradients up, which sharded ones do not need (see `recorder.Tape`)."""
    return op.role == "grad_accumulate"


def of_passes(op: Op) -> bool:
    """Whether its time depends on how many micro batches a step has, linearly in one over their number."""
    return op.role in {"grad_accumulate", "weight_cast"}


def _add(sums: Sums, key: Hashable, op: Op, **figures: Any) -> None:
    """Add an op's figures to the sum at `key`, which runs once."""
    if key not in sums:
        sums[key] = (msgspec.structs.replace(op, count=1), dict.fromkeys(FIELDS, 0))
    total = sums[key][1]
    for name, value in figures.items():
        total[name] = total[name] + value


def merged_weights(step: Step) -> list[Weights]:
    """Weights added up by where they are, how they are reduced, and whether they may be tied.

    As they are where the optimizer takes them one by one.
    """
    if optimizer(step.train.optimizer).by_tensor:
        return list(step.weights)
    merged: dict[Hashable, Weights] = {}
    for weight in step.weights:
        group = (weight.part, weight.layer_kind, weight.expert, weight.trainable, weight.tied, weight.stored_bytes)
        local = weight.local * weight.count
        if group in merged:
            local = merged[group].local + local
        merged[group] = msgspec.structs.replace(weight, local=local, count=1, matrices=())
    return list(merged.values())
