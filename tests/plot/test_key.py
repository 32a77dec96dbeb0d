"""Keys of pictures: rows that are full, blocks that have room."""

import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from roofline.plot.data import RooflineData
from roofline.plot.key import APART, block_of, flow, note_lines
from roofline.plot.style import page


@pytest.fixture
def figure() -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    made = Figure(figsize=(7.2, 4))
    FigureCanvasAgg(made)
    return made


def handles(count: int) -> list[Line2D]:
    return [Line2D([], [], label=f"name {index}") for index in range(count)]


@pytest.mark.parametrize(("count", "most", "columns"), [(6, 5, 3), (4, 5, 4), (5, 2, 2), (1, 5, 1)])
def test_columns_fill_their_rows(figure, count, most, columns):
    assert block_of(figure, handles(count), 7.0, most=most)._ncols == columns


def test_no_more_columns_than_the_width_holds(figure):
    assert block_of(figure, handles(4), 0.5)._ncols == 1


def test_blocks_go_beside_one_another_then_under(figure):
    blocks = [block_of(figure, handles(3), 7.0) for _ in range(3)]
    extent = blocks[0].get_window_extent(figure.canvas.get_renderer())
    width, height = extent.width / figure.dpi, extent.height / figure.dpi
    key = flow(figure, blocks, 2 * width + APART + 0.01)
    assert [(x, y) for _, x, y in key.places] == [
        (0.0, 0.0),
        (pytest.approx(width + APART), 0.0),
        (0.0, pytest.approx(height + 0.06)),
    ]
    assert key.height == pytest.approx(2 * height + 0.06)


def test_the_note_says_what_the_marks_are():
    for measured, words in ((True, "Mark: measured rate. Cross: expected."), (False, "Mark: expected rate.")):
        data = RooflineData(title="", panels=(), measured=measured)
        assert " ".join(note_lines(page(), data, 0.1)).startswith(words)
