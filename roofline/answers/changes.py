"""What would explain a slow run, and what would speed it up: estimates with one thing changed at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..arrays import ceil_div
from ..config.run import TrainConfig
from ..config.settle import Run
from ..config.stack import load_stack
from ..errors import RooflineError
from .estimate import Estimate, estimate_run

if TYPE_CHECKING:
    from ..hardware import Device

EXPLAINS = 0.10  # a suspect that explains less of the gap is not one
THROTTLED = 0.7  # clocks of a device at its power or thermal limit, over those behind its peak
SLOW_NETWORK = 4.0
Change = tuple[str, dict[str, Any]]  # in words, as fields of the run
VOCABULARY = 64  # rows that a vocabulary is padded to: nanoGPT's 50,257 to 50,304


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that may be otherwise than stated, and what the run would take then."""

    what: str
    step_time_s: float
    mfu: float
    explains: float  # share of the gap between expected and measured time; above 1: more than the gap


def suspects(run: Run, expected: Estimate, measured_s: float) -> tuple[Suspect, ...]:
    """What would explain a run slower than expected, one thing changed at a time, the best first."""
    gap = measured_s - float(expected.step_time_s)
    if measured_s <= float(expected.step_time_high_s):
        return ()
    found = []
    for what, change in _slower(run):
        tried = _suspect(what, run, change, expected, gap)
        if tried is not None and tried.explains >= EXPLAINS:
            found.append(tried)
    # the best explanation comes closest to the measured time
    return tuple(sorted(found, key=lambda suspect: abs(math.log(suspect.step_time_s / measured_s))))


def improvements(run: Run, expected: Estimate) -> tuple[Suspect, ...]:
    """Changes that would make the expected step at least 2 % faster and fit, the largest gain first."""
    found = []
    for what, change in _faster(run):
        tried = _suspect(what, run, change, expected, None)
        if tried is not None and tried.step_time_s < 0.98 * float(expected.step_time_s):
            found.append(tried)
    return tuple(sorted(found, key=lambda suspect: suspect.step_time_s))


def _suspect(what: str, run: Run, change: Mapping[str, Any], expected: Estimate, gap: float | None) -> Suspect | None:
    """The estimate of a changed run; None where the device cannot run it, or an improvement does not fit."""
    try:
        result = estimate_run(run.replaced(**change))
    except RooflineError:  # no such engine, no such figure
        return None
    if gap is None and not result.fits:
        return None
    seconds = float(result.step_time_s)
    useful = float(expected.mfu * expected.step_time_s)
    more = seconds - float(expected.step_time_s)
    return Suspect(
        what=what,
        step_time_s=seconds,
        mfu=useful / seconds,
        explains=more / gap if gap else -more / float(expected.step_time_s),
    )


def _slower(run: Run) -> Iterator[Change]:
    """Things that are often otherwise than stated, each with the changed run."""
    from ..hardware import override

    train, device = run.train, run.device
    if train.recompute != "full":
        yield "full recompute is on", {"recompute": "full"}
    if train.attention != "unfused":
        yield "attention is not fused (no FlashAttention)", {"attention": "unfused"}
    if train.stack != "eager":
        yield "kernels run one by one, nothing is compiled or fused (eager)", {"stack": "eager"}
    if train.dtype != "fp32":
        yield "matmuls run in fp32 (no mixed precision)", {"dtype": "fp32"}
    if train.dtype not in {"tf32", "fp32"}:
        yield "matmuls run in tf32", {"dtype": "tf32"}
    if train.dtype in {"fp8", "fp4"}:
        yield "matmuls run in bf16", {"dtype": "bf16"}
    if train.micro_batch > 1:
        yield "the micro batch is 1", {"micro_batch": 1}
    if train.num_devices > 1:
        yield (
            f"the network runs at 1/{SLOW_NETWORK:g} of its speed",
            {"network_gbit_per_s": _slow_network(run)},
        )
        if "scale_up" in device.links and not device.needs_host and "pcie" in device.links:
            slow = override(device, topology="p2p-root")
            yield (
                "devices of a node talk over PCIe (peer-to-peer over fast links is off)",
                {"device": slow},
            )
    peaks = {dtype: peak * THROTTLED / 1e12 for dtype, peak in device.peaks.items()}
    yield (
        f"the device is throttled to {THROTTLED:.0%} of its clock",
        {"device": override(device, peak_tflops=peaks)},
    )
    for sibling in _siblings(device, train.dtype):
        yield f"the card is {sibling.id}", {"device": sibling}


