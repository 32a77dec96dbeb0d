"""The pictures that need many estimates: memory and MFU against micro batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import RooflineError
from .estimate import Estimate, estimate
from .fit import max_micro_batch
from .memory import Memory
from .plot_build import workload
from .plot_data import BatchCurve, BatchData, MemoryBar, MemoryData
from .report_memory import MEMORY_PARTS
from .training import resolve, train_config

if TYPE_CHECKING:
    from hardware import Device

    from .model import ModelConfig

MOST_BATCH = 4096  # sequences per pass: beyond it nothing changes but the scale


def memory_data(estimates: Sequence[Estimate]) -> MemoryData:
    """Memory of estimates that differ in their device, or else in their micro batch."""
    first = estimates[0]
    by_device = len({each.device.id for each in estimates}) > 1
    title = workload(first.model, first.train, batch=by_device)
    return MemoryData(
        title=title if by_device else f"{title}, on {first.device.name}",
        axis="device" if by_device else "micro batch",
        bars=tuple(
            _bar(each.device.id if by_device else str(each.train.micro_batch), each.memory, None)
            for each in estimates
        ),
    )


def memory_sweep(
    model: ModelConfig, device: Device, micro_batches: Sequence[int] = (), **options: Any
) -> MemoryData:
    """Memory against micro batch on one device; by default powers of two until one does not fit."""
    largest = max_micro_batch(model, device, train_config(options))
    if not micro_batches:
        candidates = _candidates(model, options)
        doubling = [batch for batch in candidates if batch & (batch - 1) == 0] or candidates
        fitting = sum(batch <= largest for batch in doubling)
        micro_batches = doubling[: max(fitting + 1, 3)]
    result = estimate(model, device, **{**options, "micro_batch": _array(micro_batches)})
    bars = tuple(_bar(str(batch), result.memory, index) for index, batch in enumerate(micro_batches))
    return MemoryData(
        title=f"{_subject(result, options)}, on {device.name}", axis="micro batch", bars=bars, largest=largest
    )


def batch_data(
    model: ModelConfig, devices: Sequence[Device], micro_batches: Sequence[int] = (), **options: Any
) -> BatchData:
    """MFU and memory against micro batch; by default up to twice what fits on the roomiest device."""
    fitting = {device.id: max_micro_batch(model, device, train_config(options)) for device in devices}
    if not micro_batches:
        end = max(8, 2 * max(fitting.values()))
        micro_batches = _thinned([batch for batch in _candidates(model, options) if batch <= end])
    curves, rule, subject = [], "", ""
    for device in devices:
        result = estimate(model, device, **{**options, "micro_batch": _array(micro_batches)})
        scale = result.mfu * result.step_time_s
        curves.append(
            BatchCurve(
                device=device.id,
                name=device.name,
                micro_batch=tuple(micro_batches),
                mfu=_floats(result.mfu, micro_batches),
                mfu_low=_floats(scale / result.step_time_high_s, micro_batches),
                mfu_high=_floats(scale / result.step_time_low_s, micro_batches),
                memory_bytes=_floats(result.memory.total_bytes, micro_batches),
                capacity_bytes=float(device.memory_bytes),
                largest=fitting[device.id],
            )
        )
        rule, subject = result.mfu_rule, _subject(result, options)
    return BatchData(title=subject, mfu_rule=rule, curves=tuple(curves))


def _candidates(model: ModelConfig, options: Mapping[str, Any]) -> list[int]:
    """Micro batches worth a look: all up to `MOST_BATCH`, or the divisors of the global batch of one rank."""
    given = options.get("global_batch")
    if given is None:
        return list(range(1, MOST_BATCH + 1))
    ranks = resolve(train_config({**options, "global_batch": None, "micro_batch": 1}), model).data_parallel
    if given % ranks:
        raise RooflineError(f"global_batch {given} is not a multiple of the {ranks} data-parallel ranks")
    share = given // ranks
    return [batch for batch in range(1, min(share, MOST_BATCH) + 1) if share % batch == 0]


def _thinned(batches: Sequence[int], most: int = 256) -> list[int]:
    """All of a few, or about `most` spread evenly on a logarithmic axis."""
    if len(batches) <= most:
        return list(batches)
    ratio = (batches[-1] / batches[0]) ** (1 / most)
    kept = [batches[0]]
    for batch in batches[1:]:
        if batch >= kept[-1] * ratio:
            kept.append(batch)
    return kept


def _bar(label: str, memory: Memory, index: int | None) -> MemoryBar:
    def pick(value: Any) -> Any:
        return value if index is None or not hasattr(value, "shape") or not value.shape else value[index]

    return MemoryBar(
        label=label,
        parts={name: float(pick(getattr(memory, name))) for name in MEMORY_PARTS},
        total_bytes=float(pick(memory.total_bytes)),
        capacity_bytes=float(pick(memory.capacity_bytes)),
        fits=bool(pick(memory.fits)),
    )


def _subject(result: Estimate, options: Mapping[str, Any]) -> str:
    given = options.get("global_batch")
    return workload(result.model, result.train, batch=False) + (f", global batch {given:,}" if given else "")


def _array(batches: Sequence[int]) -> Any:
    import numpy as np

    return np.asarray(batches, dtype=float)


def _floats(values: Any, batches: Sequence[int]) -> tuple[float, ...]:
    import numpy as np

    return tuple(float(value) for value in np.broadcast_to(values, (len(batches),)))
