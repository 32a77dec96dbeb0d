"""What the allocator holds beyond what is alive."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from roofline.footprint.allocator import CONTEXT_BYTES, FRAGMENTATION, NCCL_BYTES, driver_bytes, reserved_bytes


def step(*, num_devices: int = 1, static: bool = False) -> Any:
    return SimpleNamespace(stack=SimpleNamespace(static_memory=static), train=SimpleNamespace(num_devices=num_devices))


LIVE: Any = SimpleNamespace(total=1000.0, activations=300.0, logits=100.0)


def test_blocks_are_lost_to_activations_alone_and_to_none_where_memory_is_static() -> None:
    assert reserved_bytes(step(), LIVE) == 1000 + FRAGMENTATION * 400
    assert reserved_bytes(step(static=True), LIVE) == 1000


def test_communicators_take_memory_where_there_is_someone_to_talk_to() -> None:
    assert driver_bytes(step(), 5.0) == 5 + CONTEXT_BYTES
    assert driver_bytes(step(num_devices=2), 5.0) == 5 + CONTEXT_BYTES + NCCL_BYTES
