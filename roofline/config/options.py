"""What people say of a run, read: ``"8"``, ``"1k"``, ``"bfloat16"``, a column of numbers; nonsense is named."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

from .. import arrays, units
from ..errors import RooflineError, shown, unknown
from .base import base_words
from .dispatch import dispatchers
from .lora import MODULES
from .optimizer import optimizers
from .recipes import recipes
from .recompute import RECOMPUTES, read_recompute, recompute_modules
from .run import (
    ATTENTIONS,
    BYTES,
    COUNTS,
    DTYPES,
    FREEZES,
    GRAPHS,
    IMBALANCE,
    MASTERS,
    OFFLOADS,
    PACKINGS,
    TRAINS,
    VARIANTS,
    TrainConfig,
)
from .schedules import schedules
from .sharding import SHARDINGS
from .stack import Fusion
from .stage_layout import stage_layout

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


word = lazily = Word


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


recompute = Recomputes("recompute", lambda: (*RECOMPUTES, "matmuls", *recompute_modules()))


NUMBERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys((*COUNTS, "lora_rank", "offload_layers"), units.positive_int),
    **dict.fromkeys(("seq_len", "mean_len"), units.sequence_length),
    **dict.fromkeys(("network_gbit_per_s", "host_gb_per_s", "nvme_gb_per_s"), units.positive),
}
WORDS: dict[str, Callable[[Any], Any]] = {
    "dtype": Word("dtype", DTYPES),
    "sharding": Word("sharding", SHARDINGS),
    "recompute": recompute,
    "recompute_detail": recompute_detail,
    "attention": Word("attention", ATTENTIONS),
    "optimizer": Word("optimizer", optimizers),
    "train": Word("train", TRAINS),
    "stack": profile,
    "schedule": Word("schedule", schedules),
    "low_precision_recipe": Word("fp8 recipe", recipes),
    "dispatcher": Word("dispatcher", dispatchers),
    "expert_balance": Balance("expert balance", IMBALANCE),
    "cuda_graph": Word("CUDA graph", GRAPHS),
    "lora_modules": modules,
    "offload_to": word("place in offload_to:", ("cpu", "nvme")),
    "packing": word("packing", PACKINGS),
    "gradient_dtype": word("gradient dtype", tuple(BYTES)),
    "master_dtype": word("master dtype", tuple(MASTERS)),
    "weight_dtype": word("weight dtype", ("fp8",)),
    "saved_dtype": word("saved dtype", ("fp8",)),
    "base_dtype": lazily("base dtype", base_words),
    "lora_variant": word("adapter variant", VARIANTS),
    "lora_dropout": probability,
    **dict.fromkeys(("sequence_parallel", "exchange_overlap", "dropout", "master_weights", "double_quant"), flag),
}
# several words are one value
LISTS: dict[str, Callable[[Any], Any]] = {
    "fused": fusions,
    "freeze": frozen,
    "moment_dtype": moments,
    "offload": offloads,
    "pp_layout": stage_sizes,
}
_PLAIN = {
    "stack",
    "sequence_parallel",
    "exchange_overlap",
    "dropout",
    "master_weights",
    "expert_balance",
    "double_quant",
    "lora_dropout",
}
OWN_NAME = frozenset({*WORDS, *LISTS} - _PLAIN)


def read(name: str, value: Any, reader: Callable[[Any], Any]) -> Any:
    """One value; None passes through, of a list or tuple every element is read, an array is one of float64.

    Raises:
        RooflineError: It has no sensible meaning; the message starts with `name`.

    >>> read("seq_len", "1k", units.sequence_length), read("tokens", 10**9, units.count)
    (1024, 1000000000)
    """
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        if not value or any(isinstance(each, (list, tuple)) or each is None for each in value):
            raise RooflineError(f"{name}: {shown(value)} is not a list of values")
        return tuple(read(name, each, reader) for each in value)
    if not isinstance(value, str):
        value, given = arrays.number(value), value
        if value is None:
            raise RooflineError(f"{name}: {shown(given)} is not a number, nor an array or list of numbers")
        if not arrays.is_scalar(value):
            return value
    return _read(name, value, reader)


def _read(name: str, value: Any, reader: Callable[[Any], Any]) -> Any:
    try:
        return reader(value)
    except units.UnitError as error:
        raise RooflineError(str(error) if name in OWN_NAME else f"{name}: {error}") from None


def read_flag(name: str, value: Any) -> bool:
    """A switch.

    Raises:
        RooflineError: It is neither on nor off.
    """
    found: bool = _read(name, value, flag)
    return found


def read_one(name: str, value: Any, reader: Callable[[Any], Any]) -> Any:
    """One value where a list means nothing.

    Raises:
        RooflineError: It has no sensible meaning, or is several.
    """
    read_value = read(name, value, reader)
    if isinstance(read_value, tuple) or hasattr(read_value, "dtype"):
        raise RooflineError(f"{name}: {shown(value)} is not one number: call once for each")
    return read_value


def check_names(options: Iterable[str], *own: str) -> None:
    """Refuse an option that does not exist, naming the nearest that does; `own` are those of the function called.

    >>> check_names(["micro_batch", "step_time_s"], "step_time_s")
    """
    known = (*own, *TrainConfig.__struct_fields__)
    for name in options:
        if name not in known:
            raise unknown("option", name, known)


def read_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `TrainConfig` as they are said: numbers and words read; a list or tuple is a choice of several.

    Raises:
        RooflineError: An option that does not exist, or a value that has no sensible meaning.

    >>> read_options({"seq_len": "1k", "micro_batch": ["8", 16], "dtype": "bfloat16"})
    {'seq_len': 1024, 'micro_batch': (8, 16), 'dtype': 'bf16'}
    """
    check_names(options)
    return {name: _option(name, value) for name, value in options.items()}


