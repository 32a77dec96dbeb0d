"""A trace beside an estimate: each matmul and attention of one shape, and every other kind of work by phase."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..counting.op import PHASES
from .result import Profile

if TYPE_CHECKING:
    from ..answers.estimate import Estimate, OpTime

_SHAPED = ("matmul", "attention")


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of work as the estimate and the trace have it; seconds and runs per step, 0 where one lacks it."""

    name: str  # ours; the trace's where we have none
    phase: str
    kind: str
    shape: tuple[int, ...]
    expected_runs: float
    measured_runs: float
    expected_s: float
    measured_s: float

    @property
    def gap_s(self) -> float:
        """Measured minus expected."""
        return self.measured_s - self.expected_s


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the trace beside the step we expect.

    Attributes:
        model: The model's name.
        measured_step_s: Of the trace.
        expected_step_s: Of the estimate; with the 10th and 90th percentile.
        matched_share: Of the measured kernel time: what both have.
        pairs: The largest gap first.
        phases: What is compared: a trace of a forward pass alone has no backward.
    """

    model: str
    measured_step_s: float
    expected_step_s: float
    expected_low_s: float
    expected_high_s: float
    matched_share: float
    pairs: tuple[Pair, ...]
    phases: tuple[str, ...]
    notes: tuple[str, ...] = ()


def options_from(result: Profile) -> dict[str, Any]:
    """Micro batch, length, dtype and devices as the trace shows them: of its costliest attention.

    Empty where it holds no attention of one length.
    """
    found: dict[str, Any] = {}
    cores = [op for op in result.ops if op.kind == "attention" and op.matmul is not None and len(op.matmul) == 5]
    if cores:
        batch, _, length, _, _ = cores[0].matmul or (0,) * 5
        found |= {"micro_batch": batch, "seq_len": length}
    if result.dtype in {"bf16", "fp16", "fp32", "tf32", "fp8"}:
        found["dtype"] = result.dtype
    if result.world_size is not None and result.world_size > 1:
        found["num_devices"] = result.world_size
    return found


def beside(result: Profile, estimate: Estimate) -> Beside:
    """Match the ops of a trace with those of an estimate."""
    steps = len(result.steps)
    ops = [op for op in result.ops if op.kind != "collective"]
    seen = {op.phase for op in ops}
    phases = tuple(phase for phase in PHASES if phase in seen)
    measured = _sums(
        ((op.phase, op.kind, _shape(op.kind, op.matmul)), op.name, op.count / steps, op.time_s / steps) for op in ops
    )
    expected = _sums(
        (_as_run(_expected_key(op), measured), op.name, float(op.runs), float(op.expected_s))
        for op in estimate.ops
        if op.kind != "collective" and op.phase in seen
    )
    pairs = []
    for key in dict.fromkeys((*measured, *expected)):
        ours, its = expected.get(key), measured.get(key)
        phase, kind, shape = key
        pairs.append(
            Pair(
                name=", ".join(ours[0] if ours else its[0] if its else ()),
                phase=phase,
                kind=kind,
                shape=shape,
                expected_runs=ours[1] if ours else 0,
                measured_runs=its[1] if its else 0,
                expected_s=ours[2] if ours else 0.0,
                measured_s=its[2] if its else 0.0,
            )
        )
    whole = sum(pair.measured_s for pair in pairs) or 1.0
    notes = []
    if "backward" not in phases:
        notes.append("the trace has no backward pass: forward ops alone are compared, and the steps are not alike")
    if "recompute" in phases and not any(op.phase == "recompute" for op in estimate.ops):
        notes.append("the trace recomputes forward ops and the estimate does not: give --recompute")
    return Beside(
        model=estimate.model.name,
        measured_step_s=result.step_time_s,
        expected_step_s=float(estimate.step_time_s),
        expected_low_s=float(estimate.step_time_low_s),
        expected_high_s=float(estimate.step_time_high_s),
        matched_share=sum(pair.measured_s for pair in pairs if pair.expected_s) / whole,
        pairs=tuple(sorted(pairs, key=lambda pair: -abs(pair.gap_s))),
        phases=phases,
        notes=tuple(notes),
    )


Key = tuple[str, str, tuple[int, ...]]


def _sums(rows: Iterable[tuple[Key, str, float, float]]) -> dict[Key, tuple[list[str], float, float]]:
    """Key -> names, runs and seconds of a step."""
    sums: dict[Key, tuple[list[str], float, float]] = {}
    for key, name, runs, seconds in rows:
        names, before, time = sums.get(key, ([], 0.0, 0.0))
        sums[key] = names if name in names else [*names, name], before + runs, time + seconds
    return sums


def _as_run(key: Key, measured: Mapping[Key, object]) -> Key:
    """The key of the trace under which an expected op ran: its own, or that of the parts it was run in.

    A projection that we join (queries, keys and values; gate and up) may run as several of the same width; a norm that
    we count as one kernel may be written out in element-wise ones.
    """
    phase, kind, shape = key
    if key in measured:
        return key
    if kind == "matmul" and shape:
        parts = (other for other in measured if other[:2] == (phase, kind) and _is_part(other[2], shape))
        return next(parts, key)
    plain = phase, "elementwise", ()
    return plain if kind in {"normalization", "softmax"} and plain in measured else key


def _is_part(part: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether a matmul is one of several equal ones that make the whole: one dimension is a multiple."""
    if len(part) != len(whole) or part[3] != whole[3]:
        return False
    left = list(whole[:3])
    odd = []
    for size in part[:3]:
        if size in left:
            left.remove(size)
        else:
            odd.append(size)
    return len(odd) == 1 and left[0] > odd[0] and left[0] % odd[0] == 0


def _expected_key(op: OpTime) -> Key:
    shape = None if op.shape is None else tuple(int(size) for size in op.shape)
    return op.phase, op.kind, _shape(op.kind, shape)


def _shape(kind: str, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """What tells matmuls apart: a gradient may be computed transposed, so the order of m, n and k does not count."""
    if kind not in _SHAPED or shape is None:
        return ()
    return shape[:3] if kind == "attention" else (*sorted(shape[:3]), shape[3])
