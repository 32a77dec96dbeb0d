"""Scales and shapes of small pictures."""

import pytest

from roofline.page.svg import Scale, number, text


def test_ends_and_middle_of_a_scale() -> None:
    even, powers = Scale(10, 20, 100, 0), Scale(1, 100, 0, 10, log=True)
    assert [even(value) for value in (10, 15, 20)] == [100, 50, 0]
    assert [powers(value) for value in (1, 10, 100)] == pytest.approx([0, 5, 10])


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (Scale(0, 1, 0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Scale(-3, 3, 0, 1), [-2, 0, 2]),
        (Scale(1, 1000, 0, 1, log=True), [1, 10, 100, 1000]),
    ],
)
def test_ticks_are_round_and_inside(scale: Scale, ticks: list[float]) -> None:
    assert scale.ticks() == ticks


@pytest.mark.parametrize(("value", "shown"), [(3.0, "3"), (3.14, "3.1"), (-0.04, "0"), (-2.5, "-2.5")])
def test_coordinates_are_short(value: float, shown: str) -> None:
    assert number(value) == shown


def test_text_is_escaped() -> None:
    assert text("<a & b>", 0, 1) == '<text x="0" y="1">&lt;a &amp; b&gt;</text>'
