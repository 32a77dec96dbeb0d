"""Readers of one value of an option: words of closed lists, and what is read beside them; nonsense is named."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

from .. import arrays, units
from ..errors import RooflineError, shown, unknown
from .lora import MODULES
from .optimizer import optimizers, read_optimizer
from .recompute import RECOMPUTES, read_recompute, recompute_modules
from .run import BYTES, FREEZES, OFFLOADS
from .stack import Fusion

DTYPE_ALIASES = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float32": "fp32",
    "float": "fp32",
    "fp8_e4m3": "fp8",
    "fp4": "nvfp4",
    "mxfp4": "nvfp4",
}


class Word:
    """A reader of one word of a closed list; the error names the nearest and all allowed.

    Attributes:
        several: Whether words joined with commas, and lists of them, are read too.
        beside: What is read beside words, as a type.
    """

    several, beside = False, ""

    def __init__(self, what: str, allowed: Iterable[str] | Callable[[], Iterable[str]]) -> None:
        self.what, self._allowed = what, allowed

    @property
    def allowed(self) -> tuple[str, ...]:
        """The words; a table of facts is read when it is needed."""
        return tuple(self._allowed() if callable(self._allowed) else self._allowed)

    @property
    def spellings(self) -> tuple[str, ...]:
        """The words, and other names of theirs that are read."""
        return (*self.allowed, *(DTYPE_ALIASES if self.what == "dtype" else ()))

    def __call__(self, text: Any) -> Any:
        """Read one word."""
        named = self.what == "dtype" and isinstance(text, str)
        value = DTYPE_ALIASES.get(text.lower(), text.lower()) if named else text
        if isinstance(value, str) and value in self.allowed:
            return str(value)
        if named and value in {"mixed", "amp", "auto"}:
            raise units.UnitError(
                f"{text!r} does not say which: bf16 and fp16 are mixed precision with fp32 master weights "
                f"(allowed: {', '.join(self.allowed)})"
            )
        raise units.UnitError(str(unknown(self.what, text, self.allowed)))


class OptimizerName(Word):
    """A reader of an optimizer, by our name or by those of frameworks and libraries."""

    @property
    def spellings(self) -> tuple[str, ...]:
        """Our names, and those of others."""
        return (*self.allowed, *(word for row in optimizers().values() for word in row.also))

    def __call__(self, text: Any) -> Any:
        """Read it in our spelling."""
        try:
            return super().__call__(read_optimizer(text) if isinstance(text, str) else text)
        except RooflineError as error:
            raise units.UnitError(str(error)) from None


class Words(Word):
    """A reader of words joined with commas, or of a list of them, of the option `name`."""

    several = True

    def __init__(self, name: str, what: str, allowed: Iterable[str]) -> None:
        super().__init__(what, allowed)
        self.name = name

    def __call__(self, value: Any) -> tuple[str, ...]:
        """Read several words."""
        words = value.split(",") if isinstance(value, str) else value
        if not isinstance(words, (list, tuple, set, frozenset)) or not all(isinstance(each, str) for each in words):
            raise units.UnitError(
                f"{self.name} must be a word, or several in a list or with commas, not {shown(value)}"
            )
        read_one = super().__call__
        return tuple(read_one(each.strip().replace("-", "_")) for each in words)


fusions = Words("fused", "fusion", get_args(Fusion))
frozen = Words("freeze", "word in freeze:", FREEZES)


def stage_sizes(value: str | Sequence[int]) -> str:
    """Read the layers of each pipeline stage: a list of numbers, or text (see `stage_layout`)."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, int) for each in value):
        value = ",".join(map(str, value))
    if not isinstance(value, str):
        raise units.UnitError(f"pp_layout must be layers per stage, such as 7,8,8,7, not {shown(value)}")
    from .stage_layout import stage_layout

    try:
        stage_layout(value)
    except RooflineError as error:
        raise units.UnitError(str(error)) from None
    return value


