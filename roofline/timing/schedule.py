"""Composes op times into a step: accumulation, pipeline bubble, overlap of communication, launches, optimizer.

The result is a list of terms, in seconds, that add up to the step time: each term answers "where does it go".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic

import msgspec

from ..arrays import N, Number, maximum, minimum, p_norm, some, where
from ..config.run import known, known_word
from ..config.schedules import pipeline_schedule
from ..constants import constant
from ..counting.op import Op
from ..counting.stages import stages
from ..counting.step import Step
from . import collective
from .host import ON_HOST
from .ranks import PricedOp, network_bytes_per_s, stage_ranks
from .seen import pull
from .terms import TERMS

if TYPE_CHECKING:
    from ..hardware import Device

INTERFERENCE = constant("interference")  # a collective takes units and memory bandwidth from the compute beside it
LAUNCH_SHARPNESS = constant("launch_sharpness")


class Schedule(msgspec.Struct, Generic[N], frozen=True, kw_only=True):
    """Seconds of one step by cause; the terms add up to `total`.

    Attributes:
        matmul: Matmuls of forward and backward, on the busiest stage.
        attention: Fused attention, or the matmuls and softmax of the unfused core.
        memory_bound: Norms, activations, residuals, embedding, loss, casts.
        recompute: Forward ops run again.
        tensor_parallel: Exposed collectives of tensor parallelism.
        context_parallel: The same for context parallelism.
        expert_parallel: The same for expert parallelism.
        pipeline_bubble: Filling and draining the pipeline, and uneven stages.
        pipeline_transfer: Exposed transfers between stages.
        data_parallel: Exposed gradient reduction and parameter gathers.
        launch: Time the device waits for the host to launch kernels.
        optimizer: The update.
        offload: Exposed transfers between device and host, and the update there.
        total: The step.
    """

    matmul: N
    attention: N
    memory_bound: N
    recompute: N
    tensor_parallel: N
    context_parallel: N
    expert_parallel: N
    pipeline_bubble: N
    pipeline_transfer: N
    data_parallel: N
    launch: N
    optimizer: N
    offload: N
    total: N


_TERM_OF_GROUP = {
    "tp": "tensor_parallel",
    "cp": "context_parallel",
    "ep": "expert_parallel",
    "etp": "expert_parallel",
}
_COMPUTE = tuple(name for name, term in TERMS.items() if term.hides)


def term_of(priced: PricedOp) -> str:
    """The schedule's term that an op's time goes to."""
    op = priced.op
    if op.kind == "collective":
        return _TERM_OF_GROUP[op.group or ""]
    if op.kind in ON_HOST:
        return "offload"
    if op.phase == "recompute":
        return "recompute"
    if op.kind == "attention" or op.in_attention_core:
        return "attention"
    return "matmul" if op.kind == "matmul" else "memory_bound"


Place = tuple[str, int]  # a part of the model, and the kind of layer in it


def _exchange_overlap(step: Step) -> Number:
    """Share of expert parallelism's communication that runs beside compute of another micro batch.

    Forward passes before the first backward, and backward passes after the last forward, have none beside them: as many
    as the first stage holds micro batches.
    """
    train = step.train
    plan = pipeline_schedule(known_word(train.schedule))
    share = 1.0 if plan.hides_exchange else float(known(train.exchange_overlap))
    alone = plan.held(train.pp, train.vp, 0)
    return 0 if alone is None else minimum(share, maximum(1 - alone / step.accumulation, 0))


def deals_out(op: Op) -> bool:
    """Whether the host prepares it, and waits for what comes of it: tokens go to their experts, again in recompute."""
    return op.role == "dispatch" and op.phase in {"forward", "recompute"}


def by_place(priced: Iterable[PricedOp]) -> dict[Place, list[PricedOp]]:
    """The ops of each part of the model and kind of layer."""
    placed: dict[Place, list[PricedOp]] = {}
    for item in priced:
        placed.setdefault((item.op.part, item.op.layer_kind), []).append(item)
    return placed


def stage_times(priced: Iterable[PricedOp]) -> dict[Place, dict[str, Number]]:
    """Seconds of one micro batch by term, for each part of the model and kind of layer."""
    sums: dict[Place, dict[str, Number]] = {}
    for item in priced:
        if item.op.part != "step":
            terms = sums.setdefault((item.op.part, item.op.layer_kind), {})
            term = term_of(item)
            terms[term] = terms.get(term, 0) + item.expected * item.op.count
    return sums


def exposed_times(
    step: Step, device: Device, priced: list[PricedOp]
) -> tuple[dict[Place, dict[str, Number]], dict[Place, Number]]:
    """What one micro batch takes by term in each part of the model, and the compute that has communication beside it.

    Of communication only what the stack leaves exposed; what the device waits for launches is a term.
    """
    parts, overlap = stage_times(priced), step.stack.overlap
    recipe = step.train.recipe
    shares: dict[str, Number] = {
        "tensor_parallel": overlap.tensor if recipe is None or recipe.overlaps_tensor else 0.0,
        "context_parallel": overlap.context,
        "expert_parallel": _exchange_overlap(step),
        "offload": overlap.activations,
    }
    hidden = _hide(parts, shares)
    placed = by_place(priced)
    for place, times in parts.items():
        times["launch"] = launch_wait(step, device, placed[place], sum(times.values()))
    return parts, hidden


def schedule(step: Step, device: Device, priced: list[PricedOp]) -> Schedule[Any]:
    """The step on the busiest stage (arXiv:2104.04473, section 2.2)."""
    return compose(step, device, priced, *exposed_times(step, device, priced))


def compose(
    step: Step,
    device: Device,
    priced: list[PricedOp],
    parts: dict[Place, dict[str, Number]],
    hidden: dict[Place, Number],
) -> Schedule[Any]:
    """The step, from what one micro batch takes in each part of the model (see `exposed_times`).

    Of `priced` the ops of one step are read, and where a schedule is named those of each pass.
    """
    train = step.train
    totals = {place: sum(times.values()) for place, times in parts.items()}
    for place, seconds in hidden.items():
        parts[place]["hidden"] = seconds
    stage = _busiest_stage(step, parts, totals)
    window = _compute_window(stage) - stage.pop("hidden")
    busiest = sum(stage.values())
    passes = step.accumulation
    everything = sum(totals.values())
    bubble = (everything - busiest) * _waits(step, priced, everything)
    terms = {term: seconds * passes for term, seconds in stage.items()}
    terms["pipeline_bubble"] = where(train.pp == 1, 0, maximum(bubble, 0))
    terms["pipeline_transfer"] = _pipeline_transfer(step, device)
    terms["data_parallel"] = _data_parallel(step, priced, window)
    terms["memory_bound"] = terms["memory_bound"] + sum(
        item.expected * item.op.count for item in priced if item.op.part == "step" and item.op.kind == "elementwise"
    )
    terms["optimizer"] = sum(
        item.expected * item.op.count
        for item in priced
        if item.op.part == "step" and item.op.kind in {"optimizer", "matmul"}
    )
    terms["offload"] = terms["offload"] + _offload(priced, step.stack.overlap.host * window * passes)
    if device.seen is not None:
        moved = pull(step, device)
        terms = {term: seconds * moved for term, seconds in terms.items()}
    return Schedule(**terms, total=sum(terms.values()))


def _offload(priced: list[PricedOp], room: Number) -> Number:
    """Exposed seconds per step of what crosses to the host for its own sake, and of the update there.

    Transfers beside the passes hide in `room`; those of the update do not, nor does the host's pass over its memory,
    beside which drives swap (arXiv:2104.07857, section 5.2.2).
    """
    seconds: dict[str, Number] = {}
    for item in priced:
        if item.op.part == "step" and item.op.kind in ON_HOST:
            kind = "update" if item.op.role == "update" else item.op.kind
            seconds[kind] = seconds.get(kind, 0) + item.expected * item.op.count
    beside = maximum(seconds.get("transfer", 0) - room, 0)
    return beside + seconds.get("update", 0) + maximum(seconds.get("host", 0), seconds.get("nvme", 0))


def _waits(step: Step, priced: list[PricedOp], everything: Number) -> Number:
    """What a stage waits for of the time that the other stages take for one micro batch.

    Gradients of weights may run where a stage would wait (arXiv:2401.10241); the mix of passes is the model's mean.
    """
    train = step.train
    plan = pipeline_schedule(known_word(train.schedule))
    share, rule = 1 / train.vp if plan.divided else 1, plan.bubble
    if not plan.by_pass:
        return rule.forward * share
    weight: Number = 0
    data: Number = 0
    for item in priced:
        if item.op.part != "step" and item.op.phase in {"backward", "recompute"}:
            seconds = item.expected * item.op.count / everything
            weight, data = (weight + seconds, data) if item.op.gradient == "weight" else (weight, data + seconds)
    waits = rule.forward * (1 - data - weight) + rule.data * data + rule.weight * weight
    if plan.halved:
        share = maximum(train.pp / 2 - 1, 0) / maximum(train.pp - 1, 1)
    return maximum(waits, 0) * share


def _busiest_stage(step: Step, parts: dict[Place, dict[str, Number]], totals: dict[Place, Number]) -> dict[str, Number]:
    """Seconds per micro batch by term on the slowest stage."""
    found = stages(step.model, step.train)
    by_term = {
        term: {place: times[term] for place, times in parts.items() if term in times} for term in (*TERMS, "hidden")
    }
    busiest, slowest = found[0], found[0].holds(totals, step.model)
    for stage in found[1:]:
        seconds = stage.holds(totals, step.model)
        slower = seconds >= slowest
        busiest, slowest = busiest.replaced(slower, stage), where(slower, seconds, slowest)
    return {term: busiest.holds(sums, step.model) for term, sums in by_term.items()}


def _hide(parts: dict[Place, dict[str, Number]], shares: Mapping[str, Number]) -> dict[Place, Number]:
    """Leave only the exposed part of what the stack runs beside compute, by the share of each term that may hide.

    Returns the seconds of compute that have communication beside them, by part: there is room for no more.
    """
    taken = {}
    for part, times in parts.items():
        compute: Number = sum(times.get(term, 0) for term in _COMPUTE)
        room = compute
        for term, share in shares.items():
            if term in times:
                hidden = minimum(times[term] * share, room)
                takes = 0 if term == "offload" else INTERFERENCE  # copy engines need no units
                times[term] = times[term] - hidden * (1 - takes)
                room = room - hidden
        taken[part] = compute - room
    return taken


def launch_wait(step: Step, device: Device, priced: list[PricedOp], busy: Number) -> Number:
    """Seconds per micro batch that the device waits for launches of one part, of which `priced` are the ops.

    The host cannot launch faster than its rate.

    The host runs ahead of the device, so that long kernels in backward make up for short ones in forward. Where it
    waits in each layer for the number of tokens that every expert got, nothing is left of its lead: forward and
    backward each wait for themselves.
    """
    cost = launch_costs(step, device)
    waits = cost.dispatch is not None and any(deals_out(item.op) for item in priced)
    host: dict[bool, Number] = {True: 0, False: 0}
    seconds: dict[bool, Number] = {True: 0, False: 0}
    for item in priced:
        op = item.op
        each = cost.library if op.library else cost.routed if op.routed else cost.plain
        forward = launches_forward(op)
        if waits:
            each = each + (cost.dispatch or 0) * deals_out(op)
            seconds[forward] = seconds[forward] + item.expected * op.count
        host[forward] = host[forward] + (each * op.kernels + cost.unit * op.units) * op.count
    if not waits:
        return maximum(p_norm(busy, sum(host.values()), LAUNCH_SHARPNESS) - busy, 0)
    whole = sum(seconds.values())
    waited = sum(p_norm(busy * seconds[of] / whole, host[of], LAUNCH_SHARPNESS) for of in host)
    return maximum(waited - busy, 0)  # the shares add up to busy only as far as digits go


def launches_forward(op: Op) -> bool:
    """Whether the host launches it in the forward pass; what is run again belongs to backward."""
    return op.phase == "forward"


class LaunchCosts(msgspec.Struct, frozen=True):
    """Host seconds of a kernel, one of an expert layer, one in a library, an FSDP unit, and of dealing tokens out."""

    plain: float
    routed: float
    library: float
    unit: float
    dispatch: float | None  # None: no wait


def launch_costs(step: Step, device: Device) -> LaunchCosts:
    """What launches cost the host with this software, on this device, under the graphs that are captured."""
    launch, stack, captured = device.measured.launch, step.stack, step.train.cuda_graph
    each = {"eager": launch.eager_us, "compiled": launch.compiled_us, "graph": launch.graph_us}[stack.launch]
    each = each if stack.host_us is None else stack.host_us
    plain = launch.graph_us if captured != "none" else each
    routed = launch.graph_us if captured == "full" else each if stack.expert_us is None else stack.expert_us
    library = min(plain, launch.compiled_us)  # from compiled code
    static = captured == "full" or stack.launch == "graph"  # sizes that the host never sees
    second = launch.slowdown * 1e-6
    dispatch = None if static else stack.dispatch_us * second
    return LaunchCosts(plain * second, routed * second, library * second, stack.unit_us * second, dispatch)


def _pipeline_transfer(step: Step, device: Device) -> Number:
    """Activations to the next stage and gradients back, per micro batch and virtual stage, not hidden by the stack."""
    train = step.train
    if not some(train.pp > 1):
        return 0
    ranks = stage_ranks(train, device)
    message = train.micro_batch * train.computed_length / train.cp * step.model.stream_width * train.activation_bytes
    # every tp rank sends its slice (Megatron's scatter/gather, arXiv:2104.04473, section 4.1)
    message = message / train.tp
    seconds = collective.expected_time(
        "send_recv",
        message,
        ranks.total,
        device,
        ranks_per_domain=ranks.per_domain,
        ranks_per_link=ranks.per_link,
        network_bytes_per_s=network_bytes_per_s(train),
    )
    # with one stage a device, the next pass waits for what is sent (Megatron-LM, arguments.py: overlap_p2p_comm needs
    # interleaving), but where two micro batches meet
    meet = pipeline_schedule(known_word(train.schedule)).hides_exchange
    hidden = where((train.vp > 1) | meet, step.stack.overlap.pipeline, 0)
    steady = 2 * train.vp * step.accumulation * (1 - hidden)
    return seconds * (steady + 2 * (train.pp - 1))


def _compute_window(stage: dict[str, Number]) -> Number:
    """Seconds of compute per micro batch that communication can hide behind."""
    return sum(stage[term] for term in (*_COMPUTE, "launch"))


def _data_parallel(step: Step, priced: list[PricedOp], window: Number) -> Number:
    """Exposed data-parallel communication per step.

    Gradients reduce beside backward (two thirds of the compute), parameters are gathered beside forward (one third),
    each in as many micro batches as the op says. What hides still slows compute down; within the update nothing hides.
    """
    exposed: Number = 0
    communication: Number = 0
    reducing: Number = 0
    gathering: Number = 0
    for item in priced:
        if item.op.role == "update" and item.op.kind == "collective":
            exposed = exposed + item.expected * item.op.count
        elif item.op.part == "step" and item.op.kind == "collective":
            communication = communication + item.expected * item.op.count
            if item.op.collective == "all_gather":
                gathering = item.op.rounds
            else:
                reducing = item.op.rounds
    room = step.stack.overlap.data * window * (2 * reducing + gathering) / 3
    # the last layer's gradients come when nothing is left to compute
    last = 1 / maximum(1, *(stage.depth for stage in stages(step.model, step.train)))
    hidden = minimum(communication * (1 - last), room)
    return exposed + communication - hidden * (1 - INTERFERENCE)
