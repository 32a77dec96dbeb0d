"""The answer of a search: the layouts, their cost, and where none fits what would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .. import units
from ..answers.measured import of_search
from ..config.options import choices, read_one
from ..gate import OF_TWO, PATH, gated
from .layout import SearchResult
from .search import Progress, search

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path
    from typing import Unpack

    from ..answers.asked import Described, Named
    from ..config.typed import LayoutChoices


@gated(progress=OF_TWO, record=PATH)
def layouts(
    model: Described,
    device: Named,
    *,
    num_devices: int | str | Sequence[int] | None = None,
    objective: str = "time",
    top: int = 10,
    across_nodes: bool = False,
    front: bool = True,
    price: float | str | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    record: str | Path | None = None,
    measured: float | str | None = None,
    measured_at: Mapping[str, Any] | str | None = None,
    **options: Unpack[LayoutChoices],
) -> SearchResult:
    """Find the best parallel layouts.

    Args:
        model: As for `estimate`.
        device: As for `estimate`.
        num_devices: Devices in all; several numbers are searched together. By default as many as the name of an
            instance says, else 1.
        objective: time (of a step), cost (device-seconds of a step), energy (of a step) or memory.
        top: How many layouts to return.
        across_nodes: Whether tensor parallelism may leave the domain of fast links.
        front: Whether to return the front of time against memory, up to 64 layouts.
        price: Money per device-hour.
        progress: Called before the start and after each chunk, with layouts decided and (at most) in all.
        executor: Where pieces of the search run: any executor of `concurrent.futures`, or of what speaks its language
            (Dask's `Client.get_executor()`, loky, MPI). The answer is the same wherever they run.
        record: A ``.csv`` or ``.parquet`` (with pyarrow) that gets every layout that surely fits; a search that was
            stopped goes on where it stood.
        measured: What one step took on the cluster in question, as for `estimate`.
        measured_at: The layout that step was timed on: ``{"tp": 8, "micro_batch": 1}`` or ``"tp=8,micro_batch=1"``.
        **options: Fields of `TrainConfig`. A degree, micro batch or word that is given restricts the search
            to it (a tuple: to any of them); the others take every value that makes sense.

    Raises:
        RooflineError: No layout is consistent, the search would take hours, or an option is wrong.
    """
    from ..hardware import load_device

    charged: float | None = read_one("price", price, units.price)
    counts: int | tuple[int, ...] | None = choices({"num_devices": num_devices}).get("num_devices")
    found = search(
        model,
        of_search(model, load_device(device), {**options, "num_devices": counts}, measured, measured_at),
        num_devices=counts,
        objective=objective,
        top=top,
        across_nodes=across_nodes,
        front=front,
        progress=progress,
        executor=executor,
        record=record,
        **options,
    )
    ways = () if found.layouts or found.interrupted else _remedy(found, counts, dict(options))
    return msgspec.structs.replace(found, price=charged, remedy=ways)


def _remedy(found: SearchResult, counts: int | tuple[int, ...] | None, options: dict[str, Any]) -> tuple[str, ...]:
    """By how much nothing fits, and what would."""
    from .remedy import remedy, shortage

    counts = counts or found.device.num_devices or 1
    fix = remedy(found.model, found.device, found, counts if isinstance(counts, int) else max(counts), options)
    return (f"It does not fit: {shortage(found)}.", f"To fit: {fix}.")
