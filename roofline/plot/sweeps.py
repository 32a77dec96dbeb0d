"""The pictures that need many estimates: memory, MFU and step time against micro batch or sequence length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..answers.capacity import LONGEST_SEQUENCE, SEQUENCE_STEP, max_micro_batch, max_seq_len
from ..answers.estimate import Estimate, estimate
from ..config.settle import settle
from ..footprint.parts import PARTS, TENSORS, Memory
from ..footprint.spreads import fit_probability, outcome_spread, verdict
from ..model.spec import default_seq_len
from ..view.memory import part_words
from .build import shared_words, workload
from .data import Curve, CurveData, MemoryBar, MemoryData

if TYPE_CHECKING:
    from ..config.settle import Run
    from ..hardware import Device
    from ..model.spec import ModelConfig

MOST_BATCH = 4096  # sequences per pass: beyond it nothing changes but the scale


def memory_data(estimates: Sequence[Estimate]) -> MemoryData:
    """Memory of estimates that differ in their device, or else in their micro batch."""
    by_device = len({each.device.id for each in estimates}) > 1
    title, own = shared_words(
        [workload(each.model, each.train, without="" if by_device else "micro_batch") for each in estimates]
    )
    return MemoryData(
        title=title if by_device else f"{title}, on {estimates[0].device.name}",
        axis="device" if by_device else "micro batch",
        bars=tuple(
            _bar(each.device.id if by_device else str(each.train.micro_batch), each.memory, None, words)
            for each, words in zip(estimates, own, strict=True)
        ),
        part_words=part_words(estimates[0].train),
    )


def memory_sweep(model: ModelConfig, device: Device, micro_batches: Sequence[int] = (), **options: Any) -> MemoryData:
    """Memory against micro batch on one device; by default powers of two until one does not fit."""
    run = settle(model, device, options)
    largest = max_micro_batch(run)
    if not micro_batches:
        candidates = _candidates(run)
        doubling = [batch for batch in candidates if batch & (batch - 1) == 0] or candidates
        fitting = sum(batch <= largest for batch in doubling)
        micro_batches = doubling[: max(fitting + 1, 3)]
    result = estimate(model, device, **{**options, "micro_batch": _array(micro_batches)})
    bars = tuple(_bar(str(batch), result.memory, index) for index, batch in enumerate(micro_batches))
    return MemoryData(
        title=f"{_subject(result, 'micro_batch', options)}, on {device.name}",
        axis="micro batch",
        bars=bars,
        part_words=part_words(result.train),
        largest=largest,
    )


def phase_data(result: Estimate) -> MemoryData:
    """Live tensors at each moment of a step that may be the peak, and that peak as the driver shows it."""
    memory = result.memory
    capacity = float(memory.capacity_bytes)
    bars = [
        MemoryBar(
            label=phase.name,
            parts={name: float(getattr(phase, part.tensors)) for name, part in TENSORS.items()},
            total_bytes=float(phase.total),
            capacity_bytes=capacity,
            fits=bool(phase.total <= capacity),
            verdict=str(verdict(fit_probability(phase.total, capacity, outcome_spread(result.train)))),
        )
        for phase in memory.phases
    ]
    return MemoryData(
        title=f"{workload(result.model, result.train)}, on {result.device.name}",
        axis="moment of a step",
        bars=(*bars, _bar("driver", memory, None)),
        part_words=part_words(result.train),
    )


def batch_data(
    model: ModelConfig, devices: Sequence[Device], micro_batches: Sequence[int] = (), **options: Any
) -> CurveData:
    """MFU and memory against micro batch; by default up to twice what fits on the roomiest device."""
    runs = [settle(model, each, options) for each in devices]
    fitting = [max_micro_batch(run) for run in runs]
    if not micro_batches:
        end = max(8, 2 * max(fitting))
        candidates = [batch for batch in _candidates(runs[0]) if batch <= end]
        micro_batches = _thinned(candidates, fitting)
    return _curves(model, devices, "micro_batch", micro_batches, fitting, options)


def sequence_data(
    model: ModelConfig, devices: Sequence[Device], seq_lens: Sequence[int] = (), **options: Any
) -> CurveData:
    """Step time, MFU and memory against sequence length; by default up to twice what fits on the roomiest device.

    One micro batch all along: 1 where none is given.
    """
    options = {"micro_batch": 1, **options}
    runs = [settle(model, each, options) for each in devices]
    fitting = [max_seq_len(run) for run in runs]
    if not seq_lens:
        step, most = SEQUENCE_STEP * int(runs[0].train.cp), model.learned_positions or LONGEST_SEQUENCE
        end = min(2 * max(*fitting, default_seq_len(model)), most)
        first = 4 * step if end >= 32 * step else min(step, end)
        seq_lens = _thinned(list(range(first, end + 1, step)), fitting, most=64)
    return _curves(model, devices, "seq_len", seq_lens, fitting, options)


def _curves(
    model: ModelConfig,
    devices: Sequence[Device],
    over: str,
    values: Sequence[int],
    fitting: Sequence[int],
    options: Mapping[str, Any],
) -> CurveData:
    """A curve per device over `values` of the option `over`."""
    values = sorted(set(values))
    results = [estimate(model, device, **{**options, over: _array(values)}) for device in devices]
    title, own = shared_words([_subject(result, over, options) for result in results])
    curves = []
    for device, result, words, largest in zip(devices, results, own, fitting, strict=True):
        scale = result.mfu * result.step_time_s
        series = {
            "step_time_s": result.step_time_s,
            "step_time_low_s": result.step_time_low_s,
            "step_time_high_s": result.step_time_high_s,
            "mfu": result.mfu,
            "mfu_low": scale / result.step_time_high_s,
            "mfu_high": scale / result.step_time_low_s,
            "memory_bytes": result.memory.total_bytes,
        }
        curves.append(
            Curve(
                device=device.id,
                name=", ".join(part for part in (device.name, words) if part),
                values=tuple(values),
                **{name: _floats(each, values) for name, each in series.items()},
                capacity_bytes=float(device.memory_bytes),
                largest=largest,
                verdicts=_texts(result.memory.verdict, values),
            )
        )
    return CurveData(title=title, over=over, mfu_rule=results[0].mfu_rule, curves=tuple(curves))


def _candidates(run: Run) -> list[int]:
    """Micro batches worth a look: all up to `MOST_BATCH`, or the divisors of the global batch of one rank."""
    given, ranks = run.options.get("global_batch"), run.train.data_parallel
    if given is None:
        return list(range(1, MOST_BATCH + 1))
    share = given // ranks
    return [batch for batch in range(1, min(share, MOST_BATCH) + 1) if share % batch == 0]


def _thinned(values: Sequence[int], kept: Sequence[int], most: int = 256) -> list[int]:
    """All of a few values, or those `kept` and about `most` spread evenly on a logarithmic axis."""
    if len(values) <= most:
        return list(values)
    ratio, chosen = (values[-1] / values[0]) ** (1 / most), [values[0]]
    for value in values[1:]:
        if value >= chosen[-1] * ratio:
            chosen.append(value)
    return sorted({*chosen, *(value for value in kept if values[0] <= value <= values[-1])})


def _bar(label: str, memory: Memory, index: int | None, words: str = "") -> MemoryBar:
    def pick(value: Any) -> Any:
        return value if index is None or not hasattr(value, "shape") or not value.shape else value[index]

    return MemoryBar(
        label=label,
        words=words,
        parts={name: float(pick(getattr(memory, name))) for name in PARTS},
        total_bytes=float(pick(memory.total_bytes)),
        capacity_bytes=float(pick(memory.capacity_bytes)),
        fits=bool(pick(memory.fits)),
        verdict=str(pick(memory.verdict)),
    )


def _subject(result: Estimate, over: str, options: Mapping[str, Any]) -> str:
    given = options.get("global_batch")
    words = workload(result.model, result.train, without=over)
    return words + (f", global batch {given:,}" if given and over == "micro_batch" else "")


def _array(batches: Sequence[int]) -> Any:
    import numpy as np

    return np.asarray(batches, dtype=float)


def _floats(values: Any, batches: Sequence[int]) -> tuple[float, ...]:
    import numpy as np

    return tuple(float(value) for value in np.broadcast_to(values, (len(batches),)))


def _texts(values: Any, batches: Sequence[int]) -> tuple[str, ...]:
    import numpy as np

    return tuple(str(value) for value in np.broadcast_to(values, (len(batches),)))