def _option(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in NUMBERS:
        return read(name, value, NUMBERS[name])
    if name in LISTS:
        return _read(name, value, LISTS[name])
    if isinstance(value, (list, tuple)):
        if not value:
            raise RooflineError(f"{name}: an empty list says nothing: leave it out")
        return tuple(_read(name, each, WORDS[name]) for each in value)
    return _read(name, value, WORDS[name])


def choices(options: Mapping[str, Any]) -> dict[str, Any]:
    """As `read_options`, for a search over several values: arrays are choices as well."""
    found = {name: value for name, value in read_options(options).items() if value is not None}
    return {name: _listed(name, value) if hasattr(value, "dtype") else value for name, value in found.items()}


def _listed(name: str, array: Any) -> tuple[Any, ...]:
    """The elements of an array, each read as a number on its own."""
    return tuple(_read(name, each, NUMBERS[name]) for each in array.reshape(-1).tolist())


def of_one_run(options: Mapping[str, Any]) -> dict[str, Any]:
    """What was said of one run, or of an array of runs: lists of numbers are arrays, lists of words joined.

    Raises:
        RooflineError: Several words where a run has one, or arrays whose shapes do not go together.
    """
    found = {name: value for name, value in read_options(options).items() if value is not None}
    for name, value in found.items():
        if isinstance(value, tuple) and name in NUMBERS:
            found[name] = arrays.number(value)
        elif isinstance(value, tuple) and name == "lora_modules":
            found[name] = ",".join(value)
        elif isinstance(value, tuple) and name == "recompute" and not set(value) & set(RECOMPUTES):
            found[name] = recompute(value)
        elif isinstance(value, tuple) and name not in LISTS:
            raise RooflineError(f"{name}: {shown(value)} are several, and a run has one: use compare, or several calls")
    _check_shapes({name: value.shape for name, value in found.items() if hasattr(value, "shape")})
    return found


def _check_shapes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    if len(set(shapes.values())) < 2:
        return
    import numpy as np

    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError:
        words = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise RooflineError(f"arrays of shapes that do not go together: {words}: use one shape") from None
