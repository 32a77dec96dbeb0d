"""A search in pieces: every row of every part once, with every word."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from roofline.config.run import TrainConfig
from roofline.errors import RooflineError
from roofline.search import question
from roofline.search.answer import layouts
from roofline.search.question import Question
from roofline.search.software import Part
from roofline.search.space import Choices, Space

from .small import DENSE, DEVICE, EXPERTS


def asked(rows: int, model: Any = DENSE, **more: Any) -> Question:
    """Of `rows` rows with tp 2 and dp 2 and two micro batches, one of which goes with no row."""
    consistent = np.stack([np.ones(rows, dtype=bool), np.zeros(rows, dtype=bool)], axis=1)
    columns = {name: np.full(rows, 1 + (name in {"tp", "dp"})) for name in ("tp", "pp", "vp", "dp", "cp", "ep")}
    space = Space(columns, np.array([1, 2]), consistent)
    choices = Choices(recompute=("none", "full"), attention=("flash2",))
    parts = ((Part("megatron", ("none", "zero1")), space),)
    base = TrainConfig(micro_batch=1, seq_len=8, global_batch=8)
    fields = {"model": model, "device": SimpleNamespace(), "choices": choices, "base": base, "parts": parts, **more}
    return Question(objective="time", leaders=1, front=False, **fields)


def test_pieces_cover_every_row_of_every_sharding_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question, "PIECE", 24)  # 4 configurations x 2 micro batches: 3 rows
    pieces = asked(7).pieces()
    for sharding in ("none", "zero1"):
        assert [(p.first, p.last) for p in pieces if p.sharding == sharding] == [(0, 3), (3, 6), (6, 7)]
    assert len(pieces) == 6


def test_the_size_counts_consistent_layouts_with_every_word() -> None:
    assert asked(7).size() == 7 * 2 * (2 * 2)  # rows that go with a micro batch; shardings; recompute x sequence par.


def test_sequence_parallelism_is_priced_apart_where_there_are_experts() -> None:
    for model, bundles, each in ((DENSE, 1, 4), (EXPERTS, 2, 2)):
        found = asked(1, model)
        assert [len(trains) for trains in found.bundles(found.parts[0][0])] == [each] * bundles


def test_sequence_parallelism_says_nothing_where_nothing_is_split() -> None:
    space = asked(1).parts[0][1]
    for split, values in ((False, {False}), (True, {False, True})):
        found = asked(1, parts=((Part("megatron", ("none",), split), space),))
        assert {train.sequence_parallel for train in found.bundles(found.parts[0][0])[0]} == values


def test_a_search_of_hours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question, "LONGEST_SEARCH", 55)
    with pytest.raises(RooflineError, match=r"56 layouts would take about \d+ minutes: fix a degree"):
        asked(7).size()


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (DENSE, {}),
        (DENSE, {"sharding": ("zero1", "zero2", "fsdp"), "stack": "fsdp"}),
        (EXPERTS, {"etp": "all", "schedule": ("1f1b", "zb-h1")}),
        (EXPERTS, {"sequence_parallel": False, "pp": (1, 2)}),
    ],
)
def test_as_many_layouts_are_decided_as_were_announced(model: Any, options: dict[str, Any]) -> None:
    told: list[tuple[int, int]] = []
    result = layouts(
        model, DEVICE, num_devices=(8, 12), global_batch=24, progress=lambda *now: told.append(now), **options
    )
    assert {total for _, total in told} == {result.evaluated}
    assert told[-1][0] == result.evaluated


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"sharding": ("none", "zero2")}, {"none": "dp2 pp2 tp2", "zero2": "dp2"}),  # no pipeline, not of one rank
        ({"sharding": "zero2"}, {"zero2": "dp2 pp2 tp2"}),  # as asked
        ({"sharding": ("zero1", "fsdp")}, {"zero1": "dp2 pp2 tp2", "fsdp": "dp2 tp2"}),  # none is no choice
        ({"sharding": ("none", "fsdp"), "pp": (1, 2)}, {"none": "dp2 pp2 tp2", "fsdp": "dp2"}),
        ({"sharding": "fsdp", "pp": (1, 2)}, {"fsdp": "dp2 pp2 tp2"}),
        ({"sharding": ("none", "zero1"), "dp": 1, "cp": (1, 2)}, {"none": "cp2 pp2 tp2", "zero1": "cp2"}),
    ],
)
def test_where_a_word_says_something(given, kept, monkeypatch):
    """On two devices: what is split in two, by how the state is sharded."""
    found, meaningful = {}, Question.meaningful

    def watched(question, space, sharding):
        told, columns = meaningful(question, space, sharding), space.columns
        for row in (told[True] | told[False]).nonzero()[0]:
            splits = [name for name in ("cp", "dp", "pp", "tp") if columns[name][row] == 2 and columns["vp"][row] == 1]
            found.setdefault(sharding, set()).update(f"{name}2" for name in splits)
        return told

    monkeypatch.setattr(Question, "meaningful", watched)
    layouts(DENSE, DEVICE, num_devices=2, global_batch=8, stack="megatron", **{"cp": 1, "recompute": "none", **given})
    assert {word: " ".join(sorted(splits)) for word, splits in found.items()} == kept


@pytest.mark.parametrize(("given", "degrees"), [({}, {2}), ({"sequence_parallel": True}, {1, 2})])
def test_sequence_parallelism_is_a_choice_beside_tensor_parallelism_alone(given, degrees, monkeypatch):
    """Where it is asked for, it also stands where there is nothing to split."""
    found, meaningful = set(), Question.meaningful

    def watched(asked, space, sharding):
        told = meaningful(asked, space, sharding)
        found.update(space.columns["tp"][told[True]].tolist())
        return told

    monkeypatch.setattr(Question, "meaningful", watched)
    layouts(DENSE, DEVICE, num_devices=2, global_batch=8, pp=1, cp=1, recompute="none", stack="megatron", **given)
    assert found == degrees
