"""What a search is asked, in pieces that can be searched one by one, anywhere, in any order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec

from ..config.defaults import default_attention
from ..config.run import TrainConfig
from ..config.settle import with_recipe
from ..config.sharding import SHARDINGS
from ..errors import RooflineError
from ..model.spec import ModelConfig
from .grid import Bundle
from .software import Part
from .space import LONGEST_SEARCH, Choices, Space
from .variants import counted_as

PIECE = 2**20  # layouts of a piece, about: a second of work


class Piece(msgspec.Struct, frozen=True):
    """Rows [first, last) of a part, priced as one bundle of words with one sharding."""

    part: int
    bundle: int
    sharding: str
    first: int
    last: int


class Question(msgspec.Struct, frozen=True):
    """A search: whatever its pieces need, and nothing that changes; it can be pickled.

    Attributes:
        model: The model.
        device: The device.
        choices: What may vary.
        base: What does not.
        objective: time, cost, energy or memory.
        leaders: How many of the best are kept.
        front: Whether the front of time against memory is.
        parts: Each software profile with its layouts.
    """

    model: ModelConfig
    device: Any
    choices: Choices
    base: TrainConfig
    objective: str
    leaders: int
    front: bool
    parts: tuple[tuple[Part, Space], ...]

    def choices_of(self, part: Part) -> Choices:
        """What may vary on one software profile, whose attention kernel runs where none is asked for.

        Where nothing is split over tp, sequence parallelism says nothing.
        """
        own = self.choices.attention or (default_attention(self.device, part.stack),)
        found = msgspec.structs.replace(self.choices, attention=own)
        if part.split is False and False in found.sequence_parallel:
            return msgspec.structs.replace(found, sequence_parallel=(False,))
        return found

    def bundles(self, part: Part) -> list[list[TrainConfig]]:
        """Configurations that can be priced together: those that differ in the words that few formulas read.

        Sequence parallelism is one of them unless there are experts: it decides how they are spread.
        """
        choices = self.choices_of(part)
        experts = self.model.has_experts
        outer = ("dtype", "attention", "sequence_parallel") if experts else ("dtype", "attention")
        common = {"stack": part.stack, "schedule": part.schedule}
        inner = [name for name in ("sequence_parallel", "recompute") if name not in outer]
        return [
            [
                with_recipe(msgspec.structs.replace(self.base, **common, **words, **others))
                for others in choices.words(*inner)
            ]
            for words in choices.words(*outer)
        ]

    def pieces(self) -> tuple[Piece, ...]:
        """All of them; a number of a piece is its place here."""
        return tuple(self._pieces())

    def _pieces(self) -> Iterator[Piece]:
        for number, (part, space) in enumerate(self.parts):
            if not space.consistent.any():
                continue
            count = len(space.consistent)
            for bundle, trains in enumerate(self.bundles(part)):
                rows = max(1, PIECE // (len(trains) * len(space.micro_batches)))
                for sharding in part.shardings:
                    for first in range(0, count, rows):
                        yield Piece(number, bundle, sharding, first, min(first + rows, count))

    def meaningful(self, space: Space, sharding: str) -> tuple[Any, Any]:
        """Where words say something, without and with sequence parallelism: [rows] each.

        Nothing is sharded over one rank, or gathered for every micro batch of a pipeline.
        """
        columns, choices = space.columns, self.choices
        keep = columns["dp"] > 0
        if sharding != "none" and "none" in choices.sharding:
            keep &= columns["dp"] * columns["cp"] > 1
        if sharding == "zero2" and len(choices.sharding) > 1:  # a pipeline keeps all gradients until its end
            keep &= columns["pp"] == 1
        if SHARDINGS[sharding].parameters and choices.pp is None:
            keep &= columns["pp"] == 1  # every micro batch would gather the parameters again
        several = columns["tp"] > 1
        # without sequence parallelism tp ranks have the same tokens: experts are split over them
        if "etp" in columns:
            spreads = ~several | (columns["etp"] == columns["tp"])
        else:
            spreads = columns["dp"] * columns["cp"] % columns["ep"] == 0
        return keep & spreads, keep & several if False in choices.sequence_parallel else keep

    def size(self) -> int:
        """Layouts in all.

        Raises:
            RooflineError: There are more than can be searched in minutes to an hour.
        """
        total = 0
        for part, space in self.parts:
            choices, each = self.choices_of(part), space.consistent.sum(axis=1)
            words = sum(1 for _ in choices.words("recompute", "dtype", "attention"))
            for told in (self.meaningful(space, sharding) for sharding in part.shardings):
                total += words * sum(int(each[told[whole]].sum()) for whole in choices.sequence_parallel)
        if total > LONGEST_SEARCH:
            raise RooflineError(
                f"{total:,} layouts would take about {total / 1e6 / 60:.0f} minutes: fix a degree "
                "(--tp, --pp, ...), a "
                f"--micro-batch or a word (--recompute, --sharding), at most {LONGEST_SEARCH:,} layouts"
            )
        return total


class Bundles:
    """The bundles of a question, each counted when it is first needed; the last `kept` of them stay (None: all)."""

    def __init__(self, question: Question, kept: int | None) -> None:
        self.question, self.kept = question, kept
        self._made: dict[tuple[int, int, str], Bundle] = {}
        self._trains: dict[int, list[list[TrainConfig]]] = {}  # of each part

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Those of the question."""
        return self.question.pieces()

    def of(self, piece: Piece) -> Bundle:
        """The bundle of a piece."""
        part, space = self.question.parts[piece.part]
        if piece.part not in self._trains:
            self._trains[piece.part] = self.question.bundles(part)
        trains = self._trains[piece.part][piece.bundle]
        counted = counted_as(piece.sharding, trains[0])
        key = piece.part, piece.bundle, counted
        if key not in self._made:
            if self.kept is not None and len(self._made) >= self.kept:
                del self._made[next(iter(self._made))]
            self._made[key] = Bundle(self.question.model, self.question.device, space, trains, counted)
        return self._made[key]
