"""The passes of one step over time, device by device: the order that a schedule's rules make.

A device runs a backward pass as soon as one is there, a forward pass while it holds fewer micro batches than the
schedule allows (`PipelineSchedule.held`), and gradients of weights where it would wait.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from ..config.run import known_word
from ..config.schedules import PipelineSchedule, pipeline_schedule
from ..counting.stages import chunks, device_of
from ..counting.step import Step
from .ranks import PricedOp, price
from .schedule import Place, compose, exposed_times, schedule
from .seen import pull

if TYPE_CHECKING:
    from ..hardware import Device

Kind = Literal["forward", "recompute", "backward", "weight gradients", "data parallel", "update"]
MOST_PASSES = 96  # of one device: a picture has no room for more


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """What one device of a pipeline does for some time; seconds from the start of the step.

    Attributes:
        device: Its place in the pipeline.
        kind: What runs: passes of one micro batch through one chunk, or what ends the step.
        micro_batch: Which of the step's; -1 of what ends the step.
        chunk: Which of the device's chunks, 0 the first that a micro batch meets.
        start, end: Seconds.
    """

    device: int
    kind: Kind
    micro_batch: int
    chunk: int
    start: float
    end: float


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A step, or the beginning of one with fewer micro batches: its middle repeats.

    Attributes:
        devices: Of one pipeline.
        micro_batches: How many are shown.
        of: How many a step has.
        schedule: Name of the schedule.
        passes: By device, in time.
    """

    devices: int
    micro_batches: int
    of: int
    schedule: str
    passes: tuple[Pass, ...]

    @property
    def seconds(self) -> float:
        """When the last pass ends."""
        return max(each.end for each in self.passes)


class Durations(NamedTuple):
    """Seconds of one micro batch in one chunk."""

    forward: float
    recompute: float
    backward: float  # gradients of data, and of weights where they do not run apart
    weight: float


