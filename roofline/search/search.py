"""Finds the best parallel layouts: every consistent one is checked for memory and priced, in bounded memory.

Words (sharding, recompute, ...) are an outer loop; within it a million layouts are a few array operations, in
chunks. The layouts returned are estimated once more one by one, with their intervals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import units
from ..answers.asked import described
from ..config.base import of_checkpoint
from ..config.options import EVERY, LISTS, check_names, read_flag, read_one
from ..config.options import choices as said
from ..config.recorded import as_recorded
from ..errors import RooflineError, shown, unknown
from ..gate import OF_TWO
from ..timing.ranks import domain_size
from .found import TWINS, Found
from .layout import SearchResult
from .pieces import check_executor, run
from .question import Bundles, Question
from .schedules import spaces_of
from .software import choices_of, joined, parts_in, parts_of, several, software_note
from .space import DEGREES, WORDS

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from ..answers.asked import Described, Named
    from ..model.spec import ModelConfig

OBJECTIVES = ("time", "cost", "energy", "memory")
TOP = 10  # layouts shown
BUNDLES = 4  # kept from the search for what is found: a few MiB each
Progress = Callable[[int, int], None]


def search(
    model: Described,
    device: Named,
    *,
    num_devices: int | Sequence[int] | None = None,
    objective: str = "time",
    top: int = TOP,
    across_nodes: bool = False,
    front: bool = True,
    tolerance: float | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    record: str | Path | None = None,
    **options: Any,
) -> SearchResult:
    """Search the layouts of `num_devices` devices.

    Args:
        model: As for `estimate`.
        device: As for `estimate`.
        num_devices: Devices in all; several numbers are searched together. By default as many as the name of an
            instance stands for, else one.
        objective: time (of a step), cost (device-seconds of a step), energy (of a step) or memory.
        top: How many layouts to return.
        across_nodes: Whether tensor parallelism may leave the domain of fast links.
        front: Whether to return the front of time against memory.
        tolerance: How much worse than the best the simplest layout may be, as a fraction; by default `layout.HARDLY`,
            and not so that it can be told from the best (see `layout.worse_by`).
        progress: Called before the start and after each chunk, with layouts decided and (at most) in all.
        executor: Where pieces of the search run: any executor of `concurrent.futures`, or of what speaks its language
            (Dask's `Client.get_executor()`, loky, MPI). The answer is the same wherever they run.
        record: A ``.csv`` or ``.parquet`` (with pyarrow) that gets every layout that surely fits; a search that was
            stopped goes on where it stood.
        **options: Fields of `TrainConfig`. A degree, micro batch or word that is given restricts the search
            to it (a tuple: to any of them); the others take every value that makes sense.

    Raises:
        RooflineError: No layout is consistent, the search would take hours, or an option is wrong.
    """
    from ..hardware import load_device

    check_names(options, "objective", "top", "across_nodes", "front", "tolerance", "progress", "executor", "record")
    device = load_device(device)
    model, left = described(model, device, options)
    _check(objective, executor, progress)
    top = read_one("top", top, units.positive_int) or TOP
    tolerance = read_one("tolerance", tolerance, units.share)
    across_nodes, front = read_flag("across_nodes", across_nodes), read_flag("front", front)
    options = _options(model, {**left, "num_devices": num_devices})
    counts = list(several(options.pop("num_devices", None)) or (device.num_devices or 1,))
    trained = {**options, **of_checkpoint(model, options)}
    parts = parts_of(device, trained)
    choices, base, parts, notes = choices_of(model, device, counts, options, across_nodes, parts)
    stacks = {part.stack: None for part in parts}
    spaces, left_out = spaces_of(model, base, choices, int(domain_size(base, device)), counts, stacks)
    rows = parts_in(parts, spaces)
    question = Question(model, device, choices, base, objective, top * TWINS, front, tuple(joined(rows)))
    bundles = Bundles(question, kept=BUNDLES)
    start = time.perf_counter()
    best, interrupted = run(bundles, progress or _silent, executor, record)
    seconds, notes = time.perf_counter() - start, software_note([part for part, _ in rows], trained) + notes + left_out
    return Found(bundles, best, top, tolerance).result(seconds=seconds, interrupted=interrupted, notes=notes)


def _check(objective: object, executor: object, progress: object) -> None:
    """Refuse what a search cannot work with.

    Raises:
        RooflineError: It says what is allowed.
    """
    if not isinstance(objective, str) or objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    check_executor(executor)
    if progress is not None and not OF_TWO.holds(progress):
        raise RooflineError(f"progress must be {OF_TWO.words}, got {shown(progress)}")


def _options(model: ModelConfig, given: dict[str, Any]) -> dict[str, Any]:
    """What was said, read: choices of `TrainConfig`'s fields.

    Raises:
        RooflineError: An option makes no sense, or none in a search.
    """
    options = said(given)
    if model.recorded is not None:
        options = as_recorded(options, compiled=model.recorded.compiled)
    varied = (*DEGREES, *EVERY, *WORDS, *LISTS, "micro_batch", "num_devices")
    for name, value in options.items():
        if isinstance(value, tuple) and name not in varied:
            raise RooflineError(f"{name}: {shown(value)} are several, and a search takes one: search once for each")
    if "pp_layout" in options:
        raise RooflineError("pp_layout is of one pipeline, and a search tries many: leave it out, or use estimate")
    return options


def _silent(_done: int, _all: int) -> None:
    """Report no progress."""