def _slow_network(run: Run) -> float | None:
    from ..timing.ranks import network_bytes_per_s

    stated = network_bytes_per_s(run.train)
    try:
        rate = run.device.network_bytes_per_s if stated is None else stated
    except RooflineError:
        return None
    return float(rate) * 8e-9 / SLOW_NETWORK


def _siblings(device: Device, dtype: str) -> Iterator[Device]:
    """Slower cards of the same family: those whose ids start alike (a100-..., rtx-4090-...)."""
    from ..hardware import device_ids, load_device

    family = _family(device.id)
    for name in device_ids():
        if name != device.id and _family(name) == family:
            other = load_device(name)
            if other.peaks.get(dtype, math.inf) < 0.95 * device.peaks.get(dtype, 0):
                yield other


def _family(device_id: str) -> tuple[str, ...]:
    """The card in an id; a first word without a digit is a brand.

    >>> _family("h100-sxm-80gb"), _family("rtx-4090")
    (('h100',), ('rtx', '4090'))
    """
    words = device_id.split("-")
    return tuple(words[: 1 if any(letter.isdigit() for letter in words[0]) else 2])


def _faster(run: Run) -> Iterator[Change]:
    """Things worth trying, each with the changed run."""
    train = run.train
    if train.recompute != "none":
        yield "no recompute", {"recompute": "none"}
    if train.recompute == "full":
        yield "selective recompute", {"recompute": "selective"}
    kernels = run.device.family.attention
    if train.attention == "unfused" and "flash1" in kernels:
        yield "memory-efficient attention (flash1)", {"attention": "flash1"}
    if train.attention in {"unfused", "flash1"} and "flash2" in kernels:
        yield "FlashAttention-2", {"attention": "flash2"}
    if train.attention == "flash2" and "flash3" in kernels:
        yield "FlashAttention-3", {"attention": "flash3"}
    if train.stack == "eager":
        yield "torch.compile", {"stack": "compiled"}
    vocabulary = ceil_div(run.model.vocab_size, VOCABULARY) * VOCABULARY
    if run.model.has_head and vocabulary != run.model.vocab_size and _runs_ragged(train):
        padded = msgspec.structs.replace(run.model, vocab_size=vocabulary)
        yield f"vocabulary padded to {vocabulary:,}", {"model": padded}
    if train.dtype in {"fp32", "tf32"} and "bf16" in run.device.peaks:
        yield "bf16 mixed precision", {"dtype": "bf16"}
    yield from _other_layouts(run)


def _runs_ragged(train: TrainConfig) -> bool:
    """Whether the software takes the vocabulary as it is: neither it nor its matmuls are padded."""
    stack = load_stack(train.stack)
    return stack.vocab_multiple == 1 and "padding" not in stack.fused


def _other_layouts(run: Run) -> Iterator[Change]:
    """Other micro batches and degrees of parallelism for the same devices and global batch."""
    train: Any = run.train
    for factor in (2, 4, 8):
        if isinstance(train.accumulation, int) and train.accumulation % factor == 0:
            size = train.micro_batch * factor
            yield f"micro batch {size}, fewer accumulation steps", {"micro_batch": size}
    if train.tp > 1 and not train.sequence_parallel:
        yield "sequence parallelism", {"sequence_parallel": True}
    if train.tp > 1 and train.global_batch % (train.micro_batch * train.data_parallel * 2) == 0:
        yield (
            f"tensor parallel {train.tp} -> {train.tp // 2}",
            {"tp": train.tp // 2, "dp": train.data_parallel * 2},
        )
    if train.pp > 1 and run.model.n_layers % (train.pp * train.vp * 2) == 0:
        yield f"virtual stages {train.vp} -> {train.vp * 2}", {"vp": train.vp * 2}
    if train.sharding == "none" and train.dp and train.dp > 1:
        yield "optimizer sharded over data parallelism (zero1)", {"sharding": "zero1"}
