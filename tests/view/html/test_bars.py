import re

from roofline.view.html.bars import Segment, bar

PARTS = [Segment(30.0, "weights", "30 GiB", "#0072B2"), Segment(10.0, "gradients & more", "10 GiB", "#E69F00")]


def widths(text):
    return [float(width) for width in re.findall(r'<rect x="[\d.]+%" width="([\d.]+)%"', text)]


def test_segments_are_shares_of_the_whole():
    text = bar("Memory", PARTS, whole=80.0)  # 30 and 10 of 80: 37.5 % and 12.5 %, less the gap of 0.15 %
    assert widths(text) == [37.35, 12.35]
    assert 'x="37.50%"' in text


def test_the_capacity_is_a_line_across():
    assert "<line" not in bar("Memory", PARTS, whole=80.0)
    assert 'x1="75.00%"' in bar("Memory", PARTS, whole=40.0, limit=30.0)


def test_a_figure_stands_beside_the_line_that_crosses_its_part():
    # weights are 75 % of the bar; a line at 25 % leaves the 50 % on its right, whose middle is at 50 %
    assert '<text x="37.50%"' in bar("Memory", PARTS, whole=40.0)
    assert '<text x="50.00%"' in bar("Memory", PARTS, whole=40.0, limit=10.0)


def test_what_is_told_is_escaped_and_read_aloud():
    text = bar("Memory", PARTS, whole=80.0)
    assert "gradients &amp; more" in text
    assert 'aria-label="Memory: weights 30 GiB; gradients &amp; more 10 GiB"' in text


def test_nothing_is_not_drawn():
    assert widths(bar("Memory", [Segment(0.0, "logits", "0 B", "#000000")])) == []
