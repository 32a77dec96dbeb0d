"""Inference as a roofline: the forward ops of training, for a prompt (prefill) or for one more token (decode).

Prefill runs every prompt token at once and is mostly compute-bound; decode runs one token of each sequence against
the cached keys and values, and reads every weight and the whole cache for it (arXiv:2211.05102, section 2).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from ..arrays import Number, divide
from ..config.options import check_names
from ..config.settle import settle
from ..config.stack import load_stack
from ..counting import layers
from ..counting.recorder import Tape
from ..counting.step import Step
from ..errors import RooflineError, unknown
from ..footprint.allocator import CONTEXT_BYTES
from ..footprint.spreads import fit_probability, verdict
from ..model.parameters import count_parameters
from ..model.spec import Attention, ModelConfig
from ..result import Result
from ..timing.interval import Z80
from ..timing.ranks import price
from ..timing.schedule import by_place, launch_wait, stage_times
from .asked import described
from .changes import SERVES, changes
from .estimate import OpTime, costliest_first, op_times
from .minimal import Set, smallest_sets

if TYPE_CHECKING:
    from typing import Unpack

    from ..config.typed import ServingOptions
    from ..hardware import Device
    from .asked import Described, Named

Phase = Literal["prefill", "decode"]
PHASES = ("prefill", "decode")
SERVED = frozenset({"dtype", "tp", "attention", "stack", "network_gbit_per_s", "devices_per_node", "num_devices"})
MOST_TOGETHER = 2


class InferenceMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one device while it serves.

    Attributes:
        weights_bytes: Weights.
        kv_cache_bytes: Cached keys and values of all sequences.
        activations_bytes: The widest tensors of the pass.
        context_bytes: Driver context and libraries.
        total_bytes: The sum.
        capacity_bytes: What the driver reports as the device's memory.
        fits: Whether the sum is within it.
        fit_probability: How likely it then is, where the sum errs as that of a training does.
    """

    weights_bytes: float
    kv_cache_bytes: float
    activations_bytes: float
    context_bytes: float
    total_bytes: float
    capacity_bytes: float
    fits: bool
    fit_probability: float

    @property
    def needed_bytes(self) -> float:
        """All of it: servers take their memory once and give nothing back."""
        return self.total_bytes

    @property
    def verdict(self) -> str:
        """``fits``, ``borderline`` or ``does not fit``, as of a training."""
        return str(verdict(self.fit_probability))


class InferenceFix(msgspec.Struct, frozen=True, kw_only=True):
    """A change that makes a pass fit.

    Attributes:
        change: In words.
        options: What to give.
        total_bytes: Bytes per device with it.
        time_s: Seconds of the pass with it.
    """

    change: str
    options: dict[str, Any]
    total_bytes: float
    time_s: float


class Inference(Result, msgspec.Struct, frozen=True, kw_only=True):
    """One pass of a phase; attributes are the JSON keys of ``roofline estimate --phase``.

    Attributes:
        model: The model.
        device: The device.
        phase: prefill (the whole prompt) or decode (one token of each sequence).
        batch: Sequences.
        context: Tokens of the prompt, or tokens already in the cache.
        tp: Devices that share the model.
        dtype: Dtype of the weights and their matmuls.
        time_s: Expected seconds of the pass: to the first token (prefill), or per output token (decode).
        time_low_s, time_high_s: 10th and 90th percentile of that.
        ideal_time_s: Seconds at the roofline.
        tokens_per_s: Prompt tokens, or output tokens of all sequences, per second.
        bound: compute, memory, communication or latency.
        compute_bound_batch: Sequences from which the decode matmuls are compute-bound; None where none suffices.
        memory: Bytes per device.
        fits: Whether they are within its memory.
        ops: The ops, the costliest first.
        fixes: The smallest change of each kind that makes it fit; empty where it fits.
    """

    VIEW: ClassVar[str] = "inference"

    model: ModelConfig
    device: Any
    phase: Phase
    batch: int
    context: int
    tp: int
    dtype: str
    time_s: float
    time_low_s: float
    time_high_s: float
    ideal_time_s: float
    tokens_per_s: float
    bound: str
    compute_bound_batch: float | None
    memory: InferenceMemory
    fits: bool
    ops: list[OpTime]
    fixes: tuple[InferenceFix, ...] = ()

    def __repr__(self) -> str:
        """The answer in one line."""
        from ..units import format_time

        what = f"{self.phase} of {self.model.name} on {self.device.id}"
        fits = "fits" if self.fits else "does not fit"
        return f"<Inference, {what}: {format_time(self.time_s)}, {self.tokens_per_s:,.0f} tokens/s, {fits}>"


