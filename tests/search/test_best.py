"""What a search keeps is what sorting everything would keep, in whatever pieces it comes."""

import numpy as np
import pytest

from roofline.search.best import Best


def by_hand() -> Best:
    """Two pieces: (seconds, bytes, machinery) of (5, 1, 0), (3, 4, 2), (3, 3, 2), then (4, 2, 0), (9, 9, 1)."""
    best = Best(2, front=True)
    seconds = np.array([5.0, 3.0, 3.0])
    best.offer(seconds, np.array([1.0, 4.0, 3.0]), seconds, np.arange(3), np.array([0, 2, 2]), stack="nemo", number=0)
    seconds = np.array([4.0, 9.0])
    best.offer(seconds, np.array([2.0, 9.0]), seconds, np.arange(2), np.array([0, 1]), stack="fsdp", number=1)
    return best


def check(best: Best) -> None:
    assert best.leaders.best() == [(0, 1), (0, 2)]  # of equals the first, before the 4 of piece 1
    assert {level: one.best() for level, one in best.simple.items()} == {0: [(1, 0)], 1: [(1, 1)], 2: [(0, 1)]}
    assert {stack: one.best() for stack, one in best.software.items()} == {"nemo": [(0, 1)], "fsdp": [(1, 0)]}
    assert best.front is not None
    assert best.front.points() == [(0, 0), (1, 0), (0, 2)]  # bytes 1, 2, 3 in 5, 4, 3 seconds


def test_the_best_by_each_measure():
    check(by_hand())


def test_a_layout_is_wanted_that_may_be_kept_by_any_measure():
    best = by_hand()  # leaders up to 3 seconds; the front 5, 4, 3 at 1, 2, 3 bytes; the simplest 4, 9, 3 at 0, 1, 2

    def wants(seconds, memory, machinery, stack="nemo"):
        each = (np.array([number]) for number in (seconds, memory, seconds, machinery))
        return best.wants(*each, stack).item()

    assert wants(3.0, 9.0, 2)  # as good as a leader
    assert not wants(3.1, 9.0, 2)
    assert wants(3.1, 9.0, 2, "compiled")  # the first on its software
    assert wants(3.1, 2.9, 2) and not wants(4.1, 2.0, 2)  # on the front
    assert wants(8.9, 9.0, 1) and not wants(9.1, 9.0, 1)  # the simplest
    assert wants(99.0, 9.0, 3)


def test_an_equal_that_comes_later_may_be_the_first_and_is_wanted():
    best = Best(2, front=False)
    values = np.array([1.0, 3.0])
    best.offer(values, values, values, np.array([5, 6]), np.zeros(2, dtype=int), stack="nemo", number=1)
    three, one = np.array([3.0]), np.array([1.0])
    assert best.wants(three, one, one, np.array([0]), "nemo").all()  # as the worst of the leaders
    assert not best.wants(three + 1e-9, one, one, np.array([0]), "nemo").any()
    best.offer(one, one, one, np.array([4]), np.array([0]), stack="nemo", number=1)
    assert best.leaders.best() == [(1, 4), (1, 5)]
    assert best.simple[0].best() == best.software["nemo"].best() == [(1, 4)]


def offered(best: Best, seconds: float, memory: float, level: int, number: int = 0, stack: str = "nemo") -> Best:
    values = np.array([seconds])
    best.offer(values, np.array([memory]), values, np.array([0]), np.array([level]), stack=stack, number=number)
    return best


@pytest.mark.parametrize("other", [(5.0, 9.5, 1), (5.0, 2.0, 0)], ids=["the simplest of its level", "on the front"])
def test_an_equal_of_one_measure_alone_is_wanted(other):
    best = offered(offered(Best(1, front=True), 1.0, 9.0, 0), *other)
    seconds, memory, level = (np.array([each]) for each in other)
    assert best.wants(seconds, memory, seconds, level, "nemo").all()
    assert not best.wants(seconds + 1e-9, memory, seconds + 1e-9, level, "nemo").any()


def test_of_each_level_and_software_one_is_kept_however_it_came():
    merged = Best(3, front=False)
    for seconds in (7.0, 5.0, 6.0):
        merged.merge(offered(Best(3, front=True), seconds, 1.0, 4, number=int(seconds)))
    again = Best(3, front=False).from_arrays(merged.arrays())
    for best in (merged, offered(again, 8.0, 1.0, 4, number=8)):
        assert best.simple[4].best() == best.software["nemo"].best() == [(5, 0)]
        assert best.leaders.best() == [(5, 0), (6, 0), (7, 0)]


def test_it_is_empty_until_anything_is_offered():
    best, smallest = Best(1, front=False), Best(1, front=False)
    assert best.empty
    assert (best.evaluated, best.priced) == (0, 0)
    assert not offered(best, 1.0, 1.0, 0).empty
    smallest.smallest.offer(np.array([8.0]), np.array([0]), 0)
    assert not smallest.empty


def test_counts_of_another_version_are_refused():
    arrays = by_hand().arrays()
    with pytest.raises(ValueError, match="zip"):
        Best(2, front=True).from_arrays({**arrays, "counts": np.arange(3)})


def test_merging_and_writing_change_nothing():
    whole = by_hand()
    whole.evaluated, whole.priced = 7, 5
    empty = Best(2, front=True)
    empty.evaluated, empty.priced = 10, 20
    empty.merge(whole)
    check(empty)
    assert (empty.evaluated, empty.priced) == (17, 25)
    again = Best(2, front=True).from_arrays(whole.arrays())
    check(again)
    assert (again.evaluated, again.priced) == (7, 5)
    assert again.smallest.best() == []


def test_the_smallest_is_kept_where_nothing_fits():
    first, later = Best(1, front=False), Best(1, front=False)
    first.smallest.offer(np.array([8.0, 6.0]), np.arange(2), 0)
    later.smallest.offer(np.array([6.0, 7.0]), np.arange(2), 1)
    first.merge(later)
    assert first.smallest.best() == [(0, 1)]
    assert first.front is None
    assert Best(1, front=False).from_arrays(first.arrays()).smallest.best() == [(0, 1)]


def test_what_is_kept_survives_its_file(tmp_path):
    best = Best(5, front=True)
    rng = np.random.default_rng(1)
    for number in range(3):
        values, memory = rng.random(50), rng.random(50)
        best.offer(values, memory, values, np.arange(50), rng.integers(0, 4, 50), stack=f"s{number}", number=number)
    np.savez(tmp_path / "kept.npz", **best.arrays())
    with np.load(tmp_path / "kept.npz", allow_pickle=False) as arrays:
        again = Best(5, front=True).from_arrays({name: arrays[name] for name in arrays.files})
    assert again.leaders.best() == best.leaders.best()
    assert again.front.points() == best.front.points()
    assert {level: one.best() for level, one in again.simple.items()} == {k: v.best() for k, v in best.simple.items()}
    assert {stack: one.best() for stack, one in again.software.items()} == {
        stack: one.best() for stack, one in best.software.items()
    }
