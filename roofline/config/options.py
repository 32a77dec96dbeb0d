"""What people say of a run, read: ``"8"``, ``"1k"``, ``"bfloat16"``, a column of numbers; nonsense is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import arrays, units
from ..errors import RooflineError, shown, unknown
from .base import base_words
from .dispatch import dispatchers
from .optimizer import coarse_word
from .recipes import recipes
from .recompute import RECOMPUTES
from .run import (
    ATTENTIONS,
    BYTES,
    COUNTS,
    DTYPES,
    GRAPHS,
    IMBALANCE,
    MASTERS,
    PACKINGS,
    TRAINS,
    UPCASTS,
    VARIANTS,
    TrainConfig,
)
from .schedules import schedules
from .sharding import SHARDINGS
from .values import (
    Balance,
    Word,
    flag,
    frozen,
    fusions,
    modules,
    moments,
    offloads,
    optimizer_name,
    overlap,
    probability,
    profile,
    recompute,
    recompute_detail,
    stage_sizes,
)

NUMBERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys((*COUNTS, "lora_rank", "offload_layers", "image_size"), units.positive_int),
    **dict.fromkeys(("images_per_sample", "clips_per_sample"), units.amount),
    **dict.fromkeys(("seq_len", "mean_len"), units.sequence_length),
    **dict.fromkeys(("network_gbit_per_s", "host_gb_per_s", "nvme_gb_per_s"), units.positive),
}
WORDS: dict[str, Callable[[Any], Any]] = {
    "dtype": Word("dtype", DTYPES),
    "sharding": Word("sharding", SHARDINGS),
    "recompute": recompute,
    "recompute_detail": recompute_detail,
    "attention": Word("attention", ATTENTIONS),
    "optimizer": optimizer_name,
    "train": Word("train", TRAINS),
    "stack": profile,
    "schedule": Word("schedule", schedules),
    "low_precision_recipe": Word("fp8 recipe", recipes),
    "dispatcher": Word("dispatcher", dispatchers),
    "expert_balance": Balance("expert balance", IMBALANCE),
    "cuda_graph": Word("CUDA graph", GRAPHS),
    "lora_modules": modules,
    "offload_to": Word("place in offload_to:", ("cpu", "nvme")),
    "packing": Word("packing", PACKINGS),
    "gradient_dtype": Word("gradient dtype", tuple(BYTES)),
    "master_dtype": Word("master dtype", tuple(MASTERS)),
    "weight_dtype": Word("weight dtype", tuple(BYTES)),
    "saved_dtype": Word("saved dtype", tuple(BYTES)),
    "base_dtype": Word("base dtype", base_words),
    "base_upcast": Word("upcast of a base", UPCASTS),
    "lora_variant": Word("adapter variant", VARIANTS),
    "lora_dropout": probability,
    "exchange_overlap": overlap,
    **dict.fromkeys(("sequence_parallel", "sync_each_batch", "dropout", "master_weights", "double_quant"), flag),
}
# several words are one value
LISTS: dict[str, Callable[[Any], Any]] = {
    "fused": fusions,
    "freeze": frozen,
    "moment_dtype": moments,
    "offload": offloads,
    "pp_layout": stage_sizes,
}
# What a complete configuration says where there is none of something (`complete.MEANT`); it may be said again
NOTHING: dict[str, Any] = {
    **dict.fromkeys(("lora_rank", "image_size", "offload_layers"), 0),
    **dict.fromkeys(("lora_modules", "lora_variant", "base_dtype", "low_precision_recipe", "master_dtype"), "none"),
    "pp_layout": "even",
}
EVERY = ("etp", "schedule")  # options of which a search takes `all`
_PLAIN = {
    "stack",
    "sequence_parallel",
    "sync_each_batch",
    "exchange_overlap",
    "dropout",
    "master_weights",
    "expert_balance",
    "double_quant",
    "lora_dropout",
}
OPTIMIZER_DETAIL = "optimizer_detail"  # of JSON alone (see `_detailed`)
OWN_NAME = frozenset({*WORDS, *LISTS} - _PLAIN)


def several_of(name: str, value: Any) -> bool:
    """Whether an option holds several values, and not one of several words.

    >>> several_of("micro_batch", (1, 2)), several_of("offload", ("optimizer", "parameters"))
    (True, False)
    """
    return isinstance(value, tuple) and name not in LISTS


def is_every(name: str, value: Any) -> bool:
    """Whether an option is ``all`` of what a search may try."""
    return name in EVERY and isinstance(value, str) and value == "all"


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
            for extreme in (value.min().item(), value.max().item()):  # NaN is both
                _read(name, extreme, reader)
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
        if name not in known and name != OPTIMIZER_DETAIL:
            raise unknown("option", name, known)


def read_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `TrainConfig` as they are said: numbers and words read; a list or tuple is a choice of several.

    Raises:
        RooflineError: An option that does not exist, or a value that has no sensible meaning.

    >>> read_options({"seq_len": "1k", "micro_batch": ["8", 16], "dtype": "bfloat16"})
    {'seq_len': 1024, 'micro_batch': (8, 16), 'dtype': 'bf16'}
    """
    check_names(options)
    return {name: _option(name, value) for name, value in _detailed(options).items()}


def _detailed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with one name of an optimizer: JSON has the coarse word, and beside it what that stands for."""
    found = dict(options)
    detail = found.pop(OPTIMIZER_DETAIL, None)
    if detail is None:
        return found
    name, said = _read("optimizer", detail, optimizer_name), found.get("optimizer")
    if said not in {None, name, coarse_word(name)}:
        raise RooflineError(f"optimizer {said} contradicts {OPTIMIZER_DETAIL} {detail}: leave one of them out")
    return {**found, "optimizer": name}


def _option(name: str, value: Any) -> Any:
    if isinstance(value, str):
        value = str(value)  # NumPy's is one of a kind of array
    if value is None or (name in NOTHING and type(value) is type(NOTHING[name]) and value == NOTHING[name]):
        return value
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
    """As `read_options`, for a search over several values: arrays are choices as well, and ``all`` of `EVERY`."""
    every = {name: value for name, value in options.items() if is_every(name, value)}
    said = read_options({name: value for name, value in options.items() if name not in every})
    found = {name: value for name, value in (every | said).items() if value is not None}
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
        elif several_of(name, value):
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
