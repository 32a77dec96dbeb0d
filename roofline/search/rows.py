"""Layouts as rows of a file: written a chunk at a time, as text or as Parquet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..config.schedules import pipeline_schedule
from ..config.stack import load_stack
from .files import ParquetRows, quoted
from .grid import Bundle
from .question import Piece
from .space import DEGREES

OF_ROW = ("num_devices", *DEGREES, "etp", "schedule")
OF_WORDS = ("sharding", "recompute", "sequence_parallel", "dtype", "attention", "stack")
FIGURES = ("step_time_s", "memory_bytes")
COLUMNS = (*OF_ROW, "micro_batch", *OF_WORDS, *FIGURES)


class Words(NamedTuple):
    """What options say of a piece's layouts, apart from its figures; each can be said to `estimate`.

    Attributes:
        rows: What rows of degrees say, without and with sequence parallelism: columns of `OF_ROW`, [rows of the piece].
        micro: Micro batches: [micro batches].
        variants: What words say: columns of `OF_WORDS`, [variants].
        whole: Whether a variant has sequence parallelism: [variants].
    """

    rows: tuple[dict[str, Any], dict[str, Any]]
    micro: Any
    variants: dict[str, Any]
    whole: Any


def words_of(bundle: Bundle, piece: Piece) -> Words:
    """What options say of a piece's layouts, as complete configurations do."""
    import numpy as np

    trains, space, part = bundle.trains, bundle.space, slice(piece.first, piece.last)
    columns = {name: space.columns[name][part] for name in ("num_devices", *DEGREES)}
    schedule = trains[0].schedule or load_stack(trains[0].stack).usual_schedule(columns["vp"])
    alone = pipeline_schedule(schedule).of_one_chunk or schedule
    scheduled = np.where(columns["vp"] > 1, schedule, alone).astype(object)
    etp = space.columns["etp"][part] if "etp" in space.columns else None
    apart, whole = (
        {**columns, "etp": sharing if etp is None else etp, "schedule": scheduled}
        for sharing in (columns["tp"], np.ones_like(columns["tp"]))
    )
    variants = {name: np.array([getattr(train, name) for train in trains], dtype=object) for name in OF_WORDS}
    variants["sharding"][:] = piece.sharding
    variants["recompute"][:] = [(train.recompute_detail or train.recompute).replace(",", "+") for train in trains]
    return Words((apart, whole), space.micro_batches, variants, variants["sequence_parallel"].astype(int))


class Text:
    """Rows of a CSV, without its header."""

    def __init__(self, to: Path, piece: Piece) -> None:
        self.to, self.piece = to, piece
        self.file: Any = None

    def take(self, bundle: Bundle, variant: Any, rows: Any, micro: Any, needed: Any, seconds: Any) -> None:
        """Add layouts, as `sift.Take`: 1.5 million a second, which no formatting by columns comes near."""
        if self.file is None:
            self.file = self.to.open("w", encoding="utf-8", newline="")
            self.parts = _texts(words_of(bundle, self.piece))
        heads, sizes, tails, whole = self.parts
        found = zip(
            heads[whole.take(variant), rows - self.piece.first].tolist(),
            sizes.take(micro).tolist(),
            tails.take(variant).tolist(),
            seconds.tolist(),
            needed.tolist(),
            strict=True,
        )
        self.file.write("".join(map("%s,%d,%s,%.6g,%.6g\n".__mod__, found)))

    def close(self) -> None:
        """End the file."""
        if self.file is not None:
            self.file.close()


def _texts(words: Words) -> tuple[Any, Any, Any, Any]:
    """Heads [2, rows] and tails [variants] of lines, micro batches, and which head a variant has."""
    import numpy as np

    def joined(columns: dict[str, Any], text: Callable[[Any], str]) -> list[str]:
        return [",".join(map(text, row)) for row in zip(*(each.tolist() for each in columns.values()), strict=True)]

    heads = np.array([joined(each, str) for each in words.rows], dtype=object)
    return heads, words.micro, np.array(joined(words.variants, _field), dtype=object), words.whole


def _field(value: Any) -> str:
    """A field: the path of a software profile may hold anything."""
    return quoted(str(value))


class Parquet:
    """Rows of a Parquet file."""

    def __init__(self, to: Path, piece: Piece) -> None:
        self.piece, self.rows = piece, ParquetRows(to)

    def take(self, bundle: Bundle, variant: Any, rows: Any, micro: Any, needed: Any, seconds: Any) -> None:
        """Add layouts, as `sift.Take`."""
        import numpy as np
        import pyarrow as pa

        if not hasattr(self, "words"):
            self.words = words_of(bundle, self.piece)
        apart, whole = self.words.rows
        place, has = rows - self.piece.first, self.words.whole.take(variant)
        columns = {name: apart[name].take(place) for name in OF_ROW}
        columns["etp"] = np.where(has, whole["etp"].take(place), columns["etp"])
        columns["micro_batch"] = self.words.micro.take(micro)
        columns |= {name: column.take(variant) for name, column in self.words.variants.items()}
        columns |= {"step_time_s": seconds, "memory_bytes": needed}
        self.rows.add(pa.table({name: columns[name] for name in COLUMNS}))

    def close(self) -> None:
        """End the file."""
        self.rows.close()


WRITERS: dict[str, type[Text | Parquet]] = {".csv": Text, ".parquet": Parquet}
