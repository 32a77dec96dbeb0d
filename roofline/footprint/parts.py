"""Memory of the fullest device: what its tensors take at the peak of a step, the allocator's share, the driver's."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Generic

import msgspec

from ..arrays import B, N, Number, exp, is_scalar, maximum, minimum, where
from ..counting.ownership import NODE, Shares, stage_shares
from ..counting.stages import Stage
from ..counting.step import Step
from .allocator import beside_bytes, driver_bytes, needed_bytes, reserved_bytes
from .phases import Phase, choose, peak, phases_of
from .spreads import Z80, fit_probability, outcome_spread, spread_of, verdict

if TYPE_CHECKING:
    from ..hardware import Device


class Part(msgspec.Struct, frozen=True):
    """One part of a device's memory.

    Attributes:
        says: In words.
        short: The head of a column.
        tensors: The field of `Phase` that holds its live tensors; empty where no tensor does.
        kept: Whether it stays from step to step.
    """

    says: str
    short: str
    tensors: str
    kept: bool = False


PARTS: dict[str, Part] = {  # fields of `Memory` whose sum is its total
    "weights_bytes": Part("weights", "weights", "weights", kept=True),
    "gradients_bytes": Part("gradients", "gradients", "gradients", kept=True),
    "optimizer_bytes": Part("optimizer state and master weights", "optimizer", "optimizer", kept=True),
    "activations_bytes": Part("activations", "activations", "activations"),
    "logits_bytes": Part("logits and loss", "logits", "logits"),
    "communication_bytes": Part("gathered weights and buffers", "buffers", "communication"),
    "context_bytes": Part("context, libraries, fragmentation", "context", ""),
}
TENSORS = {name: part for name, part in PARTS.items() if part.tensors}  # those that hold live tensors


class Memory(msgspec.Struct, Generic[N, B], frozen=True, kw_only=True):
    """Peak memory of the fullest device, in bytes, by what holds it.

    Attributes:
        weights_bytes: Parameters as kept, with the fp32 master copy counted under `optimizer_bytes`.
        gradients_bytes: Gradients as kept between micro batches.
        optimizer_bytes: Optimizer state and fp32 master weights.
        activations_bytes: Tensors kept for backward by all micro batches in flight, and the working set.
        logits_bytes: Logits, their fp32 copy and their gradient.
        communication_bytes: Gathered parameters and communication buffers.
        context_bytes: Driver context, libraries and allocator fragmentation.
        total_bytes: The sum: what the driver shows.
        capacity_bytes: What the driver reports as the device's memory.
        fits: Whether it is likelier than not to fit: `needed_bytes` are within the capacity.
        allocated_bytes: Live tensors at the peak.
        reserved_bytes: What the caching allocator holds for them.
        driver_bytes: That, the context, libraries and communicators: `total_bytes` under the name people check it by.
        needed_bytes: What it cannot do without: the total once the allocator has given back what it can.
        total_low_bytes, total_high_bytes: 10th and 90th percentile of the total.
        fit_probability: How likely `needed_bytes` are within the capacity.
        phases: Live tensors at each moment that may be the peak.
        host_bytes: What lives in the memory of one host instead, of all its devices.
        nvme_bytes: What lives on the drives of one host.
    """

    weights_bytes: N
    gradients_bytes: N
    optimizer_bytes: N
    activations_bytes: N
    logits_bytes: N
    communication_bytes: N
    context_bytes: N
    total_bytes: N
    capacity_bytes: N
    fits: B
    allocated_bytes: N
    reserved_bytes: N
    driver_bytes: N
    needed_bytes: N
    total_low_bytes: N
    total_high_bytes: N
    fit_probability: N
    phases: tuple[Phase[N], ...]
    host_bytes: N
    nvme_bytes: N

    @property
    def verdict(self) -> Any:
        """``fits``, ``borderline`` or ``does not fit``; of arrays an array, None where no device was named."""
        return None if self.fit_probability is None else verdict(self.fit_probability)

    @property
    def kept_bytes(self) -> N:
        """Bytes that stay from step to step: weights, gradients, optimizer state."""
        kept: N = sum(getattr(self, name) for name, part in PARTS.items() if part.kept)
        return kept


def memory_of(step: Step, device: Device) -> Memory[Any, Any]:
    """Peak memory of `step` on its fullest device (see `memory_for`)."""
    return memory_for(step, device.memory_bytes, device.devices_per_node)


def memory_for(step: Step, capacity_bytes: Number, devices_per_node: int = NODE) -> Memory[Any, Any]:
    """Peak memory of `step` on a device of `capacity_bytes`: of the stage that needs most, in the phase it needs most.

    Activations in flight follow the schedule (see `activations.in_flight`). A host has `devices_per_node` devices where
    the configuration does not say; all of one host are taken to hold what the fullest does.
    """
    usual = devices_per_node if step.train.devices_per_node is None else step.train.devices_per_node
    ranks = minimum(step.train.num_devices, usual)
    found = [
        _stage_memory(step, stage, capacity_bytes, phases_of(step, stage, shares), ranks)
        for stage, shares in stage_shares(step.model, step.train, step.weights)
    ]

    def fuller(one: Memory[Any, Any], other: Memory[Any, Any]) -> Memory[Any, Any]:
        more = other.needed_bytes > one.needed_bytes
        names = [name for name in Memory.__struct_fields__ if name != "phases"]
        larger = {name: where(more, getattr(other, name), getattr(one, name)) for name in names}
        both = zip(one.phases, other.phases, strict=True)
        return Memory(**larger, phases=tuple(choose(more, second, first) for first, second in both))

    return reduce(fuller, found)


def fullest_stage(step: Step, capacity_bytes: Number) -> tuple[Stage, Shares]:
    """The stage whose memory `memory_for` tells, of one configuration, and the parameters of its devices."""
    found = stage_shares(step.model, step.train, step.weights)
    return max(found, key=lambda each: float(_of_device(step, capacity_bytes, phases_of(step, *each)).needed))


class Peak(msgspec.Struct, frozen=True):
    """What a run cannot do without, and what of it cannot leave the device and decides whether it fits, of the fullest.

    Numbers or arrays.
    """

    needed: Any
    held: Any


def peak_of(step: Step, device: Device) -> Peak:
    """What is needed, and what decides on it, of `memory_of` alone: what rules layouts out, by the million."""
    stages = [
        _of_device(step, device.memory_bytes, phases_of(step, stage, shares))
        for stage, shares in stage_shares(step.model, step.train, step.weights)
    ]
    needed = maximum(*(found.needed for found in stages))
    same = all(found.held is found.needed for found in stages)
    return Peak(needed, needed if same else maximum(*(found.held for found in stages)))


class _OfDevice(msgspec.Struct, frozen=True):
    """What a run needs on a stage, what pages left of it for the host, and what cannot leave."""

    needed: Number
    evicted: Number
    held: Number


def _of_device(step: Step, capacity_bytes: Number, phases: tuple[Phase[Any], ...]) -> _OfDevice:
    needed = needed_bytes(step, phases)
    paged = phases[0].paged  # as in every other
    if is_scalar(paged) and paged == 0:
        return _OfDevice(needed, 0, needed)
    # pages in unified memory leave where the device is full (where a device is named)
    evicted = minimum(where(capacity_bytes > 0, maximum(needed - capacity_bytes, 0), 0), paged)
    return _OfDevice(needed - evicted, evicted, needed - paged)


def _stage_memory(
    step: Step, stage: Stage, capacity_bytes: Number, phases: tuple[Phase[Any], ...], ranks: Number
) -> Memory[Any, Any]:
    """Peak memory of the devices of one stage, `ranks` of which share a host."""
    live = peak(phases)
    found, beside, wide = _of_device(step, capacity_bytes, phases), beside_bytes(step), Z80 * spread_of(step.train)
    total = driver_bytes(found.needed, reserved_bytes(step, stage, phases) + beside, capacity_bytes)
    fits: Any = found.needed <= capacity_bytes
    return Memory(
        weights_bytes=live.weights,
        gradients_bytes=live.gradients,
        optimizer_bytes=live.optimizer - found.evicted,
        activations_bytes=live.activations,
        logits_bytes=live.logits,
        communication_bytes=live.communication,
        context_bytes=total + found.evicted - live.total,
        total_bytes=total,
        capacity_bytes=capacity_bytes,
        fits=fits,
        allocated_bytes=live.total - found.evicted,
        reserved_bytes=total - beside,
        driver_bytes=total,
        needed_bytes=found.needed,
        total_low_bytes=total * exp(-wide),
        total_high_bytes=total * exp(wide),
        fit_probability=fit_probability(found.held, capacity_bytes, outcome_spread(step.train)),
        phases=phases,
        host_bytes=(maximum(*(phase.host for phase in phases)) + found.evicted) * ranks,
        nvme_bytes=live.nvme * ranks,
    )
