"""The boxes of a picture's texts, and which of them lie on one another."""

from matplotlib.text import Text

from roofline.plot.labels import Box


def overlaps(boxes):
    return [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlap(b) > 1]


def visible_boxes(axes):
    """The boxes of all text written into the axes by hand, rotated text apart."""
    texts = [text for text in axes.texts if text.get_text() and not text.get_rotation()]
    for text in texts:
        text.update_positions(axes.figure.canvas.get_renderer())
    extents = [Text.get_window_extent(text) for text in texts]  # Annotation's own would add the leader line
    return [Box(extent.x0, extent.y0, extent.x1, extent.y1) for extent in extents]
