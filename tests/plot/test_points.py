"""Marks of kernels and their names."""

from roofline import plot
from roofline.answers.estimate import estimate
from roofline.plot.build import points_of
from roofline.plot.points import named_groups


def test_names_are_shared_by_phases_and_neighbours(xl):
    points = [point for point in points_of(xl) if point.name in {"mlp.up", "mlp.down"} and point.kind == "matmul"]
    near = named_groups(points, [(0.0, 0.0)] * len(points), near=5)
    far = named_groups(points, [(100.0 * hash(p.name) % 977, 0.0) for p in points], near=1e-9)
    assert [len(group) for group in near] == [4]
    assert sorted(len(group) for group in far) == [2, 2]


def test_backward_marks_are_outlines_so_that_forward_ones_show():
    data = plot.roofline_data([estimate("gpt2", "h100-sxm-80gb")])
    marks = [mark for mark in plot.draw(data).axes[0].collections if len(mark.get_offsets())]
    filled = [len(mark.get_facecolor()) > 0 for mark in marks]
    assert filled == [point.phase != "backward" for point in data.panels[0].points]


def test_kinds_have_shapes_of_their_own_as_grey_print_has_no_colours():
    data = plot.roofline_data([estimate("gpt2", "h100-sxm-80gb", recompute="full")])
    marks = [mark for mark in plot.draw(data).axes[0].collections if len(mark.get_offsets())]
    shapes = {}
    for point, mark in zip(data.panels[0].points, marks, strict=True):
        shapes.setdefault(mark.get_paths()[0].vertices.round(3).tobytes(), set()).add(point.kind)
    assert all(len(kinds) == 1 for kinds in shapes.values())
    assert len(shapes) == len({point.kind for point in data.panels[0].points})
