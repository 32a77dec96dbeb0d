"""The best of candidates that come in chunks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.search.ranking import FRONT_POINTS, Front, Leaders


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=30), min_size=1, max_size=5), st.integers(1, 8))
def test_leaders_are_the_smallest(chunks, count):
    leaders = Leaders(count)
    for source, chunk in enumerate(chunks):
        leaders.offer(np.array(chunk), np.arange(len(chunk)), source)
    values = [chunks[source][index] for source, index in leaders.best()]
    assert values == sorted(itertools.chain(*chunks))[:count]


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30), min_size=1, max_size=4)
)
def test_front_is_the_undominated(chunks):
    front = Front()
    for source, chunk in enumerate(chunks):
        cost, time = np.array(chunk, dtype=float).T
        front.offer(cost, time, np.arange(len(chunk)), source)
    found = {chunks[source][index] for source, index in front.points()}
    points = set(itertools.chain(*chunks))
    assert found == {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}


def test_of_equals_the_earlier_stays_and_there_is_room_until_it_is_full():
    leaders = Leaders(2)
    assert leaders.worst == float("inf")
    assert leaders.best() == []
    leaders.offer(np.array([4.0]), np.array([7]), 0)
    assert leaders.worst == float("inf")
    leaders.offer(np.array([4.0, 4.0]), np.array([8, 9]), 1)
    assert leaders.worst == 4.0
    assert leaders.best() == [(0, 7), (1, 8)]


@pytest.mark.parametrize("unit", [1.0, 1e-6])
def test_a_long_front_is_thinned_to_the_fastest_of_each_step_and_keeps_its_ends(unit):
    front = Front()
    cost = (np.arange(1000.0) + 5000) * unit
    assert front.points() == []
    front.offer(cost, -cost, np.arange(1000), 0)
    steps = FRONT_POINTS - 1  # of 999 / 63 points each, and the first
    assert front.points() == [(0, step * 999 // steps) for step in range(FRONT_POINTS)]


@pytest.mark.parametrize("pieces", [1, 3, 50])
def test_leaders_are_the_first_of_a_stable_sort(pieces):
    """Among many equals the first stay: which they are may not hang on how the values come."""
    values = np.random.default_rng(pieces).integers(0, 4, 3000).astype(float)
    leaders = Leaders(7)
    for part in np.array_split(np.arange(3000), pieces):
        leaders.offer(values[part], part, 0)
    assert [index for _, index in leaders.best()] == np.argsort(values, kind="stable")[:7].tolist()
    assert leaders.worst == np.sort(values)[6]


@pytest.mark.parametrize("order", [slice(None, None, -1), np.random.default_rng(5).permutation(600)])
def test_in_whatever_order_they_come_the_same_are_kept(order):
    rng = np.random.default_rng(4)
    cost, time = rng.integers(0, 9, 600).astype(float), rng.integers(0, 9, 600).astype(float)
    index, source = np.tile(np.arange(300), 2), np.repeat([0, 1], 300)
    kept = []
    for order_of in (np.arange(600), np.arange(600)[order]):
        leaders, front = Leaders(7), Front()
        for part in np.array_split(order_of, 9):
            leaders.offer(time[part], index[part], source[part])
            front.offer(cost[part], time[part], index[part], source[part])
        kept.append((leaders.best(), front.points()))
    assert kept[0] == kept[1]


def test_what_others_kept_is_put_together():
    one, other, none = Leaders(2), Leaders(2), Leaders(2)
    one.offer(np.array([4.0, 6.0]), np.array([1, 2]), 0)
    other.offer(np.array([5.0, 9.0]), np.array([3, 4]), 1)
    one.merge(none)
    one.merge(other)
    assert one.best() == [(0, 1), (1, 3)]
    none.merge(one)
    assert none.best() == one.best()


def test_the_best_time_within_a_cost():
    front = Front()
    assert front.within(np.array([1.0])).tolist() == [float("inf")]
    front.offer(np.array([2.0, 4.0]), np.array([9.0, 5.0]), np.arange(2), 0)
    assert front.within(np.array([1.9, 2.0, 3.9, 4.0, 7.0])).tolist() == [float("inf"), 9.0, 9.0, 5.0, 5.0]


@pytest.mark.parametrize("pieces", [1, 4])
def test_the_front_is_what_no_other_beats(pieces):
    rng = np.random.default_rng(2)
    cost, time = rng.integers(0, 30, 200).astype(float), rng.integers(0, 30, 200).astype(float)
    front = Front()
    for part in np.array_split(np.arange(200), pieces):
        front.offer(cost[part], time[part], part, 0)
    beaten = [
        any(
            (cost[j] <= cost[i] and time[j] < time[i]) or (cost[j] < cost[i] and time[j] <= time[i]) for j in range(200)
        )
        for i in range(200)
    ]
    expected = sorted({(cost[i], time[i]) for i in range(200) if not beaten[i]})
    assert [(cost[i], time[i]) for _, i in front.points()] == expected
