"""Ranks side by side: the shortest time of a collective is the transfer, the rest is waiting."""

from types import SimpleNamespace
from typing import Any

import pytest

from roofline.errors import RooflineError
from roofline.profiling.ranks import check_together, waiting
from roofline.profiling.steps import OUTSIDE


def rank(*times: float, payload: int = 8, outside: tuple[int, ...] = ()) -> Any:
    """A rank whose kernels are collectives of these times."""
    sent = SimpleNamespace(collective="all_reduce", payload=payload, group="dp")
    rows = range(len(times))
    return SimpleNamespace(
        trace=SimpleNamespace(kernels=SimpleNamespace(time=list(times), start=list(rows))),
        work={row: SimpleNamespace(sent=sent) for row in rows},
        steps=SimpleNamespace(of=[OUTSIDE if row in outside else 0 for row in rows]),
    )


def test_each_waits_beyond_the_shortest_collective_by_collective() -> None:
    # first: shortest 2, second: shortest 1
    assert waiting([rank(5, 1), rank(2, 4), rank(3, 1)]) == [3, 3, 1]


def test_kernels_outside_of_steps_do_not_count() -> None:
    assert waiting([rank(9, 5, outside=(0,)), rank(2)]) == [3, 0]


def test_nothing_is_said_of_one_rank_or_of_sequences_that_differ() -> None:
    assert waiting([rank(5)]) is None
    assert waiting([rank(5, 1), rank(2)]) is None
    assert waiting([rank(5), rank(2, payload=16)]) is None


def trace(number: int | None, world: int = 2, *names: str) -> Any:
    return SimpleNamespace(path=f"r{number}.json", rank=number, world_size=world, names=list(names))


def test_ranks_of_one_run_belong_together() -> None:
    check_together([trace(0, 2, "ProfilerStep#1", "ProfilerStep#2"), trace(1, 2, "ProfilerStep#2")])
    check_together([trace(0), trace(1)])  # no steps marked at all
    check_together([trace(None)])


@pytest.mark.parametrize(
    ("traces", "message"),
    [
        ([trace(0), trace(None)], "does not say which rank it is"),
        ([trace(0, 2), trace(1, 4)], "2 ranks|4 ranks"),
        ([trace(0), trace(0)], "both rank 0"),
        ([trace(0, 2, "ProfilerStep#1"), trace(1, 2, "ProfilerStep#9")], "no step in common"),
    ],
)
def test_what_does_not_is_refused(traces: list[Any], message: str) -> None:
    with pytest.raises(RooflineError, match=message):
        check_together(traces)
