"""Measures, wraps and words that all pictures share."""

import pytest

from roofline.errors import RooflineError
from roofline.plot import style


def test_type_shrinks_with_the_width_down_to_what_print_can_bear():
    assert style.page(7.2).normal == 7.5
    assert style.page(2.5).normal == style.LEAST
    assert style.page(3.4, 6.5).normal == 6.5
    assert (style.page(3.4).narrow, style.page().narrow) == (True, False)


@pytest.mark.parametrize(
    ("width", "size", "words"),
    [
        (1.0, None, "width 1in is out of range: give 2.5in to 30in"),
        (None, 40.0, "font size 40pt is out of range"),
        (3.0, 20.0, "leaves no room to draw"),
    ],
)
def test_measures_that_leave_no_room(width, size, words):
    with pytest.raises(RooflineError, match=words):
        style.page(width, size)


def test_small_and_large_type_follow_the_normal():
    measures = style.Page(10.0, 15.0)
    assert (measures.small, measures.large, measures.scaled(0.5)) == (13.0, 18.0, 1.0)
    assert measures.lines(2, 36) == pytest.approx(2 * 1.25 * 36 / 72)


def test_lines_break_at_commas_first():
    text = "llama, bf16, tp 8"
    width = style.text_width("llama, bf16,", 10) + 0.001
    assert style.wrapped(text, width, 10) == ["llama, bf16,", "tp 8"]
    assert style.wrapped(text, 100, 10) == [text]
    assert style.wrapped("", 1, 10) == []


def test_wider_text_takes_more_room():
    assert style.text_width("mm", 10) == pytest.approx(2 * style.text_width("m", 10), rel=0.05)
    assert style.text_width("m", 20) == pytest.approx(2 * style.text_width("m", 10), rel=0.05)


def test_a_caption_stands_behind_its_title_where_there_is_room():
    measures = style.page()
    assert style.head_of(measures, [("A", "b")], 3.0).captions == 0
    assert (
        style.head_of(measures, [("A title of some length", "a caption, of many, parts, and more")], 1.5).captions > 1
    )


def test_series_have_a_colour_and_a_line_of_their_own():
    pairs = {(style.SERIES[i % 7], str(style.line_of(i))) for i in range(49)}
    assert len(pairs) == 49


def test_tick_labels():
    assert [style.plain_number(value) for value in (0.01, 1.0, 1000.0)] == ["0.01", "1", "1,000"]
    assert (style.percent(0.255), style.thousands(1500)) == ("25.5 %", "1.5k")
