"""Mistakes in tables: the first key that a schema does not allow, with value and rule."""

import pytest

from roofline.hardware.boards import Board
from roofline.hardware.device import Figures
from roofline.hardware.schema import from_text, mistake
from roofline.hardware.sections import Link

LINK = {"name": "NVLink", "gb_per_s": 450, "source": "sheet"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"gb_per_s": "fast"}, "links.x.gb_per_s = 'fast': expected `float`, got `str`"),
        ({"gb_per_s": True}, "links.x.gb_per_s = True: expected `float`, got `bool`"),
        ({"devices": 1.5}, "links.x.devices = 1.5: expected `int`, got `float`"),
        ({"gb_per_sec": 1}, "links.x.gb_per_sec: unknown key, did you mean 'gb_per_s'?"),
        ({"source": None}, "links.x.source: missing (every figure names its source)"),
    ],
)
def test_the_first_mistake_in_a_table(change: dict[str, object], said: str | None) -> None:
    table = {key: value for key, value in {**LINK, **change}.items() if value is not None}
    found = mistake(table, Link, "links.x")
    assert found == said if said is None else (found or "").startswith(said)


def test_a_source_is_a_text_or_a_citation() -> None:
    place = {"document": "ada-whitepaper", "place": "table 2"}
    stated = {"id": "x", "name": "x", "vendor": "x", "kind": "gpu", "architecture": "ada", "confidence": "low"}
    rest = {
        "peak": {},
        "memory": {"type": "x", "capacity": {"mib": 1, "source": "a"}, "bandwidth": {"gb_per_s": 1.0, "source": "a"}},
    }
    assert mistake({**stated, **rest, "sources": {"a": "a sheet", "b": place}}, Figures) is None
    wrong = mistake({**stated, **rest, "sources": {"b": {**place, "page": 3}}}, Figures)
    assert wrong is not None
    assert wrong.startswith("sources.b.page: unknown key, did you mean 'place'?")
    assert mistake({**stated, **rest, "sources": {"b": 3}}, Figures) == "sources.b = 3: expected `str`, got `int`"


def test_cells_become_the_numbers_that_are_wanted() -> None:
    assert from_text({"units": "34", "note": "34", "gb_per_s": "1e3"}, Board) == {
        "units": 34,
        "note": "34",
        "gb_per_s": 1000.0,
    }
