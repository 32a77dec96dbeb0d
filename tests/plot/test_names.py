"""Names stand clear of each other, and the line of each runs from its nearest point to its mark."""

from typing import Any

import pytest

pytest.importorskip("matplotlib")

from roofline.plot.labels import Box, cross
from roofline.plot.names import leader, name_places

from .overlap import overlaps


def test_a_line_starts_where_the_name_is_nearest() -> None:
    found = leader((0, 0), Box(20, 10, 60, 20), radius=3, pixel=1)
    assert found is not None
    assert found["relpos"] == (0, 0)
    assert found["shrinkB"] == 3
    above = leader((30, 0), Box(20, 10, 60, 20), radius=3, pixel=1)
    assert above is not None
    assert above["relpos"] == (0.25, 0)


def test_a_name_that_touches_its_mark_needs_none() -> None:
    assert leader((18, 12), Box(20, 10, 60, 20), radius=3, pixel=1) is None
    assert leader((12, 12), Box(20, 10, 60, 20), radius=3, pixel=1, clear=7) is None


def test_crowded_names_and_their_lines_cross_nothing() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    figure = Figure(figsize=(3.3, 3), dpi=200)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    at = [(4 + 0.2 * number, 6 - 0.2 * number) for number in range(7)]
    whole: Any = axes.get_window_extent()
    room = Box(whole.x0, whole.y0, whole.x1, whole.y1)
    marks = [Box(x, y, x, y).padded(8) for x, y in axes.transData.transform(at)]
    names = [f"a law of number {number}" for number in range(7)]
    name_places(axes, at, names, [number == 3 for number in range(7)], room, obstacles=marks)
    figure.canvas.draw()
    extents = [Text.get_window_extent(text) for text in axes.texts]  # without the lines
    boxes = [Box(each.x0, each.y0, each.x1, each.y1) for each in extents]
    assert len(boxes) >= 6
    assert not overlaps(boxes)
    paths = [None if text.arrow_patch is None else text.arrow_patch.get_path().vertices for text in axes.texts]
    assert any(path is not None for path in paths)
    for number, path in enumerate(paths):
        others = [edge for place, box in enumerate(boxes) if place != number for edge in box.padded(-1).edges()]
        assert path is None or not any(cross((tuple(path[0]), tuple(path[-1])), edge) for edge in others)
