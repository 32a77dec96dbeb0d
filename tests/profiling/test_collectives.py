"""What a collective sends: bytes on the bus as nccl-tests counts them."""

import pytest

from roofline.hardware import load_device
from roofline.profiling.collectives import Sent, bus_bytes, collective_word, expected_collective


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("ncclDevKernel_ReduceScatter_Sum_f32_RING_LL", "reduce_scatter"),
        ("nccl:all_reduce", "all_reduce"),
        ("nccl:_all_gather_base", "all_gather"),
        ("c10d::alltoall_base_", "all_to_all"),
        ("ncclDevKernel_SendRecv", "send_recv"),
        ("nccl:send 0->1", "send_recv"),
        ("ncclKernel_Reduce_RING_LL_Sum_float", "reduce"),
        ("ncclKernel_Broadcast_RING_LL", "broadcast"),
        ("nccl:coalesced", "collective"),
    ],
)
def test_the_word(name: str, word: str) -> None:
    assert collective_word(name) == word


@pytest.mark.parametrize(
    ("word", "factor"),
    [("all_reduce", 2 * 3 / 4), ("all_gather", 3 / 4), ("reduce_scatter", 3 / 4), ("all_to_all", 3 / 4),
     ("send_recv", 1), ("broadcast", 1)],
)  # fmt: skip
def test_bytes_on_the_bus_of_four_ranks(word: str, factor: float) -> None:
    assert bus_bytes(Sent(word, 1000, 4)) == 1000 * factor


def test_nothing_is_said_where_the_trace_does_not_say() -> None:
    h100 = load_device("h100-sxm-80gb")
    assert bus_bytes(Sent("all_reduce", None, 4)) is None
    assert bus_bytes(Sent("all_reduce", 8, 1)) is None
    assert expected_collective(Sent("all_reduce", None, 4), h100) is None
    assert expected_collective(Sent("all_reduce", 8, 4), None) is None
    assert expected_collective(Sent("barrier", 8, 4), h100) is None


def test_ranks_in_one_node_are_faster_than_as_many_over_several() -> None:
    h100 = load_device("h100-sxm-80gb")
    near = expected_collective(Sent("all_reduce", 2**30, 4, ranks=(0, 1, 2, 3)), h100)
    far = expected_collective(Sent("all_reduce", 2**30, 4, ranks=(0, 8, 16, 24)), h100)
    assert near is not None
    assert far is not None
    assert near < far
