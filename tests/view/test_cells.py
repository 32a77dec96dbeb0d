"""Cells: a text for people, the number itself for programs."""

import pytest

from roofline.view import cells


def test_a_cell_keeps_its_number_exactly() -> None:
    third = 1 / 3
    for form in (cells.share, cells.seconds, cells.size, cells.flops, cells.amount, cells.points, cells.intensity):
        assert form(third).value == third


@pytest.mark.parametrize(("value", "text"), [(0.125, "+12.5 %"), (-0.031, "-3.1 %"), (0.0, "+0.0 %")])
def test_a_change_has_its_sign(value: float, text: str) -> None:
    assert cells.points(value).text == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (1234.4, "1,234"), (9.96, "10"), (0.25, "0.25")])
def test_intensity(value: float | None, text: str) -> None:
    assert cells.intensity(value).text == text


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((90.0, 150.0), ["90.0 s", "150.0 s"]),
        ((0.5, 5e-5), ["500,000.0 us", "50.0 us"]),  # in the unit of the shortest
        ((7200.0, 86400.0), ["2.00 h", "24.00 h"]),
        ((864000.0,), ["10.0 days"]),
    ],
)
def test_a_column_has_one_unit(values: tuple[float, ...], texts: list[str]) -> None:
    write = cells.one_unit(values)
    assert [write(value) for value in values] == texts
