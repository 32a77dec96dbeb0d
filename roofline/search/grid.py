"""Prices many layouts in one call: each quantity on the few axes it depends on, the schedule on what fits.

Op times depend on tp, cp, ep and the micro batch (and on whether gradients accumulate): ops are counted and
timed on that small grid, summed by cause, and spread to the layouts. Weights and the update depend on a row
of degrees. Memory and schedule are the very functions that price one layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from ..arrays import is_scalar
from ..config.asserts import breaks
from ..config.complete import complete
from ..config.run import TrainConfig, known_word
from ..config.schedules import pipeline_schedule
from ..config.settle import resolve
from ..counting.op import Op
from ..counting.stages import stages
from ..counting.step import Step, update_ops, without_updates
from ..counting.weights import Matrices, Weights
from ..footprint.parts import Peak, peak_of
from ..footprint.spreads import outcome_spread, sure_bytes
from ..model.spec import ModelConfig
from ..timing.ranks import PricedOp, price, price_all
from ..timing.schedule import Schedule, compose, exposed_times
from .columns import alike_rows, as_column, degree, distinct, taken
from .space import Space
from .sums import FIELDS, Sums, accumulates, by_memory, by_term, merged_weights, of_passes
from .variants import alike, plain_of, recomputed_as

if TYPE_CHECKING:
    from ..hardware import Device

_GRID = ("tp", "cp", "ep", "etp")  # what op times depend on, beside the micro batch
ROUNDING = 1e-9  # by how much two orders of one sum differ at most


class Bundle:
    """Layouts of a space times a few variants (recompute, sequence parallelism): priced in the same calls.

    All have shardings by which ops are counted alike (see `variants.counted_as`).

    A layout is (variant, row, micro batch). Axes of the small grid: [variants, 2, keys, micro batches]; the
    second is one micro batch per step, or several (accumulation adds gradients up).
    """

    def __init__(
        self, model: ModelConfig, device: Device, space: Space, trains: Sequence[TrainConfig], sharding: str = "none"
    ) -> None:
        self.device, self.space, self.trains = device, space, trains
        names = [name for name in _GRID if name in space.columns]
        columns = [space.columns[name] for name in names]
        firsts, self.key_of_row = alike_rows(columns, len(space.consistent))  # [k], [rows]
        self.keys = {name: space.columns[name].take(firsts)[:, None].astype(float) for name in names}  # [k, 1]
        self.micro = space.micro_batches.astype(float)  # [m]
        self.columns = {name: degree(column) for name, column in space.columns.items()}
        self.shape = (2, len(firsts), len(self.micro))
        self.alike = alike(trains)
        self.steps = self._small_steps(model, sharding)
        self.saved = [
            (op, {name: self._shared(table) for name, table in sums.items()})
            for op, sums in self._stack([by_memory(step.ops) for step in self.steps])
        ]
        self.weights = merged_weights(self.steps[0])
        self.working = self._shared(self._table([step.working_bytes for step in self.steps]))
        self.last = self._shared(self._table([step.last_bytes for step in self.steps]))
        plain = {t: i for i, t in enumerate(trains) if t.recompute == "none"}
        self.plain = [plain.get(plain_of(train)) for train in trains]
        self._timed: list[tuple[Op, dict[str, Any]]] | None = None

    def _small_steps(self, model: ModelConfig, sharding: str) -> list[Step]:
        """The step of each variant on the small grid, without its update."""
        import numpy as np

        small: dict[str, Any] = {
            **self.keys,
            **dict.fromkeys(("pp", "vp", "dp", "num_devices"), 1),
            "schedule": None,  # needs more than one stage
            "sharding": sharding,
            "micro_batch": self.micro,
            "global_batch": np.array([1.0, 2.0])[:, None, None] * self.micro,  # [2, 1, m]
        }
        steps: dict[int, Step] = {}
        for variants in self.alike:
            first = resolve(msgspec.structs.replace(self.trains[variants[0]], **small), model)
            first = msgspec.structs.replace(first, schedule=self.trains[variants[0]].schedule or first.schedule)
            trains = [complete(recomputed_as(self.trains[each], first), model) for each in variants]
            steps |= zip(variants, without_updates(model, trains), strict=True)
        return [steps[variant] for variant in range(len(self.trains))]

    @property
    def by_pass(self) -> bool:
        """Whether times are told apart by pass."""
        return pipeline_schedule(known_word(self.steps[0].train.schedule)).by_pass

    def _table(self, values: Sequence[Any]) -> Any:
        """A value per variant as one flat table, or the number itself where all agree on one."""
        import numpy as np

        if is_scalar(*values) and len(set(values)) == 1:
            return values[0]
        table: Any = np.empty((len(values), *self.shape))
        for variant, value in enumerate(values):
            table[variant] = value
        return table.ravel()

    def _shared(self, table: Any) -> Any:
        """A table with the variants apart, of one alone where all have the same: [variants or 1, ...]."""
        if is_scalar(table):
            return table
        apart = table.reshape(len(self.trains), math.prod(self.shape))
        return apart[:1] if (apart == apart[0]).all() else apart

    def _stack(self, variants: Sequence[Sums]) -> list[tuple[Op, dict[str, Any]]]:
        """Sums by cause of each variant, as one list of ops with flat tables of their figures."""
        ops = {key: op for sums in variants for key, (op, _) in sums.items()}
        nothing: dict[str, Any] = dict.fromkeys(FIELDS, 0)
        found = []
        for key, op in ops.items():
            figures = [sums[key][1] if key in sums else nothing for sums in variants]
            found.append((op, {name: self._table([figure[name] for figure in figures]) for name in FIELDS}))
        return found

    @cached_property
    def sure(self) -> Any:
        """Bytes that surely fit, of each row: how sure that is depends on how a model is split: [rows]."""
        import numpy as np

        columns = self.space.columns
        spread = outcome_spread(msgspec.structs.replace(self.trains[0], tp=columns["tp"], pp=columns["pp"]))
        spreads, places = np.unique(spread, return_inverse=True)
        return np.array([sure_bytes(self.device.memory_bytes, each) for each in spreads]).take(places)

    def index_of(self, variant: Any, rows: Any, micro: Any) -> Any:
        """Layouts as single numbers."""
        return (variant * len(self.key_of_row) + rows) * len(self.micro) + micro

    def layout_at(self, index: int) -> tuple[int, int, int]:
        """The (variant, row, micro batch) of a number."""
        rest, micro = divmod(index, len(self.micro))
        return *divmod(rest, len(self.key_of_row)), micro

    def memory_floor(self, sharding: str, rows: Any) -> Any:
        """Bytes each of `rows` cannot do without whatever the micro batch: what holds no activations: [rows]."""
        import numpy as np

        degrees = {name: taken(column, rows) for name, column in self.columns.items()}
        step = self._step(sharding, degrees, 1, self._weights(rows), ())
        return np.broadcast_to(peak_of(step, self.device).held, (len(rows),))

    def memory(self, sharding: str, rows: Any) -> Peak:
        """Bytes of every variant and micro batch of `rows`: [variants, rows, micro batches]."""
        import numpy as np

        degrees = {name: as_column(taken(column, rows)) for name, column in self.columns.items()}
        # [n, m]: places of a step of one pass, which keeps what a pass of many does
        index = self.key_of_row[rows, None] * self.shape[2] + np.arange(len(self.micro))

        def spread(table: Any) -> Any:
            return table if is_scalar(table) else table.take(index, axis=1)

        ops = tuple(
            msgspec.structs.replace(
                op, saved_bytes=spread(sums["saved_bytes"]), bytes_written=spread(sums["bytes_written"])
            )
            for op, sums in self.saved
        )
        step = self._step(sharding, degrees, self.micro, self._weights(rows, as_column), ops)
        step = msgspec.structs.replace(step, working_bytes=spread(self.working), last_bytes=spread(self.last))
        shape = (len(self.trains), len(rows), len(self.micro))
        found = peak_of(step, self.device)
        return Peak(np.broadcast_to(found.needed, shape), np.broadcast_to(found.held, shape))

    def allowed(self, sharding: str, rows: Any) -> Any:
        """Where a layout is none that its own software refuses: [variants, rows, micro batches].

        What runs again decides on nothing there but CUDA graphs.
        """
        import numpy as np

        degrees = {name: as_column(taken(column, rows)) for name, column in self.columns.items()}
        shape, degrees = (len(rows), len(self.micro)), {**degrees, "micro_batch": self.micro, "sharding": sharding}
        found = np.empty((len(self.trains), *shape), dtype=bool)
        for variants in self.alike if self.trains[0].cuda_graph == "none" else [[each] for each in range(len(found))]:
            broken = breaks(msgspec.structs.replace(self.trains[variants[0]], **degrees), self.steps[0].model)
            found[variants] = ~np.asarray(broken, dtype=bool)
        return found

    def saves(self, memory: Any) -> Any:
        """Where recompute, which only takes time, saves memory; True without it: [variants, rows, micro batches]."""
        import numpy as np

        found = np.ones(memory.shape, dtype=bool)
        for variant, base in enumerate(self.plain):
            if base is not None and base != variant:
                found[variant] = memory[variant] < memory[base]
        return found

    def least(self, variant: Any, rows: Any, micro: Any) -> Any:
        """Seconds that a step surely takes: of a mean stage, with no bubble, gradients or update. All [layouts]."""
        sequences = self.trains[0].global_batch / (self.columns["dp"] * self.columns["pp"])
        passes = taken(sequences, rows) / self.micro.take(micro)
        return taken(self._pass, self._place(variant, rows, micro)) * passes * (1 - ROUNDING)

    def _place(self, variant: Any, rows: Any, micro: Any) -> Any:
        """Where the flat tables hold what a step of one micro batch takes: all [layouts]."""
        firsts, keys = self._firsts
        return firsts.take(variant) + keys.take(rows) + micro

    @cached_property
    def _firsts(self) -> tuple[Any, Any]:
        """Where the flat tables of each variant begin, and in them those of each row."""
        import numpy as np

        return np.arange(len(self.trains)) * math.prod(self.shape), self.key_of_row * self.shape[2]

    @cached_property
    def _pass(self) -> Any:
        """Seconds of the whole model for one of endless micro batches, without what adds up over them: of the tables.

        Endless, so that whatever may run beside another micro batch hides there: no step takes less.
        """
        step = self.steps[0]
        endless = msgspec.structs.replace(step.train, micro_batch=1, global_batch=math.inf)
        step = msgspec.structs.replace(step, train=endless)
        priced = [
            PricedOp(msgspec.structs.replace(op, kernels=sums["kernels"], units=sums["units"]), sums["seconds"])
            for op, sums in self._timed_ops()
            if not of_passes(op)
        ]
        parts, _ = exposed_times(step, self.device, priced)
        (whole,) = stages(step.model, step.train)
        return whole.holds({place: sum(times.values()) for place, times in parts.items()}, step.model)

    def schedule(self, sharding: str, variant: Any, rows: Any, micro: Any) -> Schedule[Any]:
        """The terms of each layout's step time. All arguments and results: [layouts]."""
        import numpy as np

        degrees = {name: taken(column, rows) for name, column in self.columns.items()}
        sequences = self.micro.take(micro)
        update = self._update(sharding, *distinct(rows), micro)
        step = self._step(sharding, degrees, sequences, (), tuple(item.op for item in update))
        # what one micro batch takes depends on few things, so it is worked out for those that occur
        index = self._place(variant, rows, micro)
        firsts, place_of_row = self.successions
        codes, back = distinct(index * len(firsts) + place_of_row.take(rows))
        index, place = np.divmod(codes, len(firsts))
        degrees_alone = {name: taken(column, firsts.take(place)) for name, column in self.columns.items()}
        alone = self._step(sharding, degrees_alone, self.micro.take(index % self.shape[2]), (), ())
        priced = self._passes(index, alone.accumulation, step.train.reduces_every_pass)
        parts, hidden = exposed_times(alone, self.device, priced)

        def spread(value: Any) -> Any:
            return taken(value, back)

        if self.by_pass:
            update += [PricedOp(item.op, spread(item.expected)) for item in priced]
        return compose(
            step,
            self.device,
            update,
            {place: {term: spread(seconds) for term, seconds in times.items()} for place, times in parts.items()},
            {place: spread(seconds) for place, seconds in hidden.items()},
        )

    def _passes(self, index: Any, passes: Any, reduced: bool) -> list[PricedOp]:
        """Ops of one micro batch at places of the tables, in steps of so many `passes`: [places].

        Whole gradients are not added up where they are `reduced` in every pass.
        """
        later = index + self.shape[1] * self.shape[2]  # the same of a step of two passes

        def at(table: Any, op: Op) -> Any:
            once = taken(table, index)
            if is_scalar(table) or not of_passes(op):
                return once
            return once + 2 * (table.take(later) - once) * (1 - 1 / passes)  # the first pass moves, later ones add

        return [
            PricedOp(
                msgspec.structs.replace(op, **{name: at(sums[name], op) for name in ("kernels", "units")}),
                at(sums["seconds"], op),
            )
            for op, sums in self._timed_ops()
            if not (reduced and accumulates(op))
        ]

    @cached_property
    def successions(self) -> tuple[Any, Any]:
        """Rows that differ in what follows one micro batch, where its time depends on that, and each row's place there.

        Where gradients add up it is the number of micro batches; where tokens travel to experts beside another micro
        batch, the pipeline as well.
        """
        ops = [op for op, _ in self._timed_ops()]
        names = ["dp"] if any(of_passes(op) for op in ops) else []
        names = ["dp", "pp", "vp"] if any(op.group == "ep" for op in ops) else names
        return alike_rows([self.space.columns[name] for name in names], len(self.key_of_row))

    def _timed_ops(self) -> list[tuple[Op, dict[str, Any]]]:
        """Ops with times, by cause; timed when first needed: nothing is priced where nothing fits."""
        if self._timed is None:
            priced: dict[int, list[PricedOp]] = {}
            for variants in self.alike:
                priced |= zip(variants, price_all([self.steps[each] for each in variants], self.device), strict=True)
            self._timed = self._stack([by_term(priced[each], by_pass=self.by_pass) for each in range(len(self.trains))])
        return self._timed

    def _update(self, sharding: str, rows: Any, back: Any, micro: Any) -> list[PricedOp]:
        """The ops of one update, timed for each row, spread to the layouts (``rows[back]``, `micro`)."""
        import numpy as np

        degrees = {name: as_column(taken(column, rows)) for name, column in self.columns.items()}
        step = self._step(sharding, degrees, self.micro, self._weights(rows, as_column), ())
        priced = price(msgspec.structs.replace(step, ops=tuple(update_ops(step))), self.device)
        shape = (len(rows), len(self.micro))
        index = back * len(self.micro) + micro

        def spread(value: Any) -> Any:
            if is_scalar(value):
                return value
            return np.broadcast_to(value, shape).ravel().take(index)

        return [
            PricedOp(
                msgspec.structs.replace(item.op, count=spread(item.op.count), rounds=spread(item.op.rounds)),
                spread(item.expected),
            )
            for item in priced
        ]

    def _weights(self, rows: Any, shaped: Callable[[Any], Any] = lambda figure: figure) -> list[Weights]:
        """Weights of each row, which depend on tp, cp and ep alone; their figures [rows], or as `shaped` has it."""
        import numpy as np

        def spread(figure: Any) -> Any:
            if is_scalar(figure):
                return figure
            return shaped(np.broadcast_to(figure, (self.shape[1], 1)).ravel()[self.key_of_row[rows]])

        return [
            msgspec.structs.replace(
                weight,
                local=spread(weight.local),
                matrices=tuple(Matrices(*map(spread, msgspec.structs.astuple(each))) for each in weight.matrices),
            )
            for weight in self.weights
        ]

    def _step(
        self,
        sharding: str,
        degrees: dict[str, Any],
        micro: Any,
        weights: Iterable[Weights],
        ops: tuple[Op, ...],
    ) -> Step:
        first = self.steps[0]
        train = msgspec.structs.replace(self.trains[0], **degrees, micro_batch=micro, sharding=sharding)
        changes: dict[str, Any] = {"train": complete(train, first.model), "ops": ops, "weights": tuple(weights)}
        return msgspec.structs.replace(first, **changes, working_bytes=0, last_bytes=0)
