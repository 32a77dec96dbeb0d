"""Rooflines of a page: every mark inside its frame, with its figures told."""

import re

import roofline
from roofline.page.rooflines import roofline as drawn
from roofline.plot.build import roofline_data

(PANEL,) = roofline_data([roofline.estimate("gpt2", "a100-sxm-80gb", micro_batch=8, stack="compiled")]).panels
TEXT = drawn(PANEL)


def test_both_sizes_are_there_and_a_page_shows_one():
    assert TEXT.count("<svg") == 2
    assert "wide" in TEXT
    assert "narrow" in TEXT


def test_every_mark_is_told_in_words():
    told = re.findall(r'aria-label="(.*?)"', TEXT)
    for point in PANEL.points:
        assert any(point.name in words for words in told), point.name


def test_marks_lie_in_the_picture():
    for picture in re.findall(r"<svg.*?</svg>", TEXT, re.DOTALL):
        width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture).groups())
        for x, y in re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)"', picture):
            assert 0 < float(x) < width
            assert 0 < float(y) < height
