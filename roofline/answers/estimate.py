"""The whole path in one call: model + device + configuration -> step time, MFU, memory, and why."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Generic, overload

import msgspec

from ..arrays import B, N, Number, W, divide, is_scalar, maximum, size, where
from ..config.run import TrainConfig
from ..config.settle import Run
from ..counting.mfu import DEFAULT_RULE, model_flops_per_token, rule_in_words
from ..counting.stages import stages
from ..counting.step import Step
from ..footprint.parts import Memory, memory_of
from ..model.spec import ModelConfig
from ..result import Result
from ..timing.host import ON_HOST
from ..timing.interval import interval
from ..timing.ranks import PricedOp, price
from ..timing.schedule import Schedule, schedule
from ..timing.seen import pull
from ..timing.terms import KERNELS, LOSSES, TERMS
from .asked import run_of
from .machine import machine_notes
from .measured import learnt, seen_notes
from .replayed import replayed
from .times import ideal_step_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    import pandas as pd

    from ..arrays import Bools, Floats, Texts
    from ..config.typed import ArrayOptions, Options
    from ..hardware import Device
    from .asked import Described, Named

COUNTED_RULE = "as counted: matmuls of the forward pass and of the backward pass that runs, full attention"


class OpTime(msgspec.Struct, Generic[N, W], frozen=True, kw_only=True):
    """An op with its time per step on the busiest device; figures are numbers, of array options arrays of their shape.

    Attributes:
        name: A label.
        kind: matmul, attention, normalization, elementwise, softmax, embedding, optimizer, collective, ... (`Op.kind`).
        phase: forward, backward, recompute or optimizer.
        dtype: Of its operands.
        runs: Times it runs in a step.
        flops: FLOPs of one run; a multiply-add is 2.
        bytes: Bytes one run reads and writes.
        intensity: FLOPs per byte.
        ideal_s: Seconds per step at the roofline.
        expected_s: Seconds per step as kernels run.
        of: The forward op that it belongs to.
        bound: compute or memory, by intensity against the ridge of its engine; or communication.
        shape: Dimensions of a matmul or of attention, as in `Op`; None of others.
    """

    name: str
    kind: str
    phase: str
    dtype: str
    runs: N
    flops: N
    bytes: N
    intensity: N
    ideal_s: N
    expected_s: N
    of: str
    bound: W
    shape: tuple[N, ...] | None = None


class WaterfallStep(msgspec.Struct, Generic[N], frozen=True, kw_only=True):
    """One step of the way from 100 % of peak down to the expected MFU.

    Attributes:
        term: The cause: a field of `Schedule`, or "kernel efficiency" (`timing.terms.LOSSES`).
        seconds: What it takes of the step.
        lost: The same as a share of the step, 0 to 1: what it takes of the peak.
        remaining: The share of the peak that is left after it; after the last, the MFU.
    """

    term: str
    seconds: N
    lost: N
    remaining: N


class Estimate(Result, msgspec.Struct, Generic[N, B, W], frozen=True, kw_only=True):
    """What a training step takes, and why; attributes are the JSON keys of ``roofline estimate``.

    Figures are numbers; of array options arrays of their common shape.

    Attributes:
        model: The model.
        device: The `Device`.
        train: The complete configuration.
        step_time_s: Expected seconds of one optimizer step.
        step_time_low_s: Its 10th percentile.
        step_time_high_s: Its 90th percentile.
        ideal_step_time_s: Seconds at the roofline: every op at its peak or bandwidth, communication hidden, no bubble.
        tokens_per_s: Tokens trained on per second, all devices.
        tokens_per_s_per_device: The same of one device.
        mfu: Model FLOPs per second over the dense peak of the dtype, 0 to 1.
        hfu: FLOPs executed per second, recompute included, over that peak.
        mfu_rule: What the model's FLOPs are counted by, in words.
        model_flops_per_step: FLOPs of one step by that rule, all devices.
        hardware_flops_per_step: FLOPs that run, recompute included, all devices.
        bound: What most of the step goes to: compute, memory, communication or latency.
        schedule: Seconds of the step by cause.
        waterfall: The way from the peak to the MFU, a `WaterfallStep` per cause.
        memory: Bytes of the fullest device.
        fits: Whether they are likelier than not within its memory.
        ops: Every op with its time, the costliest first (of arrays as they run).
        notes: Assumptions, as sentences.
        run: The settled run behind it; None of a step that was laid out by hand.
    """

    VIEW: ClassVar[str] = "estimate"

    model: ModelConfig
    device: Any
    train: TrainConfig
    step_time_s: N
    step_time_low_s: N
    step_time_high_s: N
    ideal_step_time_s: N
    tokens_per_s: N
    tokens_per_s_per_device: N
    mfu: N
    hfu: N
    mfu_rule: str
    model_flops_per_step: N
    hardware_flops_per_step: N
    bound: W
    schedule: Schedule[N]
    waterfall: list[WaterfallStep[N]]
    memory: Memory[N, B]
    fits: B
    ops: list[OpTime[N, W]]
    notes: tuple[str, ...] = ()
    run: Run | None = None

    def __repr__(self) -> str:
        """The answer in one line."""
        from ..units import format_share, format_time, format_time_range

        what = f"<Estimate of {self.model.name} on {self.device.id}:"
        times: tuple[Any, ...] = (self.step_time_s, self.step_time_low_s, self.step_time_high_s, self.mfu)
        if not is_scalar(*times, self.fits):
            return f"{what} {size(*times, self.fits)} configurations>"
        ends = format_time_range(times[1], times[0], times[2])
        fits = "fits" if self.fits else "does not fit"
        return f"{what} {format_time(times[0])} a step (10-90 % range {ends}), MFU {format_share(times[3])}, {fits}>"

    def to_frame(self) -> pd.DataFrame:
        """The ops as a pandas frame, the costliest first; of arrays a row per configuration with every figure."""
        import pandas as pd

        if not is_scalar(self.step_time_s):
            return super().to_frame()
        return pd.DataFrame([msgspec.structs.asdict(op) for op in self.ops])


@overload
def estimate(
    model: Described,
    device: Named,
    *,
    measured: float | str | None = ...,
    measured_at: Mapping[str, Any] | str | None = ...,
    **options: Unpack[Options],
) -> Estimate: ...
@overload
def estimate(model: Described, device: Named, **options: Unpack[ArrayOptions]) -> Estimate[Floats, Bools, Texts]: ...
@overload
def estimate(*, run: Run, **options: Unpack[Options]) -> Estimate: ...
def estimate(
    model: Described | None = None,
    device: Named | None = None,
    *,
    run: Run | None = None,
    measured: float | str | None = None,
    measured_at: Mapping[str, Any] | str | None = None,
    **options: Any,
) -> Estimate[Any, Any, Any]:
    """Estimate one training step; where no micro batch is given, with the fastest that fits.

    >>> result = estimate("gpt2-xl", "h100-sxm-80gb", micro_batch=8, seq_len="1k", recompute="selective")
    >>> result
    <Estimate of gpt2-xl on h100-sxm-80gb: ... a step (10-90 % range ...), MFU ..., fits>

    Args:
        model: Whatever describes one: a preset's id, the path of a ``.toml`` or ``config.json``, a `ModelConfig`, a
            `Trace`, or ``path/to/file.py:function``, which is traced (one "token" is then one pass of its inputs).
        device: Catalog id, path of a device ``.toml``, ``local``, or a `Device`.
        run: A settled run (`roofline.settle`), in place of both; options change it.
        measured: What one step took on the cluster in question: seconds, or text such as ``"13.8s"``. Estimate and
            interval are drawn towards it.
        measured_at: Options in which the step that was timed differs from these: ``{"tp": 8}`` or ``"tp=8,pp=2"``.
        **options: Fields of `TrainConfig`, where each is explained. Batch: micro_batch, global_batch, seq_len,
            mean_len, packing, images_per_sample, clips_per_sample, image_size. Layout: num_devices, devices_per_node,
            tp, pp, vp, pp_layout, schedule, dp, cp, ep, etp, sharding, dp_shard, sync_each_batch, sequence_parallel,
            network_gbit_per_s. Experts: dispatcher, expert_balance, exchange_overlap. Method: cuda_graph, dtype,
            low_precision_recipe, recompute, recompute_detail, attention, optimizer, stack, fused, dropout,
            master_weights, train, lora_rank, lora_modules, lora_variant, lora_dropout, base_dtype, double_quant,
            base_upcast, freeze, moment_dtype, gradient_dtype, master_dtype, weight_dtype, saved_dtype, offload,
            offload_to, offload_layers, host_gb_per_s, nvme_gb_per_s. Numbers may be arrays, or text (``"2k"``).

    Returns:
        Attributes are the JSON keys of ``roofline estimate``; ``to_frame()`` gives the ops, ``to_dict()`` everything.

    Raises:
        RooflineError: Anything a user can mend: unknown names, degrees that do not divide, missing figures.
    """
    settled = run_of(model, device, options, run)
    return estimate_run(msgspec.structs.replace(settled, device=learnt(settled, measured, measured_at)))


def estimate_run(run: Run) -> Estimate[Any, Any, Any]:
    """Estimate one training step of a run already settled (see `estimate`)."""
    result = _ordered(replayed(_estimated, run.model, run.train, run.device))
    return msgspec.structs.replace(result, run=run, notes=(*run.assumed, *result.notes))


def estimate_step(step: Step, device: Device) -> Estimate[Any, Any, Any]:
    """Estimate a step already laid out (see `estimate`)."""
    return _ordered(_estimated(step, device))


def _ordered(result: Estimate[Any, Any, Any]) -> Estimate[Any, Any, Any]:
    costliest_first(result.ops)
    return result


def costliest_first(ops: list[OpTime[Any, Any]]) -> None:
    """Sort ops by their time, where times are no arrays."""
    if is_scalar(*[op.expected_s for op in ops]):
        ops.sort(key=attrgetter("expected_s"), reverse=True)


def _estimated(step: Step, device: Device) -> Estimate[Any, Any, Any]:
    train = step.train
    priced = price(step, device)
    times = schedule(step, device, priced)
    ideal = ideal_step_time(step, priced)
    low, high = interval(step, device, times, ideal, priced)
    tokens = train.tokens_per_step
    model_flops = model_flops_of(step)
    # the rule takes backward as twice forward: a little too much where the first layer needs no input gradient
    executed = maximum(hardware_flops(step), model_flops)
    peak = device.peak_flops_per_s(train.dtype) * train.num_devices
    memory = memory_of(step, device)
    return Estimate(
        model=step.model,
        device=device,
        train=train,
        step_time_s=times.total,
        step_time_low_s=low,
        step_time_high_s=high,
        ideal_step_time_s=ideal,
        tokens_per_s=tokens / times.total,
        tokens_per_s_per_device=tokens / times.total / train.num_devices,
        mfu=model_flops / (times.total * peak),
        hfu=executed / (times.total * peak),
        mfu_rule=COUNTED_RULE if step.counted else f"{DEFAULT_RULE}: {rule_in_words(step.model, train.sample_length)}",
        model_flops_per_step=model_flops,
        hardware_flops_per_step=executed,
        bound=bound_of(times),
        schedule=times,
        waterfall=waterfall(times, model_flops / peak),
        memory=memory,
        fits=memory.fits,
        ops=op_times(step, priced, device),
        notes=notes_of(step, device),
    )


def runs_per_step(step: Step) -> dict[tuple[str, int], Number]:
    """How often a part of the model, or its layers of one kind, run in one step on the device that has most of them.

    As a share of what one pass over the whole model runs.
    """
    passes = step.accumulation
    found: dict[tuple[str, int], Number] = {("embedding", 0): passes, ("head", 0): passes, ("step", 0): 1}
    held = [stage.layers for stage in stages(step.model, step.train)]
    encoders = sum(len(tower.encoder.groups) for tower in step.model.towers)
    found |= {("tower", kind): passes for kind in range(encoders)}
    for kind, group in enumerate(step.model.groups):
        found["layer", kind] = passes * divide(maximum(0, *(layers[kind] for layers in held)), group.count)
    return found


def model_flops_of(step: Step) -> Number:
    """FLOPs of one step that MFU counts: those of the rule, or of the matmuls themselves where none holds."""
    train = step.train
    if not step.counted:
        return model_flops_per_token(step.model, train.sample_length) * train.tokens_per_step
    total: Number = 0
    for op in step.ops:
        if op.kind in {"matmul", "attention"} and op.phase in {"forward", "backward"}:
            total = total + (op.flops if op.model_flops is None else op.model_flops) * op.count
    useful = train.sample_length / train.sequence_length if train.packing == "padded" else 1
    return total * step.accumulation * train.tp * train.cp * train.data_parallel * useful


def hardware_flops(step: Step) -> Number:
    """FLOPs of all devices in one step, recompute included, attention counted as the rule counts it (full).

    Full attention in both keeps MFU <= HFU: a causal kernel executes half of it. What runs again counts as it runs.
    """
    per_device: Number = 0
    for op in step.ops:
        if op.kind in {"matmul", "attention"} and op.part != "step":  # an optimizer's are no pass through the model
            flops = op.flops if op.model_flops is None or op.phase == "recompute" else op.model_flops
            per_device = per_device + flops * op.count
    train = step.train
    return per_device * step.accumulation * train.tp * train.cp * train.data_parallel


def bound_of(times: Schedule[Any]) -> Any:
    """What the step spends most of its time on: compute, memory, communication or latency."""
    sums: dict[str, Number] = {}
    for name, term in TERMS.items():
        sums[term.bound] = sums.get(term.bound, 0) + getattr(times, name)
    best, largest = "compute", sums["compute"]
    for name in ("memory", "communication", "latency"):
        best = where(sums[name] > largest, name, best)
        largest = maximum(sums[name], largest)
    return best


def waterfall(times: Schedule[Any], useful: Number) -> list[WaterfallStep[Any]]:
    """From 100 % of peak to the MFU, term by term: each loses its share of the step.

    `useful` is the time the model's FLOPs take at the dense peak. The steps sum exactly: 1 - sum(lost) = MFU.
    """
    compute = times.matmul + times.attention
    steps = []
    remaining: Number = 1.0
    for term in LOSSES:
        seconds = compute - useful if term == KERNELS else getattr(times, term)
        lost = seconds / times.total
        remaining = remaining - lost
        steps.append(WaterfallStep(term=term, seconds=seconds, lost=lost, remaining=remaining))
    return steps


def op_times(step: Step, priced: list[PricedOp], device: Device) -> list[OpTime[Any, Any]]:
    """Every op with its time per step on the busiest device, moved like the step by what was timed of it."""
    rows = []
    seen = pull(step, device)
    passes, bandwidth = runs_per_step(step), device.memory_bandwidth_bytes_per_s
    for item in priced:
        op, moved = item.op, item.op.bytes
        runs = op.count * passes[op.part, op.layer_kind]
        ideal = item.ideal
        bound = where(ideal > moved / bandwidth, "compute", "memory")
        rows.append(
            OpTime(
                name=op.name,
                of=op.of or op.name,
                kind=op.kind,
                phase=op.phase,
                dtype=op.dtype,
                runs=runs,
                flops=op.flops,
                bytes=moved,
                intensity=op.flops / maximum(moved, 1),
                ideal_s=ideal * runs,
                expected_s=item.expected * runs * seen,
                bound="communication" if op.kind == "collective" or op.kind in ON_HOST else bound,
                shape=op.shape,
            )
        )
    return rows


def notes_of(step: Step, device: Device) -> tuple[str, ...]:
    """Assumptions behind the figures, as sentences."""
    model, seq_len = step.model, step.train.sequence_length
    notes = list(model.assumptions)
    positions = max(model.max_seq_len or 0, model.learned_positions)
    if positions and is_scalar(seq_len) and seq_len > positions:
        notes.append(f"{seq_len:,} tokens are beyond the {positions:,} positions of {model.name}")
    if device.kind == "cpu" and step.train.dtype == "fp32" and "bf16" not in device.peaks:
        notes.append(f"{device.id} has no bf16 engine: this is fp32")
    notes += machine_notes(step.train, device) + seen_notes(step.train, device)
    origin = device.measured.gemm.origin
    if origin == "architecture":
        notes.append(f"kernel efficiencies are the {device.architecture} architecture's, not {device.id}'s alone")
    elif origin != "device":
        notes.append(f"kernel efficiencies are general defaults: none are known of {device.id} or its architecture")
    return tuple(notes)
