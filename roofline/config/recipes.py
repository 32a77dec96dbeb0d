"""How low-precision training scales and casts the operands of its matmuls: facts of each recipe in `recipes.toml`."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from ..errors import RooflineError, unknown
from ..reading import packaged, read_packaged

if TYPE_CHECKING:
    from .stack import Stack


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recipe; the fields are explained at the head of the file."""

    summary: str
    dtype: str
    bytes: float
    reads: int
    norm_casts: bool = False
    amax_before: bool = False
    gathers_weights: bool = False
    overlaps_tensor: bool = True
    rate: float = 1.0
    source: str


@cache
def recipes() -> Mapping[str, Recipe]:
    """All of them by name."""
    return read_packaged(packaged(__name__, "recipes.toml"), dict[str, Recipe])


def recipes_of(dtype: str) -> tuple[str, ...]:
    """The recipes of a dtype; none where its matmuls run in what activations are kept in."""
    return tuple(name for name, recipe in recipes().items() if recipe.dtype == dtype)


def recipe_for(dtype: str, stack: "Stack", given: str | None) -> str | None:
    """The recipe that is `given` where it is one of `dtype`, else what the stack runs, else the only one."""
    names = recipes_of(dtype)
    usual = stack.fp8_recipe if stack.fp8_recipe in names else None
    return given if given in names else usual or next(iter(names), None)


def check_recipe(dtype: str, given: str | None) -> None:
    """Refuse a recipe that does not exist, or is another dtype's.

    Raises:
        RooflineError: It names the dtype to ask for.
    """
    if given in {None, "none"}:
        return
    if given not in recipes():
        raise unknown("fp8 recipe", given, recipes())
    wanted = recipes()[given].dtype
    if wanted != dtype:
        raise RooflineError(f"fp8 recipe {given!r} is one of dtype {wanted}, and this is {dtype}: set --dtype {wanted}")
