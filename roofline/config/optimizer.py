"""Optimizers: what each keeps, computes and moves for a parameter; facts of `optimizers.toml`."""

from collections.abc import Container, Iterator, Mapping
from functools import cache
from typing import Literal

import msgspec

from ..arrays import Number, maximum, minimum, where
from ..errors import RooflineError, look_up
from ..reading import packaged, read_packaged
from .run import TrainConfig

Side = Literal["m", "n", "r"]  # the smaller and the larger side of a matrix, and the rank of a projection
_FP32 = 4


class Optimizer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One optimizer, for a matrix of m x n parameters (m the smaller side).

    Attributes:
        summary: One line.
        also: Names that others have for it.
        coarse: Its word among the few that every framework has; None: its own name.
        takes: Which parameters it updates: all, matrices, or the matrices inside layers (no embedding, no head).
        rest: The optimizer of the others.
        moments: Numbers kept for each parameter.
        number_bytes: Bytes of such a number where it does not follow the dtype of the moments.
        block: Numbers that share an fp32 scale; 0: none do.
        smallest: Elements below which a tensor's moments stay in fp32.
        wide_tables: Whether those of embedding tables do as well, where the software says so (`Stack.wide_tables`).
        sums: fp32 numbers for each row and each column.
        squares: fp32 matrices of m x m, and of n x n.
        largest_side: Sides beyond it have no such matrix; 0: all have.
        rank: r, of a projection to r x n.
        rank_moments: Numbers kept for each element of the projection.
        projections: Whether the projection itself (m x r) is kept, as a number of them.
        flops: Element-wise FLOPs per parameter and update.
        temporaries: Numbers per parameter, of all tensors at once, that an update of many kernels makes.
        in_hand: Bytes per parameter that the update of one matrix makes beside.
        kernel: Whether one kernel updates everything, or chains of kernels over lists of tensors; or as the stack does.
        passes: Bytes moved by chains of kernels over those of one pass (gradient, weight and state read, both written).
        fused_passes: The same of one kernel.
        matmuls: (rows, columns, inner, times) of the matrix products of one update.
        whole: Whether it needs whole matrices: each rank updates some of them, and gradients are not scattered.
        on_host: Whether its update also runs on a CPU.
        paged: Whether its state lies in unified memory, from which pages go to the host where the device is full.
        source: Where the facts come from.
    """

    summary: str
    also: tuple[str, ...] = ()
    coarse: str | None = None
    takes: Literal["all", "matrices", "hidden matrices"] = "all"
    rest: str = "adamw"
    moments: int = 0
    number_bytes: float | None = None
    block: int = 0
    smallest: int = 0
    wide_tables: bool = False
    sums: int = 0
    squares: int = 0
    largest_side: int = 0
    rank: int = 0
    rank_moments: int = 0
    projections: int = 0
    flops: int
    temporaries: int = 0
    in_hand: int = 0
    kernel: Literal["stack", "fused", "foreach"] = "stack"
    passes: float = 1
    fused_passes: float = 1
    matmuls: tuple[tuple[Side, Side, Side, float], ...] = ()
    whole: bool = False
    on_host: bool = False
    paged: bool = False
    source: str

    @property
    def keeps(self) -> bool:
        """Whether it has any state."""
        return bool(self.moments or self.sums or self.squares or self.rank_moments)

    @property
    def by_tensor(self) -> bool:
        """Whether what it keeps and computes depends on the shapes or sizes of tensors, not on their sum alone."""
        return self.takes != "all" or bool(self.smallest or self.in_hand)

    def fused_on(self, fused: Container[str]) -> bool:
        """Whether one kernel updates everything on a stack that fuses `fused`."""
        return "optimizer" in fused if self.kernel == "stack" else self.kernel == "fused"

    def stored_bytes(self, moment_bytes: float, elements: Number) -> Number:
        """Bytes of one of its numbers in a tensor of `elements`, with its share of a scale."""
        if self.number_bytes is None:
            return moment_bytes
        stored = self.number_bytes + (_FP32 / self.block if self.block else 0)
        return where(elements < self.smallest, _FP32, stored)

    def matrix_bytes(self, moment_bytes: float, rows: Number, columns: Number) -> Number:
        """Bytes of state of one matrix."""
        m, n = minimum(rows, columns), maximum(rows, columns)
        rank = minimum(self.rank, m)
        each = self.stored_bytes(moment_bytes, m * n)
        limit = self.largest_side or float("inf")
        squares = where(m > limit, 0, m * m) + where(n > limit, 0, n * n)
        full = self.moments * m * n + self.rank_moments * rank * n + self.projections * rank * m
        return full * each + _FP32 * (self.sums * (m + n) + self.squares * squares)

    def products(self, rows: Number, columns: Number) -> Iterator[tuple[Number, Number, Number, Number]]:
        """(m, n, k, times) of the matrix products of the update of one matrix."""
        m, n = minimum(rows, columns), maximum(rows, columns)
        sides: dict[str, Number] = {"m": m, "n": n, "r": minimum(self.rank, m)}
        limit = self.largest_side or float("inf")
        for first, second, inner, times in self.matmuls:
            own = sides[first if first in {second, inner} else second]  # the side whose square takes part
            yield sides[first], sides[second], sides[inner], where(own > limit, 0, times)


class Refused(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A combination that software does not run.

    Attributes:
        optimizers: Which optimizers.
        stacks: Which software profiles.
        shardings: With which shardings.
        says: Why.
        remedy: What runs.
        source: Where the software says so.
    """

    optimizers: tuple[str, ...]
    stacks: tuple[str, ...]
    shardings: tuple[str, ...]
    says: str
    remedy: str
    source: str


