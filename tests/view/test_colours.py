"""Colours are told apart, and everything that is drawn has one."""

import re

from roofline.footprint.parts import PARTS
from roofline.view import colours


def test_colours_of_one_picture_differ_and_are_six_digits() -> None:
    for table in (colours.CAUSE_COLOURS, colours.PASS_COLOURS, colours.PART_COLOURS):
        assert len(set(table.values())) == len(table)
        assert all(re.fullmatch("#[0-9A-Fa-f]{6}", colour) for colour in table.values())


def test_every_part_of_memory_has_a_colour() -> None:
    assert set(PARTS) == set(colours.PART_COLOURS)
