"""What the allocator holds beyond what is alive, and what stands beside it."""

from types import SimpleNamespace
from typing import Any

import pytest

from roofline.footprint.allocator import (
    CONTEXT_BYTES,
    FULL,
    NCCL_BYTES,
    STRANDED,
    UPDATE,
    WORKING,
    Lost,
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
    # beside the 160 in the loss no block is left for a working set of 40; an update finds 200 bytes empty
    assert passing_bytes(moments(50, 20)) == (40, 40, 70)
    assert passing_bytes(moments(500, 20)) == (40, 40, 200)


def test_the_smaller_of_logits_and_working_set_is_stranded():
    few = moments(50, 20)
    few[0] = moment("loss", activations=100, logits=10, optimizer=30)
    assert passing_bytes(few) == (10, 40, 70)


def test_what_backward_holds_grows_into_the_blocks_of_the_logits():
    more = moments(50, 20)
    more[2] = moment("backward ends", activations=40 + 130, gradients=50)  # 100 kept and 60 of logits make place
    more[3] = moment("update", gradients=400)
    assert passing_bytes(more) == (160 + 40 - 170, 40, 130 + 100)
    more[2] = moment("backward ends", activations=40 + 170, gradients=50)
    assert passing_bytes(more) == (0, 40, 170 + 100)


def test_what_is_lost():
    found = lost_bytes(step(), moments(50, 20))
    assert found == pytest.approx((STRANDED * 40, WORKING * 40 + UPDATE * 70))
    assert lost_bytes(step(static=True), moments(50, 20)) == (0, 0)
    assert lost_bytes(step(expandable=True), moments(50, 20)) == (0, 0)


def test_communicators_take_memory_where_there_is_someone_to_talk_to():
    assert beside_bytes(step()) == CONTEXT_BYTES
    assert beside_bytes(step(num_devices=2)) == CONTEXT_BYTES + NCCL_BYTES


@pytest.mark.parametrize(
    ("capacity", "shown"),
    [
        (200, 182),  # all that is lost stays
        (170, (102 + FULL * 50 + 170) / 2),  # between what it cannot do without and all there is
        (100, 102 + FULL * 50),  # what it cannot do without is more: of whole segments nothing
        (0, 182),  # no device
    ],
)
def test_a_full_device_gives_back_what_is_lost(capacity, shown):
    lost = Lost(whole=30, parts=50)
    assert driver_bytes(100, lost, 2, capacity) == pytest.approx(shown)
    assert needed_bytes(100, lost, 2) == pytest.approx(102 + FULL * 50)
