"""The kernels of the steps as operators with shapes, FLOPs, bytes and expected time; and those that stay names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..counting.op import PHASES
from ..tracing.rules import Cost
from . import names
from .collectives import Sent, expected_collective, sent_by
from .events import Trace
from .expected import expectation
from .inputs import Arguments, arguments
from .link import Links
from .operators import operator_costs
from .result import MeasuredOp, UnattributedKernel

if TYPE_CHECKING:
    from ..hardware import Device

_WHOLE_GRAPHS = ("CompiledFunction", "Torch-Compiled", "## Call", "autograd::engine")  # their shapes are of many ops
_VECTOR = frozenset({"elementwise", "normalization", "softmax", "embedding"})
_US = 1e-6


class Work(msgspec.Struct):
    """What a kernel is part of: an operator's run with shapes, a collective with bytes, or a name."""

    term: str
    key: tuple[object, ...] | None
    run: int  # row of the range: an operator's kernels of one run are one run
    why: str = ""
    sent: Sent | None = None


class Operation(msgspec.Struct):
    """One group of equal runs while it is summed up."""

    name: str
    kind: str
    phase: str
    dtype: str | None
    shapes: tuple[tuple[int, ...], ...]
    costs: list[Cost] | None
    strided: bool
    time: float = 0.0
    runs: set[int] = msgspec.field(default_factory=set)
    kernels: dict[str, float] = msgspec.field(default_factory=dict)  # name -> time
    sent: Sent | None = None


