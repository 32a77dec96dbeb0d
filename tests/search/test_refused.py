"""A search offers no layout that its own software refuses."""

import msgspec
import numpy as np
import pytest

import roofline
from roofline.config.asserts import ASSERTS, breaks, refuse
from roofline.config.settle import resolve, train_config
from roofline.errors import RooflineError
from roofline.search.question import Bundles, Question
from roofline.search.schedules import spaces_of
from roofline.search.software import choices_of, parts_in, parts_of

from .small import DENSE, DEVICE, EXPERTS

ASKED = {"num_devices": 16, "top": 30}


def question(model, stack, **options) -> Question:
    """All layouts of 16 devices on one software."""
    parts = parts_of(DEVICE, {"stack": stack})
    choices, base, parts, _ = choices_of(model, DEVICE, [16], {"stack": stack, **options}, False, parts)
    spaces, _ = spaces_of(model, base, choices, 8, [16], [part.stack for part in parts])
    return Question(model, DEVICE, choices, base, "time", 10, False, tuple(parts_in(parts, spaces)))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (EXPERTS, {"stack": "megatron", "global_batch": 32, "seq_len": 2048}),  # tp without sequence parallelism
        (DENSE, {"stack": "nemo", "global_batch": 32, "seq_len": 2050}),  # cp needs two chunks
        (DENSE, {"stack": "torchtitan", "global_batch": 48, "seq_len": 2050}),  # rounds of interleaved stages
        (DENSE, {"stack": "deepspeed", "global_batch": 32, "seq_len": 2048}),  # ZeRO-2 in pipelines
    ],
)
def test_what_is_refused_of_one_layout_is_ruled_out_of_all(model, options) -> None:
    asked = question(model, **options)
    bundles, refused = Bundles(asked, kept=None), 0
    for piece in asked.pieces():
        bundle = bundles.of(piece)
        rows = np.arange(piece.first, piece.last)
        allowed = bundle.allowed(piece.sharding, rows)
        for variant, train in enumerate(bundle.trains):
            for row in rows[::3].tolist():
                degrees = {name: int(column[row]) for name, column in bundle.space.columns.items()}
                for number, micro in enumerate(bundle.space.micro_batches.tolist()):
                    one = msgspec.structs.replace(train, **degrees, micro_batch=micro, sharding=piece.sharding)
                    broken = bool(breaks(one, model))
                    assert allowed[variant, row - piece.first, number] == (not broken)
                    refused += broken
    assert refused
    found = roofline.layouts(model, DEVICE, **ASKED, **options)
    assert found.layouts
    for layout in (*found.layouts, *found.front, found.simplest):
        refuse(layout.train, model)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (EXPERTS, {"stack": "megatron", "tp": 2, "sequence_parallel": False}, "leave --no-sequence-parallel out"),
        (DENSE, {"stack": "deepspeed", "pp": 2, "sharding": "zero3"}, "use --sharding zero1"),
    ],
)
def test_where_all_are_refused_the_reason_is_said(model, options, words) -> None:
    with pytest.raises(RooflineError, match=words):
        roofline.layouts(model, DEVICE, num_devices=16, global_batch=32, seq_len=2048, **options)


def test_sequence_parallelism_may_be_asked_for() -> None:
    found = roofline.layouts(DENSE, DEVICE, tp=2, sequence_parallel=True, global_batch=32, **ASKED)
    assert {layout.sequence_parallel for layout in found.layouts} == {True}


@pytest.mark.parametrize("each", ASSERTS)
@pytest.mark.parametrize(
    "asked", [{"tp": 4, "pp": 2, "vp": 2}, {"ep": 4, "dtype": "fp16"}, {"cp": 2, "sharding": "zero1"}]
)
def test_what_runs_again_decides_on_nothing_without_cuda_graphs(each, asked) -> None:
    """So a search asks once for all that differ in it alone (`Bundle.allowed`)."""
    run = resolve(
        train_config({"micro_batch": 1, "num_devices": 16, "seq_len": 2050, "stack": each.stacks[0], **asked}), EXPERTS
    )
    broken = [
        each.breaks(msgspec.structs.replace(run, recompute=how), EXPERTS) for how in ("none", "selective", "full")
    ]
    assert len({bool(one) for one in broken}) == 1
