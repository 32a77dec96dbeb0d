"""What a training step of a model computes: no device is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from ..config.settle import Run
from ..counting.count import Count, count_step
from ..counting.step import build_step
from .asked import run_of

if TYPE_CHECKING:
    from typing import Unpack

    from ..arrays import Floats
    from ..config.typed import ArrayOptions, Options
    from .asked import Described


@overload
def count(model: Described, **options: Unpack[Options]) -> Count: ...
@overload
def count(model: Described, **options: Unpack[ArrayOptions]) -> Count[Floats]: ...
@overload
def count(*, run: Run, **options: Unpack[Options]) -> Count: ...
def count(model: Described | None = None, *, run: Run | None = None, **options: Any) -> Count[Any]:
    """Count one training step of `model`; no device is needed.

    Args:
        model: As for `estimate`.
        run: A settled run (`roofline.settle`), in place of a model; options change it.
        **options: Fields of `TrainConfig`, such as ``micro_batch=2, seq_len=512``.

    Raises:
        RooflineError: Anything a user can mend.
    """
    found = run_of(model, None, options, run, needs_device=False)
    return count_step(build_step(found.model, found.train))
