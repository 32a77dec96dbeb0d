"""Which layers each pipeline stage holds, as people and run files say it: ``7,8,8,7`` or ``Et*7|(t*8|)*2t*7L``."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from ..errors import RooflineError, shown
from ..model.spec import ModelConfig

LONGEST = 4096  # characters of a layout, written out
_GROUP = r"\(([^()]*)\)(?:\*(\d{1,4}))?"
_REPEAT = r"([EtmL])\*(\d{1,4})"


class StageLayout(msgspec.Struct, frozen=True, kw_only=True):
    """Layers of each chunk (stage, or virtual stage) of a pipeline, first to last.

    Attributes:
        layers: Layers of the model proper.
        ahead: Layers that predict tokens further ahead; none where the layout does not place them.
    """

    layers: tuple[int, ...]
    ahead: tuple[int, ...]

    def sizes(self, layers: int, ahead: int) -> tuple[int, ...] | None:
        """Layers of each chunk of a model of `layers`, the last `ahead` of which predict ahead; None: they differ.

        Layers ahead that the layout does not place stand before the loss, on the last stage.
        """
        placed = [one + other for one, other in zip(self.layers, self.ahead, strict=True)]
        if sum(self.ahead) == 0 and sum(placed) == layers - ahead:
            placed[-1] += ahead
        return tuple(placed) if sum(placed) == layers and sum(self.ahead) in {0, ahead} else None


@lru_cache(maxsize=256)
def stage_layout(text: str) -> StageLayout:
    """Read a layout: numbers with commas, or Megatron's letters.

    Letters: E embedding, t layer, m layer of multi-token prediction, L loss; a bar ends a stage, ``t*3`` and
    ``(tt|)*3`` repeat, commas and blanks mean nothing (NVIDIA/Megatron-LM megatron/core/transformer/
    pipeline_parallel_layer_layout.py).

    Raises:
        RooflineError: Neither, or one that no pipeline can have.

    >>> stage_layout("7,8,8,7").layers, stage_layout("Et*2|(tt|)*2t|tmL").layers
    ((7, 8, 8, 7), (2, 2, 2, 1, 1))
    """
    words = re.sub(r"\s", "", text).strip("'\"")
    if len(words) > LONGEST:
        raise _bad(f"{len(words):,} characters", f"write at most {LONGEST:,}")
    if re.fullmatch(r"\d{1,6}(,\d{1,6})*", words):
        sizes = tuple(map(int, words.split(",")))
        return StageLayout(layers=sizes, ahead=(0,) * len(sizes))
    written = _written_out(words.replace(",", ""), text)
    if re.search(r"[^EtmL|]", written):
        raise _bad(shown(text), "write layers per stage (7,8,8,7) or Megatron's letters (Et*7|t*8|t*8|t*7L)")
    bare = written.replace("|", "")
    if not re.fullmatch(r"E?t*m*L?", bare):
        raise _bad(shown(text), "the embedding E comes first, then layers t, then m, and the loss L last")
    stages = written.split("|")
    if ("E" in written and "E" not in stages[0]) or ("L" in written and "L" not in stages[-1]):
        raise _bad(shown(text), "the embedding E stands in the first stage, the loss L in the last")
    return StageLayout(
        layers=tuple(stage.count("t") for stage in stages), ahead=tuple(stage.count("m") for stage in stages)
    )


def _written_out(text: str, given: str) -> str:
    """Letters and bars alone: repeats as often as they say."""

    def group(match: re.Match[str]) -> str:
        return match[1] * int(match[2] or 1)

    before = ""
    while before != text:
        before, text = text, re.sub(_GROUP, group, re.sub(_REPEAT, group, text))
        if len(text) > LONGEST:
            raise _bad(shown(given), f"written out it is longer than {LONGEST:,} letters")
    return text


def _bad(got: str, remedy: str) -> RooflineError:
    return RooflineError(f"pp_layout: {got} is no layout of stages: {remedy}")


def chunk_layers(text: str, model: ModelConfig) -> tuple[int, ...]:
    """Layers of each chunk of a model, multi-token prediction's among them.

    Raises:
        RooflineError: The layout deals out another number of layers than the model has.
    """
    layout, ahead = stage_layout(text), sum(group.count for group in model.groups if group.ahead)
    sizes = layout.sizes(model.n_layers, ahead)
    if sizes is None:
        dealt, of = sum(layout.layers), f"{model.n_layers - ahead} layers"
        dealt_words = f"{dealt} layers"
        if ahead or sum(layout.ahead):
            of, dealt_words = f"{of} and {ahead} ahead (m)", f"{dealt_words} and {sum(layout.ahead)} ahead (m)"
        raise RooflineError(f"pp_layout deals out {dealt_words}, and {model.name} has {of}: make them equal")
    return sizes


def split_evenly(
    layers: int,
    pp: int,
    vp: int = 1,
    *,
    first: int | None = None,
    last: int | None = None,
    embedding: bool = False,
    loss: bool = False,
) -> str | None:
    """The layout of a first and a last stage of their own size, or of embedding and loss that count as a layer each.

    As Megatron-Core's `get_num_layers_to_build` deals layers out; None where it would refuse.

    >>> split_evenly(30, 4, first=5, last=9), split_evenly(30, 4, embedding=True, loss=True)
    ('5,8,8,9', '7,8,8,7')
    """
    counted = layers + embedding + loss
    others = pp - (first is not None) - (last is not None)
    rest = counted - (first or 0) - (last or 0)
    if others < 0 or rest < 0 or (rest % others if others else rest):
        return None
    ranks = [rest // others if others else 0] * pp
    if first is not None:
        ranks[0] = first
    if last is not None:
        ranks[-1] = last
    if any(each % vp for each in ranks):
        return None
    chunks = [ranks[chunk % pp] // vp for chunk in range(pp * vp)]
    chunks[0] -= embedding
    chunks[-1] -= loss
    return ",".join(map(str, chunks)) if min(chunks) >= 0 else None
