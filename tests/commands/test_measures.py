"""Lengths and type sizes as they are typed."""

import argparse

import pytest

from roofline.commands.measures import add_arguments, length, points


@pytest.mark.parametrize(("text", "inches"), [("2.54cm", 1.0), ("25.4 mm", 1.0), ("72pt", 1.0), ("7.2in", 7.2)])
def test_a_length_in_any_unit_is_inches(text, inches):
    assert length(text) == pytest.approx(inches)


@pytest.mark.parametrize("text", ["3.3", "in", "-1in", "nan in", "inf in", "3 feet", ""])
def test_no_length(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a length: give a number with in, cm, mm, pt"):
        length(text)


def test_a_type_size_needs_no_unit():
    assert points("7") == points("7pt") == pytest.approx(7)


def test_both_are_optional():
    parser = argparse.ArgumentParser()
    add_arguments(parser.add_argument)
    assert vars(parser.parse_args([])) == {"width": None, "font_size": None}
    assert vars(parser.parse_args(["--width", "1in", "--font-size", "9"])) == {"width": 1.0, "font_size": 9.0}
