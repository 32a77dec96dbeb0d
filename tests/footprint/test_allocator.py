"""What the allocator holds beyond what is alive, and what stands beside it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from roofline.footprint.allocator import (
    CONTEXT_BYTES,
    FULL,
    NCCL_BYTES,
    PASSING,
    UPDATE,
    beside_bytes,
    driver_bytes,
    lost_bytes,
    needed_bytes,
    passing_bytes,
)
from roofline.footprint.phases import Name, Phase


def step(*, num_devices: int = 1, static: bool = False, expandable: bool = False) -> Any:
    stack = SimpleNamespace(static_memory=static, expandable_segments=expandable)
    return SimpleNamespace(stack=stack, train=SimpleNamespace(num_devices=num_devices))


def moment(name: Name, **held: float) -> Phase[float]:
    nothing = dict.fromkeys(("weights", "gradients", "optimizer", "activations", "logits", "communication"), 0.0)
    return Phase(name=name, **{**nothing, **held})


def moments(gradients: float, temporaries: float) -> list[Phase[float]]:
    """100 bytes are kept, logits are 60, a layer's working set 40; an update has its gradients and temporaries."""
    return [
        moment("loss", activations=100, logits=60, optimizer=30),
        moment("backward starts", activations=140, optimizer=30),
        moment("backward ends", activations=40, gradients=gradients, optimizer=30),
        moment("update", gradients=gradients, optimizer=30 + temporaries),
    ]


def test_what_comes_and_goes():
    # logits and the working set: 60 + 40; gradients and temporaries, of which blocks of 200 bytes stand empty
    assert passing_bytes(moments(50, 20)) == (100, 70)
    assert passing_bytes(moments(500, 20)) == (100, 200)


def test_what_is_kept_takes_its_own_place():
    more = moments(50, 20)
    more[2] = moment("backward ends", activations=40 + 130, gradients=50)  # more than in the loss
    more[3] = moment("update", gradients=400)
    assert passing_bytes(more) == (100, 130 + 100)


def test_what_is_lost():
    assert lost_bytes(step(), moments(50, 20)) == pytest.approx(PASSING * 100 + UPDATE * 70)
    assert lost_bytes(step(static=True), moments(50, 20)) == 0
    assert lost_bytes(step(expandable=True), moments(50, 20)) == 0


def test_communicators_take_memory_where_there_is_someone_to_talk_to():
    assert beside_bytes(step()) == CONTEXT_BYTES
    assert beside_bytes(step(num_devices=2)) == CONTEXT_BYTES + NCCL_BYTES


@pytest.mark.parametrize(
    ("capacity", "shown"),
    [
        (200, 152),  # all that is lost stays
        (130, 130),  # as much as there is room for
        (100, 102 + FULL * 50),  # what it cannot do without is more
        (0, 152),  # no device
    ],
)
def test_a_full_device_gives_back_what_is_lost(capacity, shown):
    assert driver_bytes(100, 50, 2, capacity) == pytest.approx(shown)
    assert needed_bytes(100, 50, 2) == pytest.approx(102 + FULL * 50)