def infer(
    model: Described,
    device: Named,
    phase: Phase,
    *,
    micro_batch: int | str = 1,
    seq_len: int | str | None = None,
    **options: Unpack[ServingOptions],
) -> Inference:
    """Estimate one pass of inference.

    Args:
        model: As for `estimate`.
        device: As for `estimate`.
        phase: ``prefill`` or ``decode``.
        micro_batch: Sequences served together.
        seq_len: Tokens of each prompt (prefill) or in the cache (decode); default the model's.
        **options: dtype, tp, attention, stack and network of `TrainConfig`.

    Raises:
        RooflineError: Unknown phase, an option that has no meaning without training, or as `estimate`.
    """
    from ..hardware import load_device

    if not isinstance(phase, str) or phase not in PHASES:
        raise unknown("phase", phase, PHASES)
    check_names(options, "phase")
    for name in options:
        if name not in SERVED:
            raise RooflineError(
                f"{name} has no meaning in {phase}: give {', '.join(sorted(SERVED))}, or leave --phase out"
            )
    device = load_device(device)
    model, _ = described(model, device, {})
    given = {**options, "micro_batch": micro_batch, "seq_len": seq_len}
    result = _infer(model, device, phase, given)
    return result if result.fits else msgspec.structs.replace(result, fixes=_fixes(result, given))


def _infer(model: ModelConfig, device: Device, phase: str, given: dict[str, Any]) -> Inference:
    """One pass, whether it fits or not."""
    step = inference_step(model, device, phase, given)
    priced = price(step, device)
    busy = {place: sum(times.values()) for place, times in stage_times(priced).items()}
    placed = by_place(priced)
    wait: Number = sum(launch_wait(step, device, placed[place], seconds) for place, seconds in busy.items())
    total = float(sum(busy.values()) + wait)
    ideal = float(sum(item.ideal * item.op.count for item in priced))
    width = math.exp(Z80 * step.stack.spread)
    memory = _memory(step, device)
    train = step.train
    tokens = train.micro_batch * (train.sequence_length if phase == "prefill" else 1)
    ops = op_times(step, priced, device)
    costliest_first(ops)
    return Inference(
        model=model,
        device=device,
        phase="prefill" if phase == "prefill" else "decode",
        batch=int(train.micro_batch),
        context=int(train.sequence_length),
        tp=int(train.tp),
        dtype=train.dtype,
        time_s=total,
        time_low_s=max(total / width, ideal),
        time_high_s=total * width,
        ideal_time_s=ideal,
        tokens_per_s=float(tokens / total),
        bound=_bound(ops, float(wait)),
        compute_bound_batch=compute_bound_batch(model, device, step) if phase == "decode" else None,
        memory=memory,
        fits=memory.fits,
        ops=ops,
    )


def _fixes(result: Inference, given: dict[str, Any]) -> tuple[InferenceFix, ...]:
    """The smallest sets of changes that make a pass fit: devices that share the model, dtype, sequences, context.

    Of each choice of kinds the weakest; more changes only on fewer devices.
    """
    model, device, phase = result.model, result.device, result.phase

    def options(made: Set) -> dict[str, Any]:
        return {name: value for change in made for name, value in change.options.items()}

    def memory(made: Set) -> InferenceMemory | None:
        try:
            return _memory(inference_step(model, device, phase, {**given, **options(made)}), device)
        except RooflineError:  # heads that tp does not divide
            return None

    def passes(made: Set) -> bool:
        found = memory(made)
        return found is not None and found.fits

    run = settle(model, device, given, serves=True)
    kinds = {kind: [one for one in each if memory((one,))] for kind, each in changes(SERVES, run).items()}
    sets = smallest_sets({kind: each for kind, each in kinds.items() if each}, passes, MOST_TOGETHER)
    found: dict[tuple[str, ...], InferenceFix] = {}
    for made in sets:
        fewer = [fix.options.get("tp", 1) for names, fix in found.items() if len(names) < len(made)]
        other = options(made)
        if other.get("tp", 1) < min(fewer, default=math.inf):
            priced = _infer(model, device, phase, {**given, **other})
            fix = InferenceFix(
                change=" ".join(change.what for change in made),
                options=other,
                total_bytes=priced.memory.total_bytes,
                time_s=priced.time_s,
            )
            found.setdefault(tuple(change.kind for change in made), fix)
    return tuple(found.values())


