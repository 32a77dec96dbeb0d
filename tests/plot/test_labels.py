"""Where labels go beside their points: apart, inside, and clear of what is drawn."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.plot.labels import Box, cross, place, spread

from .overlap import overlaps


@settings(max_examples=25)
@given(anchors=st.lists(st.tuples(st.floats(0, 600), st.floats(0, 400)), max_size=12), width=st.floats(20, 120))
def test_placed_labels_stay_inside_and_apart(anchors, width):
    bounds, fixed = Box(0, 0, 600, 400), [Box(200, 100, 300, 140)]
    boxes = [
        box for box in place(anchors, [(width, 12.0)] * len(anchors), bounds, fixed=fixed, gap=1) if box is not None
    ]
    assert not overlaps([*boxes, *fixed])
    assert all(box.inside(bounds) for box in boxes)


def test_a_label_without_room_is_left_out():
    assert place([(5.0, 5.0)], [(50.0, 10.0)], Box(0, 0, 20, 20)) == [None]


def test_a_label_avoids_markers_and_lines():
    marker, line = Box(90, 90, 140, 110), ((0.0, 100.0), (400.0, 100.0))
    box = place([(100.0, 100.0)], [(60.0, 10.0)], Box(0, 0, 400, 400), obstacles=[marker], lines=[line])[0]
    assert box is not None
    assert box.overlap(marker) == 0
    assert not any(cross(edge, line) for edge in box.edges())


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20).map(sorted), st.floats(0.1, 30))
def test_spread_keeps_order_gap_and_range(wanted, gap):
    positions = spread(wanted, gap, 0, 100)
    least = min(gap, 100 / max(len(wanted) - 1, 1))
    assert all(b - a >= least - 1e-6 for a, b in pairwise(positions))
    assert positions[0] >= -1e-6
    assert positions[-1] <= 100 + 1e-6
