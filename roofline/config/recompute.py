"""What runs forward again in backward: the words of ``--recompute``, and which modules of a layer they mean."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..errors import RooflineError, shown, unknown
from ..reading import packaged, read_packaged, whole_number

if TYPE_CHECKING:
    from .run import TrainConfig

RECOMPUTES = ("none", "selective", "full")
FORMS = ("full:N", "uniform:N", "every:N", "matmuls", "matmuls:N")

# Parts of a layer that may run again on their own
Module = Literal[
    "layernorm",  # in front of attention or feed-forward
    "qkv",
    "mla_up_proj",
    "core_attn",
    "mlp",
    "router",
    "dispatch",  # permutation and exchange of routed tokens, both ways
    "experts",
    "moe_act",
    "shared_experts",
]


class RecomputeModule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One word of ``--recompute``.

    Attributes:
        summary: What runs again.
        modules: The modules of a layer that do.
        discards: Whether their result is dropped as well, so that their input alone is kept.
        also: Other words for it.
        source: Where it is defined.
    """

    summary: str
    modules: tuple[Module, ...]
    discards: bool = False
    also: tuple[str, ...] = ()
    source: str


@cache
def recompute_modules() -> Mapping[str, RecomputeModule]:
    """All of them by name."""
    return read_packaged(packaged(__name__, "recompute.toml"), dict[str, RecomputeModule])


class Recompute(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration recomputes.

    Attributes:
        words: Words of `recompute_modules`; whole layers where there is none.
        layers: How many layers of each (virtual) pipeline stage; None: all.
        every: Every so many-th layer only.
        group: Layers that share one kept input.
        matmuls: The results of every so many-th matmul, and of fused attention, are kept; 0: it goes by layers.
    """

    words: tuple[str, ...] = ()
    layers: int | None = None
    every: int = 1
    group: int = 1
    matmuls: int = 0

    @property
    def whole(self) -> bool:
        """Whether whole layers run again."""
        return not self.words and not self.matmuls


def read_recompute(value: Any) -> str:
    """Read what is recomputed, in our spelling.

    Raises:
        RooflineError: It is neither a word, nor a form with a number, nor a list of modules.

    >>> read_recompute("core_attn+norm"), read_recompute("full:8"), read_recompute("selective")
    ('core_attn,layernorm', 'full:8', 'selective')
    """
    words = value if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(each, str) for each in words):
        raise RooflineError(f"recompute must be a word, or modules joined with commas, not {shown(value)}")
    text = ",".join(words).lower().replace("+", ",").replace(" ", "")
    if text in RECOMPUTES or text == "matmuls":
        return text
    if text.startswith(("full:", "uniform:", "every:", "matmuls:")):
        form, _, said = text.partition(":")
        number = whole_number(said)
        if number is None or not 1 <= number <= LARGEST:
            raise RooflineError(f"recompute {value!r}: a whole number from 1 follows {form!r}, such as {form}:4")
        return _PLAIN.get((form, number), f"{form}:{number}")
    return ",".join(dict.fromkeys(_module(word) for word in text.split(",")))


LARGEST = 100_000  # layers, or matmuls of one
_PLAIN = {("uniform", 1): "full", ("every", 1): "full", ("matmuls", 1): "matmuls"}


def _module(word: str) -> str:
    for name, module in recompute_modules().items():
        if word == name or word in module.also:
            return name
    if word.partition(":")[0] in {*RECOMPUTES, *(form.partition(":")[0] for form in FORMS)}:
        raise RooflineError(f"recompute {word!r} stands alone: join modules only ({', '.join(recompute_modules())})")
    raise unknown("recompute", word, (*RECOMPUTES, *FORMS, *recompute_modules()))


def coarse(text: str) -> str:
    """None, selective or full, of what `read_recompute` reads.

    >>> coarse("mlp"), coarse("full:8"), coarse("every:2")
    ('selective', 'full', 'selective')
    """
    if text in RECOMPUTES:
        return text
    return "full" if text.startswith(("full:", "uniform:")) else "selective"


def recompute_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with what is recomputed as the coarse word and its detail, however it was said.

    Raises:
        RooflineError: The word and the detail contradict each other.
    """
    found = dict(options)
    said, detail = found.get("recompute"), found.get("recompute_detail")
    if isinstance(said, str) and said not in RECOMPUTES:
        found |= {"recompute": coarse(said), "recompute_detail": said}
    elif detail is not None:
        if said not in {None, coarse(detail)}:
            raise RooflineError(f"recompute {said} contradicts recompute_detail {detail}: leave one of them out")
        found["recompute"] = coarse(detail)
    return found


def recompute_of(train: "TrainConfig", selective: str) -> Recompute | None:
    """What a configuration recomputes; `selective` is what a software profile means by that word. None: nothing.

    >>> from roofline.config.run import TrainConfig
    >>> recompute_of(TrainConfig(recompute="selective"), "half")
    Recompute(words=(), layers=None, every=2, group=1, matmuls=0)
    """
    text = train.recompute if train.recompute_detail is None else train.recompute_detail
    if text == "none":
        return None
    if text == "selective":
        text = "every:2" if selective == "half" else "core_attn"
    form, _, digits = text.partition(":")
    number = int(digits) if digits else 1
    fields: dict[str, dict[str, Any]] = {
        "full": {"layers": number if digits else None},
        "uniform": {"group": number},
        "every": {"every": number},
        "matmuls": {"matmuls": number},
    }
    return Recompute(**fields.get(form, {"words": tuple(text.split(","))}))


def recompute_words(train: "TrainConfig") -> str:
    """What is recomputed, in a few words.

    >>> from roofline.config.run import TrainConfig
    >>> [recompute_words(TrainConfig(recompute=how, recompute_detail=detail)) for how, detail in
    ...  (("none", None), ("full", None), ("full", "full:8"), ("selective", "core_attn,mlp"), ("selective", "every:2"))]
    ['no recompute', 'full recompute', 'full recompute of 8 layers a stage', 'recompute of core_attn, mlp', 'recompute of every 2nd layer']
    """  # noqa: E501
    detail = train.recompute_detail
    if detail is None or detail == train.recompute:
        return "no recompute" if train.recompute == "none" else f"{train.recompute} recompute"
    form, _, number = detail.partition(":")
    match form:
        case "full":
            return f"full recompute of {number} layers a stage"
        case "uniform":
            return f"full recompute, {number} layers from one input"
        case "every":
            return f"recompute of every {_ordinal(number)} layer"
        case "matmuls":
            return f"recompute of all but {f'every {_ordinal(number)} matmul' if number else 'matmuls'}"
    return f"recompute of {detail.replace(',', ', ')}"


def _ordinal(number: str) -> str:
    return number + {"2": "nd", "3": "rd"}.get(number, "th")