def inference_step(model: ModelConfig, device: Device, phase: str, options: dict[str, Any]) -> Step:
    """The forward ops of one pass; logits are formed for the last token of each sequence only."""
    if model.recorded is not None:
        raise RooflineError(f"{model.name} is a traced training pass: inference needs a model that is described")
    if model.kind != "decoder" or any(group.recurrence is not None for group in model.groups):
        raise RooflineError(f"inference is counted for decoders with attention, and {model.name} is not one")
    model = model.without_ahead()
    train = settle(model, device, options, serves=True).alone("inference").train
    if train.num_devices != train.tp:
        raise RooflineError(
            f"inference runs on tp = {train.tp} devices: replicas multiply it, so leave --num-devices out"
        )
    tape = Tape(train, load_stack(train.stack), decoding=phase == "decode", inference=True)
    tape.part = "embedding"
    layers.embedding(tape, model)
    tape.part = "layer"
    for tape.layer_kind, group in enumerate(model.groups):
        tape.count = group.count
        layers.layer(tape, group, model.d_model)
    tape.count, tape.part, tape.layer_kind = 1, "head", 0
    tape.tokens = tape.norm_tokens = train.micro_batch
    layers.head(tape, model)
    ops = tuple(op for op in tape.ops if op.phase == "forward" and op.role != "loss")
    return Step(
        model=model, train=train, stack=tape.stack, ops=ops, weights=tuple(tape.weights), working_bytes=0, counted=True
    )


def _bound(ops: list[OpTime], wait: float) -> str:
    sums: dict[str, float] = {"latency": wait}
    for op in ops:
        sums[op.bound] = sums.get(op.bound, 0.0) + float(op.expected_s)
    return max(sums, key=lambda name: sums[name])


def cache_width(attention: Attention) -> int:
    """Elements cached per token and layer: keys and values of all kv heads, or the latent vector (MLA)."""
    if attention.reuses_kv:
        return 0
    if attention.kv_lora_rank is not None:
        return attention.kv_lora_rank + attention.rope_head_dim
    value = 0 if attention.value_is_key else attention.value_head_dim
    return attention.n_kv_heads * (attention.head_dim + value)


def kv_cache_bytes(step: Step) -> float:
    """Keys and values of all sequences on one device; a sliding window bounds what is kept.

    kv heads are split over tp as far as they go; a latent cache is kept whole on every device.
    """
    train = step.train
    total = 0.0
    for group in step.model.groups:
        spec = group.attention
        if spec is None:
            continue
        tokens = min(train.sequence_length, spec.window or train.sequence_length)
        split = 1 if spec.kv_lora_rank is not None else min(train.tp, spec.n_kv_heads)
        total += float(group.count * tokens * cache_width(spec) / split)
    return float(total * train.micro_batch * train.activation_bytes)


def _memory(step: Step, device: Device) -> InferenceMemory:
    train = step.train
    weight_bytes = train.activation_bytes if train.recipe is None else train.recipe.bytes
    weights = float(divide(count_parameters(step.model).total, train.tp) * weight_bytes)
    cache = kv_cache_bytes(step)
    widest = max(float(op.bytes_written) for op in step.ops)
    total = weights + cache + 2 * widest + CONTEXT_BYTES
    return InferenceMemory(
        weights_bytes=weights,
        kv_cache_bytes=cache,
        activations_bytes=2 * widest,  # the largest tensor and what it is made from
        context_bytes=CONTEXT_BYTES,
        total_bytes=total,
        capacity_bytes=float(device.memory_bytes),
        fits=total <= device.memory_bytes,
        fit_probability=float(fit_probability(total, device.memory_bytes)),
    )


def compute_bound_batch(model: ModelConfig, device: Device, step: Step) -> float | None:
    """Sequences at which the decode matmuls take as long to compute as to read, on the roofline.

    Both grow linearly with the batch, b: compute = b*C, memory = W + b*A; so b = W / (C - A).
    """
    options = {name: getattr(step.train, name) for name in ("dtype", "tp", "attention", "stack", "num_devices")}
    large, larger = (
        _matmul_seconds(
            inference_step(model, device, "decode", {**options, "micro_batch": b, "seq_len": step.train.seq_len}),
            device,
        )
        for b in (2**14, 2**15)  # every expert is in use from here on
    )
    compute, memory = ((more - less) / 2**14 for less, more in zip(large, larger, strict=True))
    weights = large[1] - memory * 2**14
    return float(weights / (compute - memory)) if compute > memory else None


def _matmul_seconds(step: Step, device: Device) -> tuple[float, float]:
    """Compute and memory seconds of the matmuls of one pass, on the roofline."""
    compute = memory = 0.0
    for op in step.ops:
        if op.kind == "matmul":
            compute += float(op.flops * op.count) / device.peak_flops_per_s(op.dtype)
            memory += float(op.bytes * op.count) / device.memory_bandwidth_bytes_per_s
    return compute, memory