def modules(value: str | Sequence[str]) -> str:
    """Read the projections that have adapters, joined with commas or plus signs."""
    words = value.replace("+", ",") if isinstance(value, str) else value
    return ",".join(Words("lora_modules", "lora module", MODULES)(words))


class Moments(Words):
    """A reader of what an optimizer's moments are kept in: one dtype for all, or the first's and the second's."""

    def __call__(self, value: Any) -> tuple[str, ...]:
        """Read one or two words."""
        words = super().__call__(value)
        return words[:1] if len(set(words)) == 1 else words


moments = Moments("moment_dtype", "moment dtype", BYTES)


class Offloads(Words):
    """A reader of what lives on the host, joined with commas or plus signs; all is what is kept from step to step."""

    def __call__(self, value: Any) -> tuple[str, ...]:
        """Read the words."""
        words = super().__call__(value.replace("+", ",") if isinstance(value, str) else value)
        if "none" in words and len(words) > 1:
            raise units.UnitError(f"{self.name}: none stands alone, got {shown(value)}")
        chosen = {each for word in words for each in (("optimizer", "parameters") if word == "all" else (word,))}
        return tuple(each for each in OFFLOADS if each in chosen)


offloads = Offloads("offload", "offload", (*OFFLOADS, "all", "none"))


def flag(value: Any) -> bool:
    """Read a switch."""
    if isinstance(value, bool):
        return value
    if type(value).__name__ in {"bool", "bool_"} and hasattr(value, "dtype") and not getattr(value, "ndim", 0):
        return bool(value)
    raise units.UnitError(f"must be True or False, got {shown(value)}")


def overlap(value: Any) -> bool | float:
    """Read whether something overlaps, or the share of it that does."""
    plain = arrays.number(value)  # None for a switch
    if isinstance(plain, int | float) and 0 <= plain <= 1:
        return plain
    try:
        return flag(value)
    except units.UnitError:
        raise units.UnitError(f"must be True, False or a share from 0 to 1, got {shown(value)}") from None


def profile(value: str | os.PathLike[str]) -> str:
    """Read the name of a software profile, or the path of its file."""
    if isinstance(value, (str, os.PathLike)) and isinstance(path := os.fspath(value), str):
        return str(path)
    raise units.UnitError(f"must be the name of a software profile or the path of its .toml, got {shown(value)}")


class Balance(Word):
    """A reader of how evenly a router spreads tokens: a word, or tokens of the fullest expert rank over the mean."""

    beside = "float"

    def __call__(self, value: Any) -> str | float:
        """Read a word or a number."""
        if isinstance(value, str) and not value[:1].isdigit():
            return str(super().__call__(value))
        measured = float(units.positive(arrays.number(value) if not isinstance(value, str) else value))
        if measured < 1:
            raise units.UnitError(
                f"expert_balance must be at least 1, the fullest rank over the mean, got {shown(value)}"
            )
        return measured


def probability(value: Any) -> float:
    """Read a probability below 1."""
    plain = value if isinstance(value, str) else arrays.number(value)  # None for what is no real number
    try:
        found = math.nan if plain is None or isinstance(plain, bool) else float(plain)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not 0 <= found < 1:
        raise units.UnitError(f"must be a probability from 0 to below 1, got {shown(value)}")
    return found


class Recomputes(Word):
    """A reader of what is recomputed: a word, a form with a number, or modules.

    To type checkers it is a word or a list of modules; `recompute_detail` takes any text.
    """

    beside = "Sequence[Recompute]"

    def __call__(self, value: Any) -> str:
        """Read it in our spelling."""
        try:
            return read_recompute(value)
        except RooflineError as error:
            raise units.UnitError(str(error)) from None


def recompute_detail(value: str) -> str:
    """Read what is recomputed beyond the coarse word."""
    return recompute(value)


optimizer_name = OptimizerName("optimizer", optimizers)
recompute = Recomputes("recompute", lambda: (*RECOMPUTES, "matmuls", *recompute_modules()))