def timeline(step: Step, device: Device, most: int = MOST_PASSES) -> Timeline:
    """The passes of one configuration's step; of many micro batches as many as leave a device `most` passes."""
    train, priced = step.train, price(step, device)
    pp, vp, of = int(train.pp), int(train.vp), int(train.accumulation)
    name = known_word(train.schedule)
    plan = pipeline_schedule(name)
    apart = splits_backward(plan)
    shown = min(of, max(most // ((3 if apart else 2) * vp), 1))
    if shown < of:
        shown = min(max(shown // pp, 1) * pp, of)  # whole rounds, as interleaved stages take them
    found = run_passes(plan, pp, vp, shown, chunk_durations(step, device, priced, apart=apart))
    end = max(each.end for each in found)
    for kind, seconds in _ends(step, device, priced).items():
        if seconds > 0:
            found += [
                Pass(device=place, kind=kind, micro_batch=-1, chunk=0, start=end, end=end + seconds)
                for place in range(pp)
            ]
            end += seconds
    found.sort(key=lambda each: (each.device, each.start))
    return Timeline(devices=pp, micro_batches=shown, of=of, schedule=name, passes=tuple(found))


def _ends(step: Step, device: Device, priced: list[PricedOp]) -> dict[Kind, float]:
    """Seconds of what follows the passes: exposed communication, and the update with all that runs once a step."""
    copies = sum(
        item.expected * item.op.count for item in priced if item.op.part == "step" and item.op.kind == "elementwise"
    )
    communication = schedule(step, device, priced).data_parallel
    parts, hidden = exposed_times(step, device, priced)
    for terms in parts.values():  # copies that a pass waits for are in the pass
        terms.pop("offload", None)
    once = compose(step, device, priced, parts, hidden)
    update = once.optimizer + once.offload + copies * pull(step, device)
    return {"data parallel": float(communication), "update": float(update)}


def splits_backward(plan: PipelineSchedule) -> bool:
    """Whether gradients of weights run apart: others wait less for them, or nobody waits at all."""
    waits = plan.bubble
    return waits.weight != waits.data or not any(msgspec.structs.astuple(waits))


def chunk_durations(step: Step, device: Device, priced: list[PricedOp], *, apart: bool) -> list[Durations]:
    """Seconds of each chunk's passes; exposed communication and waits for launches are spread over them."""
    parts, _ = exposed_times(step, device, priced)
    sums: dict[str, dict[Place, float]] = {kind: {} for kind in Durations._fields}
    for item in priced:
        op = item.op
        if op.part == "step" or op.kind == "collective":
            continue
        kind = "weight" if apart and op.gradient == "weight" else str(op.phase)
        place: Place = (op.part, op.layer_kind)
        sums[kind][place] = sums[kind].get(place, 0.0) + float(item.expected * op.count)
    for place, times in parts.items():
        raw = sum(by_place.get(place, 0.0) for by_place in sums.values())
        stretch = float(sum(times.values()) * pull(step, device)) / raw if raw else 0.0
        for by_place in sums.values():
            by_place[place] = by_place.get(place, 0.0) * stretch
    return [
        Durations(*(float(chunk.holds(sums[kind], step.model)) for kind in Durations._fields))
        for chunk in chunks(step.model, step.train)
    ]


class _Task(NamedTuple):
    """One pass of a micro batch through the chunk at one place of its way."""

    kind: str  # forward, backward, weight
    micro_batch: int
    at: int


def run_passes(plan: PipelineSchedule, pp: int, vp: int, micro_batches: int, durations: list[Durations]) -> list[Pass]:
    """Every pass of `micro_batches` through pp * vp chunks of those durations, as the schedule orders them."""
    return list(_Pipeline(plan, pp, vp, micro_batches, durations).run())


class _Pipeline:
    """Devices that take the next pass that the schedule allows, whenever one ends."""

    def __init__(
        self, plan: PipelineSchedule, pp: int, vp: int, micro_batches: int, durations: list[Durations]
    ) -> None:
        self.plan, self.pp, self.vp, self.durations = plan, pp, vp, durations
        self.micro_batches = micro_batches
        self.apart = any(each.weight for each in durations)
        self.rounds = plan.placement == "rounds"  # chunks dealt out in turn, micro batches from one end
        self.ready: list[set[_Task]] = [set() for _ in range(pp)]
        self.free = [True] * pp
        self.held = [0] * pp
        self.turn = [""] * pp  # what ran last: forward and backward passes take turns
        self.begun: Counter[tuple[int, str]] = Counter()
        self.order: dict[tuple[int, str], list[_Task]] = {}  # of what goes in rounds
        for m, at, kind in product(range(micro_batches), range(pp * vp), ("forward", "backward")):
            self.order.setdefault((self.device(m, at), kind), []).append(_Task(kind, m, at))
        for each in self.order.values():
            each.sort(key=self.key)
        self.most = [self.limit(stage) for stage in range(pp)]

    def device(self, m: int, at: int) -> int:
        """Who runs the chunk at a place of a micro batch's way."""
        if self.plan.placement == "both_ends" and m % 2:  # half of the micro batches come from the other end
            return self.pp - 1 - at
        return device_of(at, self.pp, self.plan.placement)

    def limit(self, stage: int) -> float:
        """Passes that a device may hold: of all its chunks, or where its way turns round of its first."""
        held = self.plan.held(self.pp, self.vp, stage)
        if held is None:
            return math.inf
        return round(float(held) * (self.vp if self.rounds else 1))

    def key(self, task: _Task) -> tuple[int, ...]:
        """What comes first: rounds of pp micro batches, in each chunk by chunk; elsewhere what is furthest."""
        if not self.rounds:
            return -task.at, task.micro_batch
        return task.micro_batch // self.pp, -task.at if task.kind == "backward" else task.at, task.micro_batch

    def run(self) -> Iterator[Pass]:
        """Passes as they start."""
        ending: list[tuple[float, int, _Task]] = []
        for m in range(self.micro_batches):
            self.ready[self.device(m, 0)].add(_Task("forward", m, 0))
        now = 0.0
        left = self.micro_batches * self.pp * self.vp * (3 if self.apart else 2)
        while left:
            for device in range(self.pp):
                task = self.next(device)
                if task is not None:
                    left -= 1
                    self.free[device] = False
                    end = now
                    for each in self.passes(device, task, now):
                        yield each
                        end = each.end
                    heapq.heappush(ending, (end, device, task))
            if not ending:  # nobody may start: more must be held than the rule says
                self.most = [each + 1 for each in self.most]
                continue
            now = ending[0][0]
            while ending and ending[0][0] <= now:
                self.end(*heapq.heappop(ending)[1:])

    def next(self, device: int) -> _Task | None:
        """What a free device starts: a backward pass, a forward pass, gradients of weights; None: it waits."""
        if not self.free[device]:
            return None
        backward, forward = self.backwards(device), self.forwards(device)
        one, other = (forward, backward) if self.turn[device] == "backward" else (backward, forward)
        candidates = one or other or [task for task in self.ready[device] if task.kind == "weight"]
        if not candidates:
            return None
        task = min(candidates, key=self.key)
        self.ready[device].discard(task)
        self.begun[device, task.kind] += 1
        if task.kind != "weight":
            self.turn[device] = task.kind
        if task.kind == "forward":
            self.held[device] += self.counted(task)
        return task

    def counted(self, task: _Task) -> bool:
        return self.rounds or task.at < self.pp

    def backwards(self, device: int) -> list[_Task]:
        """Backward passes that may start; where all micro batches are held, after all forward passes."""
        filled = self.begun[device, "forward"] == len(self.order[device, "forward"])
        return self.waiting(device, "backward") if filled or self.plan.in_flight != "all" else []

    def forwards(self, device: int) -> list[_Task]:
        """Forward passes that may start."""
        room = self.held[device] < self.most[device]
        return [task for task in self.waiting(device, "forward") if room or not self.counted(task)]

    def waiting(self, device: int, kind: str) -> list[_Task]:
        """Passes of a kind whose input is there; in rounds only the one that is next."""
        ready, order, begun = self.ready[device], self.order[device, kind], self.begun[device, kind]
        if not self.rounds:
            return [task for task in ready if task.kind == kind]
        return [task for task in order[begun : begun + 1] if task in ready]

    def passes(self, device: int, task: _Task, now: float) -> Iterator[Pass]:
        """A task as what is drawn: a backward pass may run the forward pass again first."""
        took = self.durations[task.at]
        kinds: Mapping[str, list[tuple[Kind, float]]] = {
            "forward": [("forward", took.forward)],
            "backward": [("recompute", took.recompute), ("backward", took.backward)],
            "weight": [("weight gradients", took.weight)],
        }
        for kind, seconds in kinds[task.kind]:
            if seconds or kind != "recompute":
                yield Pass(
                    device=device,
                    kind=kind,
                    micro_batch=task.micro_batch,
                    chunk=task.at // self.pp,
                    start=now,
                    end=now + seconds,
                )
                now += seconds

    def end(self, device: int, task: _Task) -> None:
        """What follows a pass that has ended."""
        self.free[device] = True
        kind, m, at = task
        if kind == "forward":
            last = at == self.pp * self.vp - 1
            after = _Task("backward", m, at) if last else _Task("forward", m, at + 1)
            self.ready[self.device(m, after.at)].add(after)
            return
        if kind == "backward" and at:
            self.ready[self.device(m, at - 1)].add(_Task("backward", m, at - 1))
        if kind == "backward" and self.apart:
            self.ready[device].add(_Task("weight", m, at))
        else:
            self.held[device] -= self.counted(task)