class Operations:
    """Sorts kernels into operators, and sums them up."""

    def __init__(self, trace: Trace, links: Links, device: Device | None) -> None:
        self.trace = trace
        self.links = links
        self.device = device
        self.groups: dict[tuple[object, ...], Operation] = {}
        self.loose: dict[tuple[str, str, str], list[float]] = {}
        self._keys: dict[tuple[object, ...], tuple[object, ...]] = {}
        self._arguments: dict[tuple[int, int | None, str | None], Arguments | None] = {}
        self._graphs = {number for number, name in enumerate(trace.names) if "GraphLaunch" in name}

    def work_of(self, row: int) -> Work:
        """What the kernel in `row` is part of."""
        trace, links = self.trace, self.links
        name = trace.names[trace.kernels.name[row]]
        kind = names.kind_of(name)
        if kind == "collective":
            sent = sent_by(trace, links, row)
            known = None if sent.payload is None else ("collective", sent)
            return Work(f"{sent.collective}_exposed", known, row, "a collective without its size", sent)
        place = links.range[row]
        phase = PHASES[links.phase[place]] if place >= 0 else "forward"
        shaped = next((each for each in links.around(place) if self._tells(each)), -1)
        if shaped < 0:
            return Work(_term(kind, phase), None, row, self._why(row, place))
        written = (trace.ranges.name[shaped], trace.ranges.inputs[shaped], phase, self._dtype_of_all(shaped, name))
        key = self._keys.get(written) or self._settle(written, shaped, phase, name)
        if not key:
            return Work(_term(kind, phase), None, row, "an operator whose shapes are not recorded")
        group = self.groups[key]
        return Work(_term(group.kind if group.costs else kind, phase), key, shaped)

    def _tells(self, row: int) -> bool:
        ranges = self.trace.ranges
        if not ranges.inputs[row]:
            return False
        return not self.trace.names[ranges.name[row]].startswith(_WHOLE_GRAPHS)

    def _why(self, row: int, place: int) -> str:
        launch = self.links.launch[row]
        if launch >= 0 and self.trace.launches.name[launch] in self._graphs:
            return "a CUDA graph"
        if launch < 0:
            return "no launch in the file"
        return "no operator around its launch" if place < 0 else "an operator whose shapes are not recorded"

    def _settle(self, written: tuple[object, ...], row: int, phase: str, kernel: str) -> tuple[object, ...]:
        """The group of an operator's inputs as written; those that differ in scalars alone share one. () for none."""
        group = self._group(row, phase, kernel)
        if group is None:
            return ()
        costs = None if group.costs is None else tuple((cost.flops, cost.read, cost.written) for cost in group.costs)
        key = group.name, group.kind, group.phase, group.dtype, group.shapes, group.strided, costs
        self.groups.setdefault(key, group)
        self._keys[written] = key
        return key

    def _group(self, row: int, phase: str, kernel: str) -> Operation | None:
        trace = self.trace
        name = trace.names[trace.ranges.name[row]]
        found = self._parsed(trace.ranges.inputs[row], names.item_bytes(kernel), self._dtype_of_all(row, kernel))
        if found is None:
            return None
        costs = operator_costs(name, found, backward=phase == "backward")
        largest = max(costs, key=lambda cost: (cost.flops, cost.read + cost.written), default=None) if costs else None
        kind = largest.kind if largest else names.kind_of(kernel) or names.kind_of(name) or "other"
        if phase == "optimizer" and kind in _VECTOR:
            kind = "optimizer"
        dtype = found.dtype
        if dtype == "fp32" and kind in {"matmul", "attention"} and names.runs_tf32(kernel):
            dtype = "tf32"
        return Operation(name, kind, phase, dtype, found.shapes, costs, found.strided)

    def _dtype_of_all(self, row: int, kernel: str) -> str | None:
        """The dtype of an operator's tensors by its kernel's name, where the trace writes no types (nsys)."""
        return None if self.trace.inputs[self.trace.ranges.inputs[row]].types else names.dtype_of(kernel)

    def _parsed(self, number: int, itemsize: int | None, dtype_of_all: str | None) -> Arguments | None:
        place = number, itemsize, dtype_of_all
        if place not in self._arguments:
            self._arguments[place] = arguments(self.trace.inputs[number], itemsize, dtype_of_all)
        return self._arguments[place]

    def add(self, row: int, work: Work) -> None:
        """Count the kernel's time."""
        trace = self.trace
        name, time = trace.names[trace.kernels.name[row]], trace.kernels.time[row]
        if work.key is None:
            kind = names.kind_of(name) or "other"
            sums = self.loose.setdefault((names.short(name), kind, work.why), [0, 0.0])
            sums[0] += 1
            sums[1] += time
            return
        group = self.groups.get(work.key)
        if group is None:
            assert work.sent is not None
            group = Operation(
                work.sent.collective, "collective", "forward", None, (), None, strided=False, sent=work.sent
            )
            self.groups[work.key] = group
        group.time += time
        group.runs.add(work.run)
        group.kernels[name] = group.kernels.get(name, 0.0) + time

    def measured(self) -> tuple[MeasuredOp, ...]:
        """The operators, the costliest first."""
        found = [self._finished(group) for group in self.groups.values() if group.runs]
        return tuple(sorted(found, key=lambda op: -op.time_s))

    def _finished(self, group: Operation) -> MeasuredOp:
        runs = len(group.runs)
        ordered = tuple(sorted(group.kernels, key=lambda name: -group.kernels[name])[:4])
        sums: dict[str, float | None] = dict.fromkeys(("flops", "bytes", "model_flops", "expected", "ideal"))
        shape = None
        if group.sent is not None:
            expected = expected_collective(group.sent, self.device)
            sums |= {"flops": 0, "bytes": (group.sent.payload or 0) * runs}
            sums["expected"] = None if expected is None else expected * runs
        elif group.costs is not None:
            costs = group.costs
            attention = names.attention_kernel(ordered[0])
            time = expectation(group.name, costs, group.dtype or "fp32", group.phase, self.device, attention)
            sums["flops"] = sum(cost.flops for cost in costs) * runs
            sums["bytes"] = sum(cost.read + cost.written for cost in costs) * runs
            model = sum(c.flops if c.model_flops is None else c.model_flops for c in costs if c.shape is not None)
            sums["model_flops"] = model * runs
            sums["expected"] = None if time.expected_s is None else time.expected_s * runs
            sums["ideal"] = None if time.ideal_s is None else time.ideal_s * runs
            shape = next((cost.shape for cost in costs if cost.shape is not None), None)
        return MeasuredOp(
            name=group.name,
            kind=group.kind if group.costs or group.sent else _kind_by_time(group),
            phase=group.phase,
            dtype=group.dtype,
            shapes=group.shapes,
            count=runs,
            time_s=group.time * _US,
            flops=sums["flops"],
            bytes=sums["bytes"],
            expected_time_s=sums["expected"],
            ideal_time_s=sums["ideal"],
            model_flops=sums["model_flops"],
            matmul=shape,
            kernels=ordered,
            strided=group.strided,
        )

    def unattributed(self) -> tuple[UnattributedKernel, ...]:
        """The kernels that stay names, the costliest first."""
        found = [
            UnattributedKernel(name=name, kind=kind, why=why, count=int(count), time_s=time * _US)
            for (name, kind, why), (count, time) in self.loose.items()
        ]
        return tuple(sorted(found, key=lambda kernel: -kernel.time_s))


def _kind_by_time(group: Operation) -> str:
    """The kind of the kernels that take most of the time of an operator that no rule knows."""
    times: dict[str, float] = {}
    for name, time in group.kernels.items():
        kind = names.kind_of(name) or "other"
        times[kind] = times.get(kind, 0.0) + time
    return "optimizer" if group.phase == "optimizer" else max(times, key=times.__getitem__)


def _term(kind: str | None, phase: str) -> str:
    if phase in {"recompute", "optimizer"}:
        return phase
    if kind in {"matmul", "attention", "optimizer"}:
        return kind
    return "memory_bound" if kind in _VECTOR else "other"