class Optimizers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: optimizers by name, and what software does not run.

    Attributes:
        optimizer: What each keeps, computes and moves.
        elsewhere: Names that say more than an optimizer, with the options that say it.
        refused: Combinations that software does not run.
    """

    optimizer: dict[str, Optimizer]
    elsewhere: dict[str, str]
    refused: tuple[Refused, ...]


@cache
def _table() -> Optimizers:
    return read_packaged(packaged(__name__, "optimizers.toml"), Optimizers)


def optimizers() -> Mapping[str, Optimizer]:
    """All of them by name."""
    return _table().optimizer


@cache
def optimizer(name: str) -> Optimizer:
    """One by name.

    Raises:
        RooflineError: There is none of that name.
    """
    return look_up("optimizer", name, optimizers())


@cache
def spellings() -> Mapping[str, str]:
    """Names of all of them, ours and other people's, as `plain` writes them, with ours."""
    return {plain(word): name for name, row in optimizers().items() for word in (name, *row.also)}


def plain(name: str) -> str:
    """A name without what people write differently: in lower case, with hyphens.

    >>> plain("Paged_AdamW 8bit")
    'paged-adamw-8bit'
    """
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def read_optimizer(name: str) -> str:
    """Our name for an optimizer; `name` itself where nobody has it.

    Raises:
        RooflineError: It says more than an optimizer: the options that say it.

    >>> read_optimizer("paged_adamw_8bit"), read_optimizer("AdamW"), read_optimizer("adamv")
    ('adamw-8bit-paged', 'adamw', 'adamv')
    """
    for other, options in _table().elsewhere.items():
        if plain(other) == plain(name):
            raise RooflineError(f"optimizer {name!r} says more than an optimizer: use {options}")
    return spellings().get(plain(name), name)


def coarse_word(name: str) -> str:
    """The word that stands for an optimizer where kernels and pages do not matter.

    >>> coarse_word("adamw-8bit-paged"), coarse_word("lion")
    ('adamw-8bit', 'lion')
    """
    return optimizer(name).coarse or name


def refuse_optimizer(train: TrainConfig) -> None:
    """Refuse an optimizer that the software does not run with this sharding.

    Raises:
        RooflineError: Which, why, and what runs.
    """
    for each in _table().refused:
        if train.optimizer in each.optimizers and train.stack in each.stacks and train.sharding in each.shardings:
            what = f"optimizer {train.optimizer} with sharding {train.sharding} of {train.stack}"
            raise RooflineError(f"{what}: {each.says}; {each.remedy}")
